"""What a router is to the planner: what a Split needs to be written, and what tells whether it is applied. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from podium.api.v1alpha1 import Traffic as Settings
from podium.kube.client import Object
from podium.manifests.owner import Owner
from podium.reconcile.writes import Place, Write
from podium.rollout.moment import Moment
from podium.rollout.traffic import Split, Traffic
from podium.router.said import Said


@dataclass(frozen=True)
class RouterPod:
    """One router of the namespace, and what it said last."""

    name: str
    ready: bool
    terminating: bool
    said: Said | None
    """None for one that has not answered: it has just started, this operator has, or a NetworkPolicy is in the way."""


@dataclass(frozen=True)
class Seen:
    """What a router's answer is read from."""

    name: str
    """Of the ModelDeployment, and of its stable Service."""
    slices: Sequence[Object]
    """EndpointSlices with its label."""
    pods: Sequence[Object]
    service: Object | None = None
    """The stable Service as it is."""
    config_map: Object | None = None
    """What the routers are told, as it is."""
    routers: Sequence[RouterPod] = ()
    idle: frozenset[str] = frozenset()
    """Revisions that are to have no pods: there is nobody to reach."""
    refused: str = ""
    """Why the cluster takes no further pod of the routers' Deployment; empty if it does."""


@dataclass(frozen=True)
class Ask:
    """What the objects of a router follow from."""

    owner: Owner
    split: Split
    ports: Mapping[str, Mapping[str, int]]
    """By revision and name."""
    lead: str
    """The revision whose ports callers see: the champion, else the candidate."""
    settings: Settings
    """spec.traffic."""
    moment: Moment
    seen: Seen
    traffic: Traffic
    """As read from `seen`."""
    known: Sequence[str] = ()
    """Revisions that have pods, or are to have some, the newest first."""
    capacity: Mapping[str, int] = field(default_factory=dict)
    """Ready pods by revision."""
    rejected: frozenset[str] = frozenset()
    """Revisions that were rolled back."""
    port: int | None = None
    """The ModelDeployment's listener; None where no router needs one."""
    refused: Mapping[Place, datetime] = field(default_factory=dict)
    """Writes that were refused at the last pass, and since when."""
    unreachable: bool = False
    """Whether something about the routers has not been as it should be for a while."""
    live: Mapping[Place, Object] = field(default_factory=dict)
    """Children as they are."""
    drain: timedelta = timedelta(0)
    """How long a router waits for callers that it has asked to leave."""


class Router(Protocol):
    """Moves requests between the revisions of a ModelDeployment."""

    exact: bool
    """Whether it keeps the weights of a Split as they are; else the numbers of pods make the shares."""

    def writes(self, ask: Ask) -> Iterator[Write]:
        """The objects that the split needs, and the removal of those of other routers."""
        ...

    def traffic(self, seen: Seen) -> Traffic:
        """Where requests go now."""
        ...
