"""How large the images are that are built from this tree.

    python -m tests.bench.bench_images

Unpacked is the sum of the layers as tar archives, compressed the sum of each layer by gzip at level 6, which is about
what a registry stores and a node fetches; the base's layers are included. Images that are not built yet are built.
"""

import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.bench.table import Row, show
from tests.cluster import images

LIMITS = {"serving": 300_000_000, "router": 260_000_000}
"""Bytes below which an image must stay, unpacked; tests/e2e holds it to that, since a size is the same everywhere."""
LEVEL = 6
CHUNK = 2**20


@dataclass(frozen=True)
class Size:
    """Bytes."""

    compressed: int
    unpacked: int


def size(archive: Path) -> Size:
    """Of a docker-archive, whose layers may be packed or not."""
    layers = [_packed(layer) for layer in _layers(archive)]
    return Size(sum(one.compressed for one in layers), sum(one.unpacked for one in layers))


def unpacked(archive: Path) -> int:
    """The same as `size(archive).unpacked`, without the time that packing takes."""
    return sum(len(chunk) for layer in _layers(archive) for chunk in _unpacked(layer))


def _layers(archive: Path) -> Iterator[IO[bytes]]:
    with tarfile.open(archive) as content:
        manifest = json.load(_open(content, "manifest.json"))
        for name in manifest[0]["Layers"]:
            yield _open(content, name)


def _open(content: tarfile.TarFile, name: str) -> IO[bytes]:
    found = content.extractfile(name)
    assert found is not None, f"{name} is no file in the image"
    return found


def _packed(layer: IO[bytes]) -> Size:
    packer = zlib.compressobj(LEVEL, wbits=31)
    compressed = whole = 0
    for chunk in _unpacked(layer):
        whole += len(chunk)
        compressed += len(packer.compress(chunk))
    return Size(compressed + len(packer.flush()), whole)


def _unpacked(layer: IO[bytes]) -> Iterator[bytes]:
    first = layer.read(2)
    layer.seek(0)
    unpacker = zlib.decompressobj(wbits=31) if first == b"\x1f\x8b" else None
    while chunk := layer.read(CHUNK):
        yield unpacker.decompress(chunk) if unpacker else chunk


def figures() -> list[Row]:
    """One row for each image but the pause container's."""
    rows = []
    for archive in images.build([name for name in images.IMAGES if name != "pause"]):
        found = size(archive.path)
        text = f"{found.unpacked / 1e6:.0f} MB unpacked, {found.compressed / 1e6:.0f} MB compressed"
        limit = LIMITS.get(archive.image.name)
        rows.append(Row(f"image {archive.image.name}", text, f"under {limit / 1e6:.0f} MB" if limit else ""))
    return rows


if __name__ == "__main__":
    show(figures())
