"""The local cluster itself: it works, it leaves nothing behind, it recovers from a broken start, and it is not alone.

These clusters live in folders of their own and run beside whatever else runs on the host.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.store import S3Store

from tests.client import session
from tests.cluster import slot
from tests.cluster.cache import REPOSITORY
from tests.cluster.cluster import Cluster
from tests.cluster.foreign import borrowed
from tests.cluster.node import PARTS
from tests.cluster.processes import await_true, marked
from tests.cluster.progress import ClusterError, run

pytestmark = pytest.mark.skipif(borrowed(), reason="the current context is used: no cluster of our own is started")

# The operator's image has a Python to ask with; that it is the operator's does not matter here.
IMAGE = "localhost/podium/operator:dev"
WEB = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - name: web
        image: {IMAGE}
        command: [python, -m, http.server, "8080", --directory, /etc/ssl]
        readinessProbe: {{httpGet: {{port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own: its path would be too long for the sockets below.
    path = Path(tempfile.mkdtemp(prefix="podium-"))
    yield path
    Cluster(path).down()
    shutil.rmtree(path)


def serve(cluster: Cluster) -> str:
    """Brings two web servers up; returns their Service's address."""
    cluster.load(cluster.build_images(["operator"]))
    cluster.kubectl("apply", "-f", "-", stdin=WEB)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    return cluster.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")


def answers(address: str) -> bool:
    try:
        with session() as asking:
            return asking.get(f"http://{address}/", timeout=2).status_code == 200
    except OSError:
        return False


def traces(folder: Path, taken: slot.Slot, sockets: list[Path]) -> dict[str, list[str]]:
    """All that the cluster of `folder` has on the host, by kind; what belongs to others is not counted."""
    named = [pid.name for pid in Path("/proc").glob("[0-9]*") if mentions(pid, folder)]
    links = json.loads(run(["ip", "-json", "link", "show"]))
    routes = run(["ip", "-4", "route", "show"]).splitlines()
    log_links = Path("/var/log/containers")
    results = Path("/var/lib/cni")
    return {
        "processes": sorted({*named, *map(str, marked(f"cluster {folder}"))}),
        "mounts": slot.mounts_below(folder),
        "devices": [link["ifname"] for link in links if link["ifname"] == taken.name],
        "routes": [route for route in routes if taken.name in route.split()],
        "namespaces": [str(taken.namespace)] * taken.namespace.exists(),
        "cgroups": [str(group / taken.name) for group in slot.hierarchies() if (group / taken.name).exists()],
        "registry": [str(slot.REGISTRY / str(taken.number))] * (slot.find(folder) is not None),
        "sockets": [str(socket) for socket in sockets if socket.exists()],
        "log links": [link.name for link in (log_links.iterdir() if log_links.exists() else [])
                      if link.is_symlink() and link.readlink().is_relative_to(folder)],
        "network results": [str(path) for path in results.glob(f"*/{taken.name}-*")],
        "files": [name for name in ("state", "pid", "store", "kubeconfig", "store.json") if (folder / name).exists()],
    }  # fmt: skip


def mentions(process: Path, folder: Path) -> bool:
    try:
        return f"{folder}/".encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


def host_chains() -> list[str]:
    """The names of the chains in the host's own tables."""
    return [line.split()[0] for line in run(["iptables-save"]).splitlines() if line.startswith(":")]


