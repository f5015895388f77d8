"""The judge, who walks along a history and holds each change to the rules."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from podium.api import names
from tests.invariants import reading
from tests.invariants.history import LISTED, LOST, Blame, Change, Rule, State, Version, model_of
from tests.invariants.rules import RULES


class Judge:
    """Walks along the history of one ModelDeployment.

    `alone`: nobody but Podium takes pods, Deployments or Services away.
    """

    def __init__(self, *, alone: bool = True, late: float = 0.0, slack: float = 0.0) -> None:
        self._alone = alone
        self.late = late
        self._slack = slack
        self.state = State()

    def take(self, version: Version) -> list[str]:
        """Take in the next version; answers how it breaks rules, a sentence each."""
        was = self.state
        before = was.get(version.kind, version.name)
        change = Change(version, before, was, was.after(version), self.late, self._slack)
        found = []
        if version.event not in (LISTED, LOST):
            for rule in RULES:
                if self._judged(rule, change):
                    found += [f"at {version.revision}: {rule.sentence}: {one}" for one in rule.check(change)]
        self.state = remembered(change)
        return found

    def _judged(self, rule: Rule, change: Change) -> bool:
        if change.version.ours is not None or self._alone:
            return change.version.ours is not False
        return rule.blame is Blame.PODIUM and not change.version.gone and not _marked(change)


def _marked(change: Change) -> bool:
    """Whether this is the version in which somebody has marked the object for deletion."""
    return reading.is_leaving(change.version.obj) and not (change.before and reading.is_leaving(change.before))


def remembered(change: Change) -> State:
    """The state after a change, with what is to be remembered of it."""
    version, was, now = change.version, change.was, change.now
    match version.kind:
        case "Pod":
            uid = version.obj["metadata"]["uid"]
            since = {one: at for one, at in was.ready_since.items() if one != uid}
            if not version.gone and reading.is_ready(version.obj):
                since[uid] = was.ready_since.get(uid, version.at)
            now = replace(now, ready_since=since)
        case "ControllerRevision":
            noted = reading.command(version.obj)
            before = reading.annotations(change.before or {"metadata": {}}).get(names.ANNOTATION_OUTCOME, "")
            told = {**was.told, version.name: (before, version.at)}
            now = replace(now, told=told, commands=was.commands | ({noted} if noted else set()))
        case "EndpointSlice":
            served = reading.has_endpoint(now)
            until = was.served_until if was.served_until != float("inf") else version.at
            now = replace(now, served_until=float("inf") if served else until)
        case "ModelDeployment":
            ready = not version.gone and reading.condition(version.obj, "Ready").get("status") == "True"
            now = replace(now, expected=was.expected or ready)
    if now.model is None or reading.wanted(now.model) == 0:
        now = replace(now, expected=False)
    crowded = reading.crowd(now) != set()
    return replace(now, excused=crowded and (now.excused or reading.is_down(now)))


def violations(history: Iterable[Version], *, alone: bool = True, late: float = 0.0, slack: float = 0.0) -> list[str]:
    """Every moment of a history at which a rule does not hold, in one sentence each.

    The history may be of many ModelDeployments, and in any order: resourceVersions give it.
    """
    judges: dict[tuple[str, str], Judge] = defaultdict(lambda: Judge(alone=alone, late=late, slack=slack))
    models: dict[tuple[str, str, str], str] = {}
    found = []
    for version in sorted(history, key=lambda one: one.revision):
        place = (version.kind, version.obj["metadata"].get("namespace", ""), version.name)
        # One whose label somebody takes away is still the one that it was.
        model = models.setdefault(place, model_of(version.kind, version.obj)) or model_of(version.kind, version.obj)
        if model:
            models[place] = model
            found += [f"{one} (of {place[1]}/{model})" for one in judges[place[1], model].take(version)]
    return found
