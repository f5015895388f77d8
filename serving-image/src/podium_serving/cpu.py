"""How many CPUs this container may use: its cgroup's quota (v1 and v2), else the CPUs that it may be scheduled on."""

import math
import os
from collections.abc import Callable
from pathlib import Path


def available(cgroup_root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """CPUs, a fractional quota rounded up, at least 1."""
    limits = [float(len(os.sched_getaffinity(0)))]
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            limits += _quotas(cgroup_root, path, _quota_v2)
            # In a hybrid hierarchy v2 is mounted one level down.
            limits += _quotas(cgroup_root / "unified", path, _quota_v2)
        elif "cpu" in controllers.split(","):
            for mount in (controllers, "cpu"):
                limits += _quotas(cgroup_root / mount, path, _quota_v1)
    return max(1, math.ceil(min(limits)))


def _quotas(mount: Path, path: str, read: Callable[[Path], float | None]) -> list[float]:
    """Every limit from the process's own cgroup up to the mount: in a container the mount itself may be the own one."""
    folder = mount / path.lstrip("/")
    found = (read(each) for each in (folder, *folder.parents) if each.is_relative_to(mount))
    return [quota for quota in found if quota is not None]


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return None if quota < 0 else quota / period
