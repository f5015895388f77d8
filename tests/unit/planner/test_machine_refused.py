"""The state machine of test_machine.py with an API server that refuses, too: any write, with any answer, or for good.

By default a fixed set of examples that takes under 30 s. PODIUM_EXAMPLES=2000 looks for new ones, at random.
"""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import (
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    HPAS,
    MODEL_DEPLOYMENTS,
    PDBS,
    SERVICES,
    Resource,
)
from tests.unit.planner.apiserver import Call
from tests.unit.planner.drawing import drawing
from tests.unit.planner.refusing import FAULTS, Refusing, refuse
from tests.unit.planner.test_machine import VERSIONS, Operator, event
from tests.unit.planner.world import NAME, NAMESPACE, model

ANY = st.sampled_from(sorted(FAULTS))
UNSURE = ("webhook", "time-out")
"""Faults after which a write may have been made."""
AGAIN = 50
"""Seconds until what is missing is made again, whatever is refused: the longest wait for a retry, and a late watch."""


class Refused(Operator):
    """One ModelDeployment, all that may happen to it, and what may be refused meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.refusing: list[Refusing] = []
        self.ends: list[Callable[[], None]] = []
        self.said = Said()
        self.world.client.before.append(self.status_says_only_what_was_written)

    @initialize(nth=st.integers(1, 12), fault=ANY, lasting=st.booleans())
    def a_write_is_refused_from_the_first(self, nth: int, fault: str, lasting: bool) -> None:
        self.refusing.append(Refusing(self.world, nth, fault, lasting))

    @event(nth=st.integers(1, 6), fault=ANY)
    def a_write_is_refused_once(self, nth: int, fault: str) -> None:
        self.refusing.append(Refusing(self.world, nth, fault, lasting=False))

    @event(nth=st.integers(1, 3), fault=ANY)
    def a_write_is_refused_for_good(self, nth: int, fault: str) -> None:
        self.refusing.append(Refusing(self.world, nth, fault, lasting=True))

    @event(nth=st.integers(1, 6), fault=st.sampled_from(UNSURE))
    def an_answer_is_lost(self, nth: int, fault: str) -> None:
        self.refusing.append(Refusing(self.world, nth, fault, lasting=False, made=True))

    @precondition(lambda self: self.watching.champion())
    @event(version=st.sampled_from(["1", "2", "3"]), nth=st.integers(1, 3), fault=ANY)
    def a_rollout_is_refused(self, version: str, nth: int, fault: str) -> None:
        self.refusing.append(Refusing(self.world, nth, fault, lasting=True))
        self.change_the_model(wait=15, version=version)

    @event(resource=st.sampled_from([CONTROLLER_REVISIONS, HPAS, PDBS]), fault=ANY)
    def all_writes_of_a_kind_are_refused(self, resource: Resource, fault: str) -> None:
        self.ends.append(refuse(self.world, fault, lambda call: call.resource is resource))

    @precondition(lambda self: self.refusing or self.ends)
    @event()
    def nothing_is_refused_any_more(self) -> None:
        self.end()

    @precondition(lambda self: self.watching.champion())
    @rule(resource=st.sampled_from([DEPLOYMENTS, SERVICES]))
    def what_serves_is_deleted_and_made_again_whatever_else_is_refused(self, resource: Resource) -> None:
        world = self.world
        world.api.delete(resource, NAMESPACE, self.champion if resource is DEPLOYMENTS else NAME)
        world.advance(AGAIN)
        refused = {one.place[1:] for one in self.refusing if one.lasting and one.refused}
        for place in ((DEPLOYMENTS, self.champion), (SERVICES, NAME)):
            assert world.live(*place) or place in refused, f"{place[0].kind} {place[1]} is gone: {world.describe()}"

    @precondition(lambda self: self.watching.champion())
    @rule(resource=st.sampled_from([DEPLOYMENTS, SERVICES]), version=VERSIONS, fault=ANY)
    def so_it_is_while_no_decision_can_be_recorded(self, resource: Resource, version: str, fault: str) -> None:
        self.ends.append(refuse(self.world, fault, lambda call: call.resource is CONTROLLER_REVISIONS))
        self.world.edit(model=model(version))
        self.what_serves_is_deleted_and_made_again_whatever_else_is_refused(resource=resource)

    def undoable(self) -> str:
        return "" if self.refusing or self.ends else super().undoable()

    @property
    def champion(self) -> str:
        """Whom the records name; there is one."""
        found = self.watching.champion()
        assert found is not None
        return str(found["metadata"]["name"])

    def status_says_only_what_was_written(self, call: Call) -> None:
        """No champion, candidate or outcome that no record has, and no command that is done in none.

        What a watch has not told of yet may still be said although it is so no more; and history names what this very
        pass has deleted.
        """
        if call.resource is not MODEL_DEPLOYMENTS:
            return
        late = any(self.world.lag.values())
        self.said.hear(self.world.api.streams[CONTROLLER_REVISIONS])
        known = self.said.ever if late else self.said.now
        roles = (("champion", "Promoted"), ("candidate", ""))
        told = [(call.body[role]["revision"], outcome) for role, outcome in roles if role in call.body]
        for one in told:
            assert one in known, f"status says {one}, no record does: {self.world.describe()}"
        for entry in call.body.get("history", []):
            assert (entry["revision"], entry["outcome"]) in self.said.ever, f"{entry} is recorded nowhere"
        last = call.body.get("lastCommand") or {}
        if last.get("result") in ("Done", "Accepted"):
            assert (last["value"], last["result"]) in self.said.commands, f"{last} is recorded nowhere"

    def teardown(self) -> None:
        """Nothing is refused any more, and it comes to the same rest as if nothing had been."""
        self.end()
        super().teardown()

    def end(self) -> None:
        """Nothing is refused any more."""
        while self.refusing:
            self.refusing.pop().end()
        while self.ends:
            self.ends.pop()()


class Said:
    """What records have said: (revision, outcome), and (command, result)."""

    def __init__(self) -> None:
        self.now: set[tuple[str, str]] = set()
        self.ever: set[tuple[str, str]] = set()
        self.commands: set[tuple[str, str]] = set()
        self._heard = 0

    def hear(self, stream: list[Any]) -> None:
        """Take in what has been written since the last time."""
        for one in stream[self._heard :]:
            meta: Object = one.obj["metadata"]
            marks = meta.get("annotations") or {}
            self.now = {found for found in self.now if found[0] != meta["name"]}
            said = (meta["name"], marks.get(names.ANNOTATION_OUTCOME, ""))
            self.ever.add(said)
            if one.type != "DELETED":
                self.now.add(said)
            command = json.loads(marks.get(names.ANNOTATION_COMMAND, "{}"))
            self.commands.add((command.get("value", ""), command.get("result", "")))
        self._heard = len(stream)


Refused.TestCase.settings = drawing(60)


class TestRefused(Refused.TestCase):  # type: ignore[name-defined,misc]
    """pytest collects it from here."""
