"""The same calls on the planner's simulated API server and on a real one; each answer is compared.

Compared is what the simulated one claims: refusals (status and reason), every field that one of the calls has written
or that the simulated one has filled in, who owns the fields that were written, and whether uid, resourceVersion and
generation go on alike. Real objects have more fields, and so have the elements of their lists: these are not claimed.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from podium.kube.client import ApiError, KubeClient, Object
from podium.kube.resources import Resource, resource_of
from tests.unit.planner.apiserver import GENERATED, OWNERS, UPDATES, Path, leaves, lookup

Place = tuple[Resource, str]
ANOTHER: Final = "00000000-0000-0000-0000-000000000000"
"""A uid that no object has."""
COUNTED: Final = frozenset({("metadata", one) for one in ("generation", "resourceVersion", "uid")})
TIMES: Final = frozenset({("metadata", "creationTimestamp"), ("metadata", "deletionTimestamp")})
ADDRESS: Final = ("spec", "clusterIP")


@dataclass
class Side:
    """One of the two API servers, and what it has answered."""

    client: KubeClient
    first: dict[Place, Object] = field(default_factory=dict)
    last: dict[Place, Object] = field(default_factory=dict)

    async def call(self, act: Callable[["Side"], Awaitable[Object | None]]) -> Object | str | None:
        """The answer, or a refusal as text."""
        try:
            return await act(self)
        except ApiError as error:
            return f"{error.status} {error.reason}" + (" of another" if error.another else "")

    def note(self, place: Place, answer: Object | None) -> tuple[bool, bool]:
        """Keep an answer; says whether it is the same object as before, and whether it is another version of it."""
        before = self.last.get(place)
        if answer is None:
            self.first.pop(place, None)
            self.last.pop(place, None)
            return before is None, before is not None
        self.first.setdefault(place, answer)
        self.last[place] = answer
        if before is None:
            return False, True
        meta, old = answer["metadata"], before["metadata"]
        return meta["uid"] == old["uid"], meta["resourceVersion"] != old["resourceVersion"]


@dataclass
class Both:
    """Plays calls; AssertionError names the call after which the two differ, and how."""

    fake: Side
    real: Side
    namespace: str
    written: dict[Place, set[Path]] = field(default_factory=dict)
    played: list[str] = field(default_factory=list)

    async def create(self, obj: Object) -> str:
        """POST."""
        obj = self._here(obj)
        return await self._play(f"create {obj}", _place(obj), lambda side: side.client.create(obj), obj)

    async def apply(self, obj: Object, manager: str = "podium", *, uid: str = "") -> str:
        """Server-side apply with force. `uid`: `last` for that of the last answer, another text for itself."""
        obj = self._here(obj)

        async def act(side: Side) -> Object:
            known = side.last.get(_place(obj), {"metadata": {}})["metadata"].get("uid") if uid == "last" else uid
            meant = {**obj, "metadata": {**obj["metadata"], **({"uid": known} if known else {})}}
            return await side.client.apply(meant, manager=manager)

        return await self._play(f"apply {obj} as {manager} {uid}", _place(obj), act, obj)

    async def annotate(self, place: Place, annotations: dict[str, str | None], *, version: str = "") -> str:
        """`version`: that of the `first` or the `last` answer, or none."""

        async def act(side: Side) -> Object:
            known = {"first": side.first, "last": side.last}.get(version, {})
            number = known[place]["metadata"]["resourceVersion"] if place in known else None
            return await side.client.annotate(*self._where(place), annotations, resource_version=number)

        content = {"metadata": {"annotations": annotations}}
        return await self._play(f"annotate {_show(place)} {annotations} of {version}", place, act, content)

    async def merge(self, place: Place, patch: Object) -> str:
        """JSON merge patch."""
        call = f"merge {_show(place)} {patch}"
        return await self._play(call, place, lambda side: side.client.merge(*self._where(place), patch), patch)

    async def status(self, place: Place, status: Object, *, version: str = "last") -> str:
        """Status, by the `first` or the `last` answer."""

        async def act(side: Side) -> Object:
            known = {"first": side.first, "last": side.last}[version]
            return await side.client.write_status(place[0], known[place], status)

        return await self._play(f"status {_show(place)} {status} of {version}", place, act, {"status": status})

    async def delete(self, place: Place, *, uid: str = "", propagation: str = "Background") -> str:
        """`uid`: `last` for that of the last answer, another text for itself."""

        async def act(side: Side) -> None:
            known = side.last[place]["metadata"]["uid"] if uid == "last" else uid
            await side.client.delete(*self._where(place), uid=known or None, propagation=propagation)

        return await self._play(f"delete {_show(place)} {uid} {propagation}", place, act, {})

    async def _play(
        self, call: str, place: Place, act: Callable[[Side], Awaitable[Object | None]], content: Object
    ) -> str:
        """Answers the refusal, on which both agree; empty without one."""
        self.played.append(call)
        self.written.setdefault(place, set()).update(_paths(content))
        fake, real = await self.fake.call(act), await self.real.call(act)
        self._same("refusal", *(one if isinstance(one, str) else "" for one in (fake, real)))
        # What a write answers is what a reader sees.
        seen, live = await self.fake.client.get(*self._where(place)), await self.real.client.get(*self._where(place))
        self._same("is there", seen is not None, live is not None)
        self._same("same uid, other version", self.fake.note(place, seen), self.real.note(place, live))
        if seen is not None and live is not None:
            self._compare(place, seen, live)
            for answer, found in ((fake, seen), (real, live)):
                if isinstance(answer, dict):
                    versions = [one["metadata"]["resourceVersion"] for one in (answer, found)]
                    self._same("the answer and what a reader sees", *versions)
        return fake if isinstance(fake, str) else ""

    def _compare(self, place: Place, fake: Object, real: Object) -> None:
        if place[0] in GENERATED:
            self._same("generation", fake["metadata"]["generation"], real["metadata"]["generation"])
        claimed = self.written[place] | leaves(fake).keys()
        for path in sorted(claimed - COUNTED, key=str):
            if path[:2] == ("metadata", "managedFields"):
                continue
            said, live = lookup(fake, path), lookup(real, path)
            if path in TIMES or path == ADDRESS:
                said, live = said is not None, live is not None
            self._same(".".join(path), _claim(said), _reduced(live, said))
        mine = {path for path in self.written[place] if path[0] != "status" and path[:2] != OWNERS}
        for path in sorted(mine, key=str):
            self._same(f"owners of {'.'.join(path)}", _owners(fake, path), _owners(real, path))

    def _here(self, obj: Object) -> Object:
        return {**obj, "metadata": {**obj["metadata"], "namespace": self.namespace}}

    def _where(self, place: Place) -> tuple[Resource, str, str]:
        return place[0], self.namespace, place[1]

    def _same(self, what: str, fake: Any, real: Any) -> None:
        assert fake == real, "\n".join([f"{what}: simulated {fake!r}, real {real!r}, after", *self.played[-12:]])


def _place(obj: Object) -> Place:
    return resource_of(obj), str(obj["metadata"]["name"])


def _paths(content: Object) -> set[Path]:
    """The fields that a call writes or, by null, removes."""
    meta = content.get("metadata") or {}
    if meta.get("ownerReferences", ()) is None:
        content = {**content, "metadata": {key: value for key, value in meta.items() if key != "ownerReferences"}}
    return {path for path in leaves(content) if path} - COUNTED


def _show(place: Place) -> str:
    return f"{place[0].kind} {place[1]}"


def _claim(value: Any) -> Any:
    """An empty map is none."""
    return None if value == {} else value


def _reduced(real: Any, claimed: Any) -> Any:
    """The real value without what is not claimed: further keys of maps, in lists too."""
    if isinstance(claimed, dict) and isinstance(real, dict):
        return _claim({key: _reduced(value, claimed[key]) for key, value in real.items() if key in claimed})
    if isinstance(claimed, list) and isinstance(real, list) and len(claimed) == len(real):
        return [_reduced(value, one) for value, one in zip(real, claimed, strict=True)]
    return _claim(real)


def _owners(obj: Object, path: Path) -> set[str]:
    """The managers of a field; a POST or a PATCH makes another manager than an apply by the same name."""
    found = set()
    for entry in obj["metadata"].get("managedFields") or []:
        if entry.get("subresource"):
            continue
        fields: Any = entry["fieldsV1"]
        for key in path:
            fields = fields.get(f"f:{key}") if isinstance(fields, dict) else None
        if fields is not None:
            updates = entry.get("operation") == "Update"
            found.add(UPDATES if updates else entry["manager"])
    return found
