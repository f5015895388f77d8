"""`python -m podium_serving.fetch`; the package's docstring tells environment, digest and outcome."""

import importlib
import logging
import os
import random
import signal
import sys
import time
from dataclasses import asdict
from types import FrameType

from podium_serving import logs, termination
from podium_serving.environment import InvalidEnvironment
from podium_serving.fetch.config import Config, locate
from podium_serving.fetch.errors import FetchError, Reason
from podium_serving.fetch.place import Placed, place, reusable, staging
from podium_serving.fetch.staging import Staging
from podium_serving.logs import log

EXIT_PERMANENT = 65
EXIT_PASSING = 75
_LONGEST_WAIT = 30.0
# What an attempt must have brought, or one more whole file, to count as progress.
_PROGRESS_BYTES = 2**20
# To hide a shorter one, such as "a" in a test, would blot out half of the message and keep nothing secret.
_SHORTEST_CREDENTIAL = 8
# Which module reads a scheme; imported when needed, since the S3 client is large and pvc:// needs none of it.
_SOURCES = {"s3": "s3", "https": "https", "http": "https", "pvc": "pvc"}


def main() -> int:
    """Fetches the model that the environment describes; returns the exit code."""
    signal.signal(signal.SIGTERM, _interrupted)
    os.umask(0o022)
    try:
        config = Config.from_environment(os.environ)
    except InvalidEnvironment as problem:
        logs.configure("info", {})
        return _fail(FetchError(Reason.InvalidConfiguration, str(problem)), "", 0, 0.0)
    logs.configure(config.log_level, {"uri": config.shown_uri})
    started = time.monotonic()
    stage: Staging | None = None
    best = (0, 0)
    attempt = fruitless = 0
    while True:
        attempt += 1
        try:
            stage = stage or staging(config)
            return _done(config, attempt, started, *_fetch(config, stage))
        except FetchError as problem:
            error = problem
        except Exception as problem:
            error = FetchError(Reason.Unexpected, f"{config.shown_uri}: {type(problem).__name__}: {problem}")
        # A line that breaks again and again is not given up as long as every attempt brings the model nearer.
        files, size = stage.progress if stage else (0, 0)
        fruitless = 0 if files > best[0] or size >= best[1] + _PROGRESS_BYTES else fruitless + 1
        best = (max(best[0], files), max(best[1], size))
        if error.reason.permanent or fruitless >= config.attempts or error.reason is Reason.Interrupted:
            return _given_up(config, stage, error, attempt, started)
        wait = min(_LONGEST_WAIT, 2.0 ** (fruitless - 1)) * random.uniform(0.75, 1.25)
        log(logging.WARNING, _scrub(str(error)), reason=error.reason.name, attempt=attempt, retry_in=round(wait, 2))
        try:
            time.sleep(wait)
        except FetchError as problem:
            return _given_up(config, stage, problem, attempt, started)


def _fetch(config: Config, stage: Staging) -> tuple[Placed, bool]:
    """What was placed, and whether it was there already."""
    location = locate(config)
    placed = reusable(config)
    if placed:
        stage.remove()
        return placed, True
    source = importlib.import_module(f"podium_serving.fetch.{_SOURCES[location.scheme]}")
    return place(config, source.listing(config, location), stage), False


def _given_up(config: Config, stage: Staging | None, error: FetchError, attempts: int, started: float) -> int:
    """Tells the failure; keeps what the container's next run can go on with, unless its disk is what was wanting."""
    if stage and (error.reason.permanent or error.reason is Reason.DiskFull or not stage.progress[1]):
        stage.remove()
    return _fail(error, config.shown_uri, attempts, time.monotonic() - started)


def _done(config: Config, attempts: int, started: float, placed: Placed, reused: bool) -> int:
    message = {
        "result": "done",
        "uri": config.shown_uri,
        **asdict(placed),
        "digest": f"sha256:{placed.digest}",
        "seconds": round(time.monotonic() - started, 3),
        "attempts": attempts,
        "reused": reused,
    }
    termination.write(message)
    log(logging.INFO, "the model is in its place", path=config.path, **message)
    return 0


def _fail(error: FetchError, uri: str, attempts: int, seconds: float) -> int:
    return termination.fail(
        EXIT_PERMANENT if error.reason.permanent else EXIT_PASSING,
        error.reason.name,
        _scrub(str(error)),
        permanent=error.reason.permanent,
        uri=uri,
        attempts=attempts,
        seconds=round(seconds, 3),
        **error.fields,
    )


def _scrub(text: str) -> str:
    """The text without any credential, whatever a library has put into its message."""
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"):
        value = os.environ.get(name, "").strip()
        if len(value) >= _SHORTEST_CREDENTIAL:
            text = text.replace(value, "***")
    return text


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise FetchError(
        Reason.Interrupted, f"the fetcher was told to stop (signal {number}) before the model was complete"
    )


if __name__ == "__main__":
    sys.exit(main())
