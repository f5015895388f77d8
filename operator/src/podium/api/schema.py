"""What the models carry for the CRD beside their types: CEL rules, text formats, kinds of lists."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

VALIDATIONS: Final = "x-kubernetes-validations"
JsonSchema = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """A CEL rule of the API server and the sentence that it answers with: what is wrong and the way out.

    `self` in it is the value that the rule stands at. `field` points the error at a field below it; the API server
    then shows no value, so that `shown`, a CEL expression, is added to the sentence (a text of bounded length: numbers
    as text and keys of maps are beyond its budget). `expression` is the whole sentence where that does not do.
    """

    rule: str
    message: str
    field: str = ""
    shown: str = ""
    expression: str = ""

    def wire(self) -> JsonSchema:
        """As an entry of x-kubernetes-validations."""
        entry = {"rule": self.rule, "message": self.message}
        if self.expression or self.shown:
            entry["messageExpression"] = self.expression or f'"{self.message} (now " + {self.shown} + ")"'
        if self.field:
            entry["fieldPath"] = self.field
        return entry


@dataclass(frozen=True)
class Rules:
    """Puts CEL rules at the annotated value."""

    rules: Sequence[Rule]

    def __get_pydantic_json_schema__(self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        schema = handler(core)
        add_rules(schema, self.rules)
        return schema


@dataclass(frozen=True)
class Format:
    """A text must match `pattern`, for the API server (as CEL, for the sentence's sake) and in Python alike.

    The pattern is written so that RE2 and Python read it alike.
    """

    pattern: str
    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        schema = handler(core)
        add_rules(schema, (self.rule(),))
        return schema

    def rule(self) -> Rule:
        """The same as a CEL rule."""
        return Rule(f"self.matches(r'{self.pattern}')", self.message)

    def check(self, text: str) -> str:
        """`text` as it is; ValueError with the message when it does not match."""
        if not re.fullmatch(self.pattern, text):
            raise ValueError(self.message)
        return text


@dataclass(frozen=True)
class ListKind:
    """How server-side apply merges a list: `set`, or `map` by `keys`; both refuse what occurs twice."""

    kind: str
    keys: Sequence[str] = ()

    def __get_pydantic_json_schema__(self, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        schema = handler(core)
        schema["x-kubernetes-list-type"] = self.kind
        if self.keys:
            schema["x-kubernetes-list-map-keys"] = list(self.keys)
        return schema


def add_rules(schema: JsonSchema, rules: Sequence[Rule]) -> None:
    """Append `rules` to the schema's x-kubernetes-validations."""
    if rules:
        schema[VALIDATIONS] = [*schema.get(VALIDATIONS, []), *(rule.wire() for rule in rules)]
