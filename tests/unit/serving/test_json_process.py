"""Large JSON goes to a process of its own: it means the same there, holds up nobody, and may end at any time."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podium_serving.datatypes import BY_NAME
from podium_serving.inference import InferRequest, InferResult, NoMemory, RequestedOutput, TooSlow
from podium_serving.json_codec import LARGE, JsonCodec
from podium_serving.json_process import JsonProcess, longest
from podium_serving.signature import BadRequest, Signature, TensorSpec, TooLarge
from tests.unit.serving.harness import JSON_TYPES, identity, serving
from tests.unit.serving.watched import children
from tests.until import until

SIGNATURE = Signature(tuple(TensorSpec(name, BY_NAME[name], None) for name in ("FP32", "INT64", "BYTES")), ())
COUNT = 100_000


@pytest.fixture(scope="module")
def process() -> Iterator[JsonProcess]:
    made = JsonProcess(SIGNATURE, "model", "1")
    yield made
    made.close()


def request(floats: str | None = None, texts: str = '"a"') -> memoryview:
    """One large input and two small ones."""
    data = floats or json.dumps([round(0.1 * number, 3) for number in range(COUNT)])
    inputs = ",".join(
        f'{{"name":"{name}","datatype":"{name}","shape":[{count}],"data":{values}}}'
        for name, count, values in (("FP32", COUNT, data), ("INT64", 3, "[1,2,3]"), ("BYTES", 1, f"[{texts}]"))
    )
    return memoryview(f'{{"id":"the id","inputs":[{inputs}]}}'.encode())


def test_what_is_read_there_is_what_is_read_here(process: JsonProcess) -> None:
    there, here = process.decode(request()), JsonCodec(SIGNATURE, "model", "1").decode(request())
    assert (there.id, there.outputs, there.feeds.keys()) == (here.id, here.outputs, here.feeds.keys())
    for name, tensor in there.feeds.items():
        assert (tensor.dtype, tensor.shape) == (here.feeds[name].dtype, here.feeds[name].shape)
        assert np.array_equal(tensor, here.feeds[name])
        assert tensor.flags.aligned


def test_what_is_written_there_is_what_is_written_here(process: JsonProcess) -> None:
    outputs = tuple(RequestedOutput(TensorSpec(name, BY_NAME[name], None)) for name in ("FP32", "INT64"))
    call = InferRequest("the id", {"FP32": np.zeros(9)}, outputs)
    tensors: list[np.ndarray[Any, Any]] = [
        np.linspace(0, 1, 2 * LARGE, dtype=np.float32).reshape(-1, 2).T,
        np.arange(3),
    ]
    tensors[0][0, 1] = np.nan
    here = JsonCodec(SIGNATURE, "model", "1").encode(call, InferResult(tensors))
    assert bytes(process.encode(call, InferResult(tensors))) == here


def test_what_is_wrong_is_told_in_the_same_words(process: JsonProcess) -> None:
    wrong = request(json.dumps([1.0] * (COUNT - 1) + [True]))
    with pytest.raises(BadRequest, match=r"element 99999 is true \(a boolean\)"):
        process.decode(wrong)
    with pytest.raises(TooLarge, match="send fewer rows at once"):
        process.decode(request(texts='"' + "a" * 2**22 + '"'))


def test_a_process_that_is_ended_from_outside_fails_its_request_and_the_next_one_has_another(
    process: JsonProcess,
) -> None:
    process.decode(request())
    pid = process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    # The request is under way, and nobody can answer it.
    threading.Timer(0.2, lambda: os.kill(pid, signal.SIGKILL)).start()
    with pytest.raises(NoMemory, match="was ended"):
        process.decode(request())
    assert process.decode(request()).id == "the id"
    assert process.pid != pid


def test_a_process_that_takes_too_long_over_a_body_is_ended_and_the_next_one_has_another() -> None:
    asked: list[int] = []

    def longest(size: int) -> float:
        asked.append(size)
        return 0.2 if len(asked) == 2 else 30

    process = JsonProcess(SIGNATURE, "model", "1", longest=longest)
    try:
        process.decode(request())
        pid = process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(TooSlow, match=rf"^{request().nbytes} bytes were not read within 0.2 s$"):
            process.decode(request())
        assert has_ended(pid)
        assert process.decode(request()).id == "the id"
        assert asked == [request().nbytes] * 3
    finally:
        process.close()


def test_the_time_that_a_body_may_take_grows_with_its_size() -> None:
    assert (longest(0), longest(64 * 2**20)) == (20, 148)


def test_an_answer_that_is_not_written_in_time_is_told_so_as_well() -> None:
    process = JsonProcess(SIGNATURE, "model", "1", longest=lambda size: 0.001)
    call = InferRequest(None, {}, (RequestedOutput(SIGNATURE.inputs[0]),))
    with pytest.raises(TooSlow, match=r"^4000 bytes were not written within 0.001 s$"):
        process.encode(call, InferResult([np.zeros(1000, np.float32)]))


async def test_a_process_that_has_ended_for_want_of_work_is_started_again() -> None:
    process = JsonProcess(SIGNATURE, "model", "1", idle=0.01)
    try:
        process.decode(request())
        first = process.pid
        assert first is not None
        await until(lambda: has_ended(first), 20)
        assert process.decode(request()).id == "the id"
        assert process.pid != first
    finally:
        process.close()


def has_ended(pid: int) -> bool:
    """Also one whose end nobody has asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except FileNotFoundError:
        return True


def mapped(pid: int) -> int:
    """Files in memory that a process still uses."""
    return sum("/memfd:podium" in line for line in Path(f"/proc/{pid}/maps").read_text().splitlines())


async def test_nothing_of_a_large_request_stays_in_memory(folder: Path) -> None:
    path = folder / "large-gone.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["n"]))
    data = [0.25] * (4 * LARGE)
    with serving(path) as server:
        for _ in range(2):
            body = {"inputs": [{"name": "x", "shape": [len(data)], "datatype": "FP32", "data": data}]}
            assert server.infer(body).status == 200
        (reader,) = children(server)
        await until(lambda: not mapped(server.process.pid) and not mapped(reader), 10)


async def test_others_are_answered_for_as_long_as_large_json_is_read(folder: Path) -> None:
    path = folder / "large.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["n"]))
    data = [0.25] * (LARGE // 4)
    body = {"inputs": [{"name": "x", "shape": [len(data)], "datatype": "FP32", "data": data}]}
    with serving(path) as server:
        assert server.infer(body).json["outputs"][0]["data"] == data
        (reader,) = children(server)
        os.kill(reader, signal.SIGSTOP)
        answers: list[list[float]] = []
        large = threading.Thread(target=lambda: answers.append(server.infer(body).json["outputs"][0]["data"]))
        large.start()
        small = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
        for _ in range(200):
            assert server.infer(small).status == server.get("/v2/health/ready").status == 200
        assert not answers
        os.kill(reader, signal.SIGCONT)
        large.join()
        assert answers == [data]
        assert server.stop() == 0
        await until(lambda: has_ended(reader), 20)
