"""How much memory this container may use, and how much of it requests may."""

import contextlib
import ctypes
import os
from pathlib import Path

from podium_serving import cgroups

_PAGE = os.sysconf("SC_PAGE_SIZE")
# What a request holds beside its body: tensors, what the model makes of them, the answer.
_SHARE = 4
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
SMALLEST = 16 * 2**20


def return_what_is_freed() -> None:
    """Lets freed blocks of 8 MiB and more go back to the system at once, and smaller ones where 16 MiB are free.

    glibc raises the first bound to the largest block that was ever freed, up to 32 MiB, and what is freed below it
    stays with the process for as long as anything lies above it. Once that bound is set, the second is 128 KiB: a
    model would get its working memory from the system, page by page, whenever the arena has given it back. Other C
    libraries have no such switches.
    """
    with contextlib.suppress(AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, 8 * 2**20)
        library.mallopt(_M_TRIM_THRESHOLD, 16 * 2**20)


def limit(cgroup_root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes: its cgroup's limit (v1 and v2), else the machine's memory."""
    machine = os.sysconf("SC_PHYS_PAGES") * _PAGE
    return int(min([float(machine), *cgroups.limits("memory", _limit_v2, _limit_v1, cgroup_root, membership)]))


def resident() -> int:
    """Bytes that this process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def for_requests(limit: int, resident: int) -> int:
    """Bytes that the bodies and answers of all connections may take together: a quarter of what the model leaves."""
    return max(SMALLEST, (limit - resident) // _SHARE)


def for_runs(limit: int, resident: int, requests: int) -> int:
    """Bytes that the model's runs may take together: two thirds of what the model and the requests leave.

    The rest is for copies: of answers, on their way from the process that writes large ones, and that process itself.
    """
    return max(SMALLEST, (limit - resident - requests) * 2 // 3)


def _limit_v2(folder: Path) -> float | None:
    return _number(folder / "memory.max")


def _limit_v1(folder: Path) -> float | None:
    return _number(folder / "memory.limit_in_bytes")


def _number(file: Path) -> float | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # "max"
        return None
