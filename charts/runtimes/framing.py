"""Where an HTTP/1 message ends."""

import re

LARGEST_HEAD = 65536

CONNECTION = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([^\r]*?)[ \t]*(?=\r)", re.IGNORECASE)
ENCODING = re.compile(rb"\r\ntransfer-encoding:[ \t]*([^\r]*?)[ \t]*(?=\r)", re.IGNORECASE)
SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class Body:
    """Finds the end of a message's body: `length` bytes, chunks (-1), or all until the connection ends (None)."""

    def __init__(self, length):
        self.left = 0 if length == -1 else length
        self.chunked = length == -1
        self.line = b""
        self.last = False
        self.done = length == 0

    def take(self, data):
        """How many of `data`'s first bytes belong to the body."""
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
            if self.left:  # of a chunk and its line end
                step = min(self.left, len(data) - at)
                self.left -= step
                at += step
                continue
            end = data.find(b"\n", at)
            self.line += data[at : end + 1 if end >= 0 else len(data)]
            at = end + 1 if end >= 0 else len(data)
            if len(self.line) > LARGEST_HEAD:
                raise ValueError("a line between two chunks is too long")
            if end < 0:
                break
            line, self.line = self.line.strip(), b""
            if self.last:
                self.done = not line  # trailers end with an empty line
            else:
                size = self._size(line.split(b";")[0].strip())
                self.last = size == 0
                self.left = size + 2 if size else 0
        return at

    @staticmethod
    def _size(text):
        if not SIZE.fullmatch(text):
            raise ValueError("the size of a chunk must be a hexadecimal number")
        return int(text, 16)


def body_of(head, otherwise):
    """The Body that a head announces; ValueError where two readers could see two different ends."""
    encodings, lengths = ENCODING.findall(head), LENGTH.findall(head)
    if encodings:
        if lengths or [name.lower() for name in encodings] != [b"chunked"]:
            raise ValueError("transfer-encoding must be chunked, alone and without content-length")
        return Body(-1)
    if lengths:
        if len(lengths) > 1 or not lengths[0].isdigit():
            raise ValueError("content-length must be one number")
        return Body(int(lengths[0]))
    return Body(otherwise)
