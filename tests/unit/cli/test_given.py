"""What these tests have the operator say is what it says today, and the manual shows what is drawn of it."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from podium.cli.bars import BLOCKS
from podium.cli.screen import drawn
from podium.cli.tree import tree
from podium.cli.view import of
from tests.messages import ROWS
from tests.unit.cli.given import CANARY, ERRORS, NOW, SAID, analyzing, deployment

MANUAL = Path(__file__).resolve().parents[3] / "docs" / "cli.md"


@pytest.mark.parametrize(("row", "sentence"), SAID.items(), ids=SAID)
def test_the_operator_says_so(row: str, sentence: str) -> None:
    assert ROWS[row].fits(sentence), ROWS[row].sentence


def test_the_manual_shows_what_a_terminal_of_80_columns_does() -> None:
    (shown,) = re.findall(
        r"^\$ kubectl podium get fraud -n ml\n(.*?)^```$", MANUAL.read_text(), re.MULTILINE | re.DOTALL
    )
    status = analyzing(rollout=CANARY | {"metrics": [ERRORS]})
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    console.print(drawn(tree(of(deployment(status)), BLOCKS, NOW)))

    assert shown.splitlines() == [line.rstrip() for line in out.getvalue().splitlines()]
