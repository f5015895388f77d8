"""The demo's stage, terminal, load and results together: what every act uses."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.client import Object, wait
from tests.cluster import binaries
from tests.cluster.progress import run
from tests.demo.terminal import Row, Terminal
from tests.load import Counts, Load
from tests.models.digits import Digits, draw, draw_plain
from tests.models.torchserve import TorchDigits
from tests.stage import Stage, current

PATIENCE = 150
"""Seconds after which something that should come is given up."""


@dataclass
class Show:
    """All that the acts share. `rows` becomes the closing table."""

    stage: Stage
    terminal: Terminal
    digits: Digits
    torch: TorchDigits
    rows: list[Row] = field(default_factory=list)
    loads: dict[str, Load] = field(default_factory=dict)
    """The load clients that run, by the name of their ModelDeployment."""

    @property
    def manifests(self) -> Path:
        """Where the demo leaves what it applies."""
        folder = self.stage.cluster.folder / "demo"
        folder.mkdir(exist_ok=True)
        return folder

    def held(self, what: str, measured: str, held: bool = True) -> None:
        """Notes a result, and says it."""
        self.rows.append(Row(what, measured, held))
        (self.terminal.good if held else self.terminal.bad)(f"{what}: {measured}")

    def kubectl(self, *words: str, show: bool = True) -> str:
        """Runs kubectl in the demo's namespace, and shows what it prints as a user would see it."""
        namespace = f"--namespace={self.stage.namespace}"
        said = self.stage.cluster.kubectl(namespace, *words)
        if show:
            self.terminal.command(f"kubectl -n {self.stage.namespace} {' '.join(words)}")
            self.terminal.output(said)
        return said

    def podium(self, *words: str) -> str:
        """Runs `kubectl podium`, which kubectl finds on the PATH, and shows what it prints."""
        kubeconfig = str(self.stage.cluster.kubeconfig_file)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        words = ("podium", *words, "--namespace", self.stage.namespace)
        self.terminal.command(f"kubectl {' '.join(words)}")
        said = run([binaries.kubectl(), *words], env={**os.environ, "KUBECONFIG": kubeconfig, "PATH": path})
        self.terminal.output(said)
        return said

    def apply(self, obj: Object, title: str) -> None:
        """Writes a ModelDeployment to a file and applies it with kubectl."""
        file = self.manifests / f"{title}.yaml"
        file.write_text(yaml.safe_dump(obj, sort_keys=False, width=110))
        said = self.stage.cluster.kubectl(f"--namespace={self.stage.namespace}", "apply", "-f", str(file))
        self.terminal.command(f"kubectl -n {self.stage.namespace} apply -f {file.name}")
        self.terminal.output(said)

    def follow(self, name: str, what: str, done: Callable[[Object], bool]) -> tuple[Object, float]:
        """Shows how a ModelDeployment goes on until `done`; returns it and the seconds it took."""
        began = time.monotonic()

        def look() -> Object | None:
            obj = self.stage.get(name)
            status = obj.get("status") or {}
            tail = f"   [{time.monotonic() - began:.0f} s]{self._flow(name)}"
            self.terminal.live(f"{status.get('phase', '-')}: {status.get('message', '...')}", tail)
            if current(obj) and done(obj):
                return obj
            raise AssertionError(f"{status.get('phase')}: {status.get('message')}")

        obj = wait(f"{name}: {what}", look, PATIENCE)
        return obj, time.monotonic() - began

    def _flow(self, name: str) -> str:
        load = self.loads.get(name)
        if load is None:
            return ""
        counts = load.counts()
        return f" {counts.answered:,} answers, {counts.failed} failed"

    def flow(self, name: str, load: Load) -> None:
        """Starts load on a ModelDeployment and waits until it is answered."""
        load.__enter__()
        self.loads[name] = load
        load.await_answers()

    def ebb(self, name: str) -> Counts:
        """Ends the load on a ModelDeployment."""
        return self.loads.pop(name).close()

    def since(self, name: str, before: Counts) -> Counts:
        """What the load saw since `before`, the present moment included."""
        self.loads[name].await_answers(count=20)
        return self.loads[name].counts().since(before)

    def picture(self, number: int, said: str) -> None:
        """Draws an image beside what the model said."""
        image = self.digits.images[number]
        drawing = (draw if self.terminal.colours else draw_plain)(image).splitlines()
        middle = len(drawing) // 2
        for index, line in enumerate(drawing):
            self.terminal.line(f"    {line}   {said if index == middle else ''}")


def figures(counts: Counts) -> str:
    """The load's figures in a line."""
    kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(counts.failures.items()))
    return (
        f"{counts.failed} of {counts.answered + counts.failed:,} requests failed{f' [{kinds}]' if kinds else ''} "
        f"({counts.rate:.0f}/s, p50 {counts.percentile(0.5) * 1e3:.0f} ms, p99 {counts.percentile(0.99) * 1e3:.0f} ms)"
    )
