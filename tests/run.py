"""`make test`: everything that CI runs, in the order in which a mistake shows soonest. `python -m tests.run`.

While the pure tests run, the programs and images that the later ones need are built (from a cold cache that takes
some minutes, and the tests do not wait for it twice). Suites that wait for much of their time have others beside them,
each with programs of its own. The end-to-end tests count late answers, so what runs beside them has a lower priority.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PYTEST = [str(BIN / "pytest"), "--durations=5"]


@dataclass(frozen=True)
class Step:
    """One command, and what it shows."""

    name: str
    command: list[str]


LINT = (
    Step("ruff", [str(BIN / "ruff"), "check", "--quiet", "."]),
    Step("ruff format", [str(BIN / "ruff"), "format", "--quiet", "--check", "."]),
    Step("mypy --strict", [str(BIN / "mypy")]),
    Step("import contract", [str(BIN / "lint-imports"), "--no-cache"]),
)
PREPARE = Step("programs and images", [sys.executable, "-m", "tests.cluster", "prepare"])
PLAYS = "tests/unit/planner/test_refused.py"
"""Pure, and a third of the time of all unit tests."""
MACHINES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests/unit/planner").glob("test_machine*.py"))
"""State machines, in processes of their own: what Hypothesis draws depends on the modules that are imported."""
ROLLOUTS = "tests/integration/rollouts"
DOZENS = ("tests/integration/rollouts/test_kill.py", "tests/integration/rollouts/test_refused.py")
"""Every write of every scenario: they need the cores, and the end-to-end tests wait for half of their time."""
RACES = "tests/integration/metrics"
"""Callers there give up 100 ms before or after an answer: nothing runs beside it."""
UNIT = Step("unit", [*PYTEST, "-q", "-n", "3", "tests/unit", *(f"--ignore={path}" for path in (PLAYS, *MACHINES))])
PATIENT = ["nice", "-n", "10"]
"""Before the command of a step that judges no time, and takes what the step beside it leaves of the cores."""
SUITES: tuple[tuple[Step, ...], ...] = (
    (Step("integration: what callers saw is counted", [*PYTEST, "-q", RACES]),),
    (
        Step(
            "integration: all but rollouts",
            [*PYTEST, "-q", "tests/integration", f"--ignore={ROLLOUTS}", f"--ignore={RACES}"],
        ),
        Step("integration: rollouts", [*PYTEST, "-q", ROLLOUTS, *(f"--ignore={path}" for path in DOZENS)]),
        Step("unit: refusals", [*PATIENT, *PYTEST, "-q", PLAYS]),
        Step("state machines", [*PATIENT, *PYTEST, "-q", *MACHINES]),
        Step("fuzzing the server's readers", [*PATIENT, sys.executable, "-m", "tests.fuzz", "--seconds", "60"]),
        Step("soaking the server", [*PATIENT, sys.executable, "-m", "tests.soak", "--seconds", "60"]),
    ),
    (
        Step("e2e", [*PYTEST, "-v", "--durations=30", "tests/e2e"]),
        Step("integration: kills and refusals", [*PATIENT, *PYTEST, "-q", *DOZENS]),
    ),
)
"""One after the other; those of a row side by side."""
LEFT = """\
Left to `make soak`: the server for 10 minutes (here 1), 100 canaries in a row with the operator (here 10 of a router
alone), 40 canaries of the model that serves.
Left to `make fuzz`: the readers for 10 minutes each (here 1).
Left to `make test-refusals`: two thirds of the refusals other than 403 (here a third, by the commit's hash)."""
"""What this does not do, for want of time."""


def main() -> int:
    """Run all steps; stop at the first that fails, and say what each cost. Answers the exit code."""
    begun = time.monotonic()
    costs: dict[str, float] = {}
    code = _run_all(costs)
    outcome = "Failed" if code else "Everything passed"
    print(f"\n{table(costs)}\n\n{LEFT}\n\n{outcome} in {(time.monotonic() - begun) / 60:.1f} minutes.", flush=True)
    return code


def table(costs: Mapping[str, float]) -> str:
    """What each step cost, a line each: its name, and the seconds until it was over."""
    rows = [("suite", "seconds"), *((name, f"{seconds:.0f}") for name, seconds in costs.items())]
    widest = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{widest}} {seconds:>8}" for name, seconds in rows)


def _run_all(costs: dict[str, float]) -> int:
    with tempfile.TemporaryFile("w+") as log:
        preparing = subprocess.Popen(PREPARE.command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            for step in (*LINT, UNIT):
                if not _run((step,), costs):
                    return 1
            waited = time.monotonic()
            print(f"\n== {PREPARE.name}: built beside the tests so far, waiting for the rest", flush=True)
            if preparing.wait() != 0:
                log.seek(0)
                print("".join(log.readlines()[-60:]), f"\n{PREPARE.name} failed", flush=True)
                return 1
            costs[f"{PREPARE.name}, the rest of it"] = time.monotonic() - waited
        finally:
            if preparing.poll() is None:
                preparing.terminate()
                preparing.wait()
    return 0 if all(_run(steps, costs) for steps in SUITES) else 1


def _run(steps: Sequence[Step], costs: dict[str, float]) -> bool:
    """Run steps side by side; the first one's output is shown as it comes, the others' when all are over."""
    begun = time.monotonic()
    print("".join(f"\n== {step.name}" for step in steps), flush=True)
    with ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in steps[1:]]
        outputs = [(None, None), *((log, subprocess.STDOUT) for log in logs)]
        running = [
            subprocess.Popen(step.command, cwd=ROOT, stdout=out, stderr=err)
            for step, (out, err) in zip(steps, outputs, strict=True)
        ]
        waiting = {step.name: process for step, process in zip(steps, running, strict=True)}
        while waiting:
            for name, process in list(waiting.items()):
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
                    costs[name] = time.monotonic() - begun
                    del waiting[name]
        for step, log in zip(steps[1:], logs, strict=True):
            log.seek(0)
            print(f"\n== {step.name}, what it said\n{log.read()}", flush=True)
    for step, process in zip(steps, running, strict=True):
        said = "ok" if process.returncode == 0 else f"failed ({process.returncode})"
        print(f"== {step.name}: {said}, {costs[step.name]:.0f} s", flush=True)
    return all(process.returncode == 0 for process in running)


if __name__ == "__main__":
    sys.exit(main())
