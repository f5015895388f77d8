"""What the demo prints: titles, commands, a line that lives while something is waited for, and a closing table."""

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass

BOLD, DIM, GREEN, RED, CYAN = "1", "2", "32", "31", "36"
INDENT = "    "


@dataclass(frozen=True)
class Row:
    """A line of the closing table: what was to be shown, what was measured, and whether it held."""

    what: str
    measured: str
    held: bool


class Terminal:
    """Standard output, with colours and a living line where it is a terminal."""

    def __init__(self) -> None:
        self.tty = sys.stdout.isatty()
        self.colours = self.tty and not os.environ.get("NO_COLOR")
        self.began = time.monotonic()
        self._living = False
        self._last = ""

    def paint(self, text: str, *codes: str) -> str:
        """The text in colours, where there are any."""
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self.colours else text

    def title(self, text: str) -> None:
        """The beginning of an act, with the time since the demo began."""
        passed = int(time.monotonic() - self.began)
        self.line()
        self.line(self.paint(f"== {text}", BOLD) + self.paint(f"   [{passed // 60}:{passed % 60:02}]", DIM))

    def line(self, text: str = "") -> None:
        """Text of its own line."""
        self._end_living()
        print(text, flush=True)

    def say(self, text: str) -> None:
        """A paragraph, wrapped."""
        for line in textwrap.wrap(text, 110):
            self.line(line)

    def command(self, text: str) -> None:
        """A command, as a person would type it."""
        self.line(self.paint(f"$ {text}", CYAN))

    def output(self, text: str) -> None:
        """What a command printed."""
        for line in text.rstrip().splitlines():
            self.line(INDENT + line)

    def live(self, state: str, tail: str) -> None:
        """What is going on: replaced in place on a terminal; elsewhere a line whenever `state` changes."""
        if self.tty:
            width = shutil.get_terminal_size().columns - 1
            room = width - len(tail) - 6
            shown = state if len(state) <= room else state[: max(room - 1, 0)] + "…"
            sys.stdout.write(f"\r\x1b[K{INDENT}{shown}{self.paint(tail, DIM)}")
            sys.stdout.flush()
            self._living = True
        if state != self._last:
            if not self.tty:
                self.line(INDENT + state + tail)
            self._last = state

    def good(self, text: str) -> None:
        """Something that held."""
        self.line(f"{self.paint('✔', GREEN)} {text}")

    def bad(self, text: str) -> None:
        """Something that did not."""
        self.line(f"{self.paint('✘', RED)} {text}")

    def table(self, rows: Sequence[Row]) -> None:
        """The closing table."""
        width = max(len(row.what) for row in rows)
        for row in rows:
            mark = self.paint("✔", GREEN) if row.held else self.paint("✘", RED)
            first, *more = textwrap.wrap(row.measured, 118 - width - 6) or [""]
            self.line(f"  {mark} {row.what:{width}}  {first}")
            for line in more:
                self.line(" " * (width + 6) + line)

    def _end_living(self) -> None:
        if self._living:
            print("\r\x1b[K", end="")
            self._living = False
