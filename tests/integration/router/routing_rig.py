"""A router as its pod runs it, an Envoy and an agent, against a real API server; pods are servers of the test's own.

Only what a kubelet and the controllers would do is done here: the EndpointSlices, and the ServiceAccount's files.
"""

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from podium.manifests.owner import Owner, owner_reference
from podium.manifests.router import ENVOY, RouterPods, router_objects
from podium.router.agent import CONFIG_MAPS, SLICES
from podium.router.places import BOOTSTRAP, FOLDER, MEMORY, PORT, READY_PORT, STATS_PORT
from podium.router.routing import Routing
from podium.router.state import KEY, SERVICE_LABEL, SUFFIX
from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import await_true
from tests.cluster.progress import ClusterError, tail

_addresses = itertools.count(2)
SECONDS, POLL = 30.0, 0.02
CALLERS = 4
POD = RouterPods(concurrency=1, drain_seconds=2)


def _own_address() -> str:
    """Of this host, IPv4: EndpointSlices take no loopback addresses. What is sent there does not leave the host."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # of a datagram socket: it sends nothing, and the route tells the address
        return str(probe.getsockname()[0])


HERE = _own_address()
NOBODY = f"{HERE}:1"
"""An address where nothing listens: a pod that is listed and dead."""


def revision_name(number: int, model: str = "fraud") -> str:
    """As the operator names revisions: a router takes no others."""
    return f"{model}-" + f"{number:010d}".translate(str.maketrans("0123456789", "bcdfghjklm"))


OLD, NEW = revision_name(0), revision_name(1)


class Pod:
    """A model server that says which revision it is, and what it was sent."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        self.asked = 0
        self.delay = 0.0
        self.address = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HERE, 0)
        await site.start()
        self.address = f"{HERE}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        body = await request.read()
        await asyncio.sleep(self.delay)
        said = {
            "revision": self.revision,
            "headers": dict(request.headers),
            "bytes": len(body),
            "path": request.path_qs,
        }
        return web.json_response(said, headers={"x-podium-revision": "spoofed"})


def name_of(model: str) -> str:
    """The ConfigMap that tells the routers of a ModelDeployment."""
    return f"{model}{SUFFIX}"


def grant(plane: ControlPlane, namespace: str) -> None:
    """What the chart gives to podium-router: to read these two kinds in its namespace."""
    kubectl, at = plane.kubectl, f"--namespace={namespace}"
    kubectl("create", "serviceaccount", "podium-router", at)
    kubectl("create", "role", "podium-router", at, "--verb=get,list,watch", "--resource=configmaps,endpointslices")
    kubectl("create", "rolebinding", "podium-router", at, "--role=podium-router",
            f"--serviceaccount={namespace}:podium-router")  # fmt: skip

    def may(kind: str) -> bool:
        try:
            kubectl("auth", "can-i", "list", kind, at, f"--as=system:serviceaccount:{namespace}:podium-router")
        except ClusterError:
            return False
        return True

    # The API server takes roles from a watch of its own, and a router's init container asks once.
    for kind in ("configmaps", "endpointslices.discovery.k8s.io"):
        assert await_true(partial(may, kind), SECONDS), kind


