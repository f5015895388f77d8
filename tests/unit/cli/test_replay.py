"""`analyze`: a ledger from any of its places, replayed to the decision that the kernel makes."""

import io
import json
import sys
from pathlib import Path

import pytest
import yaml

from podium.analysis.decision import Circumstances
from podium.analysis.ledger import Ledger, decided, history, read
from podium.cli.app import run
from podium.cli.cluster import Cluster
from podium.cli.errors import CliError
from podium.cli.replay import MOST_ROWS, Replay, replayed, text_in, text_of, thinned
from tests.unit.analysis.given import LATENCY, interval, plan
from tests.unit.cli.given import Played


def ledger(errors: int, intervals: int = 40) -> Ledger:
    """A champion with 1 error in 100 answers; the candidate has as many as given in 50."""
    found = Ledger.begin(plan(*plan().metrics, LATENCY))
    for number in range(intervals):
        counted = {
            "finished": (150.0, 50.0), "5xx": (1.5, float(errors)), "answered": (150.0, 50.0),
            "above:slow": (7.0, 2.0),
        }  # fmt: skip
        found = found.record(interval(2.0 * number, counted=counted), {})
        if number == intervals // 2:
            found = found.checkpointed()
    return found


HARMFUL, HEALTHY = ledger(5), ledger(0)


def config_map(text: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x-ledger"}, "data": {"ledger": text}}


@pytest.mark.parametrize("written", [str, lambda t: json.dumps(config_map(t)), lambda t: yaml.safe_dump(config_map(t))])
def test_a_ledger_is_found_in_its_text_and_in_a_config_map_as_json_or_yaml(written: object) -> None:
    assert callable(written)
    assert read(text_in(written(HARMFUL.to_text()), "x")) == HARMFUL


@pytest.mark.parametrize(
    "content", ["kind: Secret\ndata: {ledger: x}", "kind: ConfigMap", "kind: ConfigMap\ndata: {other: x}"]
)
def test_another_object_is_said_to_be_none(content: str) -> None:
    with pytest.raises(CliError, match=r"x is no ConfigMap with a ledger: it has no key data\.ledger"):
        text_in(content, "x")


@pytest.mark.parametrize("content", ["", "hello", "{}", "[1]", "a: [", "{" * 100_000, '{"version":2}'])
def test_what_is_no_ledger_is_said_to_be_none_with_its_name(content: str) -> None:
    with pytest.raises(CliError, match="x"):
        replayed(text_in(content, "x"), "x")


def test_the_decision_is_the_kernels() -> None:
    for one in (HARMFUL, HEALTHY):
        found = Replay(one)
        assert found.decision == decided(one, Circumstances())
        assert found.after_steps == decided(one, Circumstances(steps_over=True))
        assert found.rows == tuple(history(one))


def shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(words) == 0
    return capsys.readouterr().out


def test_a_harmful_candidate_is_shown_with_its_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ledger").write_text(HARMFUL.to_text())
    lines = shown(["analyze", str(tmp_path / "ledger")], capsys).splitlines()
    assert lines[0].split() == ["after", "harm", "(of", "20)", "errors", "slow"]
    assert lines[1].split()[:2] == ["42", "s"]
    assert lines[20].split()[:2] == ["80", "s"]
    (errors,) = (line for line in lines if line.startswith("errors"))
    assert errors.split()[1:7] == ["60", "of", "6,000", "200", "of", "2,000"]
    (sentence,) = (line for line in lines if line.startswith("Decision: "))
    assert sentence.startswith("Decision: RollBack (harm: errors): errors got worse: evidence of harm ")
    assert not any(line.startswith("Once its steps are over") for line in lines)


def test_a_healthy_one_is_shown_with_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ledger").write_text(HEALTHY.to_text())
    lines = shown(["analyze", str(tmp_path / "ledger")], capsys).splitlines()
    assert any(line.startswith("Decision: GoOn: ") for line in lines)
    assert lines[-1].startswith("40 intervals, 0 of them not weighed; promotion needs evidence of 20 in each metric")
    assert max(len(line) for line in lines[:-3]) <= 80


def test_standard_input_is_read_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(yaml.safe_dump(config_map(HARMFUL.to_text()))))
    assert "Decision: RollBack" in shown(["analyze", "-"], capsys)


