"""The variables that strings of a ModelRuntime may hold: `{{model}}`, `{{path}}` and so on."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

VARIABLES: Final = (
    "model",
    "namespace",
    "path",
    "uri",
    "format",
    "version",
    "revision",
    "cpuLimit",
    "memoryLimit",
    "httpPort",
    "grpcPort",
    "metricsPort",
)
VARIABLE_PATTERN: Final = r"\{\{(" + "|".join(VARIABLES) + r")\}\}"
TEXT_PATTERN: Final = r"^([^{]|\{[^{]|" + VARIABLE_PATTERN + r")*\{?$"
"""A whole text in which every `{{` opens a variable that exists; for the API server, which reads it as RE2."""

_VARIABLE = re.compile(VARIABLE_PATTERN)
_NAMED = re.compile(r"\{\{([^{}]{0,40})\}\}")


class InvalidTemplate(ValueError):
    """A template names a variable that does not exist, or one that has no value here."""

    def __init__(self, variable: str, message: str) -> None:
        super().__init__(message)
        self.variable = variable


def check(text: str) -> None:
    """Raise InvalidTemplate for the first `{{` of `text` that opens no variable that exists."""
    position = 0
    while (start := text.find("{{", position)) >= 0:
        match = _VARIABLE.match(text, start)
        if match is None:
            named = _NAMED.match(text, start)
            name = named.group(1) if named else text[start : start + 40]
            written = f"{{{{{name}}}}}" if named else repr(name)
            raise InvalidTemplate(
                name,
                f"{written} is no variable of a ModelRuntime: there are {', '.join(VARIABLES)}, as in {{{{model}}}}",
            )
        position = match.end()


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with each `{{variable}}` replaced by its value.

    Values are put in as they are: braces inside one are not read again. InvalidTemplate names a variable that does not
    exist, or that exists and is missing from `values` (a port that the runtime does not have, say).
    """
    check(text)

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in values:
            raise InvalidTemplate(name, f"{{{{{name}}}}} has no value here: remove it, or set what it stands for")
        return values[name]

    return _VARIABLE.sub(value, text)


def fill_all(value: Any, values: Mapping[str, str]) -> Any:
    """`value`, any nesting of dicts and lists, with every string (keys aside) filled."""
    if isinstance(value, str):
        return fill(value, values)
    if isinstance(value, list):
        return [fill_all(item, values) for item in value]
    if isinstance(value, dict):
        return {key: fill_all(item, values) for key, item in value.items()}
    return value


def strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every string inside `value` with its path, such as `probes.readiness.exec.command[0]`."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, f"{path}.{key}" if path else str(key))
