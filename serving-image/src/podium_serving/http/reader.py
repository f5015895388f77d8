"""The receiving half of a connection: bytes in, complete or refused requests out."""

from collections.abc import Callable

import httptools

from podium_serving.http.head import (
    MAX_HEAD,
    MAX_HEADERS,
    SEPARATORS,
    MaxBody,
    announced,
    endless_line,
    refusal,
    too_many_headers,
)
from podium_serving.http.message import Request, Response, error
from podium_serving.logs import LOG

# Memory for a body that comes in chunks is asked for in steps of this many bytes.
_STEP = 2**20
# Heads that have not come to their end are not asked memory for below this: so small are those of health checks.
_SMALL_HEAD = 8 * 1024


class Reader:
    """Parses one connection's bytes. `deliver` gets each request; behind one that is refused nothing is read any more.

    `expected` is called when a client waits to be told to send its body (`expects_continue`, until the body begins).
    While `request` is there it is being received; `deaf` says that what still arrives is passed over.
    """

    def __init__(
        self,
        max_body: MaxBody,
        clock: Callable[[], float],
        deliver: Callable[[Request], None],
        expected: Callable[[], None],
    ) -> None:
        self._max_body = max_body
        self._clock = clock
        self._deliver = deliver
        self._expected = expected
        self._parser = httptools.HttpRequestParser(self)
        self.request: Request | None = None
        self.head_complete = False
        self.expects_continue = False
        self.deaf = False
        self._offered: Request | None = None  # the request's head, if that offers another protocol
        self._head_size = 0
        self._header_count = 0
        self._hosts = 0
        self._line = 0  # bytes of a line that has not come to its end
        self._body: bytes | bytearray = b""

    @property
    def memory_needed(self) -> int:
        """Bytes that the request which is being received will take, as far as that is known."""
        if self.request is None:
            return 0
        if not self.head_complete:
            size = self._head_size + self._line
            return size if size > _SMALL_HEAD else 0
        return announced(self.request) or min((len(self._body) // _STEP + 1) * _STEP, self._max_body.size)

    @property
    def body_missing(self) -> int:
        """Bytes of the body that are still to come; 0 also where it comes in chunks."""
        if self.request is None or not self.head_complete:
            return 0
        return max(announced(self.request) - len(self._body), 0)

    def hopeless(self, seconds: float, within: float) -> bool:
        """Whether the announced body, at the pace that it had for so many seconds, takes more than `within`."""
        if self.request is None or not self.head_complete:
            return False
        return seconds * announced(self.request) > within * len(self._body)

    def feed(self, data: bytes) -> None:
        """Bytes of the client."""
        before, head, body = self.request, self._head_size, len(self._body)
        try:
            self._parse(data)
        except httptools.HttpParserCallbackError as problem:
            LOG.error("a request failed inside the server: %s", problem, exc_info=problem)
            self.refuse(error(500, "the server failed; its log says why"))
        except httptools.HttpParserError as problem:
            if not self.deaf:
                self.refuse(error(400, f"the request is not valid HTTP/1.1: {problem}"))
        if self.request is not None:
            fresh = self.request is not before
            self._check_line(data, fresh, 0 if fresh else head, 0 if fresh else body)

    def refuse(self, response: Response) -> None:
        """Delivers the request, or what there is of it, with `response` as its answer."""
        request = self.request or Request(self._clock())
        request.refusal = response
        request.keep_alive = False
        self._complete(request, b"")

    def drop(self) -> None:
        """The connection is gone. Parser and reader hold each other, and a body, until a garbage collection."""
        self.deaf = True
        self.request = self._offered = None
        self._body = b""
        del self._parser, self._deliver, self._expected

    # httptools' callbacks

    def on_message_begin(self) -> None:
        """First byte of a request."""
        if self.deaf:
            return
        self.request = Request(self._clock())
        self._line = self._head_size = self._header_count = self._hosts = 0
        self.head_complete = False

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        if self.request is not None:
            self.request.target += url
            self._head_size += len(url)
            if self._head_size > MAX_HEAD:
                self.refuse(too_many_headers(self._head_size))

    def on_header(self, name: bytes, value: bytes | None) -> None:
        """One header of the request, or a trailer behind its body, of which only the size matters."""
        if self.request is None:
            return
        value, name = value or b"", name.lower()
        if not self.head_complete:
            headers = self.request.headers
            headers[name] = headers[name] + b", " + value if name in headers else value  # one list (RFC 9110, 5.3)
            if name == b"host":
                self._hosts += 1
        self._header_count += 1
        self._head_size += len(name) + len(value) + SEPARATORS
        if self._head_size > MAX_HEAD or self._header_count > MAX_HEADERS:
            self.refuse(too_many_headers(self._head_size))

    def on_headers_complete(self) -> None:
        """The head is complete: refuse here what is too large, before its body is sent."""
        request = self.request
        if request is None:
            return
        self.head_complete = True
        request.method = self._parser.get_method()
        request.keep_alive = self._parser.should_keep_alive()
        request.version = self._parser.get_http_version()
        refused = refusal(request, self._hosts, self._max_body)
        if refused is not None:
            self.refuse(refused)
            return
        if self._parser.should_upgrade():
            if request.method != b"CONNECT":
                self._offered, self.request = request, None
                return
            # What follows is of another protocol, whatever the answer.
            request.keep_alive = False
        request.announce_keep_alive = request.keep_alive and request.version == "1.0"
        # A client of HTTP/1.0 does not know what it would be told (RFC 9110, 10.1.1).
        if request.version != "1.0" and request.headers.get(b"expect", b"").lower() == b"100-continue":
            self.expects_continue = True
            self._expected()

    def on_body(self, body: bytes) -> None:
        """A piece of the request's body."""
        if self.request is None:
            return
        self.expects_continue = False
        if len(self._body) + len(body) > self._max_body.size:
            self.refuse(self._max_body.refusal())
        elif not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self.request is not None:
            self._complete(self.request, self._body)

    # our own

    def _check_line(self, data: bytes, fresh: bool, head: int, body: int) -> None:
        """Refuses a line that does not come to its end: the parser tells of one when it is complete, and keeps it.

        `data` came last. `fresh`: its request began in it; `head` and `body` are what there was of that request before.
        """
        if len(self._body) != body or (fresh and not self._header_count):
            self._line = 0  # what belongs to this request's lines in `data` is not known
        elif self._head_size != head:
            self._line = len(data) - 1 - data.rfind(b"\n")
        else:
            self._line += len(data)
        if self._line > MAX_HEAD:
            self.refuse(endless_line())

    def _complete(self, request: Request, body: bytes | bytearray) -> None:
        request.body = memoryview(body)
        request.head_size = self._head_size
        request.received = self._clock()
        self.request = None
        self.expects_continue = False
        self._body = b""
        self.deaf = not request.keep_alive
        self._deliver(request)

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
                self._parser = httptools.HttpRequestParser(self)
                self._parser.feed_data(offered.head_without_offer())
                if self.request is not None:
                    self.request.started = offered.started
