"""Which cluster is used: the current context if asked for, else kind or k3d on a Docker daemon, else one of our own."""

import os
import platform
import shutil
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.cluster import Cluster
from tests.cluster.foreign import CONTEXT_VARIABLE, Borrowed, InDocker, borrowed, docker_answers, tool_for_docker
from tests.cluster.progress import ClusterError


def choose(folder: Path) -> Cluster:
    """The cluster of `folder`: of the kind that was started there, or else of the first kind that can be had here.

    ClusterError says in one sentence what is missing, if none can.
    """
    if borrowed():
        return Borrowed(folder)
    own = Cluster(folder)
    if own.taken():
        return own
    tool = tool_for_docker() if docker_answers() else ""
    if tool:
        return InDocker(folder, tool)
    obstacles = _obstacles()
    if obstacles:
        raise ClusterError(
            f"no cluster can be had here: set {CONTEXT_VARIABLE}=1 to use the current context, or start a Docker "
            f"daemon and install kind or k3d, or, for a cluster of our own, {' and '.join(obstacles)}"
        )
    return own


def _obstacles() -> list[str]:
    """What a person would have to do before a cluster of our own can be started here."""
    obstacles = []
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        obstacles.append("use Linux on x86-64")
    elif os.geteuid() != 0:
        obstacles.append("be root")
    elif not shutil.which("apt-get"):
        missing = binaries.missing(binaries.CONTROL_PLANE_PACKAGES | binaries.NODE_PACKAGES | binaries.IMAGE_PACKAGES)
        if missing:
            obstacles.append(f"install what these Debian packages hold: {', '.join(missing)}")
    return obstacles
