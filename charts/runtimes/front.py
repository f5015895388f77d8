"""Passes HTTP/1 on to a server on loopback, one connection for one, so that it ends without a lost request.

While it drains it answers with `Connection: close` until nothing comes any more. Answers say their revision.
GET /podium/ready and /podium/metrics are answered here; counted is what callers saw.
"""

# ruff: noqa: D102 (methods without a docstring are asyncio's callbacks)

import asyncio
import contextlib
import json
import random
import re
import resource
import time

from counts import Counts
from framing import CONNECTION, Body, body_of, ends_with, request_of
from side import Side

QUIET, IDLE = 1.0, 14.0
"""Seconds without a request after which a drain is over; seconds for which it keeps idle connections."""
STALLED, WHOLE, KEEP, LINGER = 60.0, 600.0, 620.0, 2.0
"""Seconds, those of Podium's own server: without progress; for a request to arrive; idle; to go on sending unheard."""
MOST_AT_ONCE = 32768
"""Bytes that are read of one client before others have their turn: 10 ms of CPU if they are chunks of one byte each."""
UNCOUNTED = re.compile(rb"(https?://[^/]*)?/(ping|podium/)")


class Client(Side):
    """A client's connection. One request is passed on at a time; the next ones wait in `ahead`."""

    def __init__(self, front):
        super().__init__()
        self.front = front
        front.clients.add(self)
        self.ahead = b""
        self.request = None  # Body of the one passed on, until its answer is complete
        self.last = False  # close after the answer
        self.leaves = False  # the client said that it sends nothing behind this request
        self.eof = False  # nothing more arrives: the client waits for answers alone, or has gone
        self.probes = 0  # that may still be sent to find out which
        self.deaf = False  # what still arrives is passed over
        self.method = b""
        # When a byte of a request came; when it began, or the wait for it; when a byte of an answer was taken.
        self.heard = self.since = self.moved = time.monotonic()
        self.written = self.sent = 0  # bytes of answers, and how many of them the kernel had at the last check
        self.ends = self.since + front.life * random.uniform(0.8, 1.2) if front.life else float("inf")
        self.counted = False  # its answer is to be counted
        self.received = None  # when the request was complete

    def forget(self):
        """Nothing is in flight here any more."""
        if self.request:
            self.request = None
            self.front.ended()

    def count(self, code):
        """The answer to the request begins."""
        if self.counted:
            self.counted = False
            self.front.counts.answered(code, time.monotonic() - self.received if self.received else 0.0)

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.max_size = MOST_AT_ONCE  # of asyncio's recv()

    def connection_lost(self, exc):
        self.front.clients.discard(self)
        self.front.counts.abandoned += self.counted
        self.counted = False
        self.forget()
        if self.peer and self.peer.transport:
            self.peer.transport.abort()

    def data_received(self, data):
        if self.deaf:
            return
        self.heard = time.monotonic()
        if self.request is None and not self.ahead:
            self.since = self.heard
        self.ahead += data
        self.advance()
        if len(self.ahead) > MOST_AT_ONCE and self.owes():
            self.transport.pause_reading()

    def owes(self):
        """Nothing more has to arrive before the next answer."""
        return bool(self.request.done if self.request else self.full and self.ahead)

    def eof_received(self):
        self.eof = True
        return self.owes()

    def resume_writing(self):
        super().resume_writing()
        if self.request is None:
            self.go_on()

    def go_on(self):
        """To the next request."""
        self.transport.resume_reading()
        if self.ahead:
            self.advance()
        if self.eof and not self.owes():
            self.transport.close()

    def advance(self):
        """Pass on what can be passed on."""
        head = b""
        try:
            if self.request is None:
                head = self.begin()
                if not head:
                    return
            taken = self.request.take(self.ahead)
        except ValueError as error:
            self.answer(b"400 Bad Request", error=str(error))
            return
        if self.request.done and not self.received:
            self.received = time.monotonic()
        if head or taken:
            self.peer.send(head + self.ahead[:taken])
            self.ahead = self.ahead[taken:]

    def begin(self):
        """Read a request's head, if it is there; what of it is passed on, if anything.

        Who does not take its answers waits: to stop the server's connection is no bound where each has its own.
        """
        if self.full:
            return b""
        self.ahead, self.method = self.ahead.lstrip(b"\r\n"), b""
        found = request_of(self.ahead)
        if not found:
            return b""
        head, self.method, target, version, self.request = found
        self.ahead, self.received = self.ahead[len(head) :], None
        self.last = self.leaves = ends_with(head, version)
        self.probes = 0 if version == b"HTTP/1.0" else 2
        self.front.began()
        path = target.split(b"?")[0]
        if path in (b"/podium/ready", b"/podium/metrics") and not self.request.done:
            raise ValueError("this path takes no body")  # nor does the server: it would be a request to it
        if target == b"/podium/ready":
            self.front.loop.create_task(self.front.tell_ready(self))
            return b""
        if path == b"/podium/metrics":
            self.answer(b"200 OK", self.front.counts.text(), b"text/plain; version=0.0.4")
            return b""
        self.counted = not UNCOUNTED.match(target)
        self.front.counts.started += self.counted
        if self.peer is None or self.peer.lost:
            if self.peer:
                self.peer.drop()
            self.peer = Upstream(self)
            self.front.loop.create_task(self.peer.connect())
        self.peer.expect()
        return CONNECTION.sub(b"", head)

    def answered(self):
        """The answer is complete: the next request, or the end."""
        complete = self.request is not None and self.request.done
        self.forget()
        if self.last or self.front.draining or not complete:
            self.end(complete)
            return
        self.heard = self.since = time.monotonic()
        self.go_on()

    def answer(self, status, text="", kind=b"application/json", **content):
        """An answer of our own; it ends the connection."""
        if self.transport.is_closing() or self.deaf:
            return
        if self.peer and self.peer.expecting and self.peer.body:
            self.transport.abort()  # the server's answer has begun: that it is cut off says that it is not whole
            return
        complete = self.request is not None and self.request.done
        self.count(int(status[:3]))
        self.forget()
        data = (text or json.dumps(content)).encode()
        head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        self.write(head % (status, kind, len(data)) + (b"" if self.method == b"HEAD" else data))
        self.end(complete)

    def write(self, data):
        """Send to the client."""
        self.written += len(data)
        self.transport.write(data)

    def end(self, complete):
        """End the connection; not at once while more may come: unread, it would make a reset, which loses the answer.

        `complete`: whether all of the request has come.
        """
        self.deaf, self.ahead = True, b""
        if self.peer:
            self.peer.drop()
        if complete and (self.leaves or self.eof):
            self.transport.close()
            return
        with contextlib.suppress(OSError):  # the client has gone
            self.transport.write_eof()
        self.transport.resume_reading()
        self.front.loop.call_later(LINGER, self.transport.close)

    def check(self, now):
        """End what makes no progress; how long the server takes for its answer does not matter."""
        unsent = self.transport.get_write_buffer_size()
        sent, self.sent = self.sent, self.written - unsent
        if self.sent != sent or not unsent:
            self.moved = now
        elif now - self.moved > STALLED:
            self.transport.abort()
        if self.eof and self.peer and self.peer.expecting and not self.peer.body:
            if self.probes:  # a client that has gone resets the connection; the second one meets that
                self.probes -= 1
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            elif now - self.heard > WHOLE:
                self.transport.abort()
        if self.deaf or self.owes():
            return
        if self.request is None and not self.ahead:
            if now - self.since > KEEP:
                self.transport.close()
            return
        if not self.transport.is_reading():
            self.heard = now  # it is the server that does not take the body
        # A head must be whole by then: to one that trickles every byte would be progress.
        if now - (self.heard if self.request else self.since) > STALLED or now - self.since > WHOLE:
            limits = f"{STALLED:g} s without progress, or {WHOLE:g} s in all"
            self.answer(b"408 Request Timeout", error=f"the request was not complete after {limits}")


