"""docs/install.md: its commands do what it says of them, and its values are those of a whole installation."""

import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import binaries
from tests.unit.helm import helm

PAGE = Path("docs/install.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
INSTALLED = {
    re.findall(r"--values (\S+)", command)[0]: yaml.safe_load(values)
    for (_, command), (language, values) in pairwise(BLOCKS)
    if "helm install " in command and language == "yaml"
}
"""The values that stand below each `helm install`, by the name of their file."""
RBAC = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def test_each_installation_of_the_page_is_here() -> None:
    assert INSTALLED.keys() == {"values.yaml", "gold.yaml", "team.yaml"}
    assert PAGE.count("helm install ") == len(INSTALLED)


@pytest.mark.parametrize("file", INSTALLED)
def test_each_installation_says_where_its_images_are(file: str) -> None:
    assert INSTALLED[file]["image"]["registry"] == "registry.example.com"


def test_what_an_administrator_applies_is_every_RBAC_object_of_the_chart(tmp_path: Path) -> None:
    (command,) = (text for language, text in BLOCKS if language == "sh" and "rbac.create=true" in text)
    values = tmp_path / "team.yaml"
    team = INSTALLED["team.yaml"]
    values.write_text(yaml.safe_dump(team | {"rbac": team["rbac"] | {"create": False}}))
    program, *arguments = shlex.split(command.replace("\\\n", " ").replace("team.yaml", str(values)))
    assert program == "helm"

    printed = _objects(*arguments)
    everything = _objects(*arguments[: arguments.index("--show-only")])

    assert printed == [each for each in everything if each["kind"] in RBAC]
    assert {each["kind"] for each in printed} == RBAC


def test_CRDs_and_runtimes_are_written_whole_by_the_values_of_an_operator_that_leaves_them_out(tmp_path: Path) -> None:
    values = tmp_path / "team.yaml"
    values.write_text(yaml.safe_dump(INSTALLED["team.yaml"] | {"runtimes": {"registry": "mirror.example"}}))
    command = [sys.executable, "charts/install_yaml.py", "--helm", str(binaries.helm()), "--output", str(tmp_path)]
    subprocess.run([*command, "--values", str(values)], check=True, capture_output=True)

    assert len(list(yaml.safe_load_all((tmp_path / "crds.yaml").read_text()))) == 2
    runtimes = list(yaml.safe_load_all((tmp_path / "runtimes.yaml").read_text()))
    images = {each["metadata"]["name"]: each["spec"]["image"].partition("/")[0] for each in runtimes}
    assert images == {"onnxruntime": "registry.example.com", "torchserve": "mirror.example"}


def _objects(*arguments: str) -> list[dict[str, Any]]:
    result = helm(*arguments)
    assert result.returncode == 0, result.stderr
    found = [each for each in yaml.safe_load_all(result.stdout) if each]
    return sorted(found, key=lambda each: [each["kind"], *map(str, each["metadata"].values())])
