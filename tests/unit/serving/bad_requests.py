"""A corpus of requests that no server should take, each with a name."""

from collections.abc import Callable
from itertools import product

INFER = b"/v2/models/model/infer"
BODY = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'
_CHUNKED = b"transfer-encoding: chunked"
_PLAIN = b"content-length: 2"
_Add = Callable[[str, bytes], None]


def _post(*lines: bytes, body: bytes = b"{}", first: bytes = b"POST " + INFER + b" HTTP/1.1") -> bytes:
    return b"\r\n".join((first, b"host: x", *lines)) + b"\r\n\r\n" + body


class _Corpus(dict[str, bytes]):
    """Requests by what is wrong with them."""

    def add(self, name: str, request: bytes) -> None:
        assert name not in self, name
        self[name] = request


def corpus() -> dict[str, bytes]:
    """All of them by what is wrong with them."""
    return malformed_http() | bad_json()


def malformed_http() -> dict[str, bytes]:
    """Those that are wrong as HTTP, whatever they carry."""
    found = _Corpus()
    for part in (_first_lines, _header_lines, _lengths, _chunks, _unlike_http):
        part(found.add)
    return found


def bad_json() -> dict[str, bytes]:
    """Those whose HTTP is right, and whose body is not what it should be."""
    found = _Corpus()
    add = found.add
    for body in (
        *(
            b"",
            b"{",
            b"}",
            b"[]",
            b"null",
            b"1",
            b'"a"',
            b"{}",
            b'{"inputs":{}}',
            b'{"inputs":[null]}',
            b'{"inputs":[[]]}',
        ),
        *(
            b"\x00",
            b"\xff" * 10,
            b"\xef\xbb\xbf",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'"' + b"\\" * 1001,
            b"1" * 100_000,
        ),
        *(b"NaN", b"Infinity", BODY[:-1], BODY + b"x", BODY * 2, BODY.replace(b"[1,2]", b"[1,2"), b"\xfe\xff" + BODY),
        *(
            BODY.decode().encode("utf-16"),
            BODY.replace(b"x", b"\\ud800"),
            BODY.replace(b"1,2", b"1,2,"),
            b"{'inputs':[]}",
        ),
    ):
        add(f"body {body[:20]!r}{len(body)}", _post(b"content-length: %d" % len(body), body=body))
    for field, value in product(
        (b'"shape":[1,2]', b'"datatype":"FP32"', b'"data":[1,2]', b'"name":"x"'),
        (b"null", b"true", b'""', b"{}", b"[[]]", b"-1", b"1e999", b"[null]"),
    ):
        body = BODY.replace(field, field.split(b":")[0] + b":" + value)
        if not (field.startswith(b'"data"') and value == b"[null]"):
            add(f"{field!r} is {value!r}", _post(b"content-length: %d" % len(body), body=body))
    return found


