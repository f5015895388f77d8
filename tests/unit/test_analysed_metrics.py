"""Podium's own metrics of the rollouts that it analyses."""

import math
from dataclasses import replace
from typing import cast

from prometheus_client import CollectorRegistry, generate_latest

from podium.analysed_metrics import MOST, AnalysedMetrics
from podium.analysis.decision import Call, Decision, Strength
from podium.kube.resources import MODEL_DEPLOYMENTS
from podium.rollout.measuring import Snapshot
from tests.unit.test_analysing import KEY, TASK

TWENTY = math.log(20)


class Weighed:
    """Of a snapshot what is told: errors are far from enough, latency is half way."""

    decision = Decision(
        Call.HOLD, "", "", math.log(5), TWENTY, TWENTY,
        (Strength("errors", 0.0, math.log(2), False), Strength("slow", 0.0, math.log(10), False)),
    )  # fmt: skip


def told(found: dict[object, object]) -> str:
    registry = CollectorRegistry()
    registry.register(AnalysedMetrics(lambda: found))  # type: ignore[arg-type, return-value]
    return generate_latest(registry).decode()


def test_a_rollout_has_its_weight_and_its_evidence_as_shares_of_what_is_needed() -> None:
    text = told({KEY: (TASK, cast(Snapshot, Weighed()))})

    assert "podium_analysed_rollouts 1.0" in text
    assert 'podium_rollout_weight{name="fraud",namespace="ml"} 0.5' in text
    assert 'podium_rollout_harm_evidence{name="fraud",namespace="ml"} 0.25' in text
    assert 'podium_rollout_no_harm_evidence{name="fraud",namespace="ml"} 0.1' in text, "the metric that has least"


def test_before_evidence_is_counted_there_is_its_weight_alone() -> None:
    text = told({KEY: (replace(TASK, weight=0), None)})

    assert 'podium_rollout_weight{name="fraud",namespace="ml"} 0.0' in text
    assert "evidence{" not in text


def test_series_are_bounded_in_number_and_the_count_is_true() -> None:
    keys = [MODEL_DEPLOYMENTS.key("ml", f"m{number}") for number in range(MOST + 5)]

    text = told(dict.fromkeys(keys, (TASK, None)))

    assert text.count("podium_rollout_weight{") == MOST
    assert f"podium_analysed_rollouts {MOST + 5}.0" in text
