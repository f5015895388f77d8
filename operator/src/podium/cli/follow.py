"""Objects as they change: a list, then a watch, and again a list where the watch cannot go on."""

import math
import time
from collections.abc import Callable, Iterator, Mapping

from podium.cli.api import Api, Object
from podium.cli.errors import CliError, Unreachable
from podium.cli.refusals import missing
from podium.cli.view import View, of

WATCH_SECONDS = 240
"""After which a watch is begun anew from where it was: below the API server's own limit."""
PATIENCE = 30.0
"""Seconds without an answer, after a first one, until the caller is told."""
PAUSE = 1.0
"""Seconds between two tries meanwhile."""

Objects = Mapping[tuple[str, str], Object]
"""By namespace and name, sorted."""


def follow(
    api: Api,
    namespace: str | None,
    name: str | None,
    *,
    seconds: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Objects]:
    """All objects at first, and again after each change, for so many seconds. A connection that breaks is made anew."""
    end = clock() + seconds
    known: dict[tuple[str, str], Object] = {}
    version, lost = "", math.inf
    while True:
        try:
            if not version:
                listed = api.deployments(namespace, name)
                version = listed.version
                known = {_key(obj): obj for obj in listed.items}
                lost = clock()
                yield dict(sorted(known.items()))
            if clock() >= end:
                return
            began = clock()
            for event in api.watch(namespace, name, version, _seconds(end - clock())):
                kind, obj = event["type"], event["object"]
                if kind == "ERROR":  # what it was to go on from is forgotten (410)
                    version = ""
                    break
                version, lost = obj["metadata"]["resourceVersion"], clock()
                if kind == "BOOKMARK":
                    continue
                known.pop(_key(obj), None)
                if kind != "DELETED":
                    known[_key(obj)] = obj
                yield dict(sorted(known.items()))
            if clock() - began < PAUSE:
                sleep(PAUSE)  # where watches end as soon as they begin, they must not be asked for without a break
        except Unreachable:
            if clock() >= min(end, lost + PATIENCE) or lost == math.inf:
                raise
            version = ""
            sleep(PAUSE)


def views_of(states: Iterator[Objects], namespace: str, name: str) -> Iterator[View]:
    """One of them at each change. Raises CliError once it is not there."""
    for number, objects in enumerate(states):
        if (namespace, name) not in objects:
            if number == 0:
                raise missing(namespace, name)
            raise CliError(f"there is no modeldeployment {name} in namespace {namespace} any more")
        yield of(objects[namespace, name])


def _key(obj: Object) -> tuple[str, str]:
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta["name"]


def _seconds(left: float) -> int:
    return math.ceil(min(max(left, 1), WATCH_SECONDS))
