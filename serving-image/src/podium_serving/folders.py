"""What lies in a folder beside a model: Kubernetes' own layout of volumes, and what tools leave behind."""

import os
from collections.abc import Iterator
from pathlib import Path

# Made by archives of macOS, by Python, by mkfs and by Windows' file manager.
_NAMES = frozenset({"__MACOSX", "__pycache__", "lost+found", "Thumbs.db", "desktop.ini"})


def is_leftover(name: str) -> bool:
    """Whether a file or folder of that name is no part of a model.

    Hidden ones are not: `..data` and `..2026_...` of ConfigMaps and projected volumes, `.ipynb_checkpoints`,
    `.DS_Store`, `._*`, `.git`, `.nfs*`, `.Trash-*`; nor what an editor keeps (`model.onnx~`).
    """
    return name.startswith(".") or name.endswith("~") or name in _NAMES


def files(top: Path, *, leftovers: bool = False) -> Iterator[Path]:
    """The folder's files without leftovers, sorted, links followed. Raises OSError, with the path as its filename.

    With `leftovers` all files but those of Kubernetes' own layout, as far as they can be listed. A file that two names
    lead to comes once: projected volumes, and folders with a `latest`, are made of links.
    """
    seen: set[str] = set()
    is_out = _is_kubernetes if leftovers else is_leftover
    # The links of projected volumes lead into folders that are left out here, and so are followed by their own names.
    for folder, folders, names in os.walk(top, onerror=None if leftovers else _raise, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_out(name))
        for name in sorted(names):
            path = os.path.join(folder, name)
            target = os.path.realpath(path)
            if not is_out(name) and os.path.isfile(path) and target not in seen:
                seen.add(target)
                yield Path(path)


def _is_kubernetes(name: str) -> bool:
    return name.startswith("..")


def _raise(problem: OSError) -> None:
    raise problem
