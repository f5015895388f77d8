"""Ports of loopback that stay one owner's: also between a kill and the start that follows it."""

import random
import socket

BELOW_EPHEMERAL = range(20100, 32000)
"""Linux gives 32768 and above to outgoing connections; routers of tests listen at 20000 and the next ones."""


class Port(int):
    """A port's number, kept from every other caller of `reserve`, of any process, as long as this object lives.

    A socket is bound to it and never listens: who sets SO_REUSEADDR too (servers do, asyncio's and Go's by default)
    may listen there, and who tries it without, as `reserve` does, may not.
    """

    _held: socket.socket

    def __new__(cls, held: socket.socket) -> "Port":
        port = super().__new__(cls, held.getsockname()[1])
        port._held = held
        return port

    def __del__(self) -> None:
        self._held.close()


def reserve(count: int) -> list[Port]:
    """So many ports of 127.0.0.1 that nobody listens on or has reserved."""
    found: list[Port] = []
    while len(found) < count:
        held = socket.socket()
        try:
            held.bind(("127.0.0.1", random.choice(BELOW_EPHEMERAL)))
        except OSError:
            held.close()
            continue
        # Only now: with it, the bind above would have succeeded beside another's reservation.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.append(Port(held))
    return found
