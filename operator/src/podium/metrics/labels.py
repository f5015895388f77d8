"""Counting what labels and rewards say of answers: what goals are judged by. The CRD offers no such metric yet.

A label comes some time after its answer, to any pod of any revision, and is credited to the revision that answered. So
each pod of champion and candidate tells of both, by the label `revision` of its series:

    podium_feedback_labelled_total, _correct_total              Accuracy
    podium_feedback_true_positives_total, _false_positives_total, _false_negatives_total
                                                                Precision, Recall, F1 of a class that the server knows
    podium_feedback_reward_count, _reward_sum, _reward_sumsq    Reward; the sum may be below 0

They are read beside the routers, in the same rounds: at the port and path that a revision's ModelRuntime names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from podium.keys import Key
from podium.manifests.counting import Counting
from podium.metrics import exposition
from podium.metrics.counts import LABELLED, LABELS, LOGGED, SQUARES, SUM, VALUES, WRONG, Levels
from podium.metrics.pods import TRUNCATED, Pods
from podium.metrics.reading import Unreadable
from podium.metrics.source import Source, Targets, View
from podium.rollout.measuring import Task

PREFIX: Final = "podium_feedback_"
CORRECT: Final = "correct"
SERIES: Final = {
    f"{PREFIX}labelled_total": LABELLED,
    f"{PREFIX}correct_total": CORRECT,
    f"{PREFIX}true_positives_total": "tp",
    f"{PREFIX}false_positives_total": "fp",
    f"{PREFIX}false_negatives_total": "fn",
    f"{PREFIX}reward_count": VALUES,
    f"{PREFIX}reward_sum": SUM,
    f"{PREFIX}reward_sumsq": SQUARES,
}
"""By name of a series: what it counts."""


@dataclass(frozen=True)
class LabelSample:
    """What one pod has been told of both revisions, and when it said so. See rounds.Answer."""

    at: float
    pod: str
    since: float
    told: Mapping[str, Levels]
    """By revision; one that it was told nothing of is missing."""

    def series(self, revision: str) -> Mapping[str, Levels]:
        """See rounds.Answer: by revision. What a pod does not export has not happened there."""
        return {revision: self.told.get(revision) or _levels({}, self.pod)}


class Labelled:
    """Requests are counted where they were, and labels at the pods of both revisions."""

    def __init__(self, requests: Source) -> None:
        self._requests, self._labels = requests, Pods(read)

    def targets(self, cache: View, key: Key, task: Task) -> Targets:
        """See Source. A pod whose labels cannot be read holds the rollout like a router, and rolls nothing back."""
        requests, labels = (one.targets(cache, key, task) for one in (self._requests, self._labels))
        return Targets(
            requests.known | labels.known,
            [*requests.asks, *labels.asks],
            {**requests.needed, **dict.fromkeys(labels.needed, "")},
        )


def read(counting: Counting, pod: str, revision: str, made: float, at: float, text: str) -> LabelSample:
    """What a pod says, of whichever revision it is. Raises Unreadable for values that cannot be."""
    try:
        found = exposition.by_label(text, SERIES, "revision", signed={f"{PREFIX}reward_sum"})
    except exposition.NoCount as error:
        raise Unreadable(f"pod {pod}: {error}") from error
    told: dict[str, dict[str, float]] = {}
    for (name, credited), value in found.items():
        told.setdefault(credited, {})[SERIES[name]] = value
    return LabelSample(at, pod, made + TRUNCATED, {credited: _levels(each, pod) for credited, each in told.items()})


def _levels(told: Mapping[str, float], pod: str) -> Levels:
    found = {name: told.get(name, 0.0) for name in LABELS}
    found[WRONG] = found[LABELLED] - told.get(CORRECT, 0.0)
    if found[WRONG] < 0:
        raise Unreadable(f"pod {pod}: more labels are told to be correct than there are")
    # If this goes down, the server was restarted; it is not counted itself.
    return found | {LOGGED: found[LABELLED] + found[VALUES]}
