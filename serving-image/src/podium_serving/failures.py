"""What onnxruntime's exceptions say, and whose fault they are."""

import re

from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from podium_serving.inference import Misfit, NoMemory, RunError

_NO_MEMORY = re.compile(
    r"Failed to allocate memory|bad_alloc|bad allocation|Available memory of \d+ is smaller than requested",
    re.IGNORECASE,
)
_REQUESTED = re.compile(r"smaller than requested bytes of (\d+)")
_IN_A_NODE = "Non-zero status code returned while running"
"""How onnxruntime begins the message when a node of the graph failed, as opposed to the check of the inputs."""
_SOURCE = re.compile(r"/\S+\.(?:cc|cpp|cu|h|hpp):\d+ ")
"""Where in onnxruntime's sources the error was raised; the function's signature follows."""
_SHORT_SOURCE = re.compile(r"(?<![\w/.])\w+\.(?:cc|cpp|cu|h|hpp):\d+ [A-Za-z_]\w* ")
"""The same by the file's name alone, with the function's."""
_LONGEST = 1000


def failure(problem: Exception) -> RunError:
    """The RunError that stands for an exception of onnxruntime's run."""
    text = sentence(problem)
    if isinstance(problem, InvalidArgument) and _IN_A_NODE not in str(problem):
        return Misfit(text)
    # onnxruntime has no class for it.
    if isinstance(problem, MemoryError) or _NO_MEMORY.search(str(problem)):
        return NoMemory(text)
    return RunError(text)


def wanted(problem: NoMemory) -> int:
    """Bytes that the run asked for at once when it failed; 0 where onnxruntime does not say it."""
    found = _REQUESTED.search(str(problem))
    return int(found[1]) if found else 0


def sentence(problem: Exception) -> str:
    """onnxruntime's message without its prefix and its sources' paths and functions; if it is long, both its ends."""
    text = _without_sources(" ".join(str(problem).split()).removeprefix("[ONNXRuntimeError] : "))
    if len(text) <= _LONGEST:
        return text
    # What is wrong stands at the end, where it happened at the beginning.
    return f"{text[: _LONGEST // 3]} ... {text[-_LONGEST * 2 // 3 :]}"


def _without_sources(text: str) -> str:
    """Cuts out each path of a source file and the C++ signature behind it, which ends with its parameters' bracket."""
    while found := _SOURCE.search(text):
        end = _signature_end(text, found.end())
        text = text[: found.start()] + text[end:].lstrip()
    return _SHORT_SOURCE.sub("", text)


def _signature_end(text: str, start: int) -> int:
    """Behind the C++ signature that begins at `start`, or `start` if none does."""
    opened = text.find("(", start)
    if opened < 0 or "::" not in text[start:opened]:
        return start
    depth = 0
    for index in range(opened, len(text)):
        depth += {"(": 1, ")": -1}.get(text[index], 0)
        if depth == 0:
            rest = text[index + 1 :]
            behind = re.match(r"(?: const)?(?: \[with [^\]]*\])? ?", rest)
            return index + 1 + (behind.end() if behind else 0)
    return start
