"""Commands that a person is told to type, as they work from the root of the tree on a machine that has little else."""

import shlex
import sys
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.cache import REPOSITORY

DEFAULT_FOLDER = Path(".cluster")


def module(name: str, *words: str, folder: Path | None = None) -> str:
    """`python -m name words`, with this Python: one of PATH may be missing, or lack the packages.

    `folder` is a cluster's; it is named unless it is the default one.
    """
    python = Path(sys.executable)
    if python.is_relative_to(REPOSITORY):
        python = python.relative_to(REPOSITORY)
    chosen = [] if folder is None or folder.resolve() == REPOSITORY / DEFAULT_FOLDER else ["--folder", str(folder)]
    return shlex.join([str(python), "-m", name, *words, *chosen])


def start(folder: Path) -> str:
    """The command that starts the cluster of `folder`."""
    return module("tests.cluster", "up", folder=folder)


def exports(kubeconfig: Path) -> list[str]:
    """Lines by which a shell finds the cluster, and kubectl and helm."""
    return [f"export KUBECONFIG={shlex.quote(str(kubeconfig))}", f'export PATH="{binaries.kubectl().parent}:$PATH"']
