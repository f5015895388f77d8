"""The container's CPU limit, as cgroups of both versions say it."""

import os
from pathlib import Path

import pytest

from podium_serving.cpu import available
from tests.unit.serving.cgroup import write

HOST = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("membership", "files", "cpus"),
    [
        ("0::/", {"cpu.max": "max 100000"}, HOST),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "100000 100000"}, 1),
        ("0::/", {"cpu.max": "110000 100000"}, min(2, HOST)),
        # The pod's limit is below its container's.
        ("0::/pod/container", {"pod/cpu.max": "100000 100000", "pod/container/cpu.max": "max 100000"}, 1),
        ("4:cpu,cpuacct:/", {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, HOST),
        ("4:cpu,cpuacct:/", {"cpu,cpuacct/cpu.cfs_quota_us": "25000", "cpu,cpuacct/cpu.cfs_period_us": "50000"}, 1),
        # In a container the own cgroup is mounted where the host has the root, and the path leads nowhere.
        ("4:cpu:/kubepods/x", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ("1:name=systemd:/", {}, HOST),
    ],
)
def test_the_limit_is_the_smallest_quota_rounded_up(
    tmp_path: Path, membership: str, files: dict[str, str], cpus: int
) -> None:
    root = write(tmp_path / "cgroup", files)
    (tmp_path / "membership").write_text(membership + "\n")
    assert available(root, tmp_path / "membership") == cpus


def test_without_cgroups_all_cpus_are_there(tmp_path: Path) -> None:
    assert available(tmp_path, tmp_path / "nothing") == HOST