def test_a_cluster_serves_pods_names_logs_commands_metrics_and_models_and_leaves_nothing(folder: Path) -> None:
    chains = host_chains()
    cluster = Cluster(folder)
    cluster.up()
    address = serve(cluster)

    assert await_true(lambda: answers(address), 60, every=0.2), "a ClusterIP answers the host"
    ask = "import socket, urllib.request as u; print(socket.gethostbyname('web.default.svc.cluster.local'),"
    ask += " u.urlopen('http://web/', timeout=5).status, u.urlopen(f'{endpoint}/health', timeout=5).status)"
    ask = ask.replace("f'{endpoint}", f"'{cluster.store.endpoint}")
    assert cluster.kubectl("exec", "deployment/web", "--", "python", "-c", ask).split() == [address, "200", "200"]
    assert "GET / HTTP" in cluster.kubectl("logs", "--selector=app=web", "--tail=-1")
    assert await_true(lambda: measured(cluster), 180, every=1), "the metrics API knows the pods"

    model = folder / "model.onnx"
    model.write_bytes(b"a model")
    assert cluster.store.put(model, "s3://models/mine/") == ["s3://models/mine/model.onnx"]
    assert fetched(cluster, "mine/model.onnx") == b"a model"

    taken, sockets = cluster.slot, cluster.shim_sockets()
    before = traces(folder, taken, sockets)
    # Otherwise their absence afterwards would say nothing (where network results are kept depends on a version).
    assert all(found for kind, found in before.items() if kind != "network results"), before
    cluster.down()
    assert {kind: found for kind, found in traces(folder, taken, sockets).items() if found} == {}
    assert host_chains() == chains


def measured(cluster: Cluster) -> bool:
    try:
        return len(cluster.kubectl("top", "pods", "--no-headers").splitlines()) == 2
    except ClusterError:
        return False


def fetched(cluster: Cluster, key: str) -> bytes:
    store = cluster.store
    client = S3Store(
        store.bucket, endpoint=store.endpoint, region=store.region, access_key_id=store.access_key,
        secret_access_key=store.secret_key, client_options={"allow_http": True},
    )  # fmt: skip
    return bytes(client.get(key).bytes())


@pytest.mark.parametrize("part", ["etcd", "kubelet"])
def test_a_start_that_was_killed_half_way_is_cleaned_by_the_next(folder: Path, part: str) -> None:
    command = [sys.executable, "-m", "tests.cluster", "up", "--bare", f"--folder={folder}"]
    start = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert await_true(lambda: (folder / "pid" / part).exists(), 120), f"the start got as far as {part}"
    os.kill(start.pid, signal.SIGKILL)
    start.wait()
    cluster = Cluster(folder)
    assert not cluster.running()
    left = set(marked(f"cluster {folder}"))
    assert left, "something is there to be cleaned"

    cluster.up()

    assert cluster.running()
    assert "podium" in cluster.kubectl("get", "nodes", "--no-headers")
    assert left.isdisjoint(marked(f"cluster {folder}")), "no process of the first start lives on"
    taken = cluster.slot
    cluster.down()
    assert {kind: found for kind, found in traces(folder, taken, []).items() if found} == {}


def test_a_cluster_of_which_a_part_died_is_made_anew(folder: Path) -> None:
    cluster = Cluster(folder)
    cluster.up()
    cluster.processes.kill("etcd")
    assert not cluster.running()
    cluster.up()
    assert set(cluster.processes.names()) == set(PARTS)
    assert "podium" in cluster.kubectl("get", "nodes", "--no-headers")


def test_two_clusters_on_one_host_do_not_meet(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="podium-") as other:
        first, second = Cluster(folder), Cluster(Path(other))
        try:
            first.up()
            first_web = serve(first)
            second.up()
            second_web = serve(second)

            assert await_true(lambda: answers(first_web), 60)
            assert await_true(lambda: answers(second_web), 60)
            assert first.slot.number != second.slot.number
            for cluster in (first, second):
                assert len(pods(cluster)) == 2, "each kubelet kept its own pods, and only those"
            second.down()
            assert answers(first_web)
            assert all(pod["status"]["containerStatuses"][0]["restartCount"] == 0 for pod in pods(first))
        finally:
            second.down()


def pods(cluster: Cluster) -> list[dict[str, dict[str, list[dict[str, int]]]]]:
    found: list[dict[str, dict[str, list[dict[str, int]]]]] = json.loads(
        cluster.kubectl("get", "pods", "-o", "json", "--field-selector=status.phase=Running")
    )["items"]
    return found
