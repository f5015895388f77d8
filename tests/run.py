"""`make test`: everything that CI runs, in the order in which a mistake shows soonest. `python -m tests.run`.

While the pure tests run, the programs and images that the later ones need are built (from a cold cache that takes
some minutes, and the tests do not wait for it twice).
"""

import subprocess
import sys
import tempfile
import time
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
SUITES = (
    Step("unit", [*PYTEST, "-q", "tests/unit"]),
    Step("fuzzing the server's readers", [sys.executable, "-m", "tests.fuzz", "--seconds", "60"]),
    Step("soaking the server", [sys.executable, "-m", "tests.soak", "--seconds", "60"]),
    Step("integration", [*PYTEST, "-q", "tests/integration"]),
    Step("e2e", [*PYTEST, "-v", "tests/e2e"]),
)


def main() -> int:
    """Run all steps; stop at the first that fails. Answers the exit code."""
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        preparing = subprocess.Popen(PREPARE.command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            for step in (*LINT, SUITES[0]):
                if not _run(step):
                    return 1
            print(f"\n== {PREPARE.name}: built beside the tests so far, waiting for the rest", flush=True)
            if preparing.wait() != 0:
                log.seek(0)
                print("".join(log.readlines()[-60:]), f"\n{PREPARE.name} failed", flush=True)
                return 1
        finally:
            if preparing.poll() is None:
                preparing.terminate()
                preparing.wait()
    for step in SUITES[1:]:
        if not _run(step):
            return 1
    print(f"\nEverything passed in {(time.monotonic() - begun) / 60:.1f} minutes.", flush=True)
    return 0


def _run(step: Step) -> bool:
    begun = time.monotonic()
    print(f"\n== {step.name}", flush=True)
    code = subprocess.run(step.command, cwd=ROOT, check=False).returncode
    print(f"== {step.name}: {'ok' if code == 0 else f'failed ({code})'}, {time.monotonic() - begun:.0f} s", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
