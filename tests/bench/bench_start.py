"""The operator before its first object: what importing costs, and what the process takes that leads and waits.

    python -m tests.bench.bench_start

Importing is a new Python for each line, and its peak memory. The process runs against an API server without any
ModelDeployment, until it has had nothing to do for some seconds: once with a kubeconfig, for which kubernetes.aio is
loaded, and once with a ServiceAccount's token and certificate, as every pod has them; only where these two files lie is
other than in a pod.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.audit import AuditLog
from tests.bench.rig import CONTROLLERS, ROOT, Rig, rig, start_operator
from tests.bench.table import Row, show
from tests.cluster.controlplane import ControlPlane
from tests.cluster.processes import await_true
from tests.cluster.progress import ClusterError, tail

PEAK = "print(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])"
HIDDEN = "import sys; sys.modules['kubernetes'] = None; "
IMPORTS = {
    "Python alone": "pass",
    "asyncio, ssl, aiohttp": "import ssl, aiohttp",
    "pydantic": "import pydantic.main",
    "kopf without the package kubernetes": f"{HIDDEN}import kopf",
    "kopf with it, as it loads it by itself": "import kopf",
    "kubernetes.aio": "import kubernetes.aio.config",
    "Podium in a pod": "import podium.app",
    "Podium with a kubeconfig": "import podium.app, kubernetes.aio.config",
}
IN_POD = (
    "import pathlib, sys; from podium.kube import incluster; incluster.MOUNT = pathlib.Path(sys.argv.pop(1)); "
    "from podium.__main__ import main; sys.exit(main())"
)


def imports() -> Iterator[Row]:
    """Peak memory of a Python that has imported just this."""
    for what, code in IMPORTS.items():
        said = subprocess.run(
            [sys.executable, "-c", f"{code}\n{PEAK}"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        yield Row(f"imported: {what}", f"{int(said.stdout) / 1024:.1f} MB")


def processes() -> Iterator[Row]:
    """The operator at rest, before its first object."""
    with rig() as bench:
        yield Row("before the first object: with a kubeconfig", f"{bench.usage().rss:.1f} MB")
    yield Row("before the first object: as in a pod", f"{in_a_pod():.1f} MB", "under 55 MB")


def in_a_pod() -> float:
    """Peak memory of the operator with a ServiceAccount's credentials, MB."""
    with (
        tempfile.TemporaryDirectory(prefix="podium-bench-") as folder,
        ControlPlane(Path(folder), controllers=CONTROLLERS) as plane,
    ):
        plane.install_crds(ROOT / "crds")
        plane.kubectl("create", "serviceaccount", "podium-operator", "--namespace=default")
        plane.kubectl(
            "create", "clusterrolebinding", "podium", "--clusterrole=cluster-admin",
            "--serviceaccount=default:podium-operator",
        )  # fmt: skip
        mount = Path(folder) / "mount"
        mount.mkdir()
        (mount / "token").write_text(plane.kubectl("create", "token", "podium-operator", "--namespace=default"))
        (mount / "ca.crt").write_bytes(plane.ca.read_bytes())
        host, _, port = plane.url.removeprefix("https://").rpartition(":")
        log = Path(folder) / "operator.log"
        operator = start_operator(
            plane, log, program=("-c", IN_POD, str(mount)),
            KUBECONFIG="", KUBERNETES_SERVICE_HOST=host, KUBERNETES_SERVICE_PORT=port,
        )  # fmt: skip
        user = "system:serviceaccount:default:podium-operator"
        try:
            bench = Rig(plane, operator, AuditLog(plane.audit_log), user=user)
            if not await_true(lambda: "modelruntimes" in bench.writes(), 60, every=0.1):
                raise ClusterError(f"the operator does not lead after 60 s; {tail(log)}")
            asyncio.run(bench.quiet(2.0))
            return bench.usage().rss
        finally:
            operator.terminate()
            operator.wait(20)


def figures() -> Iterator[Row]:
    """All of it."""
    yield from imports()
    yield from processes()


if __name__ == "__main__":
    show([*figures()])
