"""NetworkPolicies that pages offer for copying are what an API server takes, field by field."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.controlplane import ControlPlane
from tests.integration.operator import ROOT

KIND = "NetworkPolicy"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def offered() -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it stands, the object) of each one in a block of YAML of some page."""
    for page in pages():
        for block in re.findall(r"^```ya?ml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            if re.search(rf"^kind: {KIND}$", block, re.MULTILINE):
                for obj in yaml.safe_load_all(block):
                    if obj and obj["kind"] == KIND:
                        yield f"{page.relative_to(ROOT)}: {obj['metadata']['name']}", obj


POLICIES = dict(offered())


def test_none_stands_on_a_page_outside_of_such_a_block() -> None:
    written = sum(len(re.findall(rf"kind: {KIND}\b", page.read_text())) for page in pages())

    assert len(POLICIES) == written > 0


@pytest.mark.parametrize("place", POLICIES)
def test_the_api_server_takes_it(place: str, plane: ControlPlane, namespace: str) -> None:
    obj = yaml.safe_dump(POLICIES[place])
    plane.kubectl("apply", "--server-side", "--validate=strict", f"--namespace={namespace}", "-f", "-", stdin=obj)
