"""What pages offer for copying is what an API server takes, field by field, and what the chart takes.

Every object on a page, and the chart's values on install.md.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import binaries
from tests.cluster.controlplane import ControlPlane
from tests.cluster.progress import run
from tests.integration.operator import ROOT

GITOPS = ROOT / "docs" / "gitops.md"
INSTALL = ROOT / "docs" / "install.md"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def objects(page: Path) -> Iterator[dict[str, Any]]:
    """Those in a page's blocks of YAML that are whole."""
    for block in re.findall(r"^```ya?ml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        if re.search(r"^apiVersion: ", block, re.MULTILINE):
            yield from (obj for obj in yaml.safe_load_all(block) if obj)


def offered() -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, the object) of each object on a page, but for gitops.md, whose kinds are others'."""
    for page in pages():
        for obj in objects(page) if page != GITOPS else ():
            yield f"{page.relative_to(ROOT)}: {obj['kind']} {obj['metadata']['name']}", obj


def values(page: Path) -> Iterator[dict[str, Any]]:
    """The chart's values on a page: its other blocks of YAML."""
    for block in re.findall(r"^```ya?ml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        if not re.search(r"^kind: ", block, re.MULTILINE):
            yield yaml.safe_load(block)


OFFERED = dict(offered())
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
    texts = [page.read_text() for page in pages() if page != GITOPS]

    assert len(OFFERED) == sum(len(re.findall(r"^apiVersion: ", text, re.MULTILINE)) for text in texts) > 0


@pytest.mark.parametrize("place", OFFERED)
def test_the_api_server_takes_it(place: str, plane: ControlPlane, namespace: str) -> None:
    obj = OFFERED[place]
    obj["metadata"].pop("namespace", None)
    text = yaml.safe_dump(obj)
    plane.kubectl("apply", "--server-side", "--validate=strict", f"--namespace={namespace}", "-f", "-", stdin=text)


@pytest.mark.parametrize("given", [*values(INSTALL)], ids=lambda given: ",".join(given))
def test_the_chart_takes_the_values_that_the_install_page_offers_and_so_does_the_api_server(
    given: dict[str, Any], plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(given))
    chart = (binaries.helm(), "template", "podium", ROOT / "charts" / "podium", "--namespace", namespace)

    made = [one for one in yaml.safe_load_all(run([*chart, "--values", file])) if one]

    assert made != [one for one in yaml.safe_load_all(run(chart)) if one]
    # With `watchNamespaces` there are Roles in namespaces that are somebody's own.
    for one in {one["metadata"].get("namespace") for one in made} - {None, namespace}:
        plane.kubectl("create", "namespace", one)
    plane.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all(made))


def test_all_of_the_gitops_page_is_tried() -> None:
    assert len(BY_GIT) == len(re.findall(r"^kind: ", GITOPS.read_text(), re.MULTILINE)) > 0


@pytest.mark.parametrize("name", BY_GIT)
def test_the_api_server_takes_what_the_gitops_page_offers(name: str, gitops: ControlPlane) -> None:
    obj = yaml.safe_dump(BY_GIT[name])
    gitops.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=obj)
