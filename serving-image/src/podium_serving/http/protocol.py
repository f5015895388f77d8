"""One connection: bytes in, requests in order to the handler, responses in the same order out.

The handler answers at once with a Response or later through a Future. While it works, later requests of the connection
wait (pipelining), and when too many wait, or the peer does not read its answers, reading stops.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import cast

import httptools

from podium_serving.http.message import REASONS, Request, Response, error

Handler = Callable[[Request], "Response | asyncio.Future[Response]"]

MAX_HEAD = 64 * 1024
_MAX_PIPELINED = 32
# How long a refused peer may go on sending before the connection is cut: closing at once would reset the connection,
# and the peer would lose the answer that says why.
_LINGER_SECONDS = 2.0


@dataclass
class Context:
    """What all connections of a server share. `draining` makes every answer the last of its connection."""

    # Gets every request, refused ones too, so that it can count them; those it answers with their refusal.
    handler: Handler
    max_body: int
    keep_alive: float
    read_timeout: float
    clock: Callable[[], float]
    extra_headers: bytes = b""
    draining: bool = False
    connections: "set[Connection]" = field(default_factory=set)
    date: bytes = b""

    def tick(self) -> None:
        """To be called every second: renews the Date header and ends connections that idle or stall for too long."""
        self.date = b"date: " + formatdate(usegmt=True).encode() + b"\r\n"
        now = self.clock()
        for connection in list(self.connections):
            connection.check_timeouts(now)


class Connection(asyncio.Protocol):
    """The asyncio protocol of one client connection."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._queue: deque[Request] = deque()
        self._request: Request | None = None  # the one that is being received
        self._offered: Request | None = None  # its head, if that offers another protocol
        self._head_size = 0
        self._head_complete = False
        self._chunks: list[bytes] = []
        self._body_size = 0
        self._busy = False  # the handler owes an answer
        self._deaf = False  # what still arrives is not read any more
        self._eof = False
        self._write_paused = False
        self._read_paused = False
        self._unsent = 0  # bytes that the peer had still to read when it was last looked at
        self._last_activity = context.clock()

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._context.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: what waited for an answer is dropped."""
        self._context.connections.discard(self)
        self._queue.clear()
        self._deaf = True
        self._request = None

    def data_received(self, data: bytes) -> None:
        """Bytes of the client; complete requests are handled before this returns, if the handler is quick."""
        if self._deaf:
            return
        self._last_activity = self._context.clock()
        try:
            self._parse(data)
        except httptools.HttpParserError as problem:
            if not self._deaf:
                self._refuse(error(400, f"the request is not valid HTTP/1.1: {problem}"))

    def eof_received(self) -> bool:
        """The client sends nothing more; it still gets the answers to what it has sent."""
        self._eof = True
        return self._busy or bool(self._queue)

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        self._write_paused = True
        self._throttle()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._write_paused = False
        self._work()
        self._throttle()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        """First byte of a request."""
        if self._deaf:
            return
        self._request = Request(self._context.clock())
        self._head_size = 0
        self._head_complete = False
        self._chunks = []
        self._body_size = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        if self._request is not None:
            self._request.target += url
            self._grow_head(len(url))

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """One header of the request."""
        if self._request is not None:
            value, headers, name = value or b"", self._request.headers, name.lower()
            headers[name] = headers[name] + b", " + value if name in headers else value  # one list (RFC 9110, 5.3)
            self._grow_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """The head is complete: refuse here what is too large, before its body is sent."""
        request = self._request
        if request is None:
            return
        self._head_complete = True
        request.method = self._parser.get_method()
        request.keep_alive = self._parser.should_keep_alive()
        if self._parser.should_upgrade():
            if request.method != b"CONNECT":
                self._offered, self._request = request, None
                return
            # What follows is of another protocol, whatever the answer.
            request.keep_alive = False
        request.announce_keep_alive = request.keep_alive and self._parser.get_http_version() == "1.0"
        headers = request.headers
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._context.max_body:
            self._refuse(self._too_large())
        elif b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
            encoding = headers[b"content-encoding"].decode("latin-1")
            self._refuse(error(415, f"content-encoding {encoding!r} is not supported: send the body as it is"))
        elif headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            encoding = headers[b"transfer-encoding"].decode("latin-1")
            self._refuse(error(501, f"transfer-encoding {encoding!r} is not supported: send the body as it is"))
        elif headers.get(b"expect", b"").lower() == b"100-continue" and not self._busy and not self._queue:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the request's body."""
        if self._request is None:
            return
        self._body_size += len(body)
        if self._body_size > self._context.max_body:
            self._refuse(self._too_large())
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        request = self._request
        if request is None:
            return
        self._request = None
        chunks = self._chunks
        self._chunks = []
        request.body = memoryview(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        request.received = self._context.clock()
        if not request.keep_alive:
            self._deaf = True
        self._queue.append(request)
        self._work()

    # our own

    @property
    def active(self) -> bool:
        """A request is being received, handled or waits; or an answer is not yet sent."""
        return (
            self._busy or bool(self._queue) or self._request is not None or self._transport.get_write_buffer_size() > 0
        )

    def close(self) -> None:
        """Ends the connection once what has been written is sent."""
        self._deaf = True
        self._transport.close()

    def abort(self) -> None:
        """Ends the connection at once."""
        self._deaf = True
        self._transport.abort()

    def check_timeouts(self, now: float) -> None:
        """Ends an idle connection quietly, a stalled request with a 408, and a peer that does not read its answers."""
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        if self._unsent < before:
            # Who reads slowly is alive.
            self._last_activity = now
        elif self._write_paused and now - self._last_activity > self._context.read_timeout:
            self.abort()
        if self._busy or self._queue or self._deaf:
            return
        request = self._request
        limit = self._context.read_timeout
        if request is None:
            if now - self._last_activity > self._context.keep_alive:
                self.close()
        elif now - (self._last_activity if self._head_complete else request.started) > limit:
            self._refuse(error(408, f"the request was not complete after {limit:g} s without progress"))

    def _parse(self, data: bytes) -> None:
        """Feeds the parser, which stops behind every head that offers another protocol (h2c, websocket).

        Such an offer may be passed over (RFC 9110, 7.8): the client goes on in HTTP/1.1 unless it is told 101. But
        httptools does not read the body then, so the head is read once more without the offer.
        """
        rest: bytes | memoryview = data
        while True:
            try:
                self._parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as stop:
                offered, self._offered = self._offered, None
                if offered is None:
                    return
                rest = memoryview(rest)[stop.args[0] :]
                head = offered.head_without_offer(self._parser.get_http_version())
                self._parser = httptools.HttpRequestParser(self)
                self._parser.feed_data(head)
                if self._request is not None:
                    self._request.started = offered.started

    def _grow_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD:
            self._refuse(error(431, f"the request's target and headers exceed {MAX_HEAD} bytes"))

    def _too_large(self) -> Response:
        return error(413, f"the request's body exceeds {self._context.max_body} bytes (PODIUM_MAX_BODY_BYTES)")

    def _refuse(self, response: Response) -> None:
        """Answers with `response`, after the requests before it have had their answers, and reads nothing more."""
        request = self._request or Request(self._context.clock())
        request.refusal = response
        request.keep_alive = False
        self._request = None
        self._chunks = []
        self._deaf = True
        self._queue.append(request)
        self._work()

    def _work(self) -> None:
        """Handles waiting requests until the handler needs time, the peer must read first, or none is left."""
        while self._queue and not self._busy and not self._write_paused:
            request = self._queue.popleft()
            result = self._context.handler(request)
            if isinstance(result, Response):
                self._send(request, result)
            else:
                self._busy = True
                result.add_done_callback(lambda done, request=request: self._finished(request, done))  # type: ignore[misc]
        self._throttle()

    def _finished(self, request: Request, done: "asyncio.Future[Response]") -> None:
        self._busy = False
        if self._transport.is_closing():
            return
        self._send(request, done.result())
        self._work()

    def _throttle(self) -> None:
        """Stops and resumes reading by how much waits."""
        full = self._write_paused or len(self._queue) >= _MAX_PIPELINED
        if full == self._read_paused or self._transport.is_closing():
            return
        self._read_paused = full
        if full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _send(self, request: Request, response: Response) -> None:
        context = self._context
        # While draining, requests that wait behind this one are answered before the connection ends.
        last = not request.keep_alive or ((context.draining or self._eof) and not self._queue)
        body = response.body
        identifier = request.headers.get(b"x-request-id")
        self._transport.write(
            b"HTTP/1.1 %d %b\r\n%b%bcontent-type: %b\r\ncontent-length: %d\r\n%b%b%b\r\n%b"
            % (
                response.status,
                REASONS[response.status],
                context.date,
                context.extra_headers,
                response.content_type,
                len(body),
                response.headers,
                b"" if identifier is None else b"x-request-id: %b\r\n" % identifier,
                _connection_header(request, last),
                b"" if request.method == b"HEAD" else body,
            )
        )
        self._last_activity = context.clock()
        if last:
            self._queue.clear()
            self._end(linger=request.refusal is not None)

    def _end(self, linger: bool) -> None:
        self._deaf = True
        if not linger or self._eof:
            self._transport.close()
            return
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.close)


def _connection_header(request: Request, last: bool) -> bytes:
    if last:
        return b"connection: close\r\n"
    # HTTP/1.1 connections persist unsaid, those of HTTP/1.0 (ApacheBench) by agreement.
    return b"connection: keep-alive\r\n" if request.announce_keep_alive else b""
