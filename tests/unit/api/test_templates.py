"""Template variables of a ModelRuntime."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.api.templates import TEXT_PATTERN, VARIABLES, InvalidTemplate, check, fill, fill_all, strings

VALUES = {name: f"<{name}>" for name in VARIABLES}


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_is_filled(name: str) -> None:
    assert fill(f"--x={{{{{name}}}}}!", VALUES) == f"--x=<{name}>!"


@pytest.mark.parametrize("text", ["", "no braces", "{x}", "}}", '{"a": {"b": 1}}', "$(NAME) ${NAME} {", "{ {model} }"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert fill(text, VALUES) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{{name}}", "{{name}}"),
        ("{{Model}}", "{{Model}}"),
        ("{{ model }}", "{{ model }}"),
        ("{{}}", "{{}}"),
        ("{{model}} and {{other}}", "{{other}}"),
        ("{{model", "'{{model'"),
        ("{{{model}}}", "'{{{model}}}'"),
    ],
)
def test_what_is_no_variable_is_refused_by_name_and_the_right_ones_are_told(text: str, named: str) -> None:
    with pytest.raises(InvalidTemplate, match=re.escape(named)) as error:
        fill(text, VALUES)
    assert "cpuLimit" in str(error.value)


def test_a_variable_without_a_value_is_refused_by_name() -> None:
    with pytest.raises(InvalidTemplate, match="grpcPort") as error:
        fill("{{httpPort}} {{grpcPort}}", {"httpPort": "8080"})
    assert error.value.variable == "grpcPort"


def test_braces_in_a_value_are_not_read_again() -> None:
    assert fill("{{version}}", {"version": "{{uri}} {{nonsense}}"}) == "{{uri}} {{nonsense}}"


def test_strings_are_filled_in_any_nesting_and_keys_are_not() -> None:
    probe = {"exec": {"command": ["a", "{{model}}"]}, "periodSeconds": 3, "{{model}}": None}
    assert fill_all(probe, VALUES) == {"exec": {"command": ["a", "<model>"]}, "periodSeconds": 3, "{{model}}": None}


def test_strings_are_listed_with_their_paths() -> None:
    probe = {"exec": {"command": ["a", "b"]}, "n": 1}
    assert list(strings(probe)) == [("exec.command[0]", "a"), ("exec.command[1]", "b")]


PIECES = st.sampled_from(["{", "}", "{{", "}}", "model", "{{model}}", "{{path}}", "x", " ", "\n"])


@given(text=st.lists(PIECES | st.text(max_size=2), max_size=8).map("".join))
def test_python_and_the_api_server_refuse_the_same_texts(text: str) -> None:
    """The API server is given TEXT_PATTERN; the integration tests show what it makes of it."""
    try:
        check(text)
    except InvalidTemplate:
        accepted = False
    else:
        accepted = True
    assert accepted == bool(re.fullmatch(TEXT_PATTERN, text))
