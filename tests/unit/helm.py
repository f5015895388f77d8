"""What `helm template` makes of the chart."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster import binaries

CHART: Final = Path("charts/podium")
NAMESPACE: Final = "podium-system"


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs helm, whatever comes of it."""
    return subprocess.run([binaries.helm(), *arguments], capture_output=True, text=True, check=False)


@cache
def render(*values: str) -> list[dict[str, Any]]:
    """The chart's objects with `values`, each as `name=value` in the manner of --set."""
    sets = [part for value in values for part in ("--set", value)]
    result = helm("template", "podium", CHART, "--namespace", NAMESPACE, *sets)
    assert result.returncode == 0, result.stderr
    return [document for document in yaml.safe_load_all(result.stdout) if document]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those of one kind."""
    return [item for item in objects if item["kind"] == kind]


def refused(*values: str) -> str:
    """What helm says of values that it refuses."""
    sets = [part for value in values for part in ("--set", value)]
    result = helm("template", "podium", CHART, *sets)
    assert result.returncode != 0, f"{values} were taken"
    return result.stderr