def test_json_has_all_of_it_and_no_number_that_json_does_not_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ledger").write_text(HARMFUL.to_text())

    def refused(name: str) -> None:
        raise AssertionError(name)

    found = json.loads(shown(["analyze", str(tmp_path / "ledger"), "-o", "json"], capsys), parse_constant=refused)
    assert found["decision"]["call"] == "RollBack"
    assert found["decision"]["rule"] == "harm: errors"
    assert len(found["history"]) == len(list(history(HARMFUL)))
    assert found["history"][-1].keys() == {"at", "harm", "better"}
    assert found["history"][-1]["better"].keys() == {"errors", "slow"}
    assert found["metrics"][0]["candidate"] == {"n": 2000, "events": 200}


def test_a_ledger_that_has_just_begun_says_nothing_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ledger").write_text(Ledger.begin(plan()).to_text())
    assert "Decision: GoOn: " in shown(["analyze", str(tmp_path / "ledger")], capsys)
    found = json.loads(shown(["analyze", str(tmp_path / "ledger"), "-o", "json"], capsys))
    assert found["history"] == []
    assert found["metrics"][0]["interval"] == [0, None]  # JSON has no infinity


@pytest.mark.parametrize("count", [0, 1, MOST_ROWS, MOST_ROWS + 1, 99, 100])
def test_a_table_keeps_its_last_row_and_at_most_so_many(count: int) -> None:
    rows = (list(history(HARMFUL)) * 10)[:count]
    kept = thinned(rows)
    assert len(kept) <= MOST_ROWS
    assert kept[-1:] == rows[-1:]


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["analyze", "./none"]) == 3
    assert capsys.readouterr().err == "kubectl podium: ./none cannot be read: No such file or directory\n"


def test_what_can_only_be_a_file_is_looked_for_in_no_cluster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/none")
    assert run(["analyze", "ledger.jsn"]) == 3
    said = "kubectl podium: there is no file ledger.jsn, and no ModelDeployment can have that name\n"
    assert capsys.readouterr().err == said


def test_what_is_neither_a_file_nor_a_model_deployment_is_told_with_both(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Cluster, "connect", lambda _: Played())
    assert run(["analyze", "fruad", "-n", "ml"]) == 3
    assert capsys.readouterr().err == (
        "kubectl podium: there is no file fruad, and there is no modeldeployment fruad in namespace ml: kubectl podium "
        "get -n ml lists those that there are; is it in another namespace (-n)?\n"
    )


CUT_OFF = HARMFUL.to_text()[:400]


@pytest.mark.parametrize("content", ["", "hello", "{}", "a: [", CUT_OFF, yaml.safe_dump(config_map(CUT_OFF))])
def test_a_file_that_is_empty_cut_off_or_foreign_is_told_with_the_way_to_get_it_again(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ledger"
    file.write_text(content)
    assert run(["analyze", str(file)]) == 3
    assert capsys.readouterr().err == (
        f"kubectl podium: {file} is no ledger, or is cut off: get it again with kubectl get configmap REVISION-ledger "
        f"-o yaml > {file}\n"
    )


def test_standard_input_that_is_no_ledger_is_named_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello"))
    assert run(["analyze", "-"]) == 3
    assert capsys.readouterr().err == (
        "kubectl podium: standard input is no ledger, or is cut off: pipe in what kubectl get configmap "
        "REVISION-ledger -o yaml prints\n"
    )


def test_a_config_map_without_a_ledger_is_said_to_have_none() -> None:
    with pytest.raises(CliError, match="configmap ml/x-ledger is no ConfigMap with a ledger"):
        text_of({"data": {}}, "configmap ml/x-ledger")


def test_a_ledger_that_nothing_can_be_decided_from_is_said_to_be_so() -> None:
    edited = json.loads(HARMFUL.to_text())
    edited["plan"]["metrics"][0] |= {"odds": True, "base": 0.7}
    with pytest.raises(CliError, match=r"x: nothing can be decided from it: 1\.5 times"):
        replayed(json.dumps(edited), "x")
