"""The server's configuration: environment variables, read once, validated, frozen."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from podium_serving.environment import Environment, InvalidEnvironment

LOG_LEVELS = ("debug", "info", "warning", "error")
# What may stand in a header.
_ASCII = re.compile(r"[\x20-\x7e]*")
# Control characters, and bytes that are not UTF-8, which JSON cannot carry.
_UNPRINTABLE = ("Cc", "Cs")


@dataclass(frozen=True)
class Settings:
    """What one server process serves, and within which limits. Durations are seconds, sizes bytes."""

    model: str
    path: Path
    version: str
    revision: str
    port: int
    grace: float
    drain_quiet: float
    drain_idle: float
    max_body: int
    keep_alive: float
    read_timeout: float
    body_timeout: float
    connection_life: float
    memory: int
    run_memory: int
    queue_length: int
    queue_seconds: float
    threads: int
    probe_seconds: float
    log_level: str

    @classmethod
    def from_environment(cls, variables: Mapping[str, str]) -> "Settings":
        """Reads PODIUM_* variables; raises InvalidEnvironment, naming the variable."""
        env = Environment(variables)
        return cls(
            model=_printable("PODIUM_MODEL", env.text("PODIUM_MODEL")),
            path=Path(env.text("PODIUM_MODEL_PATH", "/models/model")),
            version=_printable("PODIUM_MODEL_VERSION", env.text("PODIUM_MODEL_VERSION", "1")),
            revision=_ascii("PODIUM_REVISION", env.text("PODIUM_REVISION", "")),
            port=env.integer("PODIUM_HTTP_PORT", 8080, 0, 65535),
            grace=env.seconds("PODIUM_GRACE_SECONDS", 20),
            drain_quiet=env.seconds("PODIUM_DRAIN_QUIET_SECONDS", 1),
            drain_idle=env.seconds("PODIUM_DRAIN_IDLE_SECONDS", 14),
            max_body=env.integer("PODIUM_MAX_BODY_BYTES", 64 * 2**20, 1, 2**40),
            keep_alive=env.seconds("PODIUM_KEEP_ALIVE_SECONDS", 620),
            read_timeout=env.seconds("PODIUM_READ_SECONDS", 60),
            body_timeout=env.seconds("PODIUM_BODY_SECONDS", 600),
            connection_life=env.seconds("PODIUM_CONNECTION_SECONDS", 10),
            memory=env.integer("PODIUM_MEMORY_BYTES", 0, 0, 2**50),
            run_memory=env.integer("PODIUM_RUN_MEMORY_BYTES", 0, 0, 2**50),
            queue_length=env.integer("PODIUM_QUEUE_LENGTH", 128, 1, 2**20),
            queue_seconds=env.seconds("PODIUM_QUEUE_SECONDS", 5),
            threads=env.integer("PODIUM_INTRA_OP_THREADS", 0, 0, 1024),
            probe_seconds=env.seconds("PODIUM_PROBE_SECONDS", 10),
            log_level=env.choice("PODIUM_LOG_LEVEL", "info", LOG_LEVELS),
        )


def _printable(name: str, value: str) -> str:
    if any(unicodedata.category(each) in _UNPRINTABLE for each in value):
        raise InvalidEnvironment(f"{name} is {value!r}: expected printable characters in one line")
    return value


def _ascii(name: str, value: str) -> str:
    if not _ASCII.fullmatch(value):
        raise InvalidEnvironment(f"{name} is {value!r}: expected printable ASCII characters")
    return value
