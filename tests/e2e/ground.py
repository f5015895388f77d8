"""Words for tests of what Podium stands on: Helm, the audit log, operator pods, a model that needs nothing."""

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.client import Object, wait
from tests.cluster import binaries, podium
from tests.cluster.cache import REPOSITORY, cache_folder
from tests.cluster.cluster import Cluster
from tests.cluster.foreign import localized
from tests.cluster.progress import run
from tests.stage import Stage

EXAMPLES = REPOSITORY / "examples"
OPERATOR_PODS = "app.kubernetes.io/name=podium"
TEAM, TEAM_PODIUM, OTHERS = "e2e-team", "e2e-team-podium", "e2e-others"
"""A namespace with a Podium of its own, where that runs, and a namespace that it has nothing to do with."""


def example(name: str) -> list[Object]:
    """The objects of a file of examples/."""
    return [obj for obj in yaml.safe_load_all(localized((EXAMPLES / f"{name}.yaml").read_text())) if obj]


def plain(text: str = "one", **spec: Any) -> Object:
    """The example's model of a runtime of one's own, which is up within seconds; another `text`, another revision."""
    (obj,) = (obj for obj in example("custom-runtime") if obj["kind"] == "ModelDeployment")
    runtime = {**obj["spec"]["runtime"], "env": [{"name": "TEXT", "value": text}]}
    return {**obj, "spec": {**obj["spec"], "runtime": runtime, "rollout": {"minReadySeconds": 1}, **spec}}


def plain_runtime(stage: Stage) -> None:
    """Puts the runtime of `plain` onto the cluster; cluster-scoped."""
    for obj in example("custom-runtime"):
        if obj["kind"] == "ModelRuntime":
            stage.client.apply(obj)


def helm(cluster: Cluster, *words: str | Path) -> str:
    """Runs helm on the cluster; ClusterError with what it said, if it fails."""
    folder = cache_folder() / "helm"
    homes = {f"HELM_{kind}_HOME": str(folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    return run([binaries.helm(), *words, f"--kubeconfig={cluster.kubeconfig_file}"], env=os.environ | homes)


def uninstall(cluster: Cluster, namespace: str = podium.NAMESPACE) -> None:
    """Uninstalls Podium and waits until its pods are gone."""
    helm(cluster, "uninstall", podium.RELEASE, f"--namespace={namespace}", "--wait", "--timeout=120s")
    gone = ("wait", "pods", f"--selector={OPERATOR_PODS}", "--for=delete", "--timeout=90s")
    cluster.kubectl(f"--namespace={namespace}", *gone)


def install(cluster: Cluster, *more: str) -> None:
    """Installs or upgrades Podium as the session does it, with more words for helm, and waits for it."""
    podium.install_podium(cluster, cluster.build_images(), more=more)


def operator_pods(stage: Stage, namespace: str = podium.NAMESPACE) -> list[Object]:
    """The operator's pods that are not on their way out."""
    pods = stage.client.list("Pod", namespace, OPERATOR_PODS)
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def pods_of(stage: Stage, name: str) -> dict[str, str]:
    """The uids of a model's pods by name, those on their way out left aside."""
    pods = stage.client.list("Pod", stage.namespace, f"podium.dev/model={name}")
    return {
        pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]
    }


def conditions(obj: Object) -> list[Object]:
    """The conditions in its status."""
    return [*((obj.get("status") or {}).get("conditions") or [])]


def until_condition(stage: Stage, name: str, reason: str, *parts: str, seconds: float = 120) -> Object:
    """Waits until some condition has this reason and a message that holds all `parts`; returns the condition."""

    def holds() -> Object | None:
        found = conditions(stage.get(name))
        for one in found:
            if one["reason"] == reason and all(part in one["message"] for part in parts):
                return one
        raise AssertionError(str([(c["type"], c["status"], c["reason"], c["message"]) for c in found]))

    return wait(f"{stage.namespace}/{name}: a condition {reason} that says {parts}", holds, seconds)


def audited(cluster: Cluster, kept: Callable[[Object], bool]) -> list[Object]:
    """The requests in the audit log (audit.k8s.io/v1 Events), oldest first, that `kept` is true of."""
    require_host(cluster)
    found = []
    with cluster.audit_log.open() as lines:
        for line in lines:
            # A last line without its end is still being written.
            if line.endswith("\n") and kept(event := json.loads(line)):
                found.append(event)
    return sorted(found, key=begun)


def require_host(cluster: Cluster) -> None:
    """Skips the test on a cluster that was not started by these tests."""
    if not cluster.on_this_host:
        pytest.skip("needs a cluster of our own: its audit log, its node's files and its pods' processes")


def begun(event: Object) -> float:
    """When a request arrived, in seconds since 1970."""
    return seconds(event["requestReceivedTimestamp"])


def answered(event: Object) -> float:
    """When a request was answered, in seconds since 1970."""
    return seconds(event["stageTimestamp"])


def seconds(time: str) -> float:
    """Seconds since 1970 of an RFC 3339 time."""
    return datetime.fromisoformat(time).timestamp()


def account(namespace: str = podium.NAMESPACE) -> str:
    """The user name of the operator's ServiceAccount."""
    return f"system:serviceaccount:{namespace}:{podium.RELEASE}"


def done(event: Object) -> bool:
    """Whether the request was granted and carried out."""
    return bool(event["stage"] == "ResponseComplete" and event.get("responseStatus", {}).get("code", 500) < 300)


def kill(pod: str, number: signal.Signals, *, running: str = "") -> float:
    """Sends a signal to a pod's processes: to all of them, or to those whose command line has this word.

    Answers when, in seconds since 1970.
    """
    found = processes(pod, running=running)
    moment = time.time()
    killed = [pid for pid in found if _signal(pid, number)]
    assert killed, f"no process {running} of {pod} was found on this host"
    return moment


def processes(pod: str, *, running: str = "") -> Sequence[int]:
    """Ids of a pod's processes, on this host; of those whose command line has this word."""
    wanted = f"HOSTNAME={pod}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if wanted in (folder / "environ").read_bytes().split(b"\0") and (not running or running.encode() in words):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
