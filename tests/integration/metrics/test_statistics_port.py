"""The port of a router's statistics shows /stats and /ready to whoever reads, and nothing else of Envoy."""

import asyncio
import http.client
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing

from podium.router.places import STATS_PORT
from tests.integration.metrics.known import SECONDS, Router

SHOWN = ["/ready", "/stats", "/stats?filter=server.uptime", "/stats/prometheus"]
HIDDEN = [
    "/", "/help", "/config_dump", "/clusters", "/certs", "/memory", "/logging", "/listeners", "/server_info",
    "/init_dump", "/statsx", "/STATS", "/ready/../config_dump", "/stats/../config_dump", "/stats/%2e%2e/config_dump",
    "/stats/..%2fconfig_dump", "//config_dump",
]  # fmt: skip
CHANGES = [
    "/quitquitquit", "/healthcheck/fail", "/drain_listeners", "/reset_counters", "/logging?level=trace",
    "/stats/recentlookups/enable",
]  # fmt: skip


def answers(router: Router, method: str, path: str) -> int:
    """The code, of a path that is sent as it is."""
    with closing(http.client.HTTPConnection(router.address, STATS_PORT, timeout=SECONDS)) as connection:
        connection.request(method, path)
        return connection.getresponse().status


async def test_it_shows_statistics_and_nothing_else(
    make_router: Callable[..., AbstractAsyncContextManager[Router]],
) -> None:
    async with make_router() as router:
        asked = [("GET", path) for path in (*SHOWN, *HIDDEN)]
        asked += [(method, path) for path in (*CHANGES, *SHOWN) for method in ("POST", "PUT", "DELETE")]
        codes = {each: await asyncio.to_thread(answers, router, *each) for each in asked}

    shown = {each for each, code in codes.items() if code == 200}
    assert shown == {("GET", path) for path in SHOWN}
    assert all(code in (400, 404) for each, code in codes.items() if each not in shown), codes
