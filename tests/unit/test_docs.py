"""Documents that promise to be complete are."""

import re
from pathlib import Path

from podium.reasons import Reason
from tests.cluster.binaries import KUBERNETES, OTHER_APISERVERS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_condition_reason_is_explained_once_and_no_other_is() -> None:
    headings = re.findall(r"^### (\w+)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)

    assert sorted(headings) == sorted(reason.value for reason in Reason)


def test_the_api_servers_that_are_tried_are_those_that_the_decision_names() -> None:
    page = (DOCS / "decisions" / "api-server-versions.md").read_text()
    (tried,) = re.findall(r"^\*\*Tried: kube-apiserver (.*)\*\*", page, re.MULTILINE)

    assert set(re.findall(r"\d+\.\d+\.\d+", tried)) == {KUBERNETES, *OTHER_APISERVERS}
