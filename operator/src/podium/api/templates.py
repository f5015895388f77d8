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
_VARIABLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


class InvalidTemplate(ValueError):
    """A template names a variable that does not exist, or one that has no value here."""

    def __init__(self, variable: str, message: str) -> None:
        super().__init__(message)
        self.variable = variable


def check(text: str) -> None:
    """Raise InvalidTemplate for the first variable of `text` that does not exist."""
    for match in _VARIABLE.finditer(text):
        _known(match.group(1))


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with each `{{variable}}` replaced by its value.

    Values are put in as they are: braces inside one are not read again. InvalidTemplate names a variable that does not
    exist, or that exists and is missing from `values` (a port that the runtime does not have, say).
    """

    def value(match: re.Match[str]) -> str:
        name = _known(match.group(1))
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


def _known(raw: str) -> str:
    name = raw.strip()
    if name not in VARIABLES:
        raise InvalidTemplate(
            name, f"{{{{{name}}}}} is no variable of a ModelRuntime: there are {', '.join(VARIABLES)}"
        )
    return name
