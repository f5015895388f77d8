"""JSON of `-o json`. Its shape is stable: keys are added, never renamed or taken away.

get       {"items": [ITEM]}; with -w one such object a line, after each change
status    {"item": ITEM, "exitCode": 0|1|2, "result": "Done"|"Failed"|"UnderWay", "message": TEXT}
commands  {"namespace", "name", "command": "<verb> <revision> <token>", "exitCode": 0|1|2,
           "result": "Done"|"Accepted"|"Refused"|"TimedOut"|"Replaced", "message"}
analyze   see podium.cli.replay

ITEM is podium.cli.view.View with camelCase keys: namespace, name, current, generation, observedGeneration, deleted,
phase, message, ready, stalled, champion, candidate {revision, version, desired, ready, available, weight, since},
previous {revision, version, until}, rollout {id, strategy, startedAt, step, steps, weight {desired, applied, routers,
confirmed}, deadline, metrics [{name, type, role, champion {n, events}, candidate {n, events}, ratio, interval,
evidence {harm, noHarm, needed}}], decision {verdict, rule, by, at}}, rolledBack [revision], latest, conditions [{type,
status, reason, message}] (those alone that are not as they should be), asked, lastCommand {value, result, message, at}.

What is not there is null; a text or a time that status does not say is empty.

Errors are a sentence on stderr, with nothing on stdout: exit code 3, or 1 where status has no revision for a command,
or what is written is refused by the API server; 2 for a wrong command line.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from podium.cli.errors import Exit
from podium.cli.view import View

_RESULTS = {Exit.DONE: "Done", Exit.FAILED: "Failed", Exit.UNDER_WAY: "UnderWay"}


def items(views: Iterable[View]) -> dict[str, Any]:
    """Of `get`."""
    return {"items": [plain(view) for view in views]}


def status(view: View, code: Exit, message: str) -> dict[str, Any]:
    """Of `status`."""
    return {"item": plain(view), "exitCode": int(code), "result": _RESULTS[code], "message": message}


def text(data: Mapping[str, Any], *, line: bool = False) -> str:
    """As it is printed: indented, or on one line."""
    return json.dumps(data, indent=None if line else 2, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """Dataclasses as objects with camelCase keys; numbers that JSON does not have (infinite, NaN) as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {_camel(field.name): plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
