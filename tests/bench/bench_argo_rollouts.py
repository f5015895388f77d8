"""Side by side with Argo Rollouts, in one run on one machine: as many of each, created and updated, without pods.

    PODIUM_BENCH_COUNT=1000 python -m tests.bench.bench_argo_rollouts

Argo Rollouts' controller is compiled from its own module, once, by the Go that it asks for; it runs as a process on
this host, as the operator does, with its client's limits out of the way and as many workers as the operator has. A
Rollout makes one child (a ReplicaSet), a ModelDeployment three (a ControllerRevision, a Deployment, which makes the
ReplicaSet, and a Service). A Rollout needs a Service, too, which its author makes: it is measured without one and with
one, since most of the time is the API server's, which makes Services one by one. Time goes from the first object until
each is Healthy, or Ready, at its generation. Compiling takes some five minutes of CPU, once.
"""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from podium.kube.resources import SERVICES, Resource
from podium.kube.transport import Transport
from podium.settings import Settings
from tests.bench import bench_operator
from tests.bench.bench_operator import COUNT, PARALLEL
from tests.bench.rig import CONTROLLERS, client, cpu_of, rig
from tests.bench.table import Row, show
from tests.cluster import binaries
from tests.cluster.cache import cached, digest, log_file
from tests.cluster.controlplane import ControlPlane
from tests.cluster.progress import ClusterError, run, step, tail

MODULE, VERSION = "github.com/argoproj/argo-rollouts", "v1.10.2"
SUM = "h1:sEPWsY+HUvnXj3Vh0ejb+GDTceQ/palqhFo2FVQJMk0="
"""Of the module, as go.sum would have it; its own go.sum, which is part of it, holds those of all others."""
LEAST_GO = (1, 26, 10)
ROLLOUTS = Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout")
IMAGE = "localhost/podium/serving:dev"


@dataclass(frozen=True)
class Round:
    """One round over all objects: seconds until all are done, and CPU seconds until then."""

    seconds: float
    cpu: float


def controller() -> Path:
    """The folder with Argo Rollouts' controller and its CRDs."""

    def make(folder: Path) -> None:
        log, go = log_file("compile-argo-rollouts"), binaries._go(LEAST_GO)
        environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
        with tempfile.TemporaryDirectory() as scratch, step("Compiling Argo Rollouts", "8 min", log):
            said = run([go, "mod", "download", "-json", f"{MODULE}@{VERSION}"], cwd=Path(scratch), env=environment)
            module = json.loads(said)
            if module["Sum"] != SUM:
                raise ClusterError(f"{MODULE}@{VERSION} has the sum {module['Sum']}, not {SUM}")
            # As its main module: it replaces modules of its own, which a go.mod of ours would have to repeat.
            source = Path(scratch) / "source"
            shutil.copytree(module["Dir"], source, copy_function=shutil.copyfile)
            command = ["nice", go, "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", folder / "rollouts"]
            run([*command, "./cmd/rollouts-controller"], log, cwd=source, env=environment)
            shutil.copytree(source / "manifests" / "crds", folder / "crds")
            (folder / "crds" / "kustomization.yaml").unlink()

    return cached("argo-rollouts", digest([], VERSION, SUM), make)


def rollout(index: int, version: int) -> dict[str, Any]:
    """One Rollout without pods, of a version."""
    labels = {"app": f"m{index:04d}"}
    container = {"name": "model", "image": IMAGE, "env": [{"name": "VERSION", "value": str(version)}]}
    return {
        "apiVersion": ROLLOUTS.api_version,
        "kind": ROLLOUTS.kind,
        "metadata": {"name": f"m{index:04d}", "namespace": "default"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            "strategy": {"canary": {}},
        },
    }


