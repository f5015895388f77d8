"""What a request's head may not say: the answers that refuse it before its body is read."""

from dataclasses import dataclass

from podium_serving.budget import memory_of_all
from podium_serving.http.message import Request, Response, error

MAX_HEAD = 64 * 1024
MAX_HEADERS = 256
SEPARATORS = 4
"""Bytes of a header line that belong neither to its name nor to its value."""


@dataclass(frozen=True)
class MaxBody:
    """Bytes that a body may have, and whether it is the memory for all requests that sets this bound."""

    size: int
    by_memory: bool = False

    @classmethod
    def of(cls, setting: int, memory: int) -> "MaxBody":
        """The smaller of the setting and the memory for all requests."""
        return cls(min(setting, memory), memory < setting)

    def refusal(self) -> Response:
        """The answer to a larger body."""
        if not self.by_memory:
            return error(413, f"the request's body exceeds {self.size} bytes (PODIUM_MAX_BODY_BYTES)")
        return error(413, f"the request's body exceeds {memory_of_all(self.size)}")


def refusal(request: Request, hosts: int, max_body: MaxBody) -> Response | None:
    """Why the request cannot be taken as its head stands, if so; `hosts` is the number of its Host headers."""
    headers, version = request.headers, request.version
    if version not in ("1.0", "1.1"):
        return error(505, f"HTTP/{version} is not spoken here, but HTTP/1.1")
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        return error(400, f"the request must have one Host header (RFC 9112, 3.2), given {hosts}")
    encoding = headers.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        return error(415, f"content-encoding {encoding.decode('latin-1')!r} is not supported: send the body as it is")
    coding = headers.get(b"transfer-encoding")
    if coding is not None and version == "1.0":
        # A proxy of that version knows no chunks, and takes the body to end elsewhere (RFC 9112, 6.1).
        return error(400, "an HTTP/1.0 request has no Transfer-Encoding: send Content-Length, or send it in HTTP/1.1")
    if coding is not None and coding.lower() != b"chunked":
        return error(501, f"transfer-encoding {coding.decode('latin-1')!r} is not supported: send the body as it is")
    if announced(request) > max_body.size:
        return max_body.refusal()
    return None


def announced(request: Request) -> int:
    """Bytes of the body by the head; 0 also where it comes in chunks. The parser lets no other than digits pass."""
    return int(request.headers.get(b"content-length", b"0"))


def endless_line() -> Response:
    """The answer to a line of more than MAX_HEAD bytes that has not ended yet."""
    return error(
        431,
        f"a line of the request (a header, a trailer or the size of a chunk) exceeds {MAX_HEAD} bytes: send it shorter",
    )


def too_many_headers(size: int) -> Response:
    """The answer to a head beyond the limits; `size` is what has come of it."""
    if size > MAX_HEAD:
        return error(431, f"the request's target and headers exceed {MAX_HEAD} bytes")
    return error(431, f"the request has more than {MAX_HEADERS} headers")