class Router:
    """One router of a namespace.

    What writes to the API server blocks its caller for as long as kubectl takes: under load it belongs into a thread.
    """

    def __init__(
        self, plane: ControlPlane, namespace: str, folder: Path, address: str = "", *, package: Path | None = None
    ) -> None:
        """`address`: where its listeners bind, by default a loopback address of its own.

        `package`: the folder, or the folder in a ZIP archive, of another `podium` whose agent it runs.
        """
        self.plane, self.namespace, self.folder = plane, namespace, folder
        self._package = package
        self.address = address or f"127.0.1.{next(_addresses)}"
        self._mount = folder / "mount"
        self._mount.mkdir(parents=True)
        self._shared = folder / "shared"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._slices: dict[tuple[str, str], int] = {}
        token = plane.kubectl("create", "token", "podium-router", f"--namespace={namespace}")
        (self._mount / "token").write_text(token)
        (self._mount / "ca.crt").write_bytes(plane.ca.read_bytes())

    def url(self, port: int) -> str:
        """Of a listener."""
        return f"http://{f'[{self.address}]' if ':' in self.address else self.address}:{port}"

    def prepare(self) -> None:
        """The init container."""
        subprocess.run(self._agent("--once"), env=self._environment(), check=True, timeout=SECONDS, capture_output=True)

    async def run(self) -> None:
        """All of it, until it is Ready."""
        self.prepare()
        self.start("envoy")
        self.start("agent")
        await self.until(self.ready)

    def start(self, part: str) -> None:
        """`agent` or `envoy`."""
        command = {"agent": self._agent, "envoy": self._envoy}[part]()
        with self.log(part).open("ab") as output:
            self._processes[part] = subprocess.Popen(
                command, env=self._environment(), stdout=output, stderr=subprocess.STDOUT
            )

    def process(self, part: str) -> int:
        """Its id."""
        return self._processes[part].pid

    def terminate(self, part: str) -> None:
        """SIGTERM, as the kubelet sends it."""
        self._processes[part].terminate()

    async def leave(self, seconds: float = 60.0) -> None:
        """What the kubelet does to a pod that goes: SIGTERM for the agent, and for Envoy after its preStop hook."""
        hook = await asyncio.create_subprocess_exec(*self._agent(f"--leave={seconds}"), env=self._environment())
        self.terminate("agent")
        assert await hook.wait() == 0
        self.terminate("envoy")
        for part in ("envoy", "agent"):
            assert await asyncio.to_thread(self._processes.pop(part).wait, SECONDS) == 0, tail(self.log(part))

    def kill(self, part: str) -> None:
        """SIGKILL, and its end."""
        process = self._processes.pop(part)
        process.kill()
        process.wait(SECONDS)

    def close(self) -> None:
        """All that runs."""
        for part in list(self._processes):
            self.kill(part)

    def bootstrap(self) -> dict[str, Any]:
        """What its Envoy was started with."""
        found: dict[str, Any] = json.loads((self._shared / BOOTSTRAP).read_text())
        return found

    def log(self, part: str) -> Path:
        """What it printed."""
        return self.folder / f"{part}.log"

    def _envoy(self) -> list[str]:
        """The pod's own command, with this router's folder."""
        (template,) = (each["spec"]["template"] for each in router_objects(self.namespace, POD, replicas=1)
                       if each["kind"] == "Deployment")  # fmt: skip
        (words,) = (each["command"] for each in template["spec"]["containers"] if each["name"] == ENVOY)
        return [str(binaries.envoy()), *(word.replace(FOLDER, str(self._shared)) for word in words[1:])]

    def agent_file(self) -> str:
        """Where the code of its agent is."""
        asked = "import podium.router.routing as found; print(found.__file__)"
        words = [sys.executable, "-c", asked]
        return subprocess.run(words, env=self._environment(), check=True, capture_output=True, text=True).stdout.strip()

    def _agent(self, *words: str) -> list[str]:
        module = [sys.executable, "-m", "podium.router.agent", *words]
        return [*module, f"--folder={self._shared}", f"--namespace={self.namespace}", f"--address={self.address}",
                f"--mount={self._mount}"]  # fmt: skip

    def _environment(self) -> Mapping[str, str]:
        host, _, port = self.plane.url.removeprefix("https://").rpartition(":")
        server = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, MEMORY: str(POD.memory_limit())}
        return os.environ | server | ({"PYTHONPATH": str(self._package)} if self._package else {})

    def ask_for(self, routing: Routing) -> None:
        """The operator's ConfigMap."""
        self.config_map(name_of(routing.model), routing.to_json())

    def config_map(self, name: str, text: str, *, owned: bool = True) -> None:
        """A ConfigMap of the routers, with any text; `owned`: by whom the operator says."""
        owner = Owner(name.removesuffix(SUFFIX), self.namespace, name)
        self._apply("v1", "ConfigMap", name, CONFIG_MAPS, owner if owned else None, data={KEY: text})

    def delete_config_map(self, name: str) -> None:
        """The ModelDeployment is gone, or has another router."""
        self.plane.kubectl("delete", "configmap", name, f"--namespace={self.namespace}")

    def pods(self, revision: str, *addresses: str, port: str = "http") -> None:
        """The revision's EndpointSlices: one for each address, since the pods of a test differ in their ports."""
        before = self._slices.get((revision, port), 0)
        self._slices[revision, port] = len(addresses)
        for number in range(max(before, len(addresses))):
            found = addresses[number : number + 1]
            endpoints = [{"addresses": [each.rpartition(":")[0]], "conditions": {"ready": True}} for each in found]
            ports = [{"name": port, "port": int(each.rpartition(":")[2]), "protocol": "TCP"} for each in found]
            self._apply(
                "discovery.k8s.io/v1", "EndpointSlice", f"{revision}-{port}-{number}",
                f"{SLICES},{SERVICE_LABEL}={revision}",
                addressType="IPv4", endpoints=endpoints, ports=ports,
            )  # fmt: skip

    def _apply(
        self, version: str, kind: str, name: str, labels: str, owner: Owner | None = None, **fields: Any
    ) -> None:
        metadata: dict[str, Any] = {"name": name, "labels": dict(each.split("=") for each in labels.split(","))}
        if owner:
            metadata["ownerReferences"] = [owner_reference(owner)]
        obj = {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}
        self.plane.kubectl("apply", "--server-side", f"--namespace={self.namespace}", "-f", "-", stdin=json.dumps(obj))

    async def ready(self) -> bool:
        """What the kubelet would see."""
        return await self.listens(READY_PORT)

    async def lives(self) -> bool:
        """Envoy runs, with or without anything loaded."""
        return await self.listens(STATS_PORT)

    async def listens(self, port: int) -> bool:
        """Whether anything answers there; AssertionError for an answer that is none of a listener's."""
        try:
            async with aiohttp.ClientSession() as http, http.get(f"{self.url(port)}/ready") as answer:
                assert answer.status == 200, await answer.text()
                return True
        except aiohttp.ClientError:
            return False

    async def said(self) -> dict[str, Any]:
        """What the agent tells the operator; nothing while it cannot be asked."""
        try:
            async with aiohttp.ClientSession() as http, http.get(f"{self.url(PORT)}/applied") as answer:
                found: dict[str, Any] = await answer.json()
                return found
        except aiohttp.ClientError:
            return {"applied": {}, "refused": {}, "problem": "cannot be asked"}

    async def until_applied(self, routing: Routing, seconds: float = SECONDS) -> None:
        """Until the agent says that Envoy has it."""

        async def applied() -> bool:
            return (await self.said())["applied"].get(name_of(routing.model)) == routing.to_json()

        await self.until(applied, seconds)

    async def until(self, holds: Callable[[], Any], seconds: float = SECONDS) -> None:
        """Until an answer is true; AssertionError with the logs' ends."""
        for _ in range(int(seconds / POLL)):
            if await holds():
                return
            await asyncio.sleep(POLL)
        logs = "".join(f"\n{part}: {tail(self.log(part))}" for part in self._processes)
        raise AssertionError(f"{await self.said()}{logs}")


