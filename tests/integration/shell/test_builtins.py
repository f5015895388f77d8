"""The built-in ModelRuntimes against a real API server: put back at once while they carry the label."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.integration.operator import ROOT
from tests.integration.proxy import Proxy
from tests.integration.shell.rig import Rig

FILE = ROOT / "charts/podium/files/runtimes.yaml"
NAME = "onnxruntime"


class Runtimes(Rig):
    """An operator that looks after the whole cluster, and its ModelRuntimes."""

    def find(self) -> dict[str, Any]:
        text = self.plane.kubectl("get", "modelruntime", NAME, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text else {}

    def patch(self, **patch: Any) -> None:
        self.plane.kubectl("patch", "modelruntime", NAME, "--type=merge", "-p", json.dumps(patch))

    def await_image(self, image: str) -> None:
        self.operator.await_true(lambda: (self.find().get("spec") or {}).get("image") == image, f"image {image}")

    def passes(self) -> float:
        return self.operator.metric("controller_runtime_reconcile_total", controller="modelruntime", result="success")


@pytest.fixture
def runtimes(plane: ControlPlane, namespace: str, tmp_path: Path, proxy: Proxy) -> Iterator[Runtimes]:
    given = {"watch_namespaces": "", "selector": f"only={namespace}", "runtimes_file": str(FILE)}
    rig = Runtimes(plane, namespace, tmp_path, proxy, **given)
    with rig.operator:
        rig.operator.await_true(lambda: bool(rig.find()), "the built-in runtime")
        yield rig
    plane.kubectl("delete", "modelruntimes", "--all")


def test_they_are_put_back_at_once_until_a_person_takes_one_over(runtimes: Runtimes) -> None:
    image = runtimes.find()["spec"]["image"]
    # When one is edited, and when it is deleted, it comes back as it was, in the same term;
    runtimes.patch(spec={"image": "somebody/else:1"})
    runtimes.await_image(image)
    runtimes.plane.kubectl("delete", "modelruntime", NAME)
    runtimes.await_image(image)
    # when its label is taken away, it is the person's: a pass has looked at it, and left it.
    runtimes.patch(metadata={"labels": {"podium.dev/builtin": None}}, spec={"image": "mine:1"})
    before = runtimes.passes()
    runtimes.patch(spec={"image": "mine:2"})
    runtimes.operator.await_true(lambda: runtimes.passes() > before, "a pass over the runtime")
    assert runtimes.find()["spec"]["image"] == "mine:2"
