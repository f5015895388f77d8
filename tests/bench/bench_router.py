"""What a router costs: beside the server without one and beside a bare Envoy, in one run.

    python -m tests.bench.bench_router

A real Envoy with its agent, a real API server, the onnxruntime server as a process; only pods and Services are missing.
The three ways to the server take turns, a few seconds each, so that what else the machine does falls on all of them.
Latency is of one connection; CPU is Envoy's own, of its one thread. Asserts nothing.
"""

import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path

import uvloop

from podium.router.agent import CONFIG_MAPS, SLICES
from podium.router.routing import Routing, Share
from podium.router.watching import Server, Watching
from podium.router.xds import POLL_DELAY
from tests.bench.bench_serving import Case, cases, cpu_seconds, load
from tests.bench.table import Row, percentile, show
from tests.client import Client
from tests.cluster import binaries
from tests.cluster.controlplane import APISERVER, ControlPlane
from tests.cluster.ports import reserve
from tests.cluster.progress import ClusterError
from tests.integration.router.routing_rig import HERE, NEW, OLD, Router, grant, revision_name
from tests.unit.serving.harness import serving

NAMESPACE = "bench"
PORT = 20_000
ROUNDS = 8
SECONDS = float(os.environ.get("PODIUM_BENCH_LOAD", "5")) / 2
"""Of load for one way in one round."""
FLIPS = 100
MODELS = 50
NAMESPACES = 100
ROUTERS = 2
IDLE_SECONDS = 30.0


@dataclass
class Way:
    """One way to the server: where it is asked, whose CPU that costs besides the server's, what was seen."""

    name: str
    host: str
    port: int
    process: int | None
    latencies: list[float] = field(default_factory=list)
    cpu: float = 0.0
    requests: int = 0

    def run(self, body: bytes, connections: int, seconds: float) -> list[float]:
        """Some load; latencies in seconds."""
        before = cpu_seconds(self.process) if self.process else 0.0
        found = uvloop.run(load(self.port, body, connections, seconds, host=self.host))
        self.cpu += cpu_seconds(self.process) - before if self.process else 0.0
        self.requests += len(found)
        return found


