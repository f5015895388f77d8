"""How a router leaves: its callers go elsewhere first, and its agent keeps its Envoy up to date until then."""

import logging
import os
import time
from typing import Final

from podium.router.admin import Admin, Gone, Unreachable

log = logging.getLogger(__name__)

LEAST_SECONDS: Final = 5.0
LEFT_SECONDS: Final = 2.0
QUIET_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.2
"""See `leave`."""


def outlast(admin: Admin) -> None:
    """Keep Envoy up to date while its callers leave it, and end with it."""
    while True:
        time.sleep(1.0)
        try:
            admin.loaded()
        except Gone as error:
            log.info("Envoy has ended: %s", error)
            os._exit(0)
        except Unreachable as error:
            log.warning("%s; it may be busy", error)


def leave(admin: Admin, *, most: float) -> None:
    """Have Envoy's callers go elsewhere, and wait until they have: `most` seconds, since a stream may never end.

    A connection that is kept open and unused is closed with Envoy: it counts as left when nothing at all has been asked
    for QUIET_SECONDS. Before LEAST_SECONDS some node may not know yet that this router takes no new connections; and
    while one does not, callers with a connection for each request come and go between two looks: only LEFT_SECONDS
    without any request say that they go elsewhere.
    """
    start = quiet_since = time.monotonic()
    total, draining = -1, False
    while time.monotonic() - start < most:
        try:
            if not draining:
                admin.drain()
                draining = True
            traffic = admin.traffic()
        except Gone as error:
            log.info("Envoy has ended: %s", error)
            return
        except Unreachable as error:
            log.warning("%s; it may be busy", error)
            quiet_since = time.monotonic()
        else:
            now = time.monotonic()  # a busy Envoy's answer is seconds old only if it is counted from the question
            if traffic.active or traffic.total != total:
                quiet_since, total = now, traffic.total
            quiet = LEFT_SECONDS if traffic.connections == 0 else QUIET_SECONDS
            if now - quiet_since >= quiet and now - start >= LEAST_SECONDS:
                return
        time.sleep(LOOK_SECONDS)
