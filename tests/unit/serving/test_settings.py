"""The server's settings: the README's table is what holds."""

import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

from podium_serving.http.context import Context
from podium_serving.http.message import Response
from podium_serving.settings import Settings
from tests.unit.serving.clock import Clock
from tests.unit.serving.harness import JSON_TYPES, ask, identity, serving

README = Path(__file__).parents[3] / "serving-image" / "README.md"
REQUIRED = {"PODIUM_MODEL": "model"}


class Noted(Mapping[str, str]):
    """Variables, and the names of those that were looked for."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def documented() -> dict[str, str]:
    """Variables of the README's first table of them, with their defaults."""
    table = README.read_text().split("| variable | default | meaning |")[1].split("\n\n")[0]
    return dict(re.findall(r"^\| `(PODIUM_\w+)` \| *(.*?) *\|", table, re.MULTILINE))


def test_every_variable_that_is_read_is_documented_and_the_other_way_round() -> None:
    variables = Noted(REQUIRED)
    Settings.from_environment(variables)
    assert variables.asked == documented().keys()


def test_every_default_is_as_documented() -> None:
    defaults = Settings.from_environment(REQUIRED)
    wrong = []
    for name, default in documented().items():
        if name not in REQUIRED and Settings.from_environment(REQUIRED | {name: default.strip("`")}) != defaults:
            wrong.append(name)
    assert wrong == []


def test_unless_told_otherwise_a_connection_lives_for_8_to_12_seconds() -> None:
    life = Settings.from_environment(REQUIRED).connection_life
    context = Context(lambda _: Response(200, b""), 1, 1, 1, Clock(), life=life)
    drawn = [context.end_of_life(0.0) for _ in range(1000)]
    assert min(drawn) >= 8
    assert max(drawn) <= 12


def test_a_connection_ends_with_an_answer_after_its_life(folder: Path) -> None:
    path = folder / "life.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["n"]))
    with serving(path, PODIUM_CONNECTION_SECONDS=0.1) as server, server.connect() as kept:
        answered = next(each for each in count(1) if "connection" in ask(kept, "GET", "/v2").headers or each == 10_000)
        assert answered < 10_000
