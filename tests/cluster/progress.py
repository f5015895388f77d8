"""A line for each thing that takes time: what it is, how long as a rule, how long it took, and why it failed."""

import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


class ClusterError(Exception):
    """Something a person has to know: the message says what failed, and the way out where there is one."""


def say(line: str) -> None:
    """Writes a line of progress to standard error."""
    print(line, file=sys.stderr, flush=True)


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, indented, with the log's path above them."""
    if not log.exists():
        return f"({log} was never written)"
    with log.open(errors="replace") as text:
        last = deque(text, maxlen=lines)
    return f"the end of {log}:\n" + "".join(f"    {line.rstrip()}\n" for line in last)


@contextmanager
def step(what: str, usually: str = "", log: Path | None = None) -> Iterator[None]:
    """Announces `what`, then says how many seconds it took; on failure shows the tail of `log`."""
    say(f"{what}{f' (as a rule {usually})' if usually else ''} ...")
    start = time.monotonic()
    try:
        yield
    except BaseException as error:
        failed = "was interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        say(f"{what}: {failed} after {time.monotonic() - start:.1f} s")
        if log is not None and isinstance(error, Exception):
            say(tail(log))
        raise
    say(f"{what}: {time.monotonic() - start:.1f} s")


def run(
    command: Sequence[str | Path],
    log: Path | None = None,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Runs a command to its end and returns its standard output; with `log` all output goes there instead.

    Raises ClusterError with the command and what it said, if it fails.
    """
    words = [str(word) for word in command]
    try:
        if log is not None:
            with log.open("a") as out:
                result = subprocess.run(
                    words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, text=True
                )
            said = f"see {log}"
        else:
            result = subprocess.run(words, cwd=cwd, env=env, input=stdin or "", capture_output=True, text=True)
            said = (result.stderr or result.stdout).strip()
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]} is not installed") from error
    if result.returncode:
        raise ClusterError(f"`{' '.join(words[:8])}` ended with code {result.returncode}: {said}")
    return result.stdout or ""
