"""What pages offer for copying is what an API server takes, field by field: NetworkPolicies, and all of gitops.md."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.integration.operator import ROOT

KIND = "NetworkPolicy"


GITOPS = ROOT / "docs" / "gitops.md"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def objects(page: Path) -> Iterator[dict[str, Any]]:
    """Those in a page's blocks of YAML."""
    for block in re.findall(r"^```ya?ml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        if re.search(r"^kind: ", block, re.MULTILINE):
            yield from (obj for obj in yaml.safe_load_all(block) if obj)


def offered() -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, the object) of each NetworkPolicy of some page."""
    for page in pages():
        for obj in objects(page):
            if obj["kind"] == KIND:
                yield f"{page.relative_to(ROOT)}: {obj['metadata']['name']}", obj


POLICIES = dict(offered())
BY_GIT = {f"{obj['kind']} {obj['metadata']['name']}": obj for obj in objects(GITOPS)}


@pytest.fixture(scope="module")
def gitops(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> ControlPlane:
    """With the kinds of Argo CD and Flux, and the namespaces that the page names."""
    folder = tmp_path_factory.mktemp("crds")
    for file in (*binaries.argocd().parent.glob("*-crd.yaml"), *binaries.flux_crds().glob("*.yaml")):
        shutil.copy(file, folder)
    plane.install_crds(folder)
    for name in {obj["metadata"].get("namespace") for obj in BY_GIT.values()} - {None}:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        plane.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(namespace))
    return plane


def test_none_stands_on_a_page_outside_of_such_a_block() -> None:
    written = sum(len(re.findall(rf"kind: {KIND}\b", page.read_text())) for page in pages())

    assert len(POLICIES) == written > 0


@pytest.mark.parametrize("place", POLICIES)
def test_the_api_server_takes_it(place: str, plane: ControlPlane, namespace: str) -> None:
    obj = yaml.safe_dump(POLICIES[place])
    plane.kubectl("apply", "--server-side", "--validate=strict", f"--namespace={namespace}", "-f", "-", stdin=obj)


def test_all_of_the_gitops_page_is_tried() -> None:
    assert len(BY_GIT) == len(re.findall(r"^kind: ", GITOPS.read_text(), re.MULTILINE)) > 0


@pytest.mark.parametrize("name", BY_GIT)
def test_the_api_server_takes_what_the_gitops_page_offers(name: str, gitops: ControlPlane) -> None:
    obj = yaml.safe_dump(BY_GIT[name])
    gitops.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=obj)
