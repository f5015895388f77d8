"""docs/messages.md, read: the shape of every sentence that Podium says, and an example of each."""

import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from podium.api.reasons import Reason

PAGE = Path(__file__).resolve().parents[1] / "docs" / "messages.md"
_ROW = re.compile(
    r"^\| (?P<name>\w[^|]*?) \| (?P<where>\w+) \| `(?P<sentence>[^`]*)` \| `(?P<example>[^`]*)` \|$", re.M
)

ONE_AS_MANY = re.compile(
    r"(?<![\d.,])1 (pods|times|replicas|endpoints|requests|steps|metrics|routers|rollouts|seconds|minutes|hours)\b"
)
"""A number and its noun that do not agree."""


@dataclass(frozen=True)
class Row:
    """A row of the page's table: a condition's type, `Event` or `Added`, the sentence's shape, and an example of it."""

    name: str
    where: str
    sentence: str
    example: str

    @property
    def reason(self) -> str:
        """Without what sets it apart from other rows of the same reason."""
        return self.name.partition(",")[0]

    @cached_property
    def pattern(self) -> str:
        """A regular expression: what stands in angle brackets is what differs from one sentence to the next."""
        return ".+?".join(map(re.escape, re.split(r"<[a-z ]+>", self.sentence)))

    def fits(self, sentence: str) -> bool:
        """Whether it is one of this shape."""
        return re.fullmatch(self.pattern, sentence) is not None


ROWS = {f"{found['where']}: {found['name']}": Row(**found.groupdict()) for found in _ROW.finditer(PAGE.read_text())}
"""By `Ready: Serving`: the condition's type, or `Event`, and the name of the row."""
FOREIGN = "ScalingActive"
"""The condition whose reason is an HPA's own, whatever that may be."""
ADDED = "|".join(row.pattern for row in ROWS.values() if row.where == "Added")


@cache
def has_row(reason: str, sentence: str) -> bool:
    """Whether it is one of a row of its reason, with or without what may be added to it."""
    foreign = reason not in set(Reason)
    rows = [row for row in ROWS.values() if row.reason == reason or (foreign and row.where == FOREIGN)]
    patterns = [row.pattern for row in rows if row.where != "Added"]
    return any(re.fullmatch(rf"(({ADDED}) )*{pattern}( ({ADDED}))*", sentence) is not None for pattern in patterns)
