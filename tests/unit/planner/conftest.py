"""Whatever a world of these tests says fits a row of docs/messages.md."""

from collections.abc import Iterator

import pytest

from tests.messages import ONE_AS_MANY, has_row
from tests.unit.planner.world import SENTENCES


@pytest.fixture(autouse=True)
def sentences_have_rows() -> Iterator[None]:
    SENTENCES.clear()
    yield
    unknown = [(reason, said) for reason, said in sorted(SENTENCES) if not has_row(reason, said)]
    assert not unknown, "docs/messages.md has no row for this"
    assert not [said for _, said in SENTENCES if ONE_AS_MANY.search(said)], "the noun is to agree with its number"
