"""Podium's own metrics of the rollouts that it analyses, made when somebody reads them.

Evidence is given as a share of what a decision needs: 1 is enough, whatever confidence was asked for.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from podium.keys import Key
from podium.rollout.measuring import Snapshot, Task

MOST: Final = 100
"""Rollouts that have series of their own: three each."""
_LABELS: Final = ("namespace", "name")
_LARGEST: Final = 100.0
"""Of a logarithm, beyond which a share is as good as without end."""

Analysed = Mapping[Key, tuple[Task, Snapshot | None]]
"""By ModelDeployment what is measured of it, and what that has come to; None before evidence is counted."""


class AnalysedMetrics(Collector):
    """A collector of the rollouts that are analysed now; of replicas that do not lead there are none."""

    def __init__(self, analysed: Callable[[], Analysed]) -> None:
        self._analysed = analysed

    def describe(self) -> list[Metric]:
        """Nothing is fixed beforehand."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families, at this moment."""
        found = self._analysed()
        count = GaugeMetricFamily("podium_analysed_rollouts", "Rollouts that are analysed.")
        count.add_metric([], len(found))
        weight = GaugeMetricFamily("podium_rollout_weight", "The candidate's share of the requests.", labels=_LABELS)
        harm = GaugeMetricFamily(
            "podium_rollout_harm_evidence", "Evidence of harm, as a share of what a rollback needs.", labels=_LABELS
        )
        no_harm = GaugeMetricFamily(
            "podium_rollout_no_harm_evidence",
            "Evidence of no harm of the metric that has least, as a share of what promotion needs.",
            labels=_LABELS,
        )
        for key in sorted(found, key=lambda key: (key.namespace, key.name))[:MOST]:
            task, live = found[key]
            labels = [key.namespace, key.name]
            weight.add_metric(labels, task.weight / 10_000)
            if live is not None and live.decision.metrics:
                decision = live.decision
                harm.add_metric(labels, _share(decision.harm, decision.needed_for_harm))
                least = min(metric.better for metric in decision.metrics)
                no_harm.add_metric(labels, _share(least, decision.needed))
        yield from (count, weight, harm, no_harm)


def _share(evidence: float, needed: float) -> float:
    """Of two logarithms."""
    return math.exp(min(evidence - needed, _LARGEST))
