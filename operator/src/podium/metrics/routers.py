"""Counting at the routers of a namespace."""

from collections.abc import Collection, Mapping
from functools import partial

from podium.api import names
from podium.keys import Key
from podium.kube.pods import address_of, is_ready
from podium.kube.resources import PODS
from podium.metrics.reading import query, read
from podium.metrics.rounds import Sample
from podium.metrics.scraper import Ask
from podium.metrics.source import Targets, View
from podium.rollout.measuring import Task
from podium.router.places import STATS_PORT


class Routers:
    """Every router counts for both revisions, since it may have sent requests to either."""

    def targets(self, cache: View, key: Key, task: Task) -> Targets:
        """See Source."""
        found, needed = {}, {}
        for pod in cache.owned(PODS, key.namespace, names.ROUTER):
            meta, at = pod["metadata"], address_of(pod)
            if at is not None:
                found[meta["name"]] = at
                if is_ready(pod) and "deletionTimestamp" not in meta:
                    needed[meta["name"]] = ""
        return Targets(frozenset(found), asks(found, (task.champion, task.candidate)), needed)


def asks(routers: Mapping[str, str], revisions: Collection[str], port: int = STATS_PORT) -> tuple[Ask, ...]:
    """The questions to routers (addresses by pod) about these revisions."""
    path = query(revisions)
    return tuple(Ask(pod, at, port, path, partial(_sample, pod), "router pod") for pod, at in routers.items())


def _sample(pod: str, at: float, text: str) -> Sample:
    return Sample(at, read(pod, text))
