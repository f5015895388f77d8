"""Why a version was rolled back stays in status once its pods, which would say it, are gone."""

import pytest

from tests.unit.planner.given import updating


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("crash", "ended 4 times with exit code 1: ValueError: no such operator"),
        ("fetch-permanent", "cannot fetch the model (ChecksumMismatch): s3://models/fraud/2: sha256 differs"),
    ],
)
def test_status_says_in_one_line_what_was_wrong_even_after_it_was_lost(behaviour: str, words: str) -> None:
    world = updating(replicas=2)
    world.behave("2", failure=behaviour)
    world.until(lambda: world.phase == "RolledBack", within=600)
    world.rest()
    assert not world.pods(world.revision("2"))
    assert words in world.status["message"]

    world.lose_status()
    world.rest()

    assert words in world.status["message"]
