"""etcd is restored from a backup while the operator runs: versions go down, and the operator believes what it finds."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import APISERVER, ETCD, ControlPlane
from tests.integration.operator import ROOT
from tests.integration.proxy import Proxy
from tests.integration.rest import Rest
from tests.integration.shell.rig import ADMINS, Rig, apply, pod

NAMESPACE = "default"
LATER = 200
"""Writes after the backup, at least: a watch from the last of them waits for as many before it tells of one."""


class Backup:
    """A copy of etcd's data, as the snapshot of a disk is one."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self._plane, self._folder = plane, folder
        self._data = plane.folder / "etcd"
        self._stopped()
        shutil.copytree(self._data, folder)
        self._started()

    def restore(self) -> None:
        """What has happened since has never been."""
        self._stopped()
        shutil.rmtree(self._data)
        shutil.copytree(self._folder, self._data)
        self._started()

    def _stopped(self) -> None:
        self._plane.kill(APISERVER)
        self._plane.stop(ETCD)

    def _started(self) -> None:
        self._plane.start(ETCD)
        self._plane.start(APISERVER)


@pytest.fixture
def own_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """An API server of this test's own: no other one wants its etcd to go back."""
    with ControlPlane(tmp_path / "plane") as plane:
        plane.install_crds(ROOT / "crds")
        yield plane


def test_a_restored_etcd_is_believed_and_watched_from_there(own_plane: ControlPlane, tmp_path: Path) -> None:
    plane = own_plane
    # Given a backup of a ModelDeployment with one pod,
    apply(plane, NAMESPACE, "m")
    apply(plane, NAMESPACE, "other")
    pod(plane, NAMESPACE, "p", "m")
    backup = Backup(plane, tmp_path / "backup")
    with Proxy(plane.kubeconfig("op", ADMINS)) as proxy:
        rig = Rig(plane, NAMESPACE, tmp_path, proxy)
        with rig.operator as operator:
            rig.await_message("m", "replicas 1, pods 1")
            pid = operator.pid
            # and much that has happened since: one object changed, one has gone, one is new,
            rig.apply("m", replicas=3)
            rig.apply("late")
            pod(plane, NAMESPACE, "q", "m")
            plane.kubectl("delete", "mdep", "other", "-n", NAMESPACE)
            with Rest(plane.kubeconfig(), tmp_path) as rest:
                for number in range(LATER):
                    rest.merge("ModelDeployment", "m", {"metadata": {"annotations": {"number": str(number)}}})
            rig.await_message("m", "replicas 3, pods 2")

            # when etcd is restored from the backup,
            backup.restore()

            # then what is there counts, within the seconds that the Lease needs to tell of it,
            rig.await_message("m", "replicas 1, pods 1")
            rig.await_message("other", "replicas 1")
            operator.await_log(f"{NAMESPACE}/late is gone")
            # and what happens from now on is seen.
            rig.apply("m", replicas=5)
            rig.await_message("m", "replicas 5, pods 1")
            pod(plane, NAMESPACE, "r", "m")
            rig.await_message("m", "replicas 5, pods 2")
            plane.kubectl("delete", "pod", "p", "-n", NAMESPACE, "--force", "--grace-period=0")
            rig.await_message("m", "replicas 5, pods 1")
            assert (operator.alive, operator.pid) == (True, pid)
            said = [line["message"] for line in operator.lines() if "gone back to an older state" in line["message"]]
            assert said
