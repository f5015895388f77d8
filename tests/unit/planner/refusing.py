"""An API server that refuses: the n-th write once, or every write like it from then on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from podium.kube.client import ApiError, Object
from podium.kube.resources import MODEL_DEPLOYMENTS, Resource
from tests.unit.planner.apiserver import Call
from tests.unit.planner.world import NAMESPACE, World

FAULTS: dict[str, Callable[[], ApiError]] = {
    "no right": lambda: ApiError(
        403,
        "Forbidden",
        'x is forbidden: User "system:serviceaccount:podium" cannot patch resource "x"',
    ),
    "a policy": lambda: ApiError(403, "Forbidden", 'admission webhook "policy" denied the request: not that image'),
    "not found": lambda: ApiError(404, "NotFound", "not found"),
    "conflict": lambda: ApiError(409, "Conflict", "the object has been modified"),
    "invalid": lambda: ApiError(422, "Invalid", "spec: Invalid value"),
    "too many requests": lambda: ApiError(429, "TooManyRequests", "slow down", retry_after=1.0),
    "webhook": lambda: ApiError(500, "InternalError", "Internal error occurred: failed calling webhook: no endpoints"),
    "time-out": lambda: ApiError(0, "Timeout", "PATCH: no answer within 8 s"),
}


@dataclass
class Refusing:
    """Refuses the n-th write of children from now on; with `lasting` all later ones of its verb and object, too.

    With `made` it is carried out all the same: what fails is its answer.
    """

    world: World
    nth: int
    fault: str
    lasting: bool
    made: bool = False
    of_status: bool = False
    """Whether writes of status are meant, and not those of children."""
    refused: list[Call] = field(default_factory=list)
    count: int = 0
    idle: list[Call] = field(default_factory=list)
    """Writes of children that changed nothing."""
    before: int = 0
    """Changes before the write that is being made."""

    def __post_init__(self) -> None:
        self.world.client.before.append(self.note)
        self.world.client.after.append(self.compare)
        self.hooks = self.world.client.after if self.made else self.world.client.before
        # What is refused is seen by no other hook; what is made is seen by all before its answer is lost.
        self.hooks.insert(len(self.hooks) if self.made else 0, self.judge)

    def note(self, call: Call) -> None:
        self.before = self.changes

    def compare(self, call: Call) -> None:
        if call.resource is not MODEL_DEPLOYMENTS and self.before == self.changes:
            self.idle.append(call)

    @property
    def changes(self) -> int:
        """How many there have been of children."""
        return sum(
            len(stream) for resource, stream in self.world.api.streams.items() if resource is not MODEL_DEPLOYMENTS
        )

    def judge(self, call: Call) -> None:
        if (call.resource is MODEL_DEPLOYMENTS) is not self.of_status:
            return
        self.count += 1
        first = not self.refused and self.is_due()
        again = self.lasting and self.refused and self.place == (call.verb, call.resource, call.name)
        if first or again:
            self.refused.append(call)
            raise FAULTS[self.fault]()

    def is_due(self) -> bool:
        """Whether the first refusal is that of this write."""
        return self.count == self.nth

    @property
    def place(self) -> tuple[str, Resource, str]:
        """Verb, kind and name of what is refused."""
        return self.refused[0].verb, self.refused[0].resource, self.refused[0].name

    def end(self) -> None:
        """It refuses no more."""
        self.hooks.remove(self.judge)
        self.world.client.before.remove(self.note)
        self.world.client.after.remove(self.compare)


def refuse(
    world: World, fault: str, which: Callable[[Call], bool], *, of_status: bool = False
) -> Callable[[], list[Call]]:
    """Refuse these writes, of children or of status, until the answer is called; that answers which were refused."""
    refused: list[Call] = []

    def judge(call: Call) -> None:
        if (call.resource is MODEL_DEPLOYMENTS) is of_status and which(call):
            refused.append(call)
            raise FAULTS[fault]()

    def end() -> list[Call]:
        world.client.before.remove(judge)
        return refused

    world.client.before.insert(0, judge)
    return end


def lose_answer(world: World, which: Callable[[Call], bool]) -> list[Call]:
    """The first such write is made, and its answer does not come; answers the list that it will be in."""
    lost: list[Call] = []

    def lose(call: Call) -> None:
        if not lost and which(call):
            lost.append(call)
            raise FAULTS["time-out"]()

    world.client.after.append(lose)
    return lost


def foreign(world: World, kind: str, api_version: str, name: str, **spec: Any) -> Object:
    """An object that somebody else made under a name of ours."""
    meta = {"name": name, "namespace": NAMESPACE}
    return world.api.create({"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": spec}, "helm")
