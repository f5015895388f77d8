"""Arguments and environment become Settings."""

import dataclasses

import pytest

from podium.__main__ import settings_from
from podium.app import access
from podium.metrics.access import Access
from podium.settings import Settings


def test_without_anything_the_defaults_hold_and_the_identity_is_unique() -> None:
    first, second = settings_from([], {}), settings_from([], {})

    assert dataclasses.replace(first, identity="x") == Settings(identity="x")
    assert first.identity != second.identity


def test_every_field_is_a_flag_and_a_variable() -> None:
    for field in dataclasses.fields(Settings):
        default = getattr(Settings(identity="x"), field.name)
        # Close to the default, for some depend on each other; the log level has its own words.
        given = {"log_level": "debug", "prometheus_url": "https://p:9090"}.get(field.name) or _other(default)
        flag, variable = f"--{field.name.replace('_', '-')}={given}", {f"PODIUM_{field.name.upper()}": given}

        by_flag, by_variable = settings_from([flag], {}), settings_from([], variable)

        assert getattr(by_flag, field.name) == getattr(by_variable, field.name) != default, field.name


def _other(default: object) -> str:
    match default:
        case float():
            return str(default * 1.01)
        case bool():
            return str(not default)
        case int():
            return str(default + 1)
        case tuple():
            return "a,b"
        case _:
            return "something"


def test_a_flag_wins_over_a_variable() -> None:
    assert settings_from(["--selector=a=b"], {"PODIUM_SELECTOR": "c=d"}).selector == "a=b"


def test_namespaces_are_separated_by_commas_and_may_be_none() -> None:
    assert settings_from(["--watch-namespaces=a, b,"], {}).watch_namespaces == ("a", "b")
    assert settings_from(["--watch-namespaces="], {"PODIUM_WATCH_NAMESPACES": "a"}).watch_namespaces == ()


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--lease-duration=soon"], {}, ["--lease-duration", "'soon'", "number of seconds"]),
        ([], {"PODIUM_WORKERS": "many"}, ["PODIUM_WORKERS", "'many'", "number"]),
        (["--crash-grace=-1"], {}, ["--crash-grace", "negative"]),
        (["--crash-grace=nan"], {}, ["--crash-grace", "'nan'"]),
        (["--log-level=loud"], {}, ["--log-level", "'loud'", "debug, info, warning, error"]),
        (["--lease-duration=3"], {}, ["lease_write_deadline < lease_duration"]),
        (["--no-such-thing=1"], {}, ["--no-such-thing"]),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    arguments: list[str], environment: dict[str, str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        settings_from(arguments, environment)

    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said


def test_the_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        settings_from(["--help"], {})

    said = capsys.readouterr().out
    for field in dataclasses.fields(Settings):
        assert f"--{field.name.replace('_', '-')}" in said


def test_true_and_false_are_read_and_nothing_else_is_either(capsys: pytest.CaptureFixture[str]) -> None:
    assert settings_from(["--prometheus-any-query=True"], {}).prometheus_any_query
    assert not settings_from([], {"PODIUM_PROMETHEUS_ANY_QUERY": "false"}).prometheus_any_query
    with pytest.raises(SystemExit):
        settings_from(["--prometheus-any-query=1"], {})
    assert "--prometheus-any-query: '1' is neither true nor false" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--prometheus-url=p:9090"], "must begin with http:// or https://"),
        (["--prometheus-url=http://p", "--prometheus-token-file=/t"], "needs an https:// prometheus_url"),
        (["--prometheus-interval=0.5"], "must be at least 1 s"),
    ],
)
def test_a_prometheus_that_cannot_be_asked_so_is_refused(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        settings_from(given, {})
    assert said in capsys.readouterr().err


def test_how_prometheus_is_reached_is_what_the_settings_say() -> None:
    settings = Settings(
        identity="x", prometheus_url="https://p", prometheus_ca_file="/ca", prometheus_token_file="/token",
        prometheus_any_query=True, prometheus_interval=30.0,
    )  # fmt: skip
    assert access(settings) == Access("https://p", "/ca", "/token", True, 30.0)
