"""What is built once for all clusters: kept outside the work tree, named by the hash of what it is built from."""

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

KEPT = 3
REPOSITORY = Path(__file__).resolve().parents[2]


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/podium`, by default `~/.cache/podium`; made if missing."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "podium"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Holds a lock that all processes sharing the cache know by `name`; waits for it as long as it takes."""
    folder = cache_folder() / "locks"
    folder.mkdir(exist_ok=True)
    with open(folder / f"{name}.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def digest(files: Iterable[Path], *words: str) -> str:
    """12 hex digits over the names, modes and bytes of `files` (folders are walked) and over `words`."""
    total = hashlib.sha256()
    for word in words:
        total.update(word.encode() + b"\0")
    for path, name in sorted(_walk(files)):
        total.update(f"{name}\0{path.stat().st_mode & 0o111:o}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:12]


def _walk(files: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    for path in files:
        if path.is_dir():
            for below in path.rglob("*"):
                if below.is_file() and "__pycache__" not in below.parts:
                    yield below, str(below.relative_to(path.parent))
        else:
            yield path, path.name


def cached(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder `<cache>/<name>-<key>`, filled by `make` if it is not there yet.

    `make` gets an empty folder beside it, which is renamed once `make` returns: a killed build leaves nothing
    that looks finished. Two callers at once build once. Of the same
    name the KEPT last used are kept, and what was used within the hour.
    """
    target = cache_folder() / f"{name}-{key}"
    if not target.exists():
        with lock(name):
            if not target.exists():
                building = target.with_name(f".{target.name}.building")
                shutil.rmtree(building, ignore_errors=True)
                building.mkdir()
                make(building)
                building.rename(target)
                _forget_old(name)
    os.utime(target)
    return target


def _forget_old(name: str) -> None:
    now = time.time()
    ours = [
        folder
        for folder in cache_folder().glob(f"{name}-*")
        if re.fullmatch(r"[0-9a-f]{12}", folder.name[len(name) + 1 :])
    ]
    for folder in sorted(ours, key=lambda folder: folder.stat().st_mtime)[:-KEPT]:
        if now - folder.stat().st_mtime > 3600:
            shutil.rmtree(folder, ignore_errors=True)


def log_file(name: str) -> Path:
    """A new, empty log of a build."""
    folder = cache_folder() / "logs"
    folder.mkdir(exist_ok=True)
    log = folder / f"{name}.log"
    log.write_text("")
    return log