class Upstream(Side):
    """The connection to the server that belongs to one client's."""

    def __init__(self, client):
        super().__init__()
        self.peer = client
        self.lost = False
        self.waiting = []
        self.head = b""
        self.body = None
        self.expecting = False

    async def connect(self):
        """Connect; send what has gathered."""
        try:
            await self.peer.front.loop.create_connection(lambda: self, *self.peer.front.server)
        except OSError as error:
            self.lost = True
            self.peer.answer(b"503 Service Unavailable", error=f"the server does not answer: {error}")

    def connection_made(self, transport):
        super().connection_made(transport)
        if self.peer.transport.is_closing() or self.peer.deaf:
            transport.abort()
            return
        for data in self.waiting:
            transport.write(data)
        self.waiting = []

    def send(self, data):
        """Send to the server, now or once connected."""
        if self.transport:
            self.transport.write(data)
        else:
            self.waiting.append(data)

    def expect(self):
        """An answer is to come."""
        self.head, self.body, self.expecting = b"", None, True

    def drop(self):
        """The client wants nothing more of it."""
        self.expecting = False
        if self.transport:
            self.transport.abort()

    def data_received(self, data):
        if not self.expecting or self.peer.request is None:
            self.transport.abort()  # an answer nobody waits for
            return
        if self.body is None:
            self.head += data
            data = self.heads()
            if data is None:
                return
        try:
            taken = self.body.take(data)
        except ValueError:
            self.peer.transport.abort()
            return
        if taken:
            self.peer.write(data[:taken])
        if self.body.done:
            self.expecting = False
            self.peer.answered()

    def heads(self):
        """Pass the answer's head on once it is there, interim ones too; the bytes behind it, or None."""
        while (end := self.head.find(b"\r\n\r\n")) >= 0:
            head, rest = self.head[: end + 2], self.head[end + 4 :]
            status = head[9:12]
            if status.startswith(b"1"):
                self.peer.write(head + b"\r\n")
                self.head = rest
                continue
            bare = self.peer.method == b"HEAD" or status in (b"204", b"304")
            try:
                self.body = Body(0) if bare else body_of(head, None)
            except ValueError as error:
                self.peer.answer(b"502 Bad Gateway", error=f"the server: {error}")
                return None
            self.lost = ends_with(head, head[:8])  # to other requests: TorchServe closes behind each refusal
            client = self.peer
            client.count(int(status))
            closing = client.last or client.front.draining or not client.request.done or self.body.left is None
            closing = closing or ((client.eof or time.monotonic() >= client.ends) and not client.ahead)
            client.last = client.last or closing
            own = b"connection: %b\r\n" % (b"close" if closing else b"keep-alive")
            if client.front.revision and b"x-podium-revision:" not in head.lower():
                own += b"x-podium-revision: %b\r\n" % client.front.revision
            client.write(CONNECTION.sub(b"", head) + own + b"\r\n")
            return rest
        return None

    def connection_lost(self, exc):
        self.lost = True
        if not self.expecting:
            return
        self.expecting = False
        if self.body is None:
            self.peer.answer(b"502 Bad Gateway", error="the server closed the connection without an answer")
        elif self.body.left is None:
            self.peer.answered()
        else:
            self.peer.transport.abort()


