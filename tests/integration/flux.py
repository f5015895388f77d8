"""What Flux does with a ModelDeployment, by the libraries of its kustomize-controller: tests/cluster/flux/main.go."""

import asyncio
import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.client import Object
from tests.cluster import binaries

KUSTOMIZATION: Final = "of-git"
LABELS: Final = ("kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace")
"""By which Flux marks what it has applied."""
EVERY: Final = "200ms"
"""How often it looks; in production every 5 s."""


class Kstatus:
    """kstatus itself: one process that answers in milliseconds. Use it as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [binaries.flux(), "kstatus"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def judge(self, obj: Object) -> str:
        """InProgress, Current, Failed or Terminating."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(obj) + "\n")
        self._process.stdin.flush()
        return str(json.loads(self._process.stdout.readline())["status"])


class Reconciliation:
    """One of a Kustomization with `wait: true`: its objects are applied, then waited for."""

    def __init__(self, process: asyncio.subprocess.Process, changes: dict[str, str]) -> None:
        self._process = process
        self.changes = changes
        """By object what applying it did: created, configured, unchanged."""

    @property
    def waits(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    async def failure(self) -> str:
        """Waits for its end; what the Kustomization's condition Ready would say, nothing if it is True."""
        _, said = await self._process.communicate()
        return said.decode().strip() if self._process.returncode else ""

    async def close(self) -> None:
        """Ends it if it still waits."""
        if self.waits:
            self._process.kill()
            await self._process.wait()


async def reconcile(kubeconfig: Path, obj: Object, seconds: float) -> Reconciliation:
    """Begins one with this timeout; returns once the object is applied. AssertionError says why it was refused."""
    process = await asyncio.create_subprocess_exec(
        *(binaries.flux(), "apply", "--kubeconfig", kubeconfig, "--name", KUSTOMIZATION),
        *("--timeout", f"{seconds}s", "--interval", EVERY),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(obj).encode())
    process.stdin.close()
    line = (await process.stdout.readline()).decode().split()
    reconciliation = Reconciliation(process, dict([line]) if line else {})
    assert line, await reconciliation.failure()
    return reconciliation
