"""Structured logs: one JSON object a line on standard output, with the fields that tell whose line it is."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

LOG = logging.getLogger("podium_serving")


class _JsonFormatter(logging.Formatter):
    def __init__(self, common: Mapping[str, str]) -> None:
        super().__init__()
        self._common = dict(common)

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **self._common,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str, common: Mapping[str, str]) -> None:
    """Sends every log line of this process to standard output as JSON; `common` fields are in each of them."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_JsonFormatter(common))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    LOG.setLevel(level.upper())


def log(level: int, message: str, **fields: object) -> None:
    """Logs a sentence with fields; values that are not JSON are written as text."""
    LOG.log(level, message, extra={"fields": fields})
