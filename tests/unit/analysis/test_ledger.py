"""The ledger: whatever was folded when, stored, read again: the same decision, to the last bit."""

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.analysis.decision import Circumstances
from podium.analysis.evidence import Evidence
from podium.analysis.grids import POINTS
from podium.analysis.intervals import Interval
from podium.analysis.ledger import (
    MOST_BYTES,
    MOST_ROWS,
    Ledger,
    LedgerChanged,
    LedgerUnreadable,
    Row,
    decided,
    digest,
    history,
    read,
    replay,
)
from podium.analysis.metrics import Kind
from podium.analysis.plan import Plan, Role, defaults, metric
from podium.analysis.restarts import starts
from tests.unit.analysis.given import BEGAN, ERRORS, LATENCY, interval, plan

ALL = plan(
    *defaults(0.1, [(20_000, 20), (20_000, 4000), (20_000, 10), (20_000, 1000)]),
    metric("click", Kind.REWARD, role=Role.GOAL),
    starts=starts(3, 86_400, 5),
)
small = st.integers(0, 400)


@st.composite
def intervals(draw: st.DrawFn) -> list[Interval]:
    found, at, step = [], BEGAN, 0
    for _ in range(draw(st.integers(1, 12))):
        step = min(step + draw(st.sampled_from([0, 0, 0, 1])), 2)
        lasts = draw(st.sampled_from([2.0, 2.05, 130.0, 4000.0]))
        names = ["started", "finished", "answered", "5xx", "4xx", "abandoned", "above:latency"]
        counted = {name: (draw(small), draw(small)) for name in names if draw(st.booleans())}
        if draw(st.booleans()):
            counted |= {
                "values:click": (150, 150),
                "sum:click": (draw(small), draw(small)),
                "squares:click": (999, 999),
            }
        flags = {name: draw(st.booleans()) for name in ("straddles", "warming", "resumed")}
        found.append(Interval(at, at + lasts, (500, 2500, 5000)[step], step, counted, (4, 1), **flags))
        at += lasts
    return found


def recorded(rows: list[Interval], ledger: Ledger | None = None) -> Ledger:
    ledger = ledger or Ledger.begin(ALL)
    for row in rows:
        ledger = ledger.record(row, {"router-1": {"started": row.end}})
    return ledger


@settings(max_examples=60, deadline=None)
@given(intervals(), st.data())
def test_a_restart_at_any_interval_comes_to_the_same_decision(rows: list[Interval], data: st.DataObject) -> None:
    whole = recorded(rows)
    ledger = Ledger.begin(ALL)
    for row in rows:
        ledger = recorded([row], ledger)
        if data.draw(st.booleans()):
            ledger = ledger.checkpointed()
        if data.draw(st.booleans()):
            text = ledger.to_text()
            ledger = read(text, digest(text))
    assert replay(ledger) == replay(whole)
    assert decided(ledger, Circumstances(steps_over=True)) == decided(whole, Circumstances(steps_over=True))


@settings(max_examples=30, deadline=None)
@given(intervals())
def test_what_is_read_is_what_was_written(rows: list[Interval]) -> None:
    for ledger in (recorded(rows), recorded(rows).checkpointed()):
        assert read(ledger.to_text()) == ledger
        assert read(ledger.to_text()).to_text() == ledger.to_text()


def test_a_ledger_from_before_unusual_intervals_were_told_apart_is_gone_on_from() -> None:
    ledger = recorded([interval(0, (300, 3), (100, 4))], Ledger.begin(plan(ERRORS))).checkpointed()
    data = json.loads(ledger.to_text())
    del data["checkpoint"]["metrics"]["errors"]["usual"]
    found = replay(read(json.dumps(data))).metrics["errors"]
    assert isinstance(found, Evidence)
    assert found.usual == 7


def test_the_totals_are_all_that_was_counted_whatever_was_weighed() -> None:
    rows = [
        interval(0, (100, 3), (30, 1)),
        interval(2, (90, 2), (60, 2), straddles=True),
        interval(4, (80, 1), (90, 3), weight=5000, step=1, warming=True),
    ]
    state = replay(recorded(rows))
    assert state.counted == {"finished": (270, 180), "5xx": (6, 6)}
    assert state.weighed == {"finished": (180, 120), "5xx": (4, 4)}
    assert (state.intervals, state.dropped, state.seconds) == (3, 1, 4.0)


def test_intervals_are_counted_once_and_in_their_order() -> None:
    ledger = recorded([interval(0), interval(2)])
    for wrong in (interval(2), interval(1), replace(interval(4), end=BEGAN)):
        with pytest.raises(ValueError, match="cannot follow"):
            recorded([wrong], ledger)
        with pytest.raises(ValueError, match="cannot follow"):
            recorded([wrong], ledger.checkpointed())


def test_another_hands_ledger_is_told_from_ours() -> None:
    text = recorded([interval(0)]).to_text()
    changed = text.replace("150", "151", 1)
    assert read(text, digest(text)).to_text() == text
    with pytest.raises(LedgerChanged):
        read(changed, digest(text))


