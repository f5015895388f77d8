"""A model is first run in a process of its own: some of onnxruntime's operators end the process on a legal request.

The child is forked before the server loads the model, so that the two are never in memory together. It tells each case
before it is run; the last one told is what has ended it. Then another child goes on with the rest.
"""

import json
import logging
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from podium_serving import memory
from podium_serving.inference import RunError
from podium_serving.logs import log
from podium_serving.model import Model
from podium_serving.model_file import ModelError
from podium_serving.refusals import Case, Refusal
from podium_serving.signature import Signature
from podium_serving.warm_up import Attempt, samples, sized

_SHARE = 3
_MOST_DEATHS = 8
_MOST_PAIRS = 8
_LONG_TEXT = 65_536
# What onnxruntime prints when the memory that the probe may use is what was wanting.
_NO_MEMORY = b"bad_alloc"


@dataclass
class Probed:
    """What the probe has found.

    `base` names the attempt that the model ran on first, "" if it ran on none. `taken` is how many bytes of memory the
    loaded model took, 0 if it was not loaded; of these, `packed` are weights that onnxruntime has copied.
    """

    refusals: list[Refusal] = field(default_factory=list)
    base: str = ""
    finished: set[str] = field(default_factory=set)
    survived: dict[str, float] = field(default_factory=dict)
    taken: int = 0
    packed: int = 0
    incomplete: str = ""


