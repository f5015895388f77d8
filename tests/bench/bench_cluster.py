"""From the end of the fetcher to the pod being Ready, on the local cluster.

    PODIUM_BENCH_STARTS=10 python -m tests.bench.bench_cluster

One replica of a small ONNX model from the cluster's store, started again and again, nothing else going on. What is in
it: kubelet noticing that the init container ended (it looks once a second), the start of the server's container, the
server's own start, the startup probe (once a second) and the first readiness probe, and kubelet's status write.

The pod's status tells both ends in whole seconds only. So the end of the fetcher is taken from containerd's own event
(nanoseconds), and Ready from the arrival here of the watch event that says so, which comes milliseconds after the API
server has stored it; both are told by the same clock. The status's figures are given beside it. On a cluster that is
not our own (kind, k3d, the current context) there is only the status.
"""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from podium.api import names
from tests import stage as s
from tests.bench.table import Row, show, spread
from tests.client import Client, Object, condition, wait
from tests.cluster import podium
from tests.cluster.cache import REPOSITORY
from tests.cluster.choice import choose
from tests.cluster.cluster import LONGEST_FOLDER, Cluster
from tests.stage import Stage, put_digits, start

STARTS = int(os.environ.get("PODIUM_BENCH_STARTS", "10"))
PATIENCE = 180
IN_TREE = REPOSITORY / ".cluster-bench"
# A cluster keeps sockets in its folder, whose paths are bounded: a checkout that lies deep cannot hold one.
FOLDER = IN_TREE if len(str(IN_TREE)) <= LONGEST_FOLDER else Path(tempfile.gettempdir()) / "podium-bench"
# 2026-01-31 12:00:00.123456789 +0000 UTC k8s.io /tasks/exit {"container_id":"..."}
EXIT = re.compile(r'^(\S+ \d+:\d+:\d+)(\.\d+)? \+0000 UTC \S+ /tasks/exit .*"container_id":"(\w+)"')


@dataclass(frozen=True)
class Start:
    """Seconds from the fetcher's end to Ready: by the pod's status, and by finer clocks where there are any."""

    coarse: float
    fine: float | None


@contextmanager
def exits(cluster: Cluster) -> Iterator[Path | None]:
    """A file that containerd's events are written to meanwhile; None on a cluster whose containerd is out of reach."""
    if type(cluster) is not Cluster:
        yield None
        return
    with tempfile.NamedTemporaryFile(prefix="podium-events-") as file:
        command = ["ctr", "--address", str(cluster.layout.socket), "--namespace", "k8s.io", "events"]
        following = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)
        try:
            yield Path(file.name)
        finally:
            following.kill()
            following.wait()


def exit_of(container: str, events: Path) -> float | None:
    """When a container's first process ended, in seconds since 1970."""
    for line in events.read_text().splitlines():
        found = EXIT.match(line)
        if found and found[3] == container:
            whole = datetime.fromisoformat(f"{found[1].replace(' ', 'T')}+00:00").timestamp()
            return whole + float(found[2] or 0)
    return None


def one_start(stage: Stage, number: int, events: Path | None) -> Start:
    """Apply a ModelDeployment, wait for its pod, take it away again."""
    name = f"start-{number}"
    since = stage.client.listed("Pod", stage.namespace)["metadata"]["resourceVersion"]
    stage.apply(s.onnx(name, "1", replicas=1))
    pod, seen = _first_ready(stage, name, since)
    stage.client.delete("ModelDeployment", stage.namespace, name)
    wait("no pod of it", lambda: not stage.client.list("Pod", stage.namespace), PATIENCE)
    fetcher = next(c for c in pod["status"]["initContainerStatuses"] if c["name"] == names.FETCH_CONTAINER)
    ready = _time(condition(pod, "Ready")["lastTransitionTime"])
    coarse = ready - _time(fetcher["state"]["terminated"]["finishedAt"])
    ended = exit_of(fetcher["containerID"].rpartition("/")[2], events) if events else None
    return Start(coarse, seen - ended if ended else None)


def _first_ready(stage: Stage, name: str, since: str) -> tuple[Object, float]:
    """The pod as it first was Ready, and when that came to be known here."""
    for event in stage.client.watch("Pod", stage.namespace, since, PATIENCE):
        pod = event["object"]
        ours = (pod["metadata"].get("labels") or {}).get(names.LABEL_MODEL) == name
        if ours and condition(pod, "Ready").get("status") == "True":
            return pod, time.time()
    raise AssertionError(f"the pod of {name} is not Ready after {PATIENCE} s: {stage.get(name).get('status')}")


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def rows(starts: list[Start]) -> list[Row]:
    """The two ways of looking at the same starts."""
    fine = [one.fine for one in starts if one.fine is not None]
    shown = [Row("fetcher's end to pod Ready", spread(fine))] if fine else []
    coarse = spread([one.coarse for one in starts], 0)
    return [*shown, Row("fetcher's end to pod Ready, by the pod's status in whole seconds", coarse)]


def figures() -> list[Row]:
    """On a cluster that is started for it, and taken down at the end."""
    try:
        cluster = start(FOLDER)
        podium.make_demo_namespace(cluster)
        put_digits(cluster)
        client = Client(cluster.kubeconfig_file)
        stage = Stage(cluster, client, podium.DEMO_NAMESPACE)
        with exits(cluster) as events:
            one_start(stage, 0, events)  # the first one finds all caches cold, and is left out
            found = [one_start(stage, number, events) for number in range(1, STARTS + 1)]
        client.close()
        return rows(found)
    finally:
        choose(FOLDER).down()


if __name__ == "__main__":
    show(figures())
