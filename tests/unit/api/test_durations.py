"""Durations of the API, in Go's notation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.api.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600),
        ("1h30m", 5400),
        ("90s", 90),
        ("250ms", 0.25),
        ("0s", 0),
        ("1m0s1ms", 60.001),
        ("99999h", 359996400),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "10", "m", "1d", "1.5h", "-1m", " 1m", "1m\n", "1 m", "1h1h1h1h1h", "100000h", "١m"]
)
def test_what_is_no_duration_is_refused_with_the_text_and_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="such as 10m or 1h30m") as error:
        parse_duration(text)
    assert repr(text) in str(error.value)


@given(parts=st.lists(st.tuples(st.integers(0, 99999), st.sampled_from(["h", "m", "s", "ms"])), min_size=1, max_size=4))
def test_milliseconds_are_never_taken_for_minutes(parts: list[tuple[int, str]]) -> None:
    worth = {"h": 3600, "m": 60, "s": 1, "ms": 0.001}
    text = "".join(f"{number}{unit}" for number, unit in parts)
    assert parse_duration(text) == pytest.approx(sum(number * worth[unit] for number, unit in parts))
