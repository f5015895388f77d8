"""How many CPUs this container may use: its cgroup's quota (v1 and v2), else the CPUs that it may be scheduled on."""

import math
import os
from pathlib import Path

from podium_serving import cgroups


def available(cgroup_root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """CPUs, a fractional quota rounded up, at least 1."""
    quotas = cgroups.limits("cpu", _quota_v2, _quota_v1, cgroup_root, membership)
    return max(1, math.ceil(min([float(len(os.sched_getaffinity(0))), *quotas])))


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
