"""A hierarchy of cgroups, as files."""

from pathlib import Path


def write(root: Path, files: dict[str, str]) -> Path:
    """Makes these files, with what they say, below `root`."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root