@asynccontextmanager
async def load(
    router: Router, port: int, *, instead: Callable[[int], str] | None = None
) -> AsyncIterator[Counter[str]]:
    """Callers that ask without a pause, on kept connections and without retries: how often which answer came.

    By the revision that answered, or by what failed. Who is told to close its connection ("closed") goes to the URL
    that `instead` gives for the port, as it would by a Service that lists the router no more.
    """
    seen: Counter[str] = Counter()
    done = asyncio.Event()

    async def caller() -> None:
        url = router.url(port)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:
            while not done.is_set():
                try:
                    async with http.post(f"{url}/v2/models/m/infer", data=b"{}") as answer:
                        seen[await _told(answer)] += 1
                    if instead is not None and answer.headers.get("connection") == "close":
                        seen["closed"] += 1
                        url = instead(port)
                except aiohttp.ClientError as error:
                    seen[f"failed: {error!r}"] += 1

    callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
    try:
        yield seen
    finally:
        done.set()
        await asyncio.gather(*callers)


async def _told(answer: aiohttp.ClientResponse) -> str:
    said = await answer.json()
    if answer.status == 200 and answer.headers.get("x-podium-revision") == said["revision"]:
        return str(said["revision"])
    return f"failed: {answer.status} {said}"


def failed(seen: Counter[str]) -> dict[str, int]:
    """What was no right answer."""
    return {what: count for what, count in seen.items() if what.startswith("failed")}


async def enough(seen: Counter[str], count: int = 200) -> None:
    """So many more answers."""
    least = seen.total() + count
    for _ in range(int(SECONDS / POLL)):
        if seen.total() >= least:
            return
        await asyncio.sleep(POLL)
    raise AssertionError(f"{count} more answers did not come within {SECONDS:g} s: {seen}")
