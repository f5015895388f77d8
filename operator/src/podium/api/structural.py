"""From pydantic's JSON schema to the structural schema that a CRD holds."""

import copy
from typing import Final

from podium.api.base import ApiModel
from podium.api.schema import VALIDATIONS, JsonSchema

REFERENCE: Final = "#/$defs/"
ORDER: Final = (
    "description",
    "type",
    "format",
    "x-kubernetes-int-or-string",
    "default",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "maxItems",
    "maxProperties",
    "required",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    VALIDATIONS,
    "items",
    "additionalProperties",
    "properties",
)


def structural(model: type[ApiModel]) -> JsonSchema:
    """The schema of `model` as Kubernetes wants it: nothing referred to, no unions with null, keys in a fixed order."""
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}))


def _convert(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    schema = _flatten(schema, definitions)
    out: JsonSchema = {}
    for key, value in schema.items():
        match key:
            case "properties":
                out[key] = {name: _convert(part, definitions) for name, part in value.items()}
            case "items" | "additionalProperties":
                out[key] = _convert(value, definitions)
            case "const":
                out["enum"] = [value]
            case "title" | "$defs":
                continue
            case _:
                out[key] = copy.deepcopy(value)
    _default(out)
    unknown = set(out) - set(ORDER)
    if unknown:
        raise ValueError(f"no place in a CRD for the keyword {', '.join(sorted(unknown))}: {out}")
    return {key: out[key] for key in ORDER if key in out}


def _flatten(schema: JsonSchema, definitions: dict[str, JsonSchema]) -> JsonSchema:
    """References and `anyOf: [X, null]` replaced by what they stand for; what stands beside them wins."""
    while True:
        if "$ref" in schema:
            target = definitions[schema["$ref"].removeprefix(REFERENCE)]
        elif "anyOf" in schema:
            branches = [branch for branch in schema["anyOf"] if branch.get("type") != "null"]
            if len(branches) != 1:
                raise ValueError(f"a CRD holds no unions: {schema}")
            target = branches[0]
        else:
            return schema
        schema = target | {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}


def _default(out: JsonSchema) -> None:
    """Defaults as the API server is to set them.

    None, [] and {} mean that a field is absent, and stay out of users' objects. The default of a part is the sum of the
    defaults inside it, written out: the API server checks a default by the CEL rules before it fills it in.
    """
    if out.get("default", ...) in (None, [], {}):
        del out["default"]
    elif "properties" in out and "default" in out:
        out["default"] = {name: part["default"] for name, part in out["properties"].items() if "default" in part}
        if not out["default"]:
            del out["default"]
