"""What a router knows of its namespace: the last good routing of each ModelDeployment, and the pods."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from podium.router.endpoints import GRPC, HTTP, Endpoint, endpoints_of
from podium.router.routing import Routing, RoutingError

KEY: Final = "routing.json"
"""Of a ConfigMap's data."""
SUFFIX: Final = "-router"
"""The ConfigMap of the ModelDeployment `fraud` is called `fraud-router`. A copy under another name moves nothing."""
OWNER_GROUP, OWNER_KIND = "podium.dev/", "ModelDeployment"
LOST: Final = "no ModelDeployment of its name controls it any more; what it said before is in force"
LINGER_SECONDS: Final = 600.0
"""How long a routing stays whose ConfigMap is gone: a person may have taken it away, and the stable Service still leads
here until the operator writes it again. It is no longer than a freed port rests."""
SERVICE_LABEL: Final = "kubernetes.io/service-name"

Object = Mapping[str, Any]


@dataclass
class State:
    """Goes from list to list; a ConfigMap that cannot be used, or is gone, leaves what was good before it.

    One that is gone does so for LINGER_SECONDS, and only while nobody else is told to listen at its port.
    """

    clock: Callable[[], float]
    routings: dict[str, tuple[str, Routing]] = field(default_factory=dict)
    """By ConfigMap: the text that was understood last, and what it says."""
    refused: dict[str, str] = field(default_factory=dict)
    """By ConfigMap: why its present text is not used."""
    foreign: frozenset[str] = frozenset()
    """ConfigMaps with our label that no ModelDeployment of their name controls: nothing is taken from them."""
    _gone: dict[str, float] = field(default_factory=dict)
    """By ConfigMap that is gone and whose routing stays: since when, by the clock."""

    @classmethod
    def remembered(cls, texts: Mapping[str, str], clock: Callable[[], float]) -> Self:
        """What an earlier agent of this router understood last, by ConfigMap; what this one would not is left out."""
        state = cls(clock)
        state._read(texts)
        state.refused = {}
        return state

    def texts(self) -> dict[str, str]:
        """By ConfigMap the text that was understood last: what `remembered` takes."""
        return {name: text for name, (text, _) in self.routings.items()}

    def missing(self) -> list[str]:
        """Why a ModelDeployment's listener is not known at all, a sentence each: such a router can replace no other."""
        return [why for name, why in self.refused.items() if name.endswith(SUFFIX) and name not in self.routings]

    def take(self, config_maps: Iterable[Object]) -> None:
        """All ConfigMaps of the routers, as they are now."""
        found = {each["metadata"]["name"]: each for each in config_maps}
        foreign = {name for name, each in found.items() if not _is_ours(name, each)}
        # One that was ours serves on as it was: whoever takes its owner away takes nothing from its callers.
        texts = {name: (found[name].get("data") or {}).get(KEY, "") for name in found.keys() - foreign}
        self._read(texts, foreign & self.routings.keys())
        self.foreign = frozenset(foreign)

    def _read(self, texts: Mapping[str, str], lost: Collection[str] = ()) -> None:
        self._let_go({*texts, *lost})
        self.refused = {name: f"ConfigMap {name}: {LOST}" for name in lost}
        for name, text in sorted(texts.items()):
            known = self.routings.get(name)
            if known is not None and known[0] == text:
                continue
            try:
                routing = Routing.read(text)
                self._apart(name, routing)
            except RoutingError as error:
                self.refused[name] = f"ConfigMap {name}, {KEY}: {error}"
            else:
                self._make_room(routing.port)
                self.routings[name] = (text, routing)

    def _let_go(self, there: Collection[str]) -> None:
        """Forget the routings whose ConfigMaps have been gone for long enough."""
        now = self.clock()
        self._gone = {name: self._gone.get(name, now) for name in self.routings if name not in there}
        for name, since in list(self._gone.items()):
            if now - since >= LINGER_SECONDS:
                del self.routings[name], self._gone[name]

    def _make_room(self, port: int) -> None:
        """Somebody is told to listen there: whose ConfigMap is gone has it no longer."""
        for name in [each for each in self._gone if self.routings[each][1].port == port]:
            del self.routings[name], self._gone[name]

    def next_look(self) -> float | None:
        """In how many seconds a routing whose ConfigMap is gone may go; None: there is none."""
        now = self.clock()
        return min((max(0.0, since + LINGER_SECONDS - now) for since in self._gone.values()), default=None)

    def _apart(self, name: str, routing: Routing) -> None:
        """Two listeners on one port would answer each other's callers; two of one name are one to Envoy."""
        if name != f"{routing.model}{SUFFIX}":
            raise RoutingError(f"model {routing.model} is told of in ConfigMap {routing.model}{SUFFIX} alone")
        for other, (_, known) in self.routings.items():
            if other == name or other in self._gone:
                continue
            if known.port == routing.port:
                raise RoutingError(f"port {routing.port} is that of ConfigMap {other} already")

    def wanted(self) -> list[Routing]:
        """In the order of the ModelDeployments' names."""
        return sorted((routing for _, routing in self.routings.values()), key=lambda routing: routing.model)


def _is_ours(name: str, config_map: Object) -> bool:
    """Whether the operator may have written it: for the ModelDeployment that it is named after."""
    return any(
        each.get("controller") is True
        and each.get("kind") == OWNER_KIND
        and str(each.get("apiVersion")).startswith(OWNER_GROUP)
        and f"{each.get('name')}{SUFFIX}" == name
        for each in config_map["metadata"].get("ownerReferences") or []
    )


def pods_of(routings: Iterable[Routing], slices: Iterable[Object]) -> dict[tuple[str, str], tuple[Endpoint, ...]]:
    """By revision and port, for every revision that a routing names; `grpc` only where its Service has such a port."""
    by_service: dict[str, list[Object]] = {}
    for piece in slices:
        by_service.setdefault((piece["metadata"].get("labels") or {}).get(SERVICE_LABEL, ""), []).append(piece)
    found: dict[tuple[str, str], tuple[Endpoint, ...]] = {}
    for routing in routings:
        for share in routing.split:
            pieces = by_service.get(share.revision, [])
            found[share.revision, HTTP] = endpoints_of(pieces, HTTP)
            if any(port.get("name") == GRPC for piece in pieces for port in piece.get("ports") or []):
                found[share.revision, GRPC] = endpoints_of(pieces, GRPC)
    return found
