"""Who may know the name of a strategy or of a rule: the strategies themselves, and the module of the rules."""

import ast
from pathlib import Path

import pytest

from podium.rollout.command import Command, how_to
from podium.rollout.rule import Kind, Rule
from podium.rollout.strategies import STRATEGIES

SOURCE = Path("operator/src/podium")
OWNERS = {SOURCE / "rollout/rule.py", SOURCE / "rollout/strategies/__init__.py"}
NAMES = {*STRATEGIES, *(kind.value for kind in Kind if kind.value)}
MODULES = sorted({*SOURCE.glob("rollout/**/*.py"), *SOURCE.glob("reconcile/**/*.py")} - OWNERS)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_other_module_has_the_name_of_a_strategy_or_a_rule(module: Path) -> None:
    tree = ast.parse(module.read_text())
    keys = {id(n.slice) for n in ast.walk(tree) if isinstance(n, ast.Subscript)}
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and n.value in NAMES and id(n) not in keys]
    assert [f"line {n.lineno}: {n.value!r}" for n in found] == []


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_other_module_asks_which_rule_it_was(module: Path) -> None:
    """What follows from a rule is a property of it."""
    asked = [n for n in ast.walk(ast.parse(module.read_text())) if isinstance(n, ast.Compare | ast.MatchValue)]
    kinds = [
        n
        for compared in asked
        for n in ast.walk(compared)
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "Kind"
    ]
    assert [f"line {n.lineno}: Kind.{n.attr}" for n in kinds] == []


@pytest.mark.parametrize("module", sorted(SOURCE.glob("**/*.py")), ids=str)
def test_the_text_of_a_command_is_written_in_one_place(module: Path) -> None:
    assert module == SOURCE / "rollout/command.py" or "date +%s" not in module.read_text()


@pytest.mark.parametrize(
    "text",
    ["deadline", "crash: CrashLoopBackOff", "verify: golden", "harm: slow", "drift: slow", "", "Deadline", ": x"],
)
def test_a_rule_is_what_its_text_says_also_one_that_this_version_does_not_know(text: str) -> None:
    assert str(Rule.parse(text)) == text


def test_a_rule_has_its_payload() -> None:
    assert Rule.parse("crash: ImagePull") == Rule(Kind.CRASH, "ImagePull")
    assert Rule.parse("harm: slow") == Rule(Kind.HARM, "slow")
    assert Rule.parse("drift: slow") == Rule(Kind.UNKNOWN, "drift: slow")


def test_a_command_is_what_its_text_says() -> None:
    command = Command("retry", "fraud-x", "1700000000")
    assert Command.parse(str(command)) == command
    assert Command.parse("retry fraud-x") is None
    told = how_to("retry", "fraud-x", model="fraud", namespace="ml")
    assert told == 'kubectl annotate mdep fraud -n ml --overwrite podium.dev/command="retry fraud-x $(date +%s)"'
