"""What a ConfigMap may ask of a router: exactly what the operator writes, and of all else what is wrong with it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.api.names import HASH_ALPHABET
from podium.router.routing import (
    LARGEST_BODY,
    LAST_PORT,
    LEAST_PORT,
    LONGEST_SECONDS,
    Mirror,
    Routing,
    RoutingError,
    Share,
    Sticky,
)

OWN = "fraud-6f9c4d2b7k"
GOOD = Routing("fraud", 20_001, (Share("fraud-b57wq4c9d2", 500), Share(OWN, 9_500)))


def changed(**values: Any) -> str:
    return json.dumps({**json.loads(GOOD.to_json()), **values})


def to(revision: Any) -> str:
    return changed(split=[{"revision": revision, "weight": 10_000}])


names = st.from_regex(r"\A[a-z]([-a-z0-9]{0,20}[a-z0-9])?\Z")
seconds = st.floats(0.001, LONGEST_SECONDS)
words = st.from_regex(r"\A[A-Za-z0-9]{1,20}\Z")
stickies = st.builds(Sticky, words, header=words) | st.builds(Sticky, words, cookie=words)


@st.composite
def routings(draw: st.DrawFn) -> Routing:
    model = draw(names)
    ends = draw(st.lists(st.text(HASH_ALPHABET, min_size=10, max_size=10), min_size=1, max_size=3, unique=True))
    revisions = [f"{model}-{end}" for end in ends]
    cuts = sorted(draw(st.lists(st.integers(0, 10_000), min_size=len(revisions) - 1, max_size=len(revisions) - 1)))
    weights = [end - start for start, end in zip([0, *cuts], [*cuts, 10_000], strict=True)]
    split = tuple(Share(name, weight) for name, weight in zip(revisions, weights, strict=True))
    port = draw(st.integers(LEAST_PORT, LAST_PORT))
    idle = [share.revision for share in split if not share.weight]
    mirrors = st.builds(Mirror, st.sampled_from(idle), st.integers(1, 100)) if idle else st.none()
    return Routing(
        model, port, split, draw(seconds), draw(seconds), draw(st.integers(1, LARGEST_BODY)),
        draw(st.none() | stickies), draw(st.none() | mirrors), draw(st.sampled_from([None, True])),
    )  # fmt: skip


@given(routings())
def test_what_is_written_is_read(routing: Routing) -> None:
    assert Routing.read(routing.to_json()) == routing


def test_without_a_key_and_a_mirror_the_text_is_that_of_routers_which_know_of_neither() -> None:
    """They refuse fields that they do not know, and operators from before write none."""
    text = (
        '{"idle_timeout":300.0,"max_request_bytes":67108864,"model":"fraud","port":20001,"split":'
        '[{"revision":"fraud-b57wq4c9d2","weight":500},{"revision":"fraud-6f9c4d2b7k","weight":9500}],'
        '"timeout":60.0,"version":1}'
    )

    assert GOOD.to_json() == text
    assert Routing.read(text) == GOOD


def test_a_key_and_a_mirror_are_written_without_what_they_do_not_name() -> None:
    sticky, mirror = Sticky("fraud-7", cookie="uid"), Mirror(OWN, 25)
    asked = replace(GOOD, split=(Share(OWN, 0), Share("fraud-b57wq4c9d2", 10_000)), sticky=sticky, mirror=mirror)
    text = json.loads(asked.to_json())

    assert text["sticky"] == {"salt": "fraud-7", "cookie": "uid"}
    assert text["mirror"] == {"revision": OWN, "percent": 25}


@pytest.mark.parametrize(
    ("text", "names_it"),
    [
        ("", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "routing must be an object, not []"),
        (changed(version=2), "version is 2; this router reads version 1"),
        (changed(filters=[]), "unknown field 'filters'"),
        (changed(port=19_999), "port must be a whole number from 20000 to 24999, not 19999"),
        (changed(port=True), "port must be a whole number from 20000 to 24999, not True"),
        (changed(port="20001"), "port must be a whole number from 20000 to 24999, not '20001'"),
        (changed(model="Fraud"), "model must be a Kubernetes name of at most 63 characters, not 'Fraud'"),
        (changed(model="../x"), "model must be a Kubernetes name"),
        (changed(timeout=0), "timeout must be seconds, above 0"),
        (changed(timeout=float("nan")), "timeout must be seconds"),
        (changed(idle_timeout=1e9), "idle_timeout must be seconds, above 0 and at most 86400"),
        (changed(max_request_bytes=0), "max_request_bytes must be a whole number"),
        (changed(split=[]), "split must list 1 to 8 revisions"),
        (changed(split={"a": 1}), "split must list 1 to 8 revisions"),
        (changed(split=[{"revision": "a"}]), "split lacks the field weight"),
        (changed(split=[{"revision": OWN, "weight": 9_999}]), "sum to 9999; they must sum to 10000"),
        (changed(split=[{"revision": OWN, "weight": -1}]), "split.weight must be a whole number from 0 to 10000"),
        (changed(split=[{"revision": OWN, "weight": 5_000}] * 2), "split names a revision twice"),
        (changed(sticky=None), "routing has the field sticky without a value; leave it out"),
        (changed(sticky="uid"), "sticky must be an object, not 'uid'"),
        (changed(sticky={"header": "x-user"}), "sticky lacks the field salt"),
        (changed(sticky={"salt": "7"}), "sticky must name a header or a cookie, and not both; it names 0"),
        (changed(sticky={"salt": "7", "header": "a", "cookie": "b"}), "and not both; it names 2"),
        (changed(sticky={"salt": "7", "header": "a", "cookie": None}), "sticky has the field cookie without a value"),
        (changed(sticky={"salt": "7", "header": "a", "ttl": 1}), "sticky has the unknown field 'ttl'"),
        (changed(sticky={"salt": "\\\\1", "header": "a"}), "sticky.salt must be like"),
        (changed(sticky={"salt": "", "header": "a"}), "sticky.salt must be like"),
        (changed(sticky={"salt": "7", "header": ":path"}), "sticky.header must be like"),
        (changed(sticky={"salt": "7", "header": "X-Podium-Revision"}), "which routers take out of requests"),
        (changed(sticky={"salt": "7", "cookie": "a=b"}), "sticky.cookie must be like"),
        (changed(sticky={"salt": "7", "cookie": "a|b"}), "sticky.cookie must be like"),
        (changed(sticky={"salt": "7", "cookie": ["a"]}), "sticky.cookie must be like"),
        (changed(mirror={"revision": OWN}), "mirror lacks the field percent"),
        (changed(leaving=False), "leaving must be true or left out, not False"),
        (changed(leaving=1), "leaving must be true or left out, not 1"),
        (changed(leaving="yes"), "leaving must be true or left out"),
        (changed(mirror={"revision": OWN, "percent": 5}), "mirror.revision must be one of split with weight 0"),
        (changed(mirror={"revision": "spam-6f9c4d2b7k", "percent": 5}), "mirror.revision must be one of split"),
        (changed(mirror={"revision": ["a"], "percent": 5}), "mirror.revision must be one of split"),
        (changed(mirror={"revision": OWN, "percent": 0}), "mirror.percent must be a whole number from 1 to 100, not 0"),
        (changed(mirror={"revision": OWN, "percent": 0.5}), "mirror.percent must be a whole number"),
        (to("Fraud"), "split.revision must be a Kubernetes name"),
        (to("fraud"), "split.revision must be a revision of fraud, which is named fraud-, 10 letters"),
        (to("fraud-preview"), "split.revision must be a revision of fraud"),
        (to("spam-6f9c4d2b7k"), "not 'spam-6f9c4d2b7k'"),
        (to("fraud-6f9c4d2b7k2"), "split.revision must be a revision of fraud"),
        (to("fraud-6f9c4d2b7a"), "split.revision must be a revision of fraud"),
        (to("fraudx6f9c4d2b7k"), "split.revision must be a revision of fraud"),
        (to(["fraud-6f9c4d2b7k"]), "split.revision must be a Kubernetes name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, names_it: str) -> None:
    with pytest.raises(RoutingError) as refused:
        Routing.read(text)
    assert names_it in str(refused.value)
    assert len(str(refused.value)) < 400


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_nothing_else_comes_of_any_value_in_any_field(value: Any) -> None:
    for field in (*json.loads(GOOD.to_json()), "sticky", "mirror"):
        try:
            read = Routing.read(changed(**{field: value}))
        except RoutingError:
            continue
        read.check()
