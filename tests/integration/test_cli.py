"""`kubectl podium` as kubectl finds it on the PATH, against a real API server; the operator is played here."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from podium.analysis.ledger import Ledger, digest
from podium.api import names
from tests.client import Client, Object, wait
from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.unit.analysis.given import interval, plan
from tests.unit.cli.given import BACK, analyzing, healthy, rolled_back

SCRIPTS = Path(sys.executable).parent
SECONDS = 30.0
SINCE = "2026-11-27T12:00:00Z"


@pytest.fixture
def client(plane: ControlPlane) -> Iterator[Client]:
    client = Client(plane.kubeconfig())
    yield client
    client.close()


@pytest.fixture
def deployment(client: Client, namespace: str) -> Object:
    """A ModelDeployment that no operator has seen."""
    spec = {"model": {"uri": "s3://models/fraud/8", "format": "onnx"}, "runtime": {"name": "onnxruntime"}}
    meta = {"name": "fraud", "namespace": namespace}
    return client.apply({"apiVersion": names.API_VERSION, "kind": "ModelDeployment", "metadata": meta, "spec": spec})


def environment(kubeconfig: Path) -> dict[str, str]:
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(kubeconfig.parent), "KUBECONFIG": str(kubeconfig), "TERM": "xterm"}


def start(kubeconfig: Path, *words: str, **more: Any) -> "subprocess.Popen[str]":
    """`kubectl podium` with these words."""
    command = [str(binaries.kubectl()), "podium", *words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.Popen(command, text=True, env=environment(kubeconfig), stdin=subprocess.DEVNULL, **streams)


def podium(kubeconfig: Path, *words: str) -> tuple[int, str, str]:
    """The same: exit code, standard output, standard error."""
    process = start(kubeconfig, *words)
    out, err = process.communicate(timeout=SECONDS)
    assert "Traceback" not in err
    return process.returncode, out, err.strip()


def write(client: Client, obj: Object, status: Object, **more: Any) -> None:
    """As the operator writes it: of the generation that stands there."""
    live = client.get("ModelDeployment", obj["metadata"]["namespace"], obj["metadata"]["name"])
    conditions = [one | {"lastTransitionTime": SINCE} for one in status["conditions"]]
    written = status | {"observedGeneration": live["metadata"]["generation"], "conditions": conditions} | more
    meta = obj["metadata"]
    client.patch("ModelDeployment", meta["namespace"], meta["name"], {"status": written}, "status")


def command_of(client: Client, obj: Object) -> str:
    """The command that stands in the annotation, once one does."""

    def written() -> str | None:
        live = client.get("ModelDeployment", obj["metadata"]["namespace"], obj["metadata"]["name"])
        return (live["metadata"].get("annotations") or {}).get(names.ANNOTATION_COMMAND)

    return str(wait("a command in the annotation", written, SECONDS))


def test_what_a_pipeline_and_a_person_see_from_the_first_moment_to_a_rollback(
    plane: ControlPlane, client: Client, namespace: str, deployment: Object
) -> None:
    admin = plane.kubeconfig()
    assert podium(admin, "status", "fraud", "-n", namespace)[:2] == (
        2,
        f"{namespace}/fraud: Podium has not seen it yet; its spec is of generation 1\n",
    )

    waiting = start(admin, "status", "fraud", "-n", namespace, "--wait", "--timeout", "30s")
    write(client, deployment, analyzing())
    _, shown, _ = podium(admin, "get", "-n", namespace)
    assert "  candidate version 8 (fraud-b57wq4c9d2), 1/1 pods, 25 %" in shown
    write(client, deployment, rolled_back())
    out, _ = waiting.communicate(timeout=SECONDS)
    assert waiting.returncode == 1
    assert out == f"{namespace}/fraud: RolledBack: {BACK}\n"

    client.patch("ModelDeployment", namespace, "fraud", {"spec": {"model": {"uri": "s3://models/fraud/7"}}})
    assert podium(admin, "status", "fraud", "-n", namespace)[0] == 2
    write(client, deployment, healthy())
    assert podium(admin, "status", "fraud", "-n", namespace)[0] == 0
    code, out, _ = podium(admin, "get", "fraud", "-n", namespace, "-o", "json")
    assert (code, json.loads(out)["items"][0]["phase"]) == (0, "Healthy")


@pytest.mark.parametrize(
    ("result", "said", "code"), [("Done", "promoted by a person", 0), ("Refused", "it is paused", 1)]
)
def test_a_command_is_written_for_the_candidate_and_its_answer_awaited(
    plane: ControlPlane, client: Client, namespace: str, deployment: Object, result: str, said: str, code: int
) -> None:
    write(client, deployment, analyzing())
    before = client.get("ModelDeployment", namespace, "fraud")
    process = start(plane.kubeconfig(), "promote", "fraud", "-n", namespace)
    command = command_of(client, deployment)
    assert command.startswith("promote fraud-b57wq4c9d2 20")
    last = {"value": command, "result": result, "message": said, "at": SINCE}
    write(client, deployment, analyzing(phase="Promoting"), lastCommand=last)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out, err) == (code, f"{result}: {said}\n", "")
    after = client.get("ModelDeployment", namespace, "fraud")
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])


def test_a_watch_shows_each_change_as_a_tree_in_a_terminal(
    plane: ControlPlane, client: Client, namespace: str, deployment: Object
) -> None:
    write(client, deployment, analyzing())
    ours, theirs = pty.openpty()
    process = start(plane.kubeconfig(), "get", "-w", "-n", namespace, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        assert "├── candidate" in shown_until(ours, "step 2 of 4")
        write(client, deployment, rolled_back())
        shown = shown_until(ours, "was rolled back after 94 s")
        assert "RolledBack" in shown
        assert "Version 8 was rolled back after 94 s" in shown
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
    finally:
        process.kill()
        process.wait(SECONDS)
        os.close(ours)


def shown_until(terminal: int, words: str) -> str:
    """What a terminal shows until the words are there and nothing more comes, without colours."""
    shown, end = "", time.monotonic() + SECONDS
    while words not in shown or select.select([terminal], [], [], 0.3)[0]:
        assert time.monotonic() < end, shown
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 65536).decode(errors="replace")
    return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", shown)


def test_ctrl_c_is_told_from_a_failure(plane: ControlPlane, namespace: str, deployment: Object) -> None:
    process = start(plane.kubeconfig(), "get", "fraud", "-w", "-n", namespace)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, err) == (130, "")


def test_a_watch_as_json_is_a_line_for_each_change(
    plane: ControlPlane, client: Client, namespace: str, deployment: Object
) -> None:
    process = start(plane.kubeconfig(), "get", "fraud", "-w", "-n", namespace, "-o", "json")
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["items"][0]["phase"] == "Pending"
        write(client, deployment, healthy())
        assert json.loads(process.stdout.readline())["items"][0]["phase"] == "Healthy"
        client.delete("ModelDeployment", namespace, "fraud")
        assert json.loads(process.stdout.readline())["items"] == []
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def test_the_ledger_of_the_candidate_is_read_and_replayed(
    plane: ControlPlane, client: Client, namespace: str, deployment: Object
) -> None:
    write(client, deployment, analyzing())
    assert podium(plane.kubeconfig(), "analyze", "fraud", "-n", namespace)[::2] == (
        3,
        f"kubectl podium: {namespace}/fraud: revision fraud-b57wq4c9d2 has no ledger (ConfigMap "
        "fraud-b57wq4c9d2-ledger): only a rollout with analysis has one; --revision names another",
    )
    ledger = Ledger.begin(plan())
    for number in range(40):
        ledger = ledger.record(interval(2.0 * number, (150, 1), (50, 5)), {})
    meta = {"name": "fraud-b57wq4c9d2-ledger", "namespace": namespace}
    client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"ledger": ledger.to_text()}})
    code, out, _ = podium(plane.kubeconfig(), "analyze", "fraud", "-n", namespace)
    assert code == 0
    assert "Decision: RollBack (harm: errors)" in out
    assert f"there is no controllerrevision fraud-b57wq4c9d2 in namespace {namespace}." in out


@pytest.mark.parametrize(("decided_from", "as_recorded"), [("", True), (" ", False)], ids=["the same", "another"])
def test_a_ledger_is_compared_with_the_record_of_its_revision(
    plane: ControlPlane, client: Client, namespace: str, deployment: Object, decided_from: str, as_recorded: bool
) -> None:
    write(client, deployment, analyzing())
    text = Ledger.begin(plan()).to_text()
    meta = {"name": "fraud-b57wq4c9d2-ledger", "namespace": namespace}
    client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"ledger": text}})
    record = {"podium.dev/rollout": '{"id": "r"}', "podium.dev/ledger": digest(text + decided_from, "r")}
    meta = {"name": "fraud-b57wq4c9d2", "namespace": namespace, "annotations": record}
    client.apply({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": meta, "data": {}, "revision": 1})

    code, out, _ = podium(plane.kubeconfig(), "analyze", "fraud", "-n", namespace, "-o", "json")

    assert code == 0
    found = json.loads(out)
    assert found["asRecorded"] is as_recorded
    assert bool(found["comparison"]) is not as_recorded


def test_rights_that_are_missing_are_named(
    plane: ControlPlane, client: Client, namespace: str, deployment: Object
) -> None:
    write(client, deployment, analyzing())
    reader = plane.kubeconfig(f"reader-{namespace}")
    ask = f"you may not get modeldeployments in namespace {namespace}: ask for role podium-view"
    assert podium(reader, "status", "fraud", "-n", namespace)[::2] == (
        3,
        f"kubectl podium: modeldeployment fraud: {ask}",
    )
    role = ("--verb=get,list,watch", "--resource=modeldeployments.podium.dev")
    plane.kubectl("create", "role", "reader", *role, "-n", namespace)
    plane.kubectl("create", "rolebinding", "reader", "--role=reader", f"--user=reader-{namespace}", "-n", namespace)
    # The API server's own authorizer learns of it by a watch.
    wait("the reader may read", lambda: not podium(reader, "get", "-n", namespace)[0], SECONDS)
    ask = f"you may not patch modeldeployments in namespace {namespace}: ask for role podium-edit"
    assert podium(reader, "promote", "fraud", "-n", namespace) == (
        3,
        "",
        f"kubectl podium: modeldeployment fraud: {ask}",
    )
    assert podium(reader, "get", "-A")[::2] == (
        3,
        "kubectl podium: you may not list modeldeployments in all namespaces: ask for role podium-view in all of them, "
        "or name a namespace with -n",
    )


def test_a_cluster_without_podium_is_told_from_one_without_the_object(
    plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    admin = plane.kubeconfig()
    none = (
        f"kubectl podium: there is no modeldeployment none in namespace {namespace}: kubectl podium get -n {namespace} "
        "lists those that there are; is it in another namespace (-n)?"
    )
    assert podium(admin, "get", "none", "-n", namespace) == (3, "", none)
    assert podium(admin, "status", "none", "-n", namespace, "--wait") == (3, "", none)
    empty = f"no ModelDeployments in namespace {namespace}; -A shows those of all namespaces\n"
    assert podium(admin, "get", "-n", namespace) == (0, empty, "")
    with ControlPlane(tmp_path) as bare:
        for words in (["get"], ["status", "none"], ["promote", "none"]):
            code, out, err = podium(bare.kubeconfig(), *words)
            assert (code, out) == (3, "")
            assert err.startswith("kubectl podium: this cluster has no ModelDeployments (its CRD is missing)")