def test_a_ledger_of_another_version_is_not_guessed_at() -> None:
    text = recorded([interval(0)]).to_text().replace('"version":1', '"version":2')
    with pytest.raises(LedgerUnreadable, match="a ledger of version 2, and this Podium reads version 1"):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{}",
        '{"version":2}',
        '{"version":1}',
        '{"version":1,"plan":null}',
        "[" * 100_000,
        '{"version":NaN}',
    ],
)
def test_what_is_no_ledger_of_this_version_is_said_to_be_none(text: str) -> None:
    with pytest.raises(LedgerUnreadable):
        read(text)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("checkpoint", "metrics", "errors", "table"), "AAAA"),
        (("checkpoint", "metrics", "errors", "table"), 7),
        (("checkpoint", "metrics"), {}),
        (("plan", "metrics", 0, "kind"), "Latenz"),
        (("plan", "metrics", 0, "colour"), "red"),
        (("intervals", 0, "t"), [1]),
        (("intervals", 0, "c", "finished"), ["1", "2"]),
        (("intervals", 0, "c", "finished"), [-1, 2]),
        (("intervals", 0, "f"), ["odd"]),
        (("seen",), 7),
    ],
)
def test_a_ledger_with_one_value_of_another_kind_is_said_to_be_none(path: tuple[str | int, ...], value: object) -> None:
    data = json.loads(Ledger.begin(plan(ERRORS)).record(interval(0), {}).to_text())
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(LedgerUnreadable):
        read(json.dumps(data))


WRONG = (
    *(None, True, -1, 2**53, 10**400, 1.5, float("nan"), float("inf"), "", "x", "9" * 400),
    *([], {}, [None], [1], [[[]]], {"": {}}, {"a": [{"b": None}]}, {"rho": 1}),
)


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of each value within a JSON value, its own first."""
    yield at
    within = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in within:
        yield from places(inner, (*at, key))


def with_value(data: Any, path: tuple[str | int, ...], value: object) -> Any:
    """The same JSON value with another one at that path."""
    if not path:
        return value
    copied = json.loads(json.dumps(data))
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copied


@pytest.mark.parametrize("folded", [False, True])
def test_a_ledger_with_any_value_in_any_place_is_none_or_is_gone_on_from(folded: bool) -> None:
    metrics = ERRORS, LATENCY, metric("mine", Kind.PROMETHEUS, tolerate=0.001), metric("click", Kind.REWARD)
    ledger = Ledger.begin(plan(*metrics)).record(interval(0), {"series": {"errors": 1.0}})
    data = json.loads((ledger.checkpointed() if folded else ledger).to_text())
    later = interval(1e6, counted=dict.fromkeys(("started", "finished", "5xx", "above:slow"), (9, 9)))
    read_again = 0
    for path, value in product(places(data), WRONG):
        try:
            found = read(json.dumps(with_value(data, path, value)))
        except LedgerUnreadable:
            continue
        if found.checkpoint.until > later.start or any(each.end > later.start for each in found.intervals):
            continue  # it ends in the future
        read_again += 1
        begun = found.record(later, found.seen)
        assert read(begun.checkpointed().to_text()), (path, value)
        assert decided(begun, Circumstances()), (path, value)
    assert read_again > 0


def test_a_grid_of_what_are_no_numbers_makes_no_ledger() -> None:
    data = json.loads(recorded([interval(0, (150, 9))]).checkpointed().to_text())
    data["checkpoint"]["split"] = base64.b64encode(struct.pack(f"<{POINTS}d", *[float("nan")] * POINTS)).decode()
    with pytest.raises(LedgerUnreadable, match="not all of them are"):
        read(json.dumps(data))


def test_the_largest_ledger_fits() -> None:
    """20 metrics, all starts taken, 100 series, and as many intervals as there may be between two writes."""
    metrics = [metric(f"metric-{k:03}", Kind.PROMETHEUS, tolerate=0.001) for k in range(20)]
    of = plan(*metrics, starts=starts(20, 86_400, 20))
    counted = {f"{what}:{one.name}": (7.0, 12345.0) for one in metrics for what in ("events", "total")}
    seen = {f"10.244.17.{k}:8081": {"total": 123456789.0, "events": 1234567.0} for k in range(100)}
    ledger = Ledger.begin(of)
    for k in range(40):
        ledger = ledger.record(interval(2 * k, step=k // 2, counted=counted), seen)
        if k == 20:
            ledger = replace(ledger.checkpointed(), trace=(Row(BEGAN, -1234.56, (-12345.67,) * 20),) * MOST_ROWS)
    text = ledger.to_text()
    assert read(text).intervals
    assert len(text) <= MOST_BYTES


def test_with_the_defaults_every_start_is_kept_and_the_ledger_fits_as_well() -> None:
    ledger = recorded([interval(4000.0 * k, step=min(k, 2)) for k in range(15)])
    assert len(ledger.checkpointed().to_text()) < MOST_BYTES / 2


def test_the_trace_of_earlier_evidence_is_kept_and_bounded() -> None:
    ledger = Ledger.begin(plan(ERRORS))
    for k in range(450):
        ledger = ledger.record(interval(2 * k), {}).checkpointed()
    ledger = ledger.record(interval(900), {})
    rows = list(history(read(ledger.to_text())))
    assert MOST_ROWS / 2 <= len(ledger.trace) <= MOST_ROWS
    assert rows[0].at < BEGAN + 40
    assert rows[-1].at == BEGAN + 902
    assert [row.better for row in rows] == sorted(row.better for row in rows)


def test_an_analysis_without_metrics_has_a_ledger_as_well() -> None:
    ledger = Ledger.begin(Plan(BEGAN, ())).record(interval(0), {}).checkpointed()
    assert read(ledger.to_text()) == ledger


def test_a_ledger_with_too_many_intervals_is_folded_before_it_is_written() -> None:
    ledger = recorded([interval(2 * k) for k in range(4000)])
    text = ledger.to_text()
    assert len(text) <= MOST_BYTES
    assert replay(read(text)) == replay(ledger)
