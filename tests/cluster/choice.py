"""Which cluster is used."""

from pathlib import Path

from tests.cluster.cluster import Cluster


def choose(folder: Path) -> Cluster:
    """The cluster to use here."""
    return Cluster(folder)


def choose_running(folder: Path) -> Cluster:
    """The cluster to use here, which has to run."""
    return Cluster(folder)