@contextmanager
def bare_envoy(server: str, folder: Path) -> Iterator[tuple[str, int, int]]:
    """An Envoy with nothing but a listener and a cluster: its host, port and process."""
    host, _, number = server.rpartition(":")
    (port,) = reserve(1)
    kind = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "server"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
        ],
    }
    endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": int(number)}}}}
    config = {
        "static_resources": {
            "listeners": [
                {
                    "name": "bare",
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "server",
                    "type": "STATIC",
                    "load_assignment": {"cluster_name": "server", "endpoints": [{"lb_endpoints": [endpoint]}]},
                }
            ],
        }
    }
    file = folder / "bare.json"
    file.write_text(json.dumps(config))
    command = [binaries.envoy(), "-c", file, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error"]
    with (folder / "bare.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield "127.0.0.1", port, process.pid
    finally:
        process.terminate()
        process.wait(20)


def resident(process: int) -> float:
    """Resident memory of a process now, MB."""
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def costs(ways: list[Way], body: bytes) -> Iterator[Row]:
    """Latencies of one connection, then CPU of a request at full load; the ways take turns."""
    for way in ways:
        way.run(body, 4, 0.5)
    for number in range(ROUNDS):
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            way.latencies += way.run(body, 1, SECONDS)
    alone = ways[0]
    for way in ways:
        half, most = percentile(way.latencies, 0.5) * 1e3, percentile(way.latencies, 0.99) * 1e3
        text = f"p50 {half:.3f} ms, p99 {most:.3f} ms"
        if way is not alone:
            added = (percentile(way.latencies, share) - percentile(alone.latencies, share) for share in (0.5, 0.99))
            text += "; added {:.3f} and {:.3f} ms".format(*(value * 1e3 for value in added))
        yield Row(f"1 connection, {way.name}", text, "added p50 <= 0.3 ms" if way is ways[-1] else "")
    for way in ways:
        way.cpu, way.requests = 0.0, 0
    rates: dict[str, float] = {}
    for number in range(ROUNDS // 2):
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:
            rates[way.name] = rates.get(way.name, 0.0) + len(way.run(body, 32, SECONDS)) / SECONDS / (ROUNDS // 2)
    for way in ways:
        own = f"{way.cpu / way.requests * 1e6:.0f} us CPU of Envoy each, " if way.process else ""
        yield Row(f"32 connections, {way.name}", f"{own}{rates[way.name]:,.0f}/s")


def flips(router: Router, api: Client, body: bytes) -> Row:
    """From the API server's answer to the operator's write to the first request that goes the new way.

    Each change comes after Envoy has asked for news of the last one, as weights that are seconds apart do.
    """

    async def watch(found: list[float]) -> None:
        reader, writer = await asyncio.open_connection(router.address, PORT)
        head = f"POST /v2/models/model/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        for number in range(FLIPS):
            wanted = (NEW, OLD)[number % 2]
            weights = {NEW: 10_000, OLD: 0} if wanted == NEW else {NEW: 0, OLD: 10_000}
            routing = Routing("fraud", PORT, tuple(Share(*each) for each in weights.items()))
            await asyncio.sleep(2 * POLL_DELAY)
            await asyncio.to_thread(api.patch, "ConfigMap", NAMESPACE, "fraud-router",
                                    {"data": {"routing.json": routing.to_json()}})  # fmt: skip
            written = time.perf_counter()
            while True:
                writer.write(head.encode() + body)
                answer = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.split(b": ", 1) for line in answer.lower().split(b"\r\n")[1:-2])
                await reader.readexactly(int(fields[b"content-length"]))
                if fields.get(b"connection") == b"close":
                    writer.close()
                    reader, writer = await asyncio.open_connection(router.address, PORT)
                if fields[b"x-podium-revision"] == wanted.encode():
                    found.append(time.perf_counter() - written)
                    break
        writer.close()

    found: list[float] = []
    asyncio.run(watch(found))
    half, most = statistics.median(found) * 1e3, max(found) * 1e3
    return Row(f"a weight from ConfigMap to effect, {FLIPS} times", f"p50 {half:.0f} ms, at most {most:.0f} ms")


def memory(router: Router) -> Iterator[Row]:
    """Of one router, with one ModelDeployment and with many."""
    for many in (False, True):
        if many:
            for number in range(1, MODELS):
                model = f"model-{number}"
                split = (Share(revision_name(1, model), 0), Share(revision_name(0, model), 10_000))
                router.ask_for(Routing(model, PORT + number, split))
            last = Routing(model, PORT + MODELS - 1, split)
            asyncio.run(router.until_applied(last))
        envoy, agent = resident(router.process("envoy")), resident(router.process("agent"))
        what = f"memory of a router with {MODELS if many else 1} ModelDeployment{'s' * many}"
        pair = ROUTERS * (envoy + agent)
        yield Row(what, f"Envoy {envoy:.0f} MB, agent {agent:.0f} MB; {ROUTERS} of them: {pair:.0f} MB")


def watches(plane: ControlPlane, folder: Path) -> Iterator[Row]:
    """What the agents of many namespaces cost the API server while nothing happens: their watches, without Envoys."""
    for number in range(NAMESPACES):
        plane.kubectl("create", "namespace", f"{NAMESPACE}-{number}")
    mount = folder / "watches"
    mount.mkdir()
    (mount / "ca.crt").write_bytes(plane.ca.read_bytes())
    plane.kubectl("create", "clusterrole", "bench-watch", "--verb=get,list,watch",
                  "--resource=configmaps,endpointslices")  # fmt: skip
    plane.kubectl("create", "clusterrolebinding", "bench-watch", "--clusterrole=bench-watch",
                  f"--serviceaccount={NAMESPACE}:podium-router")  # fmt: skip
    token = plane.kubectl("create", "token", "podium-router", f"--namespace={NAMESPACE}")
    (mount / "token").write_text(token)
    process = plane.processes.pid(APISERVER)
    assert process is not None
    before, spent = resident(process), _idle(process)
    # In a process of their own, which takes its threads with it.
    spawn = multiprocessing.get_context("spawn")
    listed = spawn.Event()
    agents = spawn.Process(target=_agents, args=(plane.url, mount, listed), daemon=True)
    agents.start()
    try:
        if not listed.wait(120):
            raise ClusterError("the watches were not all there after 120 s")
        after, grown = _idle(process), resident(process) - before
    finally:
        agents.kill()
        agents.join()
    yield Row(
        f"{2 * ROUTERS * NAMESPACES} watches of {NAMESPACES} namespaces with {ROUTERS} routers each, idle",
        f"API server: {grown:+.0f} MB, {(after - spent) * 1e3:+.1f} ms CPU a second",
    )


def _agents(url: str, mount: Path, listed: Event) -> None:
    """What the agents of all namespaces watch, until it is killed; sets `listed` once all of it is there."""
    host, _, port = url.removeprefix("https://").rpartition(":")
    os.environ.update(KUBERNETES_SERVICE_HOST=host, KUBERNETES_SERVICE_PORT=port)
    server = Server.in_pod(mount)
    made: list[Watching] = []
    for number in range(NAMESPACES):
        at = f"namespaces/{NAMESPACE}-{number}"
        kinds = ((f"/api/v1/{at}/configmaps", CONFIG_MAPS), (f"/apis/discovery.k8s.io/v1/{at}/endpointslices", SLICES))
        for path, selector in kinds * ROUTERS:
            made.append(Watching(server, path, selector, lambda: None))
            threading.Thread(target=made[-1].run, daemon=True).start()
    for each in made:
        each.listed.wait()
    listed.set()
    threading.Event().wait()


def _idle(process: int) -> float:
    """CPU seconds that it takes in a second of nothing."""
    started, before = time.monotonic(), cpu_seconds(process)
    time.sleep(IDLE_SECONDS)
    return (cpu_seconds(process) - before) / (time.monotonic() - started)


def figures() -> Iterator[Row]:
    """Latency and CPU, time to effect, memory, watches."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="podium-bench-")))
        plane = stack.enter_context(ControlPlane(folder / "plane"))
        plane.kubectl("create", "namespace", NAMESPACE)
        grant(plane, NAMESPACE)
        case: Case = cases(folder)[0]
        server = stack.enter_context(serving(case.model))
        address = f"{HERE}:{server.port}"
        bare = stack.enter_context(bare_envoy(address, folder))
        router = Router(plane, NAMESPACE, folder / "router")
        stack.callback(router.close)
        for revision in (OLD, NEW):
            router.pods(revision, address)
        router.ask_for(Routing("fraud", PORT, (Share(NEW, 500), Share(OLD, 9_500))))
        asyncio.run(router.run())
        ways = [
            Way("without a router", HERE, server.port, None),
            Way("through a bare Envoy", *bare),
            Way("through a router", router.address, PORT, router.process("envoy")),
        ]
        yield from costs(ways, case.body)
        api = Client(plane.kubeconfig())
        stack.callback(api.close)
        yield flips(router, api, case.body)
        yield from memory(router)
        yield from watches(plane, folder)


if __name__ == "__main__":
    show(list(figures()))
