"""What is left in a cluster's folder once it is taken down, as docs/local-cluster.md says it."""

import tempfile
from pathlib import Path

from tests.cluster.cluster import Cluster

STAY = {"log.before", "lock"}


def test_of_all_that_a_cluster_and_the_demo_wrote_only_the_logs_and_the_lock_stay() -> None:
    # Not pytest's own folder: its path would be too long for a cluster's.
    with tempfile.TemporaryDirectory(prefix="podium-") as path:
        folder = Path(path)
        for name in ("state", "pid", "users", "store", "demo", "log"):
            (folder / name).mkdir()
            (folder / name / "file").touch()
        for name in ("kubeconfig", "store.json", "values.json", "audit-policy.yaml", "started"):
            (folder / name).touch()

        Cluster(folder).down()

        assert {file.name for file in folder.iterdir()} == STAY


def test_the_documentation_names_what_stays() -> None:
    (said,) = [line for line in Path("docs/local-cluster.md").read_text().splitlines() if line.startswith("| `down`")]

    assert all(f"`.cluster/{name}`" in said for name in STAY)
