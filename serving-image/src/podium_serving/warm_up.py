"""What a model is run on before anybody asks it: the user's own samples, or tensors of a size that fits its graph."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from podium_serving.json_codec import JsonCodec
from podium_serving.model_file import SAMPLES
from podium_serving.signature import BadRequest, Signature, TensorSpec

# What graphs of any size in fact expect: rows, sequence lengths, and the sides of images.
_SIZES = (1, 8, 32, 224, 512, 2, 16, 64, 128, 256, 384, 640)
_COLOURS = 3
_LARGEST = 2**22  # elements; one image of 640 by 640 has a third of it
_FILLS = ("zeros", "ones")


@dataclass(frozen=True)
class Attempt:
    """Tensors to run on. `source` is "samples" or "sizes"; no two attempts for a model have the same name."""

    name: str
    source: str
    feeds: "dict[str, np.ndarray[Any, Any]]"


def samples(file: Path, top: Path, signature: Signature) -> tuple[list[Attempt], list[str]]:
    """The requests of the model's warmup.json, and what is wrong with those that cannot be used.

    That is the nearest one from the model file's folder up to `top`, the folder that was searched for the model. It
    holds one request as a client would send it, or a list of them.
    """
    folders = (each for each in file.parents if each.is_relative_to(top))
    path = next((each / SAMPLES for each in folders if os.path.lexists(each / SAMPLES)), None)
    if path is None:
        return [], []
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as problem:
        return [], [f"{path}: {problem}"]
    codec = JsonCodec(signature, "", "")
    found, problems = [], []
    for number, request in enumerate(content if isinstance(content, list) else [content], 1):
        try:
            feeds = codec.decode(memoryview(orjson.dumps(request))).feeds
            found.append(Attempt(f"request {number} of {SAMPLES}", "samples", feeds))
        except BadRequest as problem:
            problems.append(f"{path}: request {number}: {problem}")
    return found, problems


def sized(signature: Signature) -> Iterator[Attempt]:
    """Tensors of zeros and of ones, the axes of any size set to one size after the other; axes of one name alike."""
    seen: set[str] = set()
    for size in _SIZES:
        for layout in ("one row", "one image", "one image, colours last", "all"):
            shapes = _shapes(signature, size, layout)
            if sum(math.prod(shape) for shape in shapes.values()) > _LARGEST or str(shapes) in seen:
                continue
            seen.add(str(shapes))
            for fill in _FILLS:
                feeds = {spec.name: _filled(spec, shapes[spec.name], fill) for spec in signature.inputs}
                shown = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
                yield Attempt(f"{fill} of {shown or 'nothing'}", "sizes", feeds)


def _shapes(signature: Signature, size: int, layout: str) -> dict[str, tuple[int, ...]]:
    named: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for spec in signature.inputs:
        if spec.shape is None:
            shapes[spec.name] = () if size == 1 else (size,) if layout == "all" else (1, size)
            continue
        wanted = _wanted(len(spec.shape), size, layout)
        names = spec.axes or ("",) * len(spec.shape)
        shapes[spec.name] = tuple(
            given if given != -1 else named.setdefault(name, want) if name else want
            for given, name, want in zip(spec.shape, names, wanted, strict=True)
        )
    return shapes


def _wanted(rank: int, size: int, layout: str) -> list[int]:
    """The sizes of a tensor's axes, were they all free."""
    if layout == "all" or rank == 0:
        return [size] * rank
    wanted = [1] + [size] * (rank - 1)
    if rank == 4 and layout != "one row":
        wanted[1 if layout == "one image" else 3] = _COLOURS
    return wanted


def _filled(spec: TensorSpec, shape: tuple[int, ...], fill: str) -> "np.ndarray[Any, Any]":
    if spec.datatype.name == "BYTES":
        return np.full(shape, "" if fill == "zeros" else "a", dtype=object)
    return np.full(shape, int(fill == "ones"), dtype=spec.datatype.dtype)
