"""A connector for aiohttp that can end all of its connections at once, those that are still being made among them."""

import contextlib
import socket
import weakref
from typing import Any, Final

import aiohttp
from aiohttp.connector import AddrInfoType

from tests.until import until

PATIENCE: Final = 60
"""Seconds until sockets that were shut down are closed: some turns of the loop, on a busy machine too."""


class Connector(aiohttp.TCPConnector):
    """Closing a TLS connection in asyncio waits for the other end's farewell, which a loop that ends never hears.

    Nor can each be aborted: a caller that is cancelled in the turn in which its handshake is done leaves one that is
    closing and that nobody holds, and a TLS transport that was closed twice takes no abort. So this one keeps the
    sockets, from their making on.
    """

    def __init__(self, **options: Any) -> None:
        self._made: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        super().__init__(socket_factory=self._make, **options)

    def _make(self, address: AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        self._made.add(made)
        return made

    async def abort(self) -> None:
        """End every connection, and return when the sockets are closed; TimeoutError if some are not after 60 s.

        Whoever used the connector is done or was cancelled before: what is asked for meanwhile is not waited for.
        """
        await self.close(abort_ssl=True)
        for one in self.open():
            with contextlib.suppress(OSError):  # not connected yet, or no longer
                one.shutdown(socket.SHUT_RDWR)
        await until(lambda: not self.open(), PATIENCE)

    def open(self) -> list[socket.socket]:
        """The sockets that are not closed."""
        return [one for one in self._made if one.fileno() != -1]
