"""docs/messages.md, read: the shape of every sentence that Podium says, and an example of each."""

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "messages.md"
_ROW = re.compile(
    r"^\| (?P<name>\w[^|]*?) \| (?P<where>\w+) \| `(?P<sentence>[^`]*)` \| `(?P<example>[^`]*)` \|$", re.M
)


@dataclass(frozen=True)
class Row:
    """A row of the page's table: a condition's type or `Event`, the sentence's shape, and an example of it."""

    name: str
    where: str
    sentence: str
    example: str

    @property
    def reason(self) -> str:
        """Without what sets it apart from other rows of the same reason."""
        return self.name.partition(",")[0]

    def fits(self, sentence: str) -> bool:
        """Whether it is one of this shape: what stands in angle brackets is what differs from one to the next."""
        parts = re.split(r"<[a-z ]+>", self.sentence)
        return re.fullmatch(".+?".join(map(re.escape, parts)), sentence) is not None


ROWS = {f"{found['where']}: {found['name']}": Row(**found.groupdict()) for found in _ROW.finditer(PAGE.read_text())}
"""By `Ready: Serving`: the condition's type, or `Event`, and the name of the row."""
