"""Queries of metrics of type Prometheus: the variables in them, and what they may not be made of. Pure.

A query counts from the beginning of its series: Podium takes differences itself, between instants that it chose for
both revisions alike. Functions of rates would extrapolate beyond the samples, and give what nobody counted.
"""

import re
from typing import Final

VARIABLES: Final = ("namespace", "revision")
LONGEST: Final = 1024
"""Characters of a query."""
TEXT_PATTERN: Final = r"^([^{]|\{[^{]|\{\{(" + "|".join(VARIABLES) + r")\}\})*\{?$"
"""A whole query in which every `{{` opens a variable that exists; for the API server, which reads it as RE2."""
RATES: Final = ("rate", "irate", "increase", "delta", "idelta", "deriv")

_VARIABLE = re.compile(r"\{\{(" + "|".join(VARIABLES) + r")\}\}")
_OPENED = re.compile(r"\{\{([^{}]{0,40})")
# Strings and comments of PromQL: https://prometheus.io/docs/prometheus/latest/querying/basics/#string-literals
_STRING = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`"""
_STRING_OR_COMMENT = re.compile(rf"({_STRING})|#[^\n]*", re.DOTALL)
_RATE = re.compile(r"(?<![\w:.])(" + "|".join(RATES) + r")\s*\(")


def check(text: str) -> str:
    """`text` as it is; ValueError for a variable that does not exist, and for a function of rates."""
    if not text.strip():
        raise ValueError("must be a query of PromQL, such as sum(errors_total{pod=~'{{revision}}-.*'}): write one")
    for found in _OPENED.finditer(text):
        if not _VARIABLE.match(text, found.start()):
            name = f"{{{{{found[1]}}}}}"
            raise ValueError(f"{name} is no variable of a query; there are {{{{namespace}}}} and {{{{revision}}}}")
    # Within a string, or as the name of a label, such a word is none of these functions.
    rate = _RATE.search(_STRING_OR_COMMENT.sub(" ", text))
    if rate is not None:
        raise ValueError(
            f"{rate[1]}() extrapolates, so that it gives events which nobody counted: query the counter itself, such "
            "as sum(errors_total{...}); Podium takes the differences"
        )
    return text


def missing(text: str) -> tuple[str, ...]:
    """The variables that a query leaves out; what stands in a comment does not count."""
    told = _STRING_OR_COMMENT.sub(lambda found: found[1] or " ", text)
    present = {found[1] for found in _VARIABLE.finditer(told)}
    return tuple(name for name in VARIABLES if name not in present)


def filled(text: str, *, namespace: str, revision: str) -> str:
    """The query of one revision. Both values are of lower-case letters, digits and -: a regex takes them so."""
    values = {"namespace": namespace, "revision": revision}
    return _VARIABLE.sub(lambda found: values[found[1]], text)
