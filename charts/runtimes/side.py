"""What the two ends of a connection through front.py have in common."""

# ruff: noqa: D102 (methods without a docstring are asyncio's callbacks)

import asyncio


class Side(asyncio.Protocol):
    """One end of a connection: it makes the other wait when it cannot write fast enough."""

    def __init__(self):
        self.transport = None
        self.peer = None
        self.full = False  # it takes no more at the moment

    def connection_made(self, transport):
        self.transport = transport

    def pause_writing(self):
        self.full = True
        if self.peer and self.peer.transport:
            self.peer.transport.pause_reading()

    def resume_writing(self):
        self.full = False
        if self.peer and self.peer.transport:
            self.peer.transport.resume_reading()
