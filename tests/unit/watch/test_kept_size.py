"""What a ControllerRevision of ours costs in the cache, whatever its data is (anybody may write one), and a ledger.

The API server takes 1.5 MB of it. As dicts that would be up to 7 MB each, of which a hundred fill the operator's
memory.
"""

import json
import random
import string
import sys
from typing import Any

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.reading import NODES, read_object, unreadable
from podium.kube.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, Resource
from podium.manifests.canonical import canonical
from podium.manifests.errors import MalformedRevision
from podium.manifests.ledger import digest_in, ledger_in, ledger_map
from podium.manifests.revision import controller_revision, revision_of
from podium.packed import Packed
from podium.watch.cache import Cache
from tests.unit.manifests.examples import OWNER, builtin, revision, spec

LARGE = 1_400_000
"""Bytes of text that etcd still takes."""
MANY = NODES - 1_000
"""Values that are still read."""
METADATA = 4_096
"""Bytes for all but the data."""


def ours(data: Any) -> bytes:
    """A ControllerRevision that this ModelDeployment controls, as the API server sends it."""
    made = controller_revision(OWNER, revision(spec(), builtin("onnxruntime")), {names.ANNOTATION_OUTCOME: "Promoted"})
    meta = made["metadata"] | {"uid": "u", "resourceVersion": "1"}
    return json.dumps({**made, "metadata": meta, "data": data}).encode()


def real() -> dict[str, Any]:
    """The data of a real revision."""
    made = controller_revision(OWNER, revision(spec(), builtin("onnxruntime")), {})["data"]
    return {key: value.unpack() if isinstance(value, Packed) else value for key, value in made.items()}


def noise(length: int) -> str:
    """A text that nothing compresses below three quarters."""
    return "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=length))


def size(value: Any) -> int:
    """Bytes of the value and of all that it holds."""
    found = sys.getsizeof(value)
    if isinstance(value, dict):
        return found + sum(size(key) + size(one) for key, one in value.items())
    if isinstance(value, list):
        return found + sum(map(size, value))
    return found + (size(value.key) + size(value.compressed) if isinstance(value, Packed) else 0)


def kept(text: bytes) -> Object:
    cache = Cache()
    cache.put(CONTROLLER_REVISIONS, read_object(text))
    (found,) = cache.all(CONTROLLER_REVISIONS)
    return found


SHAPES = {
    "lists": [[] for _ in range(MANY // 2)],
    "objects": [{} for _ in range(MANY // 2)],
    "keys": {f"key-{number:07}": number for number in range(MANY // 2)},
    "texts": [f"{number:08}" for number in range(MANY)],
}


@pytest.mark.parametrize("where", ["inputs", "template", "ports", "version", "hash", "of-the-future"])
@pytest.mark.parametrize("shape", SHAPES)
def test_many_values_are_kept_as_less_than_their_text(shape: str, where: str) -> None:
    text = ours(real() | {where: SHAPES[shape]})
    found = kept(text)

    assert not unreadable(found), "it is read, and its data is looked into"
    assert size(read_object(text)) > 3_000_000, "as it is read it is large"
    assert size(found) < len(text) / 2


@pytest.mark.parametrize("where", ["inputs", "template", "ports", "version", "hash"])
def test_a_long_text_is_kept_as_no_more_than_it_is(where: str) -> None:
    text = ours(real() | {where: {"a": noise(LARGE)} if where in ("inputs", "template", "ports") else noise(LARGE)})

    assert size(kept(text)) < 0.9 * len(text)


def test_what_no_revision_has_is_not_kept() -> None:
    assert size(kept(ours(real() | {"of-the-future": noise(LARGE)}))) < 2 * METADATA


def test_a_revision_is_read_from_what_is_kept_as_it_was_written() -> None:
    text = ours(real())
    found = kept(text)

    assert revision_of(found) == revision_of(read_object(text))
    assert canonical(found["data"]) == canonical(real())


@pytest.mark.parametrize("where", ["version", "hash", "runtime", "protocol"])
def test_a_word_of_a_million_letters_is_no_revisions(where: str) -> None:
    with pytest.raises(MalformedRevision, match="a word of at most"):
        revision_of(kept(ours(real() | {where: noise(LARGE)})))


# --- ledgers


ROLLED_BACK = {names.ANNOTATION_OUTCOME: "RolledBack"}


def record(version: int, annotations: dict[str, str]) -> Object:
    """The ControllerRevision of a candidate."""
    made = controller_revision(OWNER, revision(spec(), builtin("onnxruntime")), annotations)
    return {**made, "metadata": made["metadata"] | {"uid": "u", "resourceVersion": str(version)}}


def ledger(version: int) -> Object:
    """The ledger of its rollout, of 50 KB."""
    made = ledger_map(OWNER, record(1, {})["metadata"]["name"], noise(50_000), "its-digest")
    return {**made, "metadata": made["metadata"] | {"uid": "v", "resourceVersion": str(version)}}


def kept_of(*seen: tuple[Resource, Object]) -> Object:
    """What is kept of the ledger once all that has been seen."""
    cache = Cache()
    for resource, obj in seen:
        cache.put(resource, obj)
    (found,) = cache.all(CONFIG_MAPS)
    return found


def test_of_a_ledger_all_is_kept_while_its_rollout_is_under_way() -> None:
    assert ledger_in(kept_of((CONTROLLER_REVISIONS, record(1, {})), (CONFIG_MAPS, ledger(2)))) == noise(50_000)
    assert ledger_in(kept_of((CONFIG_MAPS, ledger(2)))) == noise(50_000), "its record may be still to come"


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_decided_rollouts_ledger_the_digest_is_kept_whichever_is_seen_first(order: int) -> None:
    seen = [(CONTROLLER_REVISIONS, record(3, ROLLED_BACK)), (CONFIG_MAPS, ledger(2))][::order]
    found = kept_of(*seen)

    assert digest_in(found) == "its-digest"
    assert size(ledger(2)) > 50_000
    assert size(found) < METADATA


def test_a_change_of_a_ledger_that_is_left_out_is_news_only_if_its_metadata_changed() -> None:
    cache = Cache()
    cache.put(CONTROLLER_REVISIONS, record(3, ROLLED_BACK))
    cache.put(CONFIG_MAPS, ledger(2))

    assert not cache.put(CONFIG_MAPS, ledger(4))
    assert cache.known(CONFIG_MAPS)["ml", ledger(2)["metadata"]["name"]] == 4


def test_it_can_be_had_again_once_its_rollout_is_no_longer_decided() -> None:
    cache = Cache()
    for resource, obj in ((CONFIG_MAPS, ledger(2)), (CONTROLLER_REVISIONS, record(3, ROLLED_BACK))):
        cache.put(resource, obj)
    cache.put(CONTROLLER_REVISIONS, record(4, {}))
    (found,) = cache.all(CONFIG_MAPS)
    assert ledger_in(found) == ""

    cache.fill(CONFIG_MAPS, ledger(2))

    (found,) = cache.all(CONFIG_MAPS)
    assert ledger_in(found) == noise(50_000)
