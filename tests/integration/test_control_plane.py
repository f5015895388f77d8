"""What the other integration tests rely on: the parts of a control plane that are killed, frozen and cleaned up."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import binaries
from tests.cluster.cache import REPOSITORY
from tests.cluster.controlplane import APISERVER, CONTROLLER_MANAGER, ETCD, ControlPlane
from tests.cluster.processes import await_true, marked
from tests.cluster.progress import ClusterError, run

PATIENCE = 60.0


def kubectl(kubeconfig: Path, *words: str, seconds: float = PATIENCE) -> str:
    return run([binaries.kubectl(), f"--kubeconfig={kubeconfig}", f"--request-timeout={seconds:g}s", *words])


def test_parts_are_killed_frozen_and_started_again_and_forget_nothing(tmp_path: Path) -> None:
    with ControlPlane(tmp_path, controllers=["deployment-controller", "replicaset-controller"]) as plane:
        plane.kubectl("create", "deployment", "kept", "--image=none", "--replicas=2")
        assert await_true(lambda: len(plane.kubectl("get", "pods", "--output=name").split()) == 2, PATIENCE)
        for part in (CONTROLLER_MANAGER, APISERVER, ETCD):
            plane.kill(part)
            assert part not in plane.processes.names()
            plane.start(part, wait=part == ETCD)
        plane.wait(APISERVER)
        assert "kept" in plane.kubectl("get", "deployments", "--output=name")

        plane.pause(APISERVER)
        with pytest.raises(ClusterError, match=r"[Tt]imeout|deadline"):
            kubectl(plane.kubeconfig(), "get", "namespaces", seconds=3)
        plane.resume(APISERVER)
        plane.wait(APISERVER)
        assert "default" in kubectl(plane.kubeconfig(), "get", "namespaces")
    assert plane.processes.names() == []


def test_every_user_is_audited_by_name_and_may_do_what_rbac_says(tmp_path: Path) -> None:
    with ControlPlane(tmp_path) as plane:
        reader = plane.kubeconfig("reader", ["readers"])
        with pytest.raises(ClusterError, match='User "reader" cannot list resource "pods"'):
            kubectl(reader, "get", "pods")
        plane.kubectl("create", "clusterrole", "readers", "--verb=list", "--resource=pods")
        plane.kubectl("create", "clusterrolebinding", "readers", "--clusterrole=readers", "--group=readers")
        assert await_true(lambda: can_list(reader), PATIENCE)

        asked = [event for event in plane.audit() if event["user"]["username"] == "reader" and event["verb"] == "list"]
        assert {event["responseStatus"]["code"] for event in asked} == {403, 200}
        assert all(event["userAgent"].startswith("kubectl/") for event in asked)


def can_list(kubeconfig: Path) -> bool:
    try:
        kubectl(kubeconfig, "get", "pods")
    except ClusterError:
        return False
    return True


def test_nothing_outlives_a_test_run_that_was_killed(tmp_path: Path) -> None:
    script = (
        "import signal, sys, pathlib; from tests.cluster.controlplane import ControlPlane\n"
        f"with ControlPlane(pathlib.Path({str(tmp_path)!r})): print('up', flush=True); signal.pause()"
    )
    test_run = subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert test_run.stdout is not None
    assert test_run.stdout.readline() == "up\n"
    mark = f"control-plane {tmp_path}"
    assert len(marked(mark)) == 2

    os.kill(test_run.pid, signal.SIGKILL)
    test_run.communicate()

    assert await_true(lambda: marked(mark) == [], PATIENCE)
