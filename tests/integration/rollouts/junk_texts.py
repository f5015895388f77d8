"""Texts and values that are wrong in many ways, for whatever Podium reads."""

import json
import random
from typing import Any, Final

from podium.analysis.ledger import Ledger
from podium.router.routing import WHOLE, Mirror, Routing, Share, Sticky
from tests.integration.rollouts.api import Object
from tests.unit.analysis.given import ERRORS, LATENCY, interval, plan

TEXTS: Final = (
    "", " ", "null", "true", "{", "[]", "{}", "-1", "9" * 400, "1e999", "NaN", "٣", "0x10", "\u0000\u0001",
    "\u202e\ufeff", "\U0001f600" * 50, "%s {} %(x)d", "x" * 40_000, "9999-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00Z", "2026-13-45", '{"value":7,"result":[]}', '["restart"]', "promote nobody x y z",
    '{"strategy":"Canary","target":-1,"started":"9999-12-31T23:59:59Z","number":"x"}', "abort " + "a" * 300,
    "Promoted", "Exploded", "rolledback", "0001-01-01T00:00:00+14:00", "\\ud800", "x" * 254,
)  # fmt: skip
VALUES: Final = (None, True, -1, 2**53, 1.5, "", "x", [], {}, [None], {"": {}}, [[[]]], {"a": [{"b": None}]})
RAW: Final = (
    rb'{"template":{"a":"\ud800"}}',
    rb'{"\udfff":1}',
    b'{"version":"\xff\xfe"}',
    b'{"template":' + b'{"a":' * 300 + b"1" + b"}" * 301,
    b'{"inputs":' + b"[" * 2000 + b"]" * 2000 + b"}",
    b'{"a":1,"a":{"a":2},"a":[]}',
    b'{"inputs":[' + b"[]," * 400_000 + b"1]}",
    b'{"inputs":{"text":"' + b"x" * 1_300_000 + b'"}}',
    b"{}",
)
REVISIONS: Final = "m-bcdfghjklm", "m-bcdfghjkln"
ROUTING: Final[Object] = json.loads(
    Routing(
        *("m", 20_000, (Share(REVISIONS[0], WHOLE), Share(REVISIONS[1], 0))),
        sticky=Sticky("salt", header="user"),
        mirror=Mirror(REVISIONS[1], 5),
    ).to_json()
)
LEDGER: Final[Object] = json.loads(
    Ledger.begin(plan(ERRORS, LATENCY)).record(interval(), {"series": {"errors": 1.0}}).to_text()
)
LONG: Final = ("x" * 1_000_000, "[" * 500_000, "[" * 400 + "]" * 400, "[" + "[]," * 300_000 + "1]")


def spoilt(well: Object, chance: random.Random) -> str:
    """The same as JSON text, with something else in one place."""
    found = json.loads(json.dumps(well))
    holder: Any = found
    while True:
        key = chance.choice(sorted(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
        if not isinstance(holder[key], dict | list) or not holder[key] or chance.random() < 0.3:
            break
        holder = holder[key]
    holder[key] = chance.choice([*VALUES, chance.choice([*TEXTS, float("nan"), 10**400, 1e300])])
    return json.dumps(found)
