"""What --help shows."""

import pytest

from podium.cli.app import run
from podium.cli.command import VERBS


def shown(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run([command, "--help"]) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("get", "[NAME]"), ("status", "NAME"), *((verb, "NAME") for verb in VERBS), ("analyze", "LEDGER")],
)
def test_the_usage_line_names_the_argument_as_kubectl_does(
    command: str, arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"Usage: kubectl podium {command} [OPTIONS] {arguments} " in shown(command, capsys)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_tells_its_exit_codes(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    codes = "Exit code: 0 done or accepted, 1 refused, 2 not acted on in time, 3 cannot be read."
    assert codes in shown(verb, capsys)


@pytest.mark.parametrize(("command", "default"), [("status", "10m"), ("promote", "1m")])
def test_the_default_of_a_time_is_shown_as_it_would_be_given(
    command: str, default: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"[default: {default}]" in shown(command, capsys)


def test_the_revision_of_a_ledger_has_a_default_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert "default: its candidate, else what was decided on last" in shown("analyze", capsys)
