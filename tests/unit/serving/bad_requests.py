"""A corpus of requests that no server should take, each with a name."""

from itertools import product

INFER = b"/v2/models/model/infer"
BODY = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'
_CHUNKED = b"transfer-encoding: chunked"
_PLAIN = b"content-length: 2"


def _post(*lines: bytes, body: bytes = b"{}", first: bytes = b"POST " + INFER + b" HTTP/1.1") -> bytes:
    return b"\r\n".join((first, b"host: x", *lines)) + b"\r\n\r\n" + body


def corpus() -> dict[str, bytes]:
    """The requests by what is wrong with them."""
    found: dict[str, bytes] = {}

    def add(name: str, request: bytes) -> None:
        assert name not in found, name
        found[name] = request

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
    for coding in (b"gzip", b"br", b"deflate", b"gzip, identity", b"x", b"zstd"):
        add(f"content-encoding {coding!r}", _post(b"content-encoding: " + coding, _PLAIN))
    add("65,000 empty headers", b"GET /v2 HTTP/1.1\r\nhost: x\r\n" + b"a:\r\n" * 65_000 + b"\r\n")
    add("300 headers", b"GET /v2 HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 300 + b"\r\n")
    add("one large header", b"GET /v2 HTTP/1.1\r\nhost: x\r\na: " + b"b" * 70_000 + b"\r\n\r\n")
    add("one large header name", b"GET /v2 HTTP/1.1\r\nhost: x\r\n" + b"b" * 70_000 + b": a\r\n\r\n")
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