def service(index: int) -> dict[str, Any]:
    """What its author makes beside a Rollout."""
    name = f"m{index:04d}"
    return {
        "apiVersion": SERVICES.api_version,
        "kind": SERVICES.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


async def for_all(work: Callable[[int], Awaitable[object]]) -> None:
    """Some at a time."""
    gate = asyncio.Semaphore(PARALLEL)

    async def one(index: int) -> None:
        async with gate:
            await work(index)

    await asyncio.gather(*(one(index) for index in range(COUNT)))


async def apply(transport: Transport, resource: Resource, obj: dict[str, Any]) -> None:
    """Server-side apply."""
    body = aiohttp.BytesPayload(json.dumps(obj).encode(), content_type="application/apply-patch+yaml")
    path = resource.path("default", obj["metadata"]["name"])
    query = {"fieldManager": "bench", "force": "true"}
    await transport.request("PATCH", path, within=60, verb="patch", query=query, body=body)


async def measure(plane: ControlPlane, pid: int, version: int, *, services: bool) -> Round:
    """Apply one version of all, and wait until each is Healthy at it."""
    _, transport = await client(plane)

    async def one(index: int) -> None:
        if services:
            await apply(transport, SERVICES, service(index))
        await apply(transport, ROLLOUTS, rollout(index, version))

    before, begun = cpu_of(pid), time.monotonic()
    try:
        await for_all(one)
        names = [rollout(index, version)["metadata"]["name"] for index in range(COUNT)]
        while names:
            found = await transport.request("GET", ROLLOUTS.path("default", names[-1]), within=60)
            if healthy(found):
                names.pop()
            else:
                await asyncio.sleep(0.1)
    finally:
        await transport.close()
    return Round(time.monotonic() - begun, cpu_of(pid) - before)


def healthy(obj: dict[str, Any]) -> bool:
    """Whether its controller has seen this generation, and all of it is the stable one."""
    status = obj.get("status") or {}
    current = status.get("observedGeneration") == str(obj["metadata"]["generation"])
    return bool(current and status.get("phase") == "Healthy" and status.get("stableRS") == status.get("currentPodHash"))


def peak(pid: int) -> float:
    """Peak resident memory of a process, MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def argo(*, services: bool) -> Iterator[Row]:
    """Argo Rollouts' figures, on a control plane of its own."""
    program, what = controller(), "Argo Rollouts with Services" if services else "Argo Rollouts"
    with (
        tempfile.TemporaryDirectory(prefix="podium-bench-") as folder,
        ControlPlane(Path(folder), controllers=CONTROLLERS) as plane,
    ):
        plane.install_crds(program / "crds")
        log = Path(folder) / "rollouts.log"
        command: list[str | Path] = [
            program / "rollouts", "--kubeconfig", plane.kubeconfig("argo-rollouts", ["system:masters"]),
            "--leader-elect=false", "--qps=10000", "--burst=20000", f"--rollout-threads={Settings.workers}",
            "--loglevel=error", "--healthzPort=0", "--metricsPort=0",
        ]  # fmt: skip
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            for done, version in (("created", 1), ("updated", 2)):
                found = asyncio.run(measure(plane, process.pid, version, services=services and version == 1))
                yield Row(f"{what}, {COUNT} {done}: until all are Healthy", f"{found.seconds:.1f} s")
                yield Row(f"{what}, {COUNT} {done}: CPU", f"{found.cpu:.1f} s")
            yield Row(f"{what}: peak memory", f"{peak(process.pid):.0f} MB")
        except Exception as error:
            raise ClusterError(f"{error!r}; {tail(log)}") from error
        finally:
            process.terminate()
            process.wait(20)


def figures() -> Iterator[Row]:
    """One after the other."""
    controller()
    with rig() as bench:
        yield from (Row(f"Podium, {row.what}", row.figure, row.aim) for row in bench_operator.create(bench))
        yield from (Row(f"Podium, {row.what}", row.figure, row.aim) for row in bench_operator.update(bench))
    yield from argo(services=False)
    yield from argo(services=True)


if __name__ == "__main__":
    show([*figures()])
