"""Counting at the pods of both revisions: what each says that it has answered, in Prometheus' text format.

Only those that are Ready are read. A server that was started anew counts from 0: its total, or its errors, is lower
than it was. What a pod of the champion counted before it was first read belongs to nobody, unless it was made
during the rollout; all that the candidate's pods count belongs to the rollout.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from podium.api import names
from podium.keys import Key
from podium.kube.pods import address_of, is_of, is_ready
from podium.kube.resources import PODS
from podium.manifests.counting import Counting
from podium.metrics import exposition
from podium.metrics.counts import ATTEMPTS, FAILED, FINISHED, LOGGED, Levels
from podium.metrics.reading import Unreadable
from podium.metrics.rounds import Answer
from podium.metrics.scraper import Ask
from podium.metrics.source import Targets, View
from podium.rollout.measuring import Task

TRUNCATED = 1.0
"""Seconds by which a pod may have been made later than its creationTimestamp says."""


@dataclass(frozen=True)
class PodSample:
    """One pod's counters, and when it told them."""

    at: float
    """Seconds since 1970."""
    pod: str
    revision: str
    made: float
    """When the pod was made, seconds since 1970, by the API server's clock."""
    levels: Levels

    @property
    def since(self) -> float:
        """From when on it counts."""
        return self.made + TRUNCATED

    def series(self, revision: str) -> Mapping[str, Levels]:
        """What it counted of a revision, by a name of its own within the pod."""
        return {revision: self.levels} if revision == self.revision else {}


Read = Callable[[Counting, str, str, float, float, str], Answer]
"""Takes how its revision counts, the pod's name and revision, when it was made and read, and its text: `_sample`."""


class Pods:
    """Each pod counts for its own revision, unless another reading of its text is given."""

    def __init__(self, read: Read | None = None) -> None:
        self._read: Read = read or _sample

    def targets(self, cache: View, key: Key, task: Task) -> Targets:
        """See Source. Pods that are none of the revisions' Deployments say nothing: anybody may write labels."""
        known, asks, needed = set(), [], {}
        for pod in cache.owned(PODS, key.namespace, key.name):
            meta = pod["metadata"]
            revision = meta["labels"].get(names.LABEL_REVISION, "")
            counting = task.counting.get(revision)
            if counting is None or not is_of(pod, revision):
                continue
            name, at = meta["name"], address_of(pod)
            known.add(name)
            if at is not None and is_ready(pod):
                made = datetime.fromisoformat(meta["creationTimestamp"]).timestamp()
                read = partial(self._read, counting, name, revision, made)
                asks.append(Ask(name, at, counting.port, counting.path, read))
                if "deletionTimestamp" not in meta:
                    needed[name] = revision
        return Targets(frozenset(known), asks, needed)


def _sample(counting: Counting, pod: str, revision: str, made: float, at: float, text: str) -> PodSample:
    try:
        total, failed = exposition.total(text, counting.total), exposition.total(text, counting.errors)
    except exposition.NoCount as error:
        raise Unreadable(f"pod {pod}: {error}") from error
    # If these counters go down, the server was restarted; they are not counted themselves.
    levels = {FINISHED: total, FAILED: failed, ATTEMPTS: total, LOGGED: failed}
    return PodSample(at, pod, revision, made, levels)