def _first_lines(add: _Add) -> None:
    """Method, target and version."""
    for version in (b"", b" HTTP/0.9", b" HTTP/1.2", b" HTTP/2.0", b" HTTP/3", b" HTTP/1", b" HTTP/11", b" HTTP/1.1.1"):
        add(f"version {version!r}", b"GET /v2%b\r\nhost: x\r\n\r\n" % version)
    for version in (b" http/1.1", b" HTTP /1.1", b" HTTP/ 1.1", b" HTTP/1,1", b" HTTPS/1.1", b" ICE/1.0", b" FTP/1.1"):
        add(f"protocol {version!r}", b"GET /v2%b\r\nhost: x\r\n\r\n" % version)
    for method in (b"get", b"GETT", b"FOO", b"G ET", b"", b"\x00GET", b"GET\t", b"PO\xffST", b"X" * 70_000, b"(", b"@"):
        add(f"method {method[:10]!r}{len(method)}", b"%b /v2 HTTP/1.1\r\nhost: x\r\n\r\n" % method)
    targets = (
        b"",
        b"v2",
        b"/a b",
        b"/\x00",
        b"/\x7f",
        b"\\v2",
        b"?",
        b"/" + b"a" * 70_000,
        b"://",
        b"http:///",
        b"/\xff\xfe",
    )
    for target in targets:
        add(f"target {target[:10]!r}{len(target)}", b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % target)
    for line in (
        *(b"GET\t/v2\tHTTP/1.1", b"GET  /v2  HTTP/1.1 x", b"GET /v2 HTTP/1.1 x", b" GET /v2 HTTP/1.1", b"GET /v2 "),
        *(b"GET /v2 HTTP/1.1\x00", b"GET /v2 HTTP/1.1\r", b"GET: /v2 HTTP/1.1", b"GET/v2 HTTP/1.1", b"/v2 HTTP/1.1"),
        *(b"GET /v2 HTTP/1.1, HTTP/1.0", b"GET\xa0/v2 HTTP/1.1", b"HTTP/1.1 GET /v2", b"\xef\xbb\xbfGET /v2 HTTP/1.1"),
        *(b"GET x:80 HTTP/1.1", b"CONNECT /v2 HTTP/1.1", b"GET http//x/v2 HTTP/1.1"),
    ):
        add(f"first line {line!r}", line + b"\r\nhost: x\r\n\r\n")
    for version in (b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1.-1", b"HTTP/x.y", b"HTTP/", b"HTTP/1.1;", b"HTTP/1.1\x0b"):
        add(f"version {version!r}", b"GET /v2 %b\r\nhost: x\r\n\r\n" % version)


def _header_lines(add: _Add) -> None:
    """Hosts, names, values, folded lines, and too much of them."""
    for hosts in (
        (),
        (b"host: a", b"host: a"),
        (b"host: a", b"Host: b"),
        (b"host: a", b"HOST: "),
        (b"host a",),
        (b"host : a",),
    ):
        add(f"hosts {hosts!r}", b"\r\n".join((b"GET /v2 HTTP/1.1", *hosts)) + b"\r\n\r\n")
    for name in (
        b"",
        b" ",
        b"a b",
        b"a\tb",
        b"a\x00",
        b"a\xff",
        b"a(",
        b"a,b",
        b'"a"',
        b"a/b",
        b"[a]",
        b"{a}",
        b"a@",
        b"a=",
        b"a?",
        b"a;",
    ):
        add(f"header name {name!r}", _post(name + b": 1", _PLAIN))
    for value in (b"\x00", b"a\x00b", b"a\rb", b"a\nb", b"\x01", b"\x1f", b"\x7f", b"a\x0bb", b"a\x0cb"):
        add(f"header value {value!r}", _post(b"a: " + value, _PLAIN))
    for line in (b"a", b"a 1", b": ", b" a: 1", b"\ta: 1", b"a: 1\n b: 2", b"a: 1\r\n folded"):
        add(f"header line {line!r}", _post(line, _PLAIN))
    for coding in (b"gzip", b"br", b"deflate", b"gzip, identity", b"x", b"zstd"):
        add(f"content-encoding {coding!r}", _post(b"content-encoding: " + coding, _PLAIN))
    add("65,000 empty headers", b"GET /v2 HTTP/1.1\r\nhost: x\r\n" + b"a:\r\n" * 65_000 + b"\r\n")
    add("300 headers", b"GET /v2 HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 300 + b"\r\n")
    add("one large header", b"GET /v2 HTTP/1.1\r\nhost: x\r\na: " + b"b" * 70_000 + b"\r\n\r\n")
    add("one large header name", b"GET /v2 HTTP/1.1\r\nhost: x\r\n" + b"b" * 70_000 + b": a\r\n\r\n")
    add("a folded line before any header", b"GET /v2 HTTP/1.1\r\n host: x\r\n\r\n")
    add("a header line that ends twice", _post(b"a: b\r", _PLAIN))
    add("a header line that ends the wrong way round", b"GET /v2 HTTP/1.1\n\rhost: x\n\r\n\r")
    add("a header that has a line feed for its colon", _post(b"a\nb", _PLAIN))


def _lengths(add: _Add) -> None:
    """How long the body is, said wrongly, twice or in two ways."""
    lengths = (
        *(b"-1", b"+2", b"2 2", b"2,2", b"2, 2", b"0x2", b"2.0", b"1e1", b"", b" ", b"a", b"2a", b"a2", b"\xb2"),
        *(b"9" * 30, b"18446744073709551616", b"4294967296000", b"1_0", b"2;", b'"2"'),
    )
    for length in lengths:
        add(f"content-length {length!r}", _post(b"content-length: " + length))
    for first, second in ((b"2", b"2"), (b"2", b"3"), (b"3", b"2"), (b"2", b""), (b"2", b"-2")):
        add(f"content-lengths {first!r} {second!r}", _post(b"content-length: " + first, b"Content-Length: " + second))
    codings = (
        *(b"gzip", b"chunked, gzip", b"gzip, chunked", b"identity", b"chunked, chunked", b"xchunked", b"chunkedx"),
        *(b"chun ked", b"chunked;a=b", b"", b",", b"chunked,", b'"chunked"', b"\x0bchunked", b"deflate", b"trailers"),
    )
    for coding in codings:
        add(f"transfer-encoding {coding!r}", _post(b"transfer-encoding: " + coding, body=b"0\r\n\r\n"))
    for order in (
        (_CHUNKED, _PLAIN),
        (_PLAIN, _CHUNKED),
        (_CHUNKED, b"content-length: 0"),
        (_CHUNKED, _CHUNKED, _PLAIN),
    ):
        add(f"two lengths {order!r}", _post(*order, body=b"0\r\n\r\n"))
    for coding in (b"chunked", b"gzip"):
        first = b"POST " + INFER + b" HTTP/1.0"
        add(f"HTTP/1.0 and {coding!r}", _post(b"transfer-encoding: " + coding, body=b"0\r\n\r\n", first=first))
    for length in (
        *("２".encode(), "٢".encode(), "−2".encode(), b"2\x00", b"2\x0b", b"%32", b"0b10", b"0o2", b"2/1", b"\\2"),
        *(b"=2", b"2\r 2", b"infinity", b"99999999999999999999999"),
    ):
        add(f"content-length {length!r}", _post(b"content-length: " + length))
    for name in (
        b"content-length ",
        b"content-length\t",
        b"transfer-encoding ",
        b"transfer-encoding\t",
        b"content length",
    ):
        add(f"header name {name!r}", _post(name + b": 2", _PLAIN))
    for first, second in ((b"gzip", b"chunked"), (b"chunked", b"identity"), (b"chunked", b"chunked")):
        lines = (b"transfer-encoding: " + first, b"Transfer-Encoding: " + second)
        add(f"transfer-encodings {first!r} {second!r}", _post(*lines, body=b"0\r\n\r\n"))
    for coding in (b"chunked\x00", b"chunked\x7f", b"chunked\r\n ,gzip", b"=chunked", b"chunked gzip", b"[chunked]"):
        add(f"transfer-encoding {coding!r}", _post(b"transfer-encoding: " + coding, body=b"0\r\n\r\n"))


def _chunks(add: _Add) -> None:
    """Bodies in chunks, and what follows them."""
    sizes = (
        *(b"-1", b"+2", b" 2", b"0x2", b"g", b"", b"2 2", b"2\n", b"\xff", b"2;\x00", b"f" * 17, b"1" + b"0" * 16),
        *(b"2_", b"2,", b".", b"2.", b"'2'", b"\x002"),
    )
    for size in sizes:
        add(f"chunk size {size!r}", _post(_CHUNKED, body=size + b"\r\n{}\r\n0\r\n\r\n"))
    ends = (
        b"2\r\n{}",
        b"2\r\n{}0\r\n\r\n",
        b"2\r\n{}\n0\r\n\r\n",
        b"2\r\n{}xx0\r\n\r\n",
        b"2\n{}\r\n0\r\n\r\n",
        b"1\r\n{}\r\n0\r\n\r\n",
    )
    for end in ends:
        add(f"chunk end {end!r}", _post(_CHUNKED, body=end))
    for trailer in (b"content-length: 3", b"a b: 1", b": 1", b"a: \x00", b"a" * 70_000 + b": 1", b"a: 1\r\n" * 300):
        add(
            f"trailer {trailer[:12]!r}{len(trailer)}", _post(_CHUNKED, body=b"2\r\n{}\r\n0\r\n" + trailer + b"\r\n\r\n")
        )
    for size in (b"2\t", b"2 ;a", b"2\r", b"2;a\rb", b"2;a\nb", b"\t2", b"$2", b"%32", b"2h", b"2L", b"-0"):
        add(f"chunk size {size!r}", _post(_CHUNKED, body=size + b"\r\n{}\r\n0\r\n\r\n"))
    for end in (b"2\r\n{}\r0\r\n\r\n", b"2\r\n{}\r\n0\r\r\n", b"2\r\n{}\r\n\r\n0\r\n\r\n", b"{}", b"\r\n0\r\n\r\n"):
        add(f"chunk end {end!r}", _post(_CHUNKED, body=end))


def _unlike_http(add: _Add) -> None:
    """Other protocols, and line ends of other systems."""
    add("line feeds alone", b"GET /v2 HTTP/1.1\nhost: x\n\n")
    add("carriage returns alone", b"GET /v2 HTTP/1.1\rhost: x\r\r")
    for name, bytes_ in (
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200)),
        ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n"),
        ("zeros", bytes(1000)),
        ("ones", b"\xff" * 1000),
        ("an answer", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        ("a PROXY line", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nGET / HTTP/1.1\r\n\r\n"),
        ("SOCKS", b"\x05\x01\x00"),
        ("JSON", BODY),
        ("empty lines", b"\r\n" * 40_000 + b"x"),
    ):
        add(name, bytes_)
