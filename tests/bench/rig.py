"""A control plane, an operator beside it, and the figures of that operator. Used by the benchmarks alone."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from podium.kube.aio import AioClient
from podium.kube.connect import connect
from podium.kube.transport import Transport
from tests.bench.audit import AuditLog, Call
from tests.cluster.controlplane import APISERVER, CONTROLLER_MANAGER, ETCD, ControlPlane
from tests.cluster.processes import await_true
from tests.cluster.progress import ClusterError, tail

ROOT = Path(__file__).resolve().parents[2]
CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "endpointslice-controller",
    "disruption-controller",
    "garbage-collector-controller",
)
PARTS = (APISERVER, ETCD, CONTROLLER_MANAGER)
OPERATOR_USER = "podium-operator"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a process has used so far."""

    cpu: float
    """Seconds of CPU, user and system."""
    rss: float
    """Peak resident memory, MB."""


@dataclass
class Rig:
    """A running control plane and operator."""

    plane: ControlPlane
    operator: subprocess.Popen[bytes]
    audit: AuditLog
    flags: Sequence[str] = ()
    user: str = OPERATOR_USER

    def usage(self) -> Usage:
        """The operator's, from /proc."""
        status = Path(f"/proc/{self.operator.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return Usage(cpu_of(self.operator.pid), peak / 1024)

    def processes(self) -> dict[str, int]:
        """Process ids of those that take part in a creation, by name."""
        parts = {part: pid for part in PARTS if (pid := self.plane.processes.pid(part))}
        return parts | {"operator": self.operator.pid, "this benchmark": os.getpid()}

    def calls(self) -> list[Call]:
        """The operator's calls so far, reads included, from the API server's audit log."""
        return [call for call in self.audit.calls() if call.user == self.user]

    def writes(self) -> Counter[str]:
        """The operator's writes so far, by resource, refused ones included."""
        return Counter(call.resource for call in self.calls() if call.writes)

    async def quiet(self, seconds: float = 5.0, within: float = 600.0, but: Collection[str] = ("leases",)) -> None:
        """Return once the operator has written nothing but these for so long; TimeoutError if it does not stop.

        Events are written at 20 a second, behind all other work: they are what comes last.
        """
        async with asyncio.timeout(within):
            while True:
                last = max((c.done for c in self.calls() if c.writes and c.resource not in but), default=0.0)
                left = last + seconds - time.time()
                if left <= 0:
                    return
                await asyncio.sleep(min(max(left, 0.5), seconds))


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def start_operator(
    plane: ControlPlane,
    log: Path,
    *flags: str,
    health_port: int = 0,
    metrics_port: int = 0,
    program: Sequence[str] = ("-m", "podium"),
    **variables: str,
) -> subprocess.Popen[bytes]:
    """The operator as a process on this host; its log is appended to the file."""
    kubeconfig = str(plane.kubeconfig(OPERATOR_USER, ["system:masters"]))
    environment = {**os.environ, "KUBECONFIG": kubeconfig, **variables}
    command = [
        sys.executable,
        *os.environ.get("PODIUM_BENCH_PYTHON", "").split(),
        *program,
        "--lease-namespace=default",
        f"--runtimes-file={ROOT / 'charts/podium/files/runtimes.yaml'}",
        f"--health-port={health_port}",
        f"--metrics-port={metrics_port}",
        "--log-level=warning",
        *flags,
    ]
    with log.open("ab") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)


@contextmanager
def rig(*flags: str, metrics_port: int = 0) -> Iterator[Rig]:
    """Start both, wait until the operator leads and has nothing left to do, and end both."""
    with (
        tempfile.TemporaryDirectory(prefix="podium-bench-") as folder,
        ControlPlane(Path(folder), controllers=CONTROLLERS) as plane,
    ):
        plane.install_crds(ROOT / "crds")
        log = Path(folder) / "operator.log"
        operator = start_operator(plane, log, *flags, metrics_port=metrics_port)
        try:
            bench = Rig(plane, operator, AuditLog(plane.audit_log), flags)
            if not await_true(lambda: "modelruntimes" in bench.writes(), 60, every=0.1):
                raise ClusterError(f"the operator does not lead after 60 s; {tail(log)}")
            asyncio.run(bench.quiet(2.0))
            yield bench
        finally:
            operator.terminate()
            operator.wait(20)
            text = log.read_text()
            if text:
                print("operator's warnings:", text[-3000:], file=sys.stderr)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


async def client(plane: ControlPlane, user: str = "bench") -> tuple[AioClient, Transport]:
    """A client of the benchmark's own; close the transport at the end."""
    with environment(KUBECONFIG=str(plane.kubeconfig(user, ["system:masters"]))):
        transport = Transport(await connect("podium-bench"))
    return AioClient(transport, fence=lambda: None, write_timeout=30.0), transport
