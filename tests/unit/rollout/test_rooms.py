"""What a strategy does is its own: nobody else asks which one, or which rule, it is by its name."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import podium
from podium.api.rollout import Rollout
from podium.rollout.rule import Kind

ROOT = Path(podium.__file__).parent
ROOMS = ("reconcile", "rollout", "watch", "metrics")
"""Those that decide, and those that feed them; `api` says which names there are."""
OWN = ROOT / "rollout" / "strategies"
STRATEGIES = set(get_args(Rollout.model_fields["strategy"].annotation))


def compared(tree: ast.AST) -> Iterator[str]:
    """Texts that anything is compared with, matched against, or looked for in."""
    for node in ast.walk(tree):
        sides: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        for side in sides:
            yield from (
                each.value for each in ast.walk(side) if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )


def test_no_other_module_compares_the_name_of_a_strategy_or_of_a_rule() -> None:
    named = STRATEGIES | {str(kind.value) for kind in Kind if kind.value}
    found = {
        f"{path.relative_to(ROOT)}: {text}"
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if OWN not in path.parents
        for text in compared(ast.parse(path.read_text()))
        if text in named
    }
    assert {"RollingUpdate", "BlueGreen", "Canary"} <= STRATEGIES
    assert not found


def test_a_comparison_by_name_is_seen() -> None:
    assert set(compared(ast.parse('strategy == "Canary" or strategy in ("BlueGreen", x)'))) == {"Canary", "BlueGreen"}
