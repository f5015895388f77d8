"""Documents that promise to be complete are."""

import re
from pathlib import Path

from podium.reasons import Reason

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_condition_reason_is_explained_once_and_no_other_is() -> None:
    headings = re.findall(r"^### (\w+)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)

    assert sorted(headings) == sorted(reason.value for reason in Reason)
