"""What the pod templates of 1,000 ModelDeployments with two revisions each take in the cache, packed in several ways.

`python -m tests.bench.packed_memory` prints MB (growth of the resident set) and ms of CPU; each way is measured in a
process of its own. Templates are those of the built-in onnxruntime, another one for each name and URI. A revision has
two: in its record, and in its Deployment, where the API server has filled in defaults.
"""

import gc
import hashlib
import json
import subprocess
import sys
import time
import zlib
from pathlib import Path

import orjson

MODELS = 1000
DEFAULTS = {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
WAYS = ("none", "text", "text, copied", "zlib", "zlib with a dictionary")


def templates() -> list[bytes]:
    """The two templates of each revision of each ModelDeployment."""
    from tests.unit.manifests.examples import builtin, revision, spec

    made = revision(spec(model={"uri": "s3://models/fraud/7/model.onnx"}), builtin("onnxruntime")).template
    recorded = json.dumps(made)
    made["spec"] |= DEFAULTS
    for container in made["spec"]["containers"] + made["spec"]["initContainers"]:
        container |= {"terminationMessagePath": "/dev/termination-log", "resources": container.get("resources", {})}
    defaulted = json.dumps(made)
    return [
        text.replace("fraud", f"m{number:04}").replace("/7/", f"/{version}/").encode()
        for number in range(MODELS)
        for version in (1, 2)
        for text in (recorded, defaulted)
    ]


def resident() -> float:
    """MB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def measure(way: str) -> tuple[float, float, float]:
    """MB kept, ms to take in all 4,000, ms to read each once."""
    texts = templates()
    like = orjson.dumps(orjson.loads(texts[0]), option=orjson.OPT_SORT_KEYS)
    interned: dict[bytes, bytes] = {}

    def keep(text: bytes) -> object:
        value = orjson.loads(text)
        if way == "none":
            return value
        packed = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        digest = hashlib.sha256(packed).digest()
        if digest not in interned:
            if way == "text, copied":
                packed = bytes(memoryview(packed))  # orjson leaves its buffer behind at its largest
            elif way != "text":
                compressor = zlib.compressobj(level=1, zdict=like) if "dict" in way else zlib.compressobj(level=1)
                packed = compressor.compress(packed) + compressor.flush()
            interned[digest] = packed
        return interned[digest]

    def read(packed: object) -> object:
        if not isinstance(packed, bytes):
            return packed
        if way.startswith("text"):
            return orjson.loads(packed)
        reader = zlib.decompressobj(zdict=like) if "dict" in way else zlib.decompressobj()
        return orjson.loads(reader.decompress(packed))

    gc.collect()
    before = resident()
    kept = [keep(text) for text in texts]
    gc.collect()
    size = resident() - before
    interned.clear()
    start = time.process_time()
    for text in texts:
        keep(text)
    taken = time.process_time()
    for packed in kept:
        read(packed)
    return size, (taken - start) * 1000, (time.process_time() - taken) * 1000


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        print(f"{'way':24}{'MB kept':>10}{'ms to take in':>16}{'ms to read':>12}")
        for way in WAYS:
            done = subprocess.run(
                [sys.executable, "-m", __spec__.name, way], check=True, capture_output=True, text=True
            )
            size, took, read_again = json.loads(done.stdout)
            print(f"{way:24}{size:10.1f}{took:16.0f}{read_again:12.0f}")
