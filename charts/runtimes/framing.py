"""Where an HTTP/1 message ends; what two readers could read differently is refused.

TorchServe's Netty ends a line at a bare LF, too. Where only one of the two sees an end of line, one of them sees a
request that the other does not (request smuggling, RFC 9112, 11.2).
"""

import re

LARGEST_HEAD = 65536

CONNECTION = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
# With the blanks around the value: a pattern that leaves them out tries every split of them, for a minute if they are
# 60,000.
LENGTH = re.compile(rb"\r\ncontent-length:([^\r]*)", re.IGNORECASE)
ENCODING = re.compile(rb"\r\ntransfer-encoding:([^\r]*)", re.IGNORECASE)
FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\0\r\n]*\r\n")
HEAD = re.compile(rb"([!-~]+) ([!-~\x80-\xff]+) (HTTP/1\.[0-9])\r\n(?:" + FIELD.pattern + rb")*\r\n")
SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\0\r\n]*)?\r\n")
FORM = "not an HTTP/1 request: its lines must be METHOD TARGET HTTP/1.1, then NAME: VALUE, each ended by CR LF"


class Body:
    """Finds the end of a message's body: `length` bytes, chunks (-1), or all until the connection ends (None)."""

    def __init__(self, length):
        self.left = 0 if length == -1 else length  # bytes; of a chunk if chunked
        self.chunked = length == -1
        self.line = b""  # of one that is incomplete
        self.behind = False  # a chunk, whose line end is to come
        self.last = False
        self.done = length == 0

    def take(self, data):
        """How many of `data`'s first bytes belong to the body; ValueError where that is in doubt."""
        if self.done:
            return 0
        if self.left is None:
            return len(data)
        if self.chunked:
            return self._chunks(data)
        taken = min(self.left, len(data))
        self.left -= taken
        self.done = self.left == 0
        return taken

    def _chunks(self, data):
        at = 0
        while at < len(data) and not self.done:
            if self.left:
                step = min(self.left, len(data) - at)
                self.left -= step
                at += step
                continue
            end = data.find(b"\n", at) + 1
            line = self.line + data[at : end or len(data)]
            if len(line) > LARGEST_HEAD:
                raise ValueError("a line between two chunks is too long")
            self.line = b"" if end else line
            if not end:
                return len(data)
            self._take_line(line)
            at = end
        return at

    def _take_line(self, line):
        if self.behind:
            if line != b"\r\n":
                raise ValueError("a chunk must be as long as it says, and end in CR LF")
            self.behind = False
        elif self.last:  # trailers end with an empty line
            self.done = line == b"\r\n"
            if not self.done and not FIELD.fullmatch(line):
                raise ValueError("a trailer must be NAME: VALUE and end in CR LF")
        else:
            size = SIZE.fullmatch(line)
            if not size:
                raise ValueError("the size of a chunk must be a hexadecimal number in a line that ends in CR LF")
            self.left = int(size[1], 16)
            self.last = self.left == 0
            self.behind = not self.last


def body_of(head, otherwise):
    """The Body that a head announces; ValueError where two readers could see two different ends."""
    encodings, lengths = ([v.strip(b" \t") for v in each.findall(head)] for each in (ENCODING, LENGTH))
    if encodings:
        if lengths or [name.lower() for name in encodings] != [b"chunked"]:
            raise ValueError("transfer-encoding must be chunked, alone and without content-length")
        return Body(-1)
    if lengths:
        if len(lengths) > 1 or not lengths[0].isdigit():
            raise ValueError("content-length must be one number")
        return Body(int(lengths[0]))
    return Body(otherwise)


def ends_with(head, version):
    """Whether who sends this head ends the connection behind the answer."""
    wishes = b"".join(CONNECTION.findall(head)).lower()
    return b"close" in wishes or (version == b"HTTP/1.0" and b"keep-alive" not in wishes)


def request_of(data):
    """(head, method, target, version, Body) of the request that `data` begins with; None until its head is complete.

    ValueError if it is none, or is in doubt.
    """
    end = data.find(b"\r\n\r\n") + 4
    if (len(data) if end < 4 else end) > LARGEST_HEAD:
        raise ValueError("the head of the request is too large")
    if end < 4:
        if data.count(b"\n") != data.count(b"\r\n"):
            raise ValueError(FORM)
        return None
    form = HEAD.fullmatch(data, 0, end)
    if not form:
        raise ValueError(FORM)
    method, target, version = form.groups()
    body = body_of(form[0], 0)
    if body.chunked and version == b"HTTP/1.0":
        raise ValueError("HTTP/1.0 has no transfer-encoding")
    return form[0], method, target, version, body
