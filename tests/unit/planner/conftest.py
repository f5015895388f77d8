"""Whatever a world of these tests says fits a row of docs/messages.md."""

import re
from collections.abc import Iterator

import pytest

from tests.messages import has_row
from tests.unit.planner.world import SENTENCES

WITHOUT_A_ROW = {
    "Step": (".*", "a sentence for each rule"),
    "ContainerEnded": ("Version .*: it is not promoted for 5 minutes.*", "an Event of a condition's reason"),
    "": (
        ".* (Exceeded quota|Internal error occurred: .*)\\.|HorizontalPodAutoscaler .* does not scale: .*"
        "|Podium cannot (write|delete) .*",
        "the API server's own words on a pod; an HPA's own reason and words; a refusal in its words",
    ),
    "Progressing": ("The rollout of .* waits until .*", "Draining's sentences, while there is no champion"),
    "Evicted": (".* was refused by its node: .*", "by nodes of a kind"),
    "RecordMissing": (".* was rolled back once, but there is no ControllerRevision .*", "after a restore"),
    "RecordUnreadable": (".* cannot be used: it holds no revision that this Podium can read, .*", "by a webhook"),
    "RolledBack": (
        ".* was rolled back: .*|.* was rolled back after .* serves\\.",
        "without the time: after a restore; without the way out: an Event that has no room for it, or an older version",
    ),
}
"""By reason, or for all: the sentences (a regular expression) that have no row yet, and why."""


@pytest.fixture(autouse=True)
def sentences_have_rows() -> Iterator[None]:
    SENTENCES.clear()
    yield
    unknown = [(reason, said) for reason, said in sorted(SENTENCES) if not has_row(reason, said)]
    unknown = [(reason, said) for reason, said in unknown if not _known_to_lack_one(reason, said)]
    assert not unknown, "docs/messages.md has no row for this"


def _known_to_lack_one(reason: str, said: str) -> bool:
    found = (WITHOUT_A_ROW[key][0] for key in ("", reason) if key in WITHOUT_A_ROW)
    return any(re.fullmatch(pattern, said) is not None for pattern in found)
