"""Writes the table of values into charts/podium/README.md, from values.yaml and the comments in it.

    python charts/values_table.py [--check]

With --check nothing is written, and the exit code says whether the table is up to date.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).parent / "podium"
BEGIN: Final = "<!-- values: begin -->"
END: Final = "<!-- values: end -->"


def rows(text: str) -> list[tuple[str, str, str]]:
    """(name, default as JSON, description) of each documented value of a values.yaml.

    A value is documented by the comment lines right above it; ValueError names a leaf that has none.
    """
    found: list[tuple[str, str, str]] = []
    _walk(yaml.compose(text), "", text.splitlines(), yaml.safe_load(text), found)
    return found


def table(text: str) -> str:
    """The Markdown table of a values.yaml."""
    lines = ["| Value | Default | What it is |", "|---|---|---|"]
    lines += [f"| `{name}` | `{default}` | {description} |" for name, default, description in rows(text)]
    return "\n".join(lines)


def updated(readme: str, text: str) -> str:
    """`readme` with the table between its two marks replaced."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table(text)}\n{END}{after}"


def _walk(node: Any, prefix: str, lines: list[str], values: dict[str, Any], found: list[tuple[str, str, str]]) -> None:
    for key, child in node.value:
        name = f"{prefix}{key.value}"
        value = values[key.value]
        description = _comment_above(lines, key.start_mark.line)
        if description:
            found.append((name, json.dumps(value), description))
        elif isinstance(child, yaml.MappingNode) and child.value:
            _walk(child, f"{name}.", lines, value, found)
        else:
            raise ValueError(f"values.yaml: {name} has no comment above it, which README.md's table is made of")


def _comment_above(lines: list[str], line: int) -> str:
    texts: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        texts.insert(0, lines[line].lstrip()[1:].strip())
    return " ".join(texts)


def main() -> None:
    """Write the table, or check it."""
    path = CHART / "README.md"
    old = path.read_text()
    new = updated(old, (CHART / "values.yaml").read_text())
    if "--check" in sys.argv[1:]:
        sys.exit(0 if new == old else f"{path} is out of date: run python charts/values_table.py")
    path.write_text(new)


if __name__ == "__main__":
    main()
