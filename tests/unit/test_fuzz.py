"""`make fuzz` draws ever new inputs, and an input that is never over ends it. In a process of its own: it forks."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = """
from podium_serving.json_codec import JsonCodec
from tests.fuzz.__main__ import json_reader, settings

drawn = set()
JsonCodec.decode = lambda self, body: drawn.add(bytes(body))
few = settings(max_examples=20)(json_reader)
rounds = []
for _ in range(2):
    drawn.clear()
    few()
    rounds.append(sorted(drawn))
print(rounds)
"""
NEVER_OVER = """
import itertools, sys, threading
from podium_serving.json_codec import JsonCodec
from tests.fuzz.__main__ import http_reader, main, settings

inputs = itertools.count(1)

def decode(self, body):
    if next(inputs) == 20:
        print("read:", bytes(body), flush=True)
        {never}

JsonCodec.decode = decode
settings(max_examples=20)(http_reader)
sys.exit(main())
"""
STUCK = """
import sys, threading
from tests.fuzz import __main__ as fuzz

fuzz.run = lambda name, test, seconds: threading.Event().wait()
sys.exit(fuzz.main())
"""


def python(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What it said; all its processes are killed if it hangs itself."""
    path = os.pathsep.join(str(ROOT / folder) for folder in ("operator/src", "serving-image/src", "."))
    return subprocess.run(
        ["timeout", "-s", "KILL", "120", sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_rounds_draw_different_inputs_in_ci_too() -> None:
    done = python(ROUNDS, CI="1")

    assert done.returncode == 0, done.stderr
    first, second = ast.literal_eval(done.stdout)
    assert first
    assert second
    assert first != second


@pytest.mark.parametrize(
    "never",
    [
        pytest.param("all(itertools.repeat(True))", id="a loop in C, which no handler in Python could end"),
        pytest.param("threading.Event().wait()", id="a wait, which takes no CPU"),
    ],
)
def test_an_input_that_is_never_over_fails_the_run_which_names_its_bytes(never: str) -> None:
    done = python(NEVER_OVER.format(never=never), "--seconds", "1", "--wall", "5")

    assert done.returncode == 1, done.stderr
    (read,) = [line.removeprefix("read: ") for line in done.stdout.splitlines() if line.startswith("read: ")]
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("JSON: ")]
    assert told.startswith(f"JSON: an input is not over after 5 s: ({read}, ")
    assert " inputs in 1 s" in done.stdout, "the other reader is not cut short"


def test_a_reader_that_does_not_end_is_killed_and_fails_the_run() -> None:
    done = python(STUCK, "--seconds", "0", "--late", "1")

    assert done.returncode == 1, done.stderr
    assert [line.partition(".")[0] for line in done.stdout.splitlines()] == [
        "JSON: not over in time",
        "HTTP: not over in time",
    ]