class Front:
    """What is in flight. `server` is (host, port); `state` says why the server is not ready, or an empty text.

    `labels` are those of the counts, as Prometheus writes them. After `life` seconds (0: never), give or take a fifth,
    a connection ends with its next answer: who keeps one never meets newer pods.
    """

    def __init__(self, server, revision, state, labels="", life=10.0):
        self.loop = asyncio.get_running_loop()
        self.server = server
        self.revision = revision.encode()
        self.state = state
        self.counts = Counts(labels)
        self.life = life
        self.in_flight = 0
        self.latest = 0.0
        self.draining = False
        self.clients = set()

    async def listen(self, port):
        """Accept connections from everywhere, as many as the system lets this process have."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.loop.call_later(1.0, self.tick)
        return await self.loop.create_server(lambda: Client(self), "0.0.0.0", port, backlog=1024)

    def tick(self):
        """Every second."""
        self.loop.call_later(1.0, self.tick)
        self.check(time.monotonic())

    def check(self, now):
        """End connections that make no progress."""
        for client in list(self.clients):
            if client.transport:
                client.check(now)

    def began(self):
        self.in_flight += 1
        self.latest = time.monotonic()

    def ended(self):
        self.in_flight -= 1
        self.latest = time.monotonic()

    async def tell_ready(self, client):
        """The readiness probe's answer."""
        reason = "told to stop" if self.draining else await self.state()
        client.answer(b"503 Service Unavailable" if reason else b"200 OK", ready=not reason, reason=reason)

    async def drain(self, within):
        """Wait until nobody asks any more, at most `within` seconds; ending an idle connection may cut a request."""
        self.draining = True
        start = self.latest = time.monotonic()
        while (now := time.monotonic()) < start + within:
            left = not self.clients or now - start >= IDLE
            if left and not self.in_flight and now - self.latest >= QUIET:
                break
            await asyncio.sleep(0.05)
        for client in self.clients:
            if client.transport and not client.request:
                client.transport.close()
