"""Objects made from a CRD's own schema: one that holds a given field, right or wrong, and is otherwise valid.

A place is a tuple of steps: a property's name, "[]" for a list's items, "{}" for a map's values.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from podium.api.rules import ENV_SOURCES, PROBE_HANDLERS, VOLUME_KINDS
from tests.integration.crd_cases import CASES, SAMPLES

Schema = dict[str, Any]
Place = tuple[str, ...]
KEY = "key"
ONE_OF = (VOLUME_KINDS, ENV_SOURCES, PROBE_HANDLERS)
"""Of each of these sets an object holds one."""

RULED = (("[]",), ("{}",), ("valueFrom",), ("readiness",), ("startup",), ("liveness",))
"""Objects at such places are right only as their rules want it; elsewhere what is required will do."""


@dataclass(frozen=True)
class Violation:
    """`value` at `place` breaks `keyword`; the API server must say so at `field`."""

    keyword: str
    place: Place
    value: Any
    field: str


def places(schema: Schema, place: Place = ()) -> Iterator[tuple[Place, Schema]]:
    """Every place below `schema` with its schema, `schema` itself first."""
    yield place, schema
    for name, part in schema.get("properties", {}).items():
        yield from places(part, (*place, name))
    if "items" in schema:
        yield from places(schema["items"], (*place, "[]"))
    if "additionalProperties" in schema:
        yield from places(schema["additionalProperties"], (*place, "{}"))


def dotted(place: Place) -> str:
    """The place as the API server writes it, of the first item and of the key KEY."""
    return ".".join(KEY if step == "{}" else step for step in place).replace(".[]", "[0]")


def at(schema: Schema, place: Place) -> Schema:
    """The schema at `place`."""
    for step in place:
        match step:
            case "[]":
                schema = schema["items"]
            case "{}":
                schema = schema["additionalProperties"]
            case _:
                schema = schema["properties"][step]
    return schema


def sample(schema: Schema, place: Place) -> Any:
    """A small value that is valid at `place`, with what is required and no more."""
    if place in SAMPLES:
        return SAMPLES[place]
    if schema.get("x-kubernetes-validations") and (schema.get("type") != "object" or place[-1:] in RULED):
        return CASES[schema["x-kubernetes-validations"][0]["message"]].good
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("x-kubernetes-int-or-string"):
        return 1
    match schema["type"]:
        case "string":
            return (
                "2026-01-01T00:00:00Z"
                if schema.get("format") == "date-time"
                else "x" * max(1, schema.get("minLength", 1))
            )
        case "integer":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return []
    required = schema.get("required", [])
    return {name: sample(schema["properties"][name], (*place, name)) for name in required}


def build(schema: Schema, place: Place, value: Any) -> Any:
    """An object with `value` at `place`; what is around it is as small as valid."""
    for depth in range(len(place) - 1, -1, -1):
        parent, step = place[:depth], place[depth]
        if step == "[]":
            value = [value]
        elif step == "{}":
            value = {KEY: value}
        else:
            around = sample(at(schema, parent), parent)
            around = dict(around) if isinstance(around, dict) else {}
            for choice in ONE_OF:
                if step in choice:
                    around = {name: part for name, part in around.items() if name not in choice}
            value = _complete(parent, around | {step: value}, step)
    return value


def _complete(parent: Place, obj: dict[str, Any], step: str) -> dict[str, Any]:
    """What a rule wants beside the property `step`."""
    match parent:
        case ("spec",) if step == "rollout" and _metrics(obj):
            return {"traffic": {"router": "Envoy"}} | obj
        case ("spec", "rollout") if step == "analysis" and _metrics({"rollout": obj}):
            return {"strategy": "Canary"} | obj
        case ("spec", "rollout", "analysis", "metrics", "[]") if step == "threshold":
            return obj | {"type": "Latency"}
        case ("spec", "podTemplate") if step == "volumeMounts" and isinstance(obj[step], list):
            names = {
                mount["name"] for mount in obj[step] if isinstance(mount, dict) and isinstance(mount.get("name"), str)
            }
            return {"volumes": [{"name": name, "emptyDir": {}} for name in sorted(names)]} | obj
        case ("spec", "rollout") if step == "progressDeadline":
            return {"minReadySeconds": 0} | obj
        case ("spec", "traffic") if step != "router":
            return {"router": "Envoy"} | obj
        case ("spec", "model") if step in ("sha256", "credentialsSecret"):
            return {"uri": "s3://models/fraud"} | obj
        case _:
            return obj


def _metrics(spec: dict[str, Any]) -> bool:
    """Whether a spec names metrics, which only a Canary with routers can have."""
    analysis = spec["rollout"].get("analysis") if isinstance(spec["rollout"], dict) else None
    return isinstance(analysis, dict) and bool(analysis.get("metrics"))


def violations(schema: Schema, place: Place, node: Schema) -> Iterator[Violation]:
    """One wrong value for each constraint of `node`, the schema at `place`; CEL rules aside."""
    field = dotted(place)
    limits = {keyword: node[keyword] for keyword in LIMITED if keyword in node}
    for keyword, limit in limits.items():
        if keyword == "minLength" and limit == 0:
            raise AssertionError(f"{field}: a minLength of 0 constrains nothing")
        yield Violation(keyword, place, LIMITED[keyword](limit), field)
    yield Violation("type", place, _other_type(node), field)
    if node.get("format") == "date-time":
        yield Violation("format", place, "yesterday", field)
    if "maxItems" in node:
        yield Violation("maxItems", place, _many(schema, place, node), field)
    if "maxProperties" in node:
        inner = sample(node["additionalProperties"], (*place, "{}"))
        yield Violation("maxProperties", place, {f"k{n}": inner for n in range(node["maxProperties"] + 1)}, field)
    for name in node.get("required", []):
        whole = sample(node, place)
        yield Violation("required", place, {key: part for key, part in whole.items() if key != name}, f"{field}.{name}")
    if node.get("x-kubernetes-list-type") in ("set", "map"):
        item = sample(node["items"], (*place, "[]"))
        yield Violation("x-kubernetes-list-type", place, [item, item], f"{field}[1]")


LIMITED: dict[str, Callable[[Any], Any]] = {
    "maxLength": lambda limit: "x" * (limit + 1),
    "minLength": lambda limit: "x" * (limit - 1),
    "minimum": lambda limit: limit - 1,
    "maximum": lambda limit: limit + 1,
    "enum": lambda _: "NoSuchValue",
    "pattern": lambda _: "-?-",
}
"""Keyword -> a value that breaks it, from the keyword's own value."""
HANDLED = {*LIMITED, "type", "format", "maxItems", "maxProperties", "required", "x-kubernetes-list-type"}
NO_CONSTRAINTS = {
    "description",
    "default",
    "properties",
    "items",
    "additionalProperties",
    "x-kubernetes-int-or-string",  # stands for the type, which is broken as such
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
}


def _other_type(node: Schema) -> Any:
    if node.get("x-kubernetes-int-or-string"):
        return True
    return 7 if node["type"] == "string" else "text"


def _many(schema: Schema, place: Place, node: Schema) -> list[Any]:
    """One item too many, each unlike the others where the list wants that."""
    item = sample(node["items"], (*place, "[]"))
    count = node["maxItems"] + 1
    if keys := node.get("x-kubernetes-list-map-keys"):
        return [item | {keys[0]: f"{item[keys[0]]}{n}"} for n in range(count)]
    if node.get("x-kubernetes-list-type") == "set":
        return [n if isinstance(item, int) else f"{item}{n}" for n in range(count)]
    return [item] * count
