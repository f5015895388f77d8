"""Writes charts/podium/files/runtimes.yaml from the built-in ModelRuntimes in charts/runtimes and the files they carry.

    python charts/embed_runtimes.py [--check]

A template written as "@NAME" becomes the text of charts/runtimes/NAME. With --check nothing is written, and the exit
code says whether the file is up to date.
"""

import re
import sys
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parent / "runtimes"
TARGET: Final = Path(__file__).parent / "podium" / "files" / "runtimes.yaml"
HEADER: Final = """\
# The built-in ModelRuntimes, made by charts/embed_runtimes.py: change charts/runtimes instead. The chart puts the
# images of its values in and hands the file to the operator, whose leader applies it. Each is an object like any other:
# the way to a runtime of one's own is a copy of one of them.
"""

_CARRIED: Final = re.compile(r'^(?P<indent> *)template: "@(?P<name>[^"]+)"$', re.MULTILINE)


def document(path: Path) -> str:
    """A ModelRuntime's YAML with its files embedded as block texts."""

    def block(match: re.Match[str]) -> str:
        indent = match["indent"] + "  "
        lines = (path.parent / match["name"]).read_text().splitlines()
        return "\n".join([f"{match['indent']}template: |", *(f"{indent}{line}".rstrip() for line in lines)])

    return _CARRIED.sub(block, path.read_text())


def whole() -> str:
    """The whole file."""
    return HEADER + "---\n".join(document(path) for path in sorted(SOURCES.glob("*.yaml")))


def main() -> None:
    """Write the file, or check it."""
    if "--check" in sys.argv[1:]:
        sys.exit(
            0 if TARGET.read_text() == whole() else f"{TARGET} is out of date: run python charts/embed_runtimes.py"
        )
    TARGET.write_text(whole())


if __name__ == "__main__":
    main()
