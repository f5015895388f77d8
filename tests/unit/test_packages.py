"""What pyproject.toml says that Podium needs is what it imports."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

SOURCES = {
    "operator": "operator/src", "cli": "operator/src/podium/cli", "serving": "serving-image/src", "dev": "tests",
}  # fmt: skip
TOOLS = {"editables", "hatchling", "import-linter", "mypy", "pytest-asyncio", "pytest-xdist", "ruff"}
"""Packages that are run, or that others find by themselves; the stubs named types-... are mypy's."""


def imported(folder: Path) -> Iterator[str]:
    """The outermost names of the modules that the sources below `folder` import."""
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def asked_for(extra: str) -> set[str]:
    extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    return {normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in extras[extra]}


def used_by(extra: str) -> set[str]:
    packages = packages_distributions()
    return {normal(package) for name in imported(Path(SOURCES[extra])) for package in packages.get(name, [])}


@pytest.mark.parametrize("extra", SOURCES)
def test_a_package_that_an_extra_asks_for_is_imported_by_what_the_extra_is_for(extra: str) -> None:
    asked = {name for name in asked_for(extra) - TOOLS - {"podium"} if not name.startswith("types-")}

    assert asked - used_by(extra) == set()


def test_what_tests_import_is_asked_for_by_name() -> None:
    # One that only comes along with another may stay away with its next version.
    asked = (asked_for(extra) for extra in ("operator", "serving", "cli", "dev"))
    assert used_by("dev").difference(*asked) == set()


def test_the_command_line_asks_for_all_that_it_imports() -> None:
    """It is installed by itself: what only the operator asks for would be missing."""
    assert used_by("cli") - {"podium"} == asked_for("cli")
