"""A request as it was received and a response as it will be written."""

from collections.abc import Callable

import orjson

REASONS = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    505: b"HTTP Version Not Supported",
}
JSON = b"application/json"
NOTHING = memoryview(b"")


class Response:
    """Status, body and content type; `headers` are further complete header lines, each ending in CR LF."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(self, status: int, body: bytes | bytearray, content_type: bytes = JSON, headers: bytes = b"") -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers


class Request:
    """One request; header names are in lower case. `version` is that of HTTP; `head_size`: bytes of target and headers.

    `started` and `received` are monotonic times of its first and last byte. `body` is a view, so that parts of it can
    be handed on without a copy.
    """

    __slots__ = (
        "account",
        "announce_keep_alive",
        "body",
        "head_size",
        "headers",
        "keep_alive",
        "method",
        "received",
        "refusal",
        "started",
        "target",
        "version",
    )

    def __init__(self, started: float) -> None:
        self.started = self.received = started
        self.method = b""
        self.target = b""
        self.version = "1.1"
        self.head_size = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = NOTHING
        self.keep_alive = False
        self.announce_keep_alive = False
        # Set where the request cannot be taken as it is; then this is its answer, and the connection ends.
        self.refusal: Response | None = None
        # Tells its connection, while it waits for an answer, that it takes less memory.
        self.account: Callable[[], None] | None = None

    def let_go(self) -> None:
        """The body is not needed any more."""
        self.body = NOTHING
        if self.account is not None:
            self.account()

    def head_without_offer(self) -> bytes:
        """The head as of a client that does not offer to upgrade.

        Headers of one name are one now: what must not be there twice is to be found out before.
        """
        kept = [b"%b: %b" % each for each in self.headers.items() if each[0] not in (b"upgrade", b"connection")]
        connection = b"connection: keep-alive" if self.keep_alive else b"connection: close"
        first = b"%b %b HTTP/%b" % (self.method, self.target, self.version.encode())
        return b"\r\n".join([first, *kept, connection, b"\r\n"])


def json_response(status: int, content: object, headers: bytes = b"") -> Response:
    """A response whose body is `content` as JSON."""
    return Response(status, orjson.dumps(content), JSON, headers)


def error(status: int, message: str, headers: bytes = b"") -> Response:
    """The protocol's error shape: {"error": "<sentence>"}."""
    return json_response(status, {"error": message}, headers)
