"""`get`: what is shown of a ModelDeployment, line by line."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from podium.cli import shape
from podium.cli.bars import BLOCKS, LETTERS, bar, share
from podium.cli.screen import LiveViews, Screen, drawn, nothing, plain
from podium.cli.tree import tree
from podium.cli.view import of
from tests.unit.cli.given import (
    AWAITS,
    BACK,
    CANARY,
    CANDIDATE,
    CHAMPION,
    ERRORS,
    NOW,
    OUTDATED,
    PREVIEW_TAKEN,
    REFUSED,
    SERVES,
    analyzing,
    condition,
    conditions,
    deployment,
    healthy,
    rolled_back,
)


def lines(status: dict[str, Any] | None, **meta: Any) -> list[str]:
    return plain([tree(of(deployment(status, **meta)), LETTERS, NOW)]).splitlines()


def test_a_canary_under_analysis() -> None:
    assert lines(analyzing()) == [
        "ml/fraud  Analyzing",
        "  champion  version 7 (fraud-6f9c4d2b7k), 2/2 pods, 75 %, for 1d",
        "  candidate version 8 (fraud-b57wq4c9d2), 1/1 pods, 25 %, for 4m, step 2 of 4",
        "    errors  29 of 3,010 (champion 91 of 9,012), ratio 0.95 [0.70, 1.31]",
        "      no harm      ######.... 8.1 of 20",
        "      harm         .......... 0.02 of 20",
        "    latency  0 of 3,010 (champion 0 of 9,012)",
        "      shown, decides nothing",
        "  routers   2 of 2 have loaded the present weights",
        f"  awaits    {AWAITS}",
        "  Ready=False, Reconciling=True (Canary)",
    ]


def test_a_healthy_one_without_analysis() -> None:
    assert lines(healthy()) == [
        "ml/fraud  Healthy",
        "  champion  version 7 (fraud-6f9c4d2b7k), 2/2 pods, for 1d",
        f"  says      {SERVES}",
    ]


def test_a_rollout_without_analysis_shows_no_metrics() -> None:
    rolling = analyzing(phase="Progressing", rollout={"id": "a", "strategy": "RollingUpdate"})
    assert lines(rolling)[2] == "  candidate version 8 (fraud-b57wq4c9d2), 1/1 pods, 25 %, for 4m"
    assert len(lines(rolling)) == 5


def test_a_rolled_back_one_says_by_which_rule() -> None:
    assert lines(rolled_back())[2:] == [
        "  decision  RolledBack (harm: errors, by evidence) at 2026-11-27T12:01:34Z",
        f"  says      {BACK}",
        "  Ready=False, Stalled=True (RolledBack)",
    ]


@pytest.mark.parametrize(
    ("weight", "told"),
    [
        ({"desired": 25, "applied": 25}, "25 %"),
        ({"desired": 25, "applied": 5}, "25 % asked, 5 % applied"),
        ({"desired": 25}, "25 % asked, not confirmed yet"),
        ({"desired": 0, "applied": 0}, "0 %"),
    ],
)
def test_a_weight_that_is_not_applied_yet_is_told_apart_from_the_one_asked(weight: dict[str, int], told: str) -> None:
    line = lines(analyzing(rollout=CANARY | {"weight": weight}))[2]
    assert line == f"  candidate version 8 (fraud-b57wq4c9d2), 1/1 pods, {told}, for 4m, step 2 of 4"


@pytest.mark.parametrize(
    ("weight", "told"),
    [
        ({"routers": 3, "confirmed": 2}, ["  routers   2 of 3 have loaded the present weights"]),
        ({"routers": 3, "confirmed": 0}, ["  routers   0 of 3 have loaded the present weights"]),
        ({"routers": 0, "confirmed": 0}, ["  routers   no router is ready"]),
        ({}, []),
    ],
    ids=["one has yet to load it", "none has loaded it", "none is ready", "pods divide the requests"],
)
def test_routers_that_do_not_keep_to_the_weight_yet_are_told_from_those_that_do(
    weight: dict[str, int], told: list[str]
) -> None:
    shown = lines(analyzing(rollout=CANARY | {"weight": {"desired": 25} | weight}))
    assert [line for line in shown if line.startswith("  routers")] == told


def test_pods_that_are_missing_are_counted() -> None:
    status = healthy(champion=CHAMPION | {"available": 0, "ready": 1})
    assert "version 7 (fraud-6f9c4d2b7k), 0/2 pods available (1 ready), for 1d" in lines(status)[1]


def test_a_warm_predecessor_is_shown_with_its_time() -> None:
    previous = {"revision": "fraud-a", "version": "6", "until": "2026-11-27T12:09:00Z"}
    assert "  previous  version 6 (fraud-a), kept warm until 2026-11-27T12:09:00Z" in lines(healthy(previous=previous))


def test_one_that_no_operator_has_seen() -> None:
    assert lines(None) == [
        "ml/fraud  Pending",
        "  outdated  Podium has not seen it yet",
        "  awaits    Podium has not seen it yet",
    ]


def test_a_status_of_an_older_spec_is_said_to_be_one() -> None:
    assert "  outdated  this is about generation 3; Podium has not seen 4 yet" in lines(healthy(), generation=4)


def test_one_that_is_being_deleted() -> None:
    assert "  deleted   it is being deleted" in lines(healthy(), deletionTimestamp="2026-11-27T12:00:00Z")


def test_conditions_are_shown_only_if_they_are_not_as_they_should_be() -> None:
    message = "all is well"
    status = healthy(
        message=message,
        conditions=conditions(
            "True",
            "Serving",
            message,
            condition("WeightPossible", "True", "Possible"),
            condition("Stalled", "False", "Serving"),
            condition("Preview", "False", "NameConflict", PREVIEW_TAKEN),
            condition("RuntimeOutdated", "True", "RuntimeChanged", OUTDATED),
        ),
    )
    assert lines(status)[3:] == [
        f"  Preview=False (NameConflict): {PREVIEW_TAKEN}",
        f"  RuntimeOutdated=True (RuntimeChanged): {OUTDATED}",
    ]


def test_a_refused_command_is_shown_with_its_sentence_until_the_next_one() -> None:
    value = "promote fraud-x 1"
    last = {"value": value, "result": "Refused", "message": REFUSED}
    assert f"  command   {REFUSED}" in lines(healthy(lastCommand=last), command=value)
    assert '  command   "pause fraud-6f9c4d2b7k 2" is under way' in lines(
        healthy(lastCommand=last), command="pause fraud-6f9c4d2b7k 2"
    )


@pytest.mark.parametrize(
    ("evidence", "needed", "filled"),
    [
        ("1", "20", 0), ("0.02", "20", 0), ("0.00", "20", 0), ("8.1", "20", 6), ("19.9", "20", 9), ("20", "20", 10),
        ("130", "20", 10), ("10^12", "20", 10), ("20", "400", 5), ("20", "400 (approximate)", 5), ("", "20", 0),
        ("NaN?", "20", 0), ("3", "", 0),
    ],
)  # fmt: skip
def test_a_bar_is_on_a_log_scale_and_full_only_when_nothing_is_missing(evidence: str, needed: str, filled: int) -> None:
    assert bar(share(evidence, needed), LETTERS) == "#" * filled + "." * (10 - filled)


def test_a_goal_is_asked_whether_it_is_better() -> None:
    goal = ERRORS | {"name": "accuracy", "type": "Accuracy", "role": "Goal"}
    assert "      it is better ######.... 8.1 of 20" in lines(analyzing(rollout=CANARY | {"metrics": [goal]}))


def test_where_pods_count_harm_alone_is_shown() -> None:
    metric = ERRORS | {"evidence": {"harm": "20", "needed": "400 (approximate)"}}
    shown = lines(analyzing(rollout=CANARY | {"metrics": [metric]}))
    assert "      harm         #####..... 20 of 400 (approximate)" in shown
    assert not any(line.strip().startswith("no harm") for line in shown)


def test_a_terminal_of_80_columns_shows_all_of_it() -> None:
    long = "f" * 50
    status = analyzing(candidate=CANDIDATE | {"revision": f"{long}-b57wq4c9d2", "version": "8"})
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    console.print(drawn(tree(of(deployment(status, name=long)), BLOCKS, NOW)))
    shown = out.getvalue().splitlines()
    assert max(len(line) for line in shown) <= 80
    assert "│   │   ├── no harm      ██████░░░░ 8.1 of 20" in [line.rstrip() for line in shown]
    assert "about 12 min to a decision at 40 requests/s" in " ".join(line.strip("│ ") for line in shown)


def test_what_is_no_terminal_gets_whole_lines_without_colour() -> None:
    out = io.StringIO()
    Screen(out).views([of(deployment(analyzing()))])
    assert "\x1b" not in out.getvalue()
    assert any(AWAITS in line for line in out.getvalue().splitlines())


def test_a_watch_without_a_terminal_prints_what_changed_and_nothing_else() -> None:
    out = io.StringIO()
    other = of(deployment(healthy(), name="other"))
    with LiveViews(Screen(out)) as live:
        live.show([of(deployment(analyzing())), other])
        out.truncate(0)
        out.seek(0)
        live.show([of(deployment(healthy())), other])
        live.show([of(deployment(healthy())), other])
        live.show([other])
    titles = [line for line in out.getvalue().splitlines() if not line.startswith(" ")]
    assert titles == ["ml/fraud  Healthy", "ml/fraud  deleted"]


@pytest.mark.parametrize(
    ("namespace", "name", "sentence"),
    [
        ("empty", None, "no ModelDeployments in namespace empty; -A shows those of all namespaces"),
        (None, None, "no ModelDeployments in any namespace"),
        ("ml", "fruad", "no ModelDeployment fruad in namespace ml; without the name all of them are shown"),
    ],
)
def test_where_there_is_nothing_it_is_said_where_was_looked_and_how_more_is_seen(
    namespace: str | None, name: str | None, sentence: str
) -> None:
    out = io.StringIO()
    Screen(out, nothing(namespace, name)).views([])
    assert out.getvalue() == f"{sentence}\n"


def test_json_has_every_key_whatever_the_object_has() -> None:
    bare, full = (shape.items([of(deployment(status))])["items"][0] for status in (None, analyzing()))
    assert bare.keys() == full.keys()
    assert (bare["phase"], bare["champion"], bare["rollout"], bare["current"]) == ("Pending", None, None, False)
    assert full["rollout"]["weight"] == {"desired": 25, "applied": 25, "routers": 2, "confirmed": 2}
    assert full["rollout"]["metrics"][0] == ERRORS
    assert full["rollout"]["metrics"][1]["evidence"] is None
    assert full["candidate"]["revision"] == CANDIDATE["revision"]


def test_json_is_as_its_description_says() -> None:
    item = shape.items([of(deployment(analyzing(lastCommand={"value": "a b c"}), command="a b c"))])["items"][0]
    words = set((shape.__doc__ or "").replace("{", " ").replace("[", " ").replace(",", " ").replace("}", " ").split())

    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            return value.keys() | {key for one in value.values() for key in keys(one)}
        return {key for one in value for key in keys(one)} if isinstance(value, list) else set()

    assert {key for key in keys(item) if not any(key in word for word in words)} == set()
    assert json.loads(shape.text(shape.items([]))) == {"items": []}
    assert item["asked"] == "a b c"
