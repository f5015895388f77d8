"""Whether a child has to be applied again: what was asked for, against what the API server made of it.

After each apply the answer's values of our own fields are remembered. A mutating webhook's changes are in that
answer, so they are accepted; only what changes later is drift.
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from podium.manifests.canonical import digest
from podium.packed import Packed, pack, unpacked

MERGE_KEYS = ("name", "mountPath", "containerPort", "port", "topologyKey", "key", "type", "uid")
"""Fields that tell the items of a list of objects apart, as in Kubernetes' own list-map keys."""
ATOMIC = frozenset({"selector"})
"""Maps that the API server takes as a whole (x-kubernetes-map-type: atomic): a key that another adds is drift."""
COMPARED = ("generation", "labels", "annotations", "ownerReferences", "uid")
_ABSENT = object()


def project(live: Any, desired: Any) -> Any:
    """The part of `live` that `desired` speaks of, in its shape; where they are equal, `desired` itself."""
    if live == desired:
        return desired
    live = unpacked(live)
    if isinstance(desired, Packed):
        return pack(project(live, desired.unpack()))
    if isinstance(desired, dict):
        if not isinstance(live, dict):
            return live
        found = {}
        for key, value in desired.items():
            got = live.get(key)
            # Most are equal, and then there is nothing to look into. An empty text the API server leaves out.
            same = got == value or (got is None and value == "")
            found[key] = value if same else got if key in ATOMIC else project(got, value)
        return found
    if isinstance(desired, list) and isinstance(live, list):
        key = _merge_key(desired)
        if key is not None and all(isinstance(item, dict) for item in live):
            by_key = {item.get(key): item for item in live}
            return [project(by_key.get(item[key]), item) for item in desired]
    return live


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Paths at which two projections differ; a map that is taken as a whole is one field."""
    before, after = unpacked(before), unpacked(after)
    if isinstance(before, dict) and isinstance(after, dict) and _last(path) not in ATOMIC:
        for key in before.keys() | after.keys():
            yield from differences(before.get(key, _ABSENT), after.get(key, _ABSENT), _join(path, key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from differences(old, new, f"{path}[{index}]")
    elif before != after:
        yield path


def conceded(before: Any, after: Any, fields: Collection[str], path: str = "") -> Any:
    """The projection `before`, but as in `after` at those of its differences that are in `fields`."""
    if path in fields:
        return after
    before, after = unpacked(before), unpacked(after)
    if isinstance(before, dict) and isinstance(after, dict) and _last(path) not in ATOMIC:
        merged = {key: conceded(value, after.get(key), fields, _join(path, key)) for key, value in before.items()}
        return {key: value for key, value in merged.items() if value is not None}
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        items = [conceded(old, new, fields, f"{path}[{index}]") for index, (old, new) in pairs]
        return [item for item in items if item is not None]
    return before


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def managers(live: dict[str, Any], fields: list[str], ours: tuple[str, ...]) -> list[str]:
    """The field managers, but ours, that hold one of these fields according to metadata.managedFields."""
    found = {
        entry["manager"]
        for entry in live.get("metadata", {}).get("managedFields") or []
        if entry.get("manager") not in ours and any(_holds(entry.get("fieldsV1") or {}, path) for path in fields)
    }
    return sorted(found)


def _holds(tree: Any, path: str) -> bool:
    """By the first two names of the path. The second may have dots in it: a ConfigMap's `data.routing.json`."""
    top, _, rest = path.partition(".")
    below = tree.get(f"f:{top.partition('[')[0]}")
    if below is None or not rest:
        return below is not None
    held = (key.removeprefix("f:") for key in below)
    return any(rest == name or rest.startswith((f"{name}.", f"{name}[")) for name in held)


def _merge_key(items: list[Any]) -> str | None:
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    return next((key for key in MERGE_KEYS if all(key in item for item in items)), None)


def sighting(live: dict[str, Any]) -> tuple[str, str, str]:
    """What `Memory.seen` keeps: a whole object would stay in memory beside the newer one in the cache."""
    meta = live["metadata"]
    compared = digest([meta.get(field) for field in COMPARED])
    return str(meta.get("resourceVersion")), compared, str(meta.get("uid"))


@dataclass(slots=True)
class Memory:
    """What was last applied to one child, and how often each of its fields had to be repaired."""

    applied: str
    """Of what was applied."""
    made: Any
    """The API server's values of our own fields, as it answered; None where they are what was applied."""
    seen: tuple[str, str, str]
    """resourceVersion of the live object that last agreed with it, digest of what tells a change but of status, uid."""
    repairs: dict[str, deque[float]] = field(default_factory=dict)
    rivals: str = ""
    """Who changes it back, once that has been looked up."""
    handed: int | None = None
    """`replicas` as last handed over to another field manager; None if it was not handed over."""

    def unchanged(self, live: dict[str, Any]) -> bool:
        """Whether nothing but status can have changed since `seen`: generation counts every change of spec."""
        version, compared, _ = self.seen
        meta = live["metadata"]
        return version == meta.get("resourceVersion") or ("generation" in meta and compared == sighting(live)[1])

    @property
    def uid(self) -> str:
        """Of the object that it was applied to."""
        return self.seen[2]

    def is_of(self, live: dict[str, Any]) -> bool:
        """Whether it is the same object: what was made anew, or restored, has not drifted from what it never was."""
        return self.uid == str(live["metadata"].get("uid"))

    def repaired(self, fields: list[str], at: float, window: float) -> int:
        """Count one more repair of each field at `at` (seconds); the most that any had within the window."""
        most = 0
        for name in fields:
            times = self.repairs.setdefault(name, deque())
            times.append(at)
            while times and times[0] <= at - window:
                times.popleft()
            most = max(most, len(times))
        return most

    def contested(self, fields: list[str], at: float, window: float, limit: int) -> list[str]:
        """Those of these fields that have been repaired `limit` times within the window."""
        return [name for name in fields if sum(1 for t in self.repairs.get(name, ()) if t > at - window) >= limit]
