"""`make fuzz`: the readers of JSON and of HTTP under inputs that nobody would write.

    python -m tests.fuzz --seconds 600

Each gets so many seconds. What must never happen: an exception other than a refusal, an answer of 500, an input that
takes more than a second of CPU, or that is not over after half a minute, whatever it does meanwhile. Large bodies are
read in pieces, so those are cut very small here. Exit code 1 and the input if it happens all the same.
"""

import argparse
import functools
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from podium_serving import json_pieces
from podium_serving.datatypes import BY_NAME, DATATYPES
from podium_serving.http.head import MaxBody
from podium_serving.http.message import Request
from podium_serving.http.reader import Reader
from podium_serving.json_codec import JsonCodec
from podium_serving.signature import BadRequest, Signature, TensorSpec
from tests.fuzz.limits import WALL_SECONDS, Limits
from tests.unit.serving.bad_requests import BODY, corpus

EXAMPLES = 500
"""Inputs of one seed; then the clock is looked at."""
LATE_SECONDS = 600.0
"""A last round on a busy machine, and the five minutes for which Hypothesis may shrink what it found."""
JSON, HTTP = Limits(), Limits()

_CORPUS = [*corpus().values(), b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)]
_SPECS = tuple(TensorSpec(each.name, each, (-1, 2)) for each in DATATYPES if each.dtype is not None)
_ALL = Signature((TensorSpec("x", BY_NAME["FP32"], (-1, 2)),), (TensorSpec("y", BY_NAME["FP32"], None),))
_WORDS = [
    *(
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b'"',
        b"\\",
        b"null",
        b"true",
        b"1",
        b"-",
        b"1e400",
        b"0.1",
        b'"data"',
        b'"shape"',
    ),
    *(
        b"\r\n",
        b"\n",
        b" ",
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"0\r\n\r\n",
        b"HTTP/1.1",
        b"chunked",
        b"5;a=b\r\n",
        b"GET ",
    ),
]


settings.register_profile(
    "fuzz",
    max_examples=EXAMPLES,
    derandomize=False,  # where CI is set, Hypothesis would draw the same inputs in every round
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")


@st.composite
def mutated(draw: st.DrawFn, sources: list[bytes]) -> bytes:
    """One of the sources with pieces of it cut out, doubled, or replaced."""
    data = bytearray(draw(st.sampled_from(sources)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 40)))
        data[at:end] = draw(st.sampled_from(_WORDS) | st.binary(max_size=6) | st.just(bytes(data[at:end]) * 2))
    return bytes(data)


def _bodies() -> list[bytes]:
    found = [BODY]
    for spec in _SPECS:
        element = {"BOOL": b"true", "BYTES": b'"a"'}.get(spec.name, b"1")
        data = b"[[%b,%b],[%b,%b]]" % ((element,) * 4)
        name = spec.name.encode()
        found.append(
            b'{"id":"a","inputs":[{"name":"x","shape":[2,2],"datatype":"%b","data":%b}],"outputs":[{"name":"y"}]}'
            % (name, data)
        )
    return found


@given(body=mutated(_bodies()), datatype=st.sampled_from(_SPECS), large=st.sampled_from([0, 2**20]))
def json_reader(body: bytes, datatype: TensorSpec, large: int) -> None:
    """A body is decoded or refused."""
    signature = Signature((TensorSpec("x", datatype.datatype, (-1, 2)),), _ALL.outputs)
    with JSON.reading(body, datatype.name, large):
        try:
            JsonCodec(signature, "model", "1", large).decode(memoryview(body))
            sentence = "read"
        except BadRequest as refused:
            sentence = str(refused)
    assert 0 < len(sentence) < 2000


@given(data=mutated(_CORPUS), cuts=st.lists(st.integers(1, 200), max_size=20))
def http_reader(data: bytes, cuts: list[int]) -> None:
    """Bytes in any packets become requests or refusals, and nothing is read behind a refusal."""
    requests: list[Request] = []
    reader = Reader(MaxBody(1000), time.monotonic, requests.append, lambda: None)
    with HTTP.reading(data, cuts):
        for cut in (*cuts, len(data)):
            piece, data = data[:cut], data[cut:]
            if piece and not reader.deaf:
                reader.feed(piece)
    refused = [request for request in requests if request.refusal is not None]
    assert all(request.refusal is not None and request.refusal.status != 500 for request in refused)
    assert len(refused) <= 1
    assert not refused or requests[-1] is refused[0]
    assert all(request.body.nbytes <= 1000 for request in requests)
    reader.drop()


def run(name: str, test: Callable[[], None], seconds: float) -> None:
    """The test with ever new inputs until the time is up."""
    deadline = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < deadline:
        test()
        rounds += 1
    print(f"{name}: {rounds * EXAMPLES:,} inputs in {seconds:g} s", flush=True)


def outcome(name: str, process: BaseProcess, limits: Limits, deadline: float) -> int:
    """The exit code of a reader's process, which is killed at the deadline; its last input is said if it was killed."""
    process.join(max(0.0, deadline - time.monotonic()))
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
        print(f"{name}: not over in time. The last input: {limits.last()}", flush=True)
        return 1
    if code == -signal.SIGALRM:
        print(f"{name}: an input is not over after {limits.wall:g} s: {limits.last()}", flush=True)
    elif code < 0:
        print(f"{name}: ended by signal {-code}. The last input: {limits.last()}", flush=True)
    return int(code != 0)


def main() -> int:
    """Both readers, side by side."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=600.0, help="for each reader")
    parser.add_argument("--wall", type=float, default=WALL_SECONDS, help="for each input, whatever it does meanwhile")
    parser.add_argument("--late", type=float, default=LATE_SECONDS, help="for a reader to end after its time")
    arguments = parser.parse_args()
    json_pieces.cut = functools.partial(json_pieces.cut, smallest=2)
    json_pieces.tensor = functools.partial(json_pieces.tensor, piece=7)
    json_pieces._PAUSE_SECONDS = 0
    at_once = multiprocessing.get_context("fork")
    readers = [
        (name, at_once.Process(target=run, args=(name, test, arguments.seconds)), limits)
        for name, test, limits in (("JSON", json_reader, JSON), ("HTTP", http_reader, HTTP))
    ]
    deadline = time.monotonic() + arguments.seconds + arguments.late
    for _, process, limits in readers:
        limits.wall = arguments.wall
        process.start()
    codes = [outcome(name, process, limits, deadline) for name, process, limits in readers]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
