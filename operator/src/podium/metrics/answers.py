"""What an answer of Prometheus says: a single finite number, or a sentence that says why it is none. Pure.

The JSON is that of https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from podium.texts import read_json

_SHOWN: Final = 160
"""Characters of a query, or of an error of Prometheus, in a sentence."""
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?")


class Unanswered(Exception):
    """There is no count: the text says why, and the way out."""


def count_in(status: int, body: bytes, at: float) -> float:
    """The number in an answer of Prometheus, which is a count at the instant that was asked for; raises Unanswered."""
    try:
        answer = read_json(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    if status != 200 or answer.get("status") != "success":
        raise Unanswered(_refused(status, answer))
    if answer.get("warnings"):
        told = "; ".join(map(str, answer["warnings"])) if isinstance(answer["warnings"], list) else "warnings"
        raise Unanswered(f"was answered in part: {short(told)}: mend what Prometheus warns of")
    data = answer.get("data")
    result, kind = (data.get("result"), data.get("resultType")) if isinstance(data, dict) else (None, None)
    if kind != "vector" or not isinstance(result, list):
        raise Unanswered(f"gives a {short(str(kind))}, and no counter: query sum(...) of a counter")
    if not result:
        raise Unanswered(
            "gives nothing: no pod of this revision has been scraped yet, or no series has these labels; a counter "
            "that appears with its first event needs `or vector(0)` behind it"
        )
    if len(result) > 1:
        raise Unanswered(f"gives {len(result)} series and not one: put sum(...) around it")
    sample = result[0].get("value") if isinstance(result[0], dict) else None
    if not isinstance(sample, list) or len(sample) != 2:
        raise Unanswered("gives no number, such as a histogram: query sum(...) of a counter")
    return _number(sample, at)


def _number(sample: Sequence[Any], at: float) -> float:
    told, text = sample
    if isinstance(told, bool) or not isinstance(told, int | float) or not abs(told - at) < 0.01:
        raise Unanswered("was answered for another time: let no cache stand before Prometheus")
    if text in ("NaN", "+Inf", "-Inf"):
        raise Unanswered(f"gives {text}: query counters, and divide by nothing")
    if not isinstance(text, str) or not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise Unanswered(f"gives {short(repr(text))}, which is no number: query sum(...) of a counter")
    if float(text) < 0:
        raise Unanswered(f"gives {short(text)}: a count is never below 0: query sum(...) of a counter")
    return float(text)


def _refused(status: int, answer: Mapping[str, Any]) -> str:
    error = short(str(answer.get("error", ""))) if answer.get("error") else ""
    told = f" ({error})" if error else ""
    if status in (401, 403):
        return f"was refused with {status}{told}: put a valid token into prometheus.tokenSecret of Podium's chart"
    if 300 <= status < 400:
        return f"was sent elsewhere with {status}: set prometheus.url of Podium's chart to where it leads"
    if status in (400, 422):
        return f"was refused with {status}{told}: correct the query and abort and retry"
    if status == 200:
        return f"got no answer of Prometheus's API{told}: set prometheus.url of Podium's chart to one"
    return f"was answered with {status}{told}: see whether Prometheus is well, and whether prometheus.url leads to it"


def short(text: str) -> str:
    """On one line, and cut where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
