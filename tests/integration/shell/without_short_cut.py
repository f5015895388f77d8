"""The counting operator with a kopf that has not the seam for the short cut: its handlers get the events."""

import runpy

from podium.watch import handlers

if __name__ == "__main__":
    handlers.short_cut = lambda feed: False
    runpy.run_module("tests.integration.shell.counting", run_name="__main__")