def probe(path: Path, threads: int, seconds: float, limit: int) -> Probed:
    """Runs the model on one row, on none and on extreme values, `limit // 3` bytes of memory at most.

    Raises ModelError if it cannot be loaded without ending the process, or ends it on everything.
    """
    found = Probed()
    deadline = time.monotonic() + seconds
    if limit // _SHARE < _data_bytes() + 32 * 2**20:
        found.incomplete = f"a third of the memory limit ({limit} bytes) does not suffice for another process"
        return found
    died = True
    while died and not found.incomplete:
        died = _one_child(found, deadline, lambda write: _probe(found, write, path, threads, limit // _SHARE))
        if len(found.refusals) >= _MOST_DEATHS:
            found.incomplete = f"{_MOST_DEATHS} processes were ended by it"
    if found.refusals and not found.base:
        first = found.refusals[0]
        raise ModelError("ModelCrashes", f"{path}: {first.signal} ends the process on {first.case.name}")
    return found


def _one_child(found: Probed, deadline: float, work: Callable[[int], None]) -> bool:
    """Forks, reads what the child tells, and judges its end; returns whether another one has to go on."""
    read, write = os.pipe()
    errors = os.memfd_create("probe")
    # Or else its handler may end this function just when there is a child, before its number is known.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            os.dup2(errors, 2)
            work(write)
        finally:
            os._exit(0)
    running: Case | None = None
    over = False
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.close(write)
        for line in _lines(read, deadline):
            event = json.loads(line)
            running = None
            if "case" in event:
                running = _case(event["case"])
            elif "incomplete" in event:
                found.incomplete = event["incomplete"]
            found.taken = event.get("taken", found.taken)
            found.packed = event.get("packed", found.packed)
            found.base = event.get("base", found.base)
            found.finished.update(event.get("finished", ()))
            found.survived.update(event.get("survived", {}))
        if time.monotonic() >= deadline:
            found.incomplete = found.incomplete or "it took longer than PODIUM_PROBE_SECONDS"
        over = time.monotonic() < deadline
    finally:
        # Unless it has said all that it has to say it may never end: at the deadline, and when SIGTERM ends the wait.
        if not over:
            os.kill(child, signal.SIGKILL)
        os.close(read)
        _, status = os.waitpid(child, 0)
    said = os.pread(errors, 65_536, 0)
    os.close(errors)
    if not os.WIFSIGNALED(status) or found.incomplete:
        return False
    number = signal.Signals(os.WTERMSIG(status)).name
    if _NO_MEMORY in said or number == "SIGKILL":
        found.incomplete = "a third of the memory limit does not suffice for it"
        return False
    if running is None:
        raise ModelError("ModelCrashes", f"{number} ends the process when onnxruntime loads the model")
    found.refusals.append(Refusal(running, number))
    found.finished.add(running.name)
    log(logging.WARNING, "the probe was ended; requests like it are refused", case=running.name, signal=number)
    return True


def _lines(read: int, deadline: float) -> Iterator[bytes]:
    rest = b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([read], [], [], left)[0]:
            return
        chunk = os.read(read, 65_536)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _case(told: dict[str, Any]) -> Case:
    shapes = tuple((name, tuple(shape)) for name, shape in told.pop("shapes"))
    return Case(shapes=shapes, **told)


# in the child


def _probe(found: Probed, write: int, path: Path, threads: int, limit: int) -> None:
    def tell(**event: object) -> None:
        os.write(write, json.dumps(event).encode() + b"\n")

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
    # Or else a death by signal leaves a large file on the node.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    before = memory.resident()
    try:
        model = Model(path, threads)
    except Exception as problem:
        # Where it is not for want of memory, the server will say so.
        tell(incomplete=f"the model could not be loaded with a third of the memory limit: {problem}")
        return
    tell(taken=max(1, memory.resident() - before), packed=model.packed)

    def survives(case: Case, feeds: "dict[str, np.ndarray[Any, Any]]") -> bool:
        """Whether the process does; a run may fail."""
        tell(case=asdict(case))
        ran = True
        try:
            model.run_as_given(feeds)
        except RunError:
            ran = False
        tell(finished=[case.name])
        return ran

    base = _base(found, model, survives)
    if base is None:
        return
    tell(base=base.name)
    for case, feeds, key in _cases(base, model.signature, found.survived):
        if case.name in found.finished or _is_refused(found, case, feeds, key):
            continue
        survives(case, feeds)
        if key and (value := _value(case, feeds)) is not None:
            found.survived[key] = value
            tell(survived={key: value})


def _is_refused(found: Probed, case: Case, feeds: "dict[str, np.ndarray[Any, Any]]", key: str) -> bool:
    """Whether that direction has ended a process already: then no request comes as far."""
    if case.least_in:
        key = f"{feeds[case.least_in].dtype.name} down"
    return any(each.case.dtype and _direction(each.case) == key for each in found.refusals)


def _base(found: Probed, model: Model, survives: Callable[..., bool]) -> Attempt | None:
    """The first attempt that the model runs on."""
    for attempt in attempts(model):
        if attempt.name == found.base:
            return attempt
        if attempt.name in found.finished:
            continue
        shapes = tuple((name, tensor.shape) for name, tensor in attempt.feeds.items())
        if survives(Case(attempt.name, shapes), attempt.feeds):
            return attempt
    return None


def attempts(model: Model) -> Iterator[Attempt]:
    """What a model is run on first, the likeliest to succeed before the others."""
    yield from samples(model.file, model.top, model.signature)[0]
    yield from sized(model.signature)


def _cases(
    base: Attempt, signature: Signature, survived: dict[str, float]
) -> "Iterator[tuple[Case, dict[str, np.ndarray[Any, Any]], str]]":
    """No row, then extreme values by datatype, each direction from small to large; and what names the direction."""
    for axis in range(max((tensor.ndim for tensor in base.feeds.values()), default=0)):
        none = {name: _emptied(signature, name, tensor, axis) for name, tensor in base.feeds.items()}
        shapes = tuple((name, tensor.shape) for name, tensor in none.items())
        if any(not tensor.size for tensor in none.values()):
            yield Case("no row" if axis == 0 else f"no element on axis {axis}", shapes), none, ""
    for dtype in sorted({tensor.dtype.name for tensor in base.feeds.values()}):
        for value, downwards in _extremes(dtype):
            feeds = {
                name: np.full_like(tensor, value) if tensor.dtype.name == dtype else tensor
                for name, tensor in base.feeds.items()
            }
            is_text = isinstance(value, str)
            is_nan = not is_text and value != value
            case = Case(f"{_shown(value)} in every element of {dtype}", (), dtype, None if is_nan else 0, downwards)
            key = "" if is_nan else _direction(case)
            if not is_nan:
                start = 0 if downwards or dtype == "bool" else 1
                case = Case(case.name, (), dtype, survived.get(key, start), downwards)
            yield case, feeds, key
        yield from ((case, feeds, "") for case, feeds in _pairs(base, dtype))


def _pairs(base: Attempt, dtype: str) -> "Iterator[tuple[Case, dict[str, np.ndarray[Any, Any]]]]":
    """The least value in one input and -1 in those beside it: the quotient that no integer can hold."""
    alike = [name for name, tensor in base.feeds.items() if tensor.dtype.name == dtype]
    if not dtype.startswith("int") or len(alike) < 2:
        return
    least = int(np.iinfo(dtype).min)
    for name in alike[:_MOST_PAIRS]:
        changed = {each: np.full_like(base.feeds[each], least if each == name else -1) for each in alike}
        yield Case(f"{least} in {name} and -1 in the other inputs of {dtype}", least_in=name), base.feeds | changed


def _emptied(signature: Signature, name: str, tensor: "np.ndarray[Any, Any]", axis: int) -> "np.ndarray[Any, Any]":
    """The tensor without an element on the axis, where the model lets that axis have any size."""
    shape = next(spec.shape for spec in signature.inputs if spec.name == name)
    if axis >= tensor.ndim or (shape is not None and shape[axis] != -1):
        return tensor
    return tensor.take([], axis=axis)


def _extremes(dtype: str) -> "Iterator[tuple[Any, bool]]":
    """Values, and whether they are on the way down."""
    if dtype == "object":
        yield from ((text, False) for text in ("é" * 9, "a" * _LONG_TEXT))
    elif dtype == "bool":
        yield True, False
    elif dtype.startswith("float"):
        limits = np.finfo(dtype)
        for value in (1e9, float(limits.max), float("inf")):
            yield value, False
            yield -value, True
        yield float("nan"), False
    else:
        bounds = np.iinfo(dtype)
        for value in (2**15 - 1, 2**31 - 1, 2**62):
            if value < bounds.max:
                yield value, False
        yield int(bounds.max), False
        for value in (-1, -(2**15), -(2**31)):
            if value > bounds.min:
                yield value, True
        if bounds.min < 0:
            yield int(bounds.min), True


def _direction(case: Case) -> str:
    return f"{case.dtype} {'down' if case.downwards else 'up'}"


def _value(case: Case, feeds: "dict[str, np.ndarray[Any, Any]]") -> float | int | None:
    """The value that the case has put everywhere, for texts their length."""
    tensor = next((each for each in feeds.values() if each.dtype.name == case.dtype and each.size), None)
    if tensor is None:
        return None
    value = tensor.flat[0]
    return len(value) if isinstance(value, str) else value.item()


def _shown(value: object) -> str:
    return f"a text of {len(value)} characters" if isinstance(value, str) else str(value)


def _data_bytes() -> int:
    """What RLIMIT_DATA counts of this process now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
