"""What `make cluster` and `make demo` tell a person to type works as it stands, where nothing else is installed."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import __main__ as command
from tests.cluster import binaries, typed
from tests.cluster.cache import REPOSITORY
from tests.cluster.cluster import Cluster
from tests.cluster.progress import ClusterError
from tests.cluster.store import Store
from tests.demo.__main__ import look_around


def shell(*lines: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of the lines at the root of the tree; it has no PATH but the system's, and no Python there."""
    empty = {"PATH": "/nowhere:/usr/sbin", "HOME": str(Path.home())}
    return subprocess.run(
        ["/bin/sh", "-c", "\n".join(lines)], cwd=REPOSITORY, env=empty, capture_output=True, text=True, check=False
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own: its path would be too long for a cluster's folder.
    with tempfile.TemporaryDirectory(prefix="podium-") as path:
        yield Path(path)


@pytest.fixture
def cluster(folder: Path) -> Cluster:
    """A cluster that was given a store; nothing of it runs."""
    Store.of(folder, "http://127.0.0.1:9")
    return Cluster(folder)


def test_the_line_that_puts_a_model_finds_its_python_the_packages_and_the_store(cluster: Cluster) -> None:
    lines = [line.strip() for line in command.how_to_use(cluster) if line.startswith("    ")]

    said = shell(*lines)

    # All that is missing is the file, and that is found out last.
    assert said.stderr == "error: model.onnx does not exist\n"


def test_after_the_lines_of_make_cluster_kubectl_and_the_cluster_are_found(cluster: Cluster) -> None:
    lines = [line.strip() for line in command.how_to_use(cluster) if line.strip().startswith("export ")]

    said = shell(*lines, "command -v kubectl", "command -v helm", 'echo "$KUBECONFIG"')

    tools = [str(binaries.kubectl()), str(binaries.helm())]
    assert said.stdout.splitlines() == [*tools, str(cluster.kubeconfig_file)]


def test_after_the_lines_of_make_demo_kubectl_and_the_cluster_are_found(cluster: Cluster) -> None:
    *exports, _, _ = look_around(cluster.kubeconfig_file, "demo", cluster.folder / "demo")

    said = shell(*exports, "command -v kubectl", 'echo "$KUBECONFIG"')

    assert said.stdout.splitlines() == [str(binaries.kubectl()), str(cluster.kubeconfig_file)]


def test_a_python_inside_of_the_tree_is_named_from_its_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(REPOSITORY / ".venv/bin/python"))

    assert typed.module("tests.cluster", "up", folder=REPOSITORY / ".cluster") == ".venv/bin/python -m tests.cluster up"


def test_who_asks_for_a_cluster_that_does_not_run_is_told_how_to_start_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/python")
    start = f"/opt/python -m tests.cluster up --folder {folder}"

    with pytest.raises(ClusterError, match=start):
        Store.of(folder)
    with pytest.raises(ClusterError, match=start):
        _ = Cluster(folder).slot
