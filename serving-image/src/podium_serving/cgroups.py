"""The limits that this process's cgroup and those above it set (v1 and v2)."""

from collections.abc import Callable
from pathlib import Path

Read = Callable[[Path], float | None]
"""The limit that a cgroup's folder states, None if it states none."""


def limits(controller: str, v2: Read, v1: Read, root: Path, membership: Path) -> list[float]:
    """Every limit from the process's own cgroup up to the mount: in a container the mount itself may be the own one."""
    found: list[float] = []
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found += _upwards(root, path, v2)
            # In a hybrid hierarchy v2 is mounted one level down.
            found += _upwards(root / "unified", path, v2)
        elif controller in controllers.split(","):
            for mount in (controllers, controller):
                found += _upwards(root / mount, path, v1)
    return found


def _upwards(mount: Path, path: str, read: Read) -> list[float]:
    folder = mount / path.lstrip("/")
    found = (read(each) for each in (folder, *folder.parents) if each.is_relative_to(mount))
    return [limit for limit in found if limit is not None]
