"""What an analysis of a spec is asked: defaults by type, and the form in which a rollout keeps it."""

import json
from typing import Any

import pytest
from hypothesis import given

from podium.analysis.metrics import Kind
from podium.api.v1alpha1 import ModelDeploymentSpec
from podium.rollout.asked import Asked
from podium.rollout.wish import Wish, from_json, to_json, wished
from tests.strategies import model_deployment_specs

ERRORS = {"name": "errors", "kind": "ErrorRate", "maxRatio": 1.5, "harmRatio": 1, "tolerate": 0.001}
CHECKOUT = {"name": "checkout", "kind": "Prometheus", "maxRatio": 1.5, "harmRatio": 1, "tolerate": 0,
            "events": "sum(a)", "total": "sum(b)"}  # fmt: skip
SLOW = {"name": "slow", "kind": "Latency", "maxRatio": 1.5, "harmRatio": 1.5, "tolerate": 0.01, "threshold": 0.25}


def asked(*metrics: dict[str, Any]) -> tuple[Wish, ...]:
    """What a Canary with routers and these metrics is asked."""
    rollout = {"strategy": "Canary", "analysis": {"metrics": list(metrics)}}
    return wished(ModelDeploymentSpec.parse({"traffic": {"router": "Envoy"}, "rollout": rollout}))


def test_a_spec_without_metrics_asks_the_four_guardrails() -> None:
    assert wished(ModelDeploymentSpec()) == (
        Wish("errors", Kind.ERROR_RATE, 1.5, 1, 0.001),
        Wish("rejections", Kind.REJECTIONS, 1.5, 1, 0.001),
        Wish("abandoned", Kind.ABANDONED, 1.5, 1, 0.01),
        Wish("latency", Kind.LATENCY, 1.5, 1.5, 0.01),
    )


def test_an_empty_list_asks_nothing() -> None:
    assert asked() == ()


def test_what_a_metric_does_not_say_is_its_types_default() -> None:
    assert asked({"name": "a", "type": "Latency", "maxRatio": 1.3}, {"name": "b", "type": "Abandoned"}) == (
        Wish("a", Kind.LATENCY, 1.3, 1.3, 0.01),
        Wish("b", Kind.ABANDONED, 1.5, 1, 0.01),
    )


def test_what_a_metric_says_is_taken_as_fractions_and_seconds() -> None:
    said = {"maxRatio": 2, "harmRatio": 1.25, "tolerate": "2.5%", "threshold": "1s250ms"}
    assert asked({"name": "a", "type": "Latency"} | said) == (Wish("a", Kind.LATENCY, 2, 1.25, 0.025, 1.25),)
    assert asked({"name": "a", "type": "ErrorRate", "tolerate": "0%"})[0].tolerate == 0


@given(spec=model_deployment_specs())
def test_a_record_keeps_it_whole(spec: dict[str, Any]) -> None:
    wishes = wished(ModelDeploymentSpec.parse(spec))
    assert from_json(json.loads(json.dumps(to_json(wishes)))) == wishes


@pytest.mark.parametrize(
    "edited",
    [
        None,
        {},
        "errors",
        [None],
        [[]],
        [{}],
        [{key: value for key, value in ERRORS.items() if key != "tolerate"}],
        [ERRORS | {"role": "Goal"}],
        [ERRORS | {"name": "Errors"}],
        [ERRORS | {"name": "e" * 31}],
        [ERRORS | {"name": 7}],
        [ERRORS | {"kind": "Errors"}],
        [ERRORS | {"kind": "Reward"}],
        [ERRORS | {"kind": ["ErrorRate"]}],
        [ERRORS | {"maxRatio": "1.5"}],
        [ERRORS | {"maxRatio": True}],
        [ERRORS | {"maxRatio": float("nan")}],
        [ERRORS | {"maxRatio": float("inf")}],
        [ERRORS | {"maxRatio": 1}],
        [ERRORS | {"harmRatio": 1.6}],
        [ERRORS | {"harmRatio": 0.9}],
        [ERRORS | {"tolerate": 1}],
        [ERRORS | {"tolerate": -0.1}],
        [ERRORS | {"tolerate": None}],
        [ERRORS | {"threshold": 0.25}],
        [SLOW | {"threshold": 0}],
        [SLOW | {"threshold": 601}],
        [SLOW | {"threshold": None}],
        [ERRORS | {"events": "sum(a)", "total": "sum(b)"}],
        [CHECKOUT | {"events": ""}],
        [CHECKOUT | {"total": 7}],
        [CHECKOUT | {"total": "sum(rate(a[1m]))"}],
        [CHECKOUT | {"total": "sum(a{x='{{model}}'})"}],
        [{key: value for key, value in CHECKOUT.items() if key != "total"}],
        [ERRORS, ERRORS],
        [ERRORS | {"name": f"e{place}"} for place in range(21)],
    ],
    ids=str,
)
def test_what_no_spec_could_ask_is_no_record(edited: object) -> None:
    with pytest.raises(ValueError, match=r"metric|number|query"):
        from_json(edited)
    with pytest.raises(ValueError, match=r"metric|number|query"):
        Asked.from_json({"confidence": 0.95, "interval": 2, "warmUp": 60, "metrics": edited})


def test_a_metric_of_prometheus_tolerates_nothing_by_itself() -> None:
    (wish,) = asked({"name": "a", "type": "Prometheus", "events": "sum(a)", "total": "sum(b)"})
    assert wish == Wish("a", Kind.PROMETHEUS, 1.5, 1, 0, events="sum(a)", total="sum(b)")


def test_the_records_those_are_made_of_are_right() -> None:
    assert to_json(from_json([ERRORS, SLOW, CHECKOUT])) == [ERRORS, SLOW, CHECKOUT]
