"""Handwritten digits (scikit-learn's 8 x 8 images) as ONNX: version 1, a better version 2, and versions with faults.

Trained once (about 10 s), then kept in the cache outside the work tree.
"""

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.cache import cached, digest
from tests.load import Question

PICK = ("outputs", 0, "data", 0)
"""Where the digit stands in an answer of the Open Inference Protocol."""
VERSIONS = ("1", "2")
BROKEN, FAILING, HOPELESS, RENAMED = "broken", "failing", "hopeless", "renamed"
"""No model at all; version 2 that fails on a few of the images asked about, or on all; with another input's name."""
FAULTY = (BROKEN, FAILING, HOPELESS, RENAMED)
FAILS = 2
"""Of the ASKED images: 3 %."""
ASKED = 64
"""Images that the load client asks about."""


@dataclass(frozen=True)
class Digits:
    """The models' files, and what is known of them from running them here."""

    folder: Path
    accuracy: dict[str, float]
    """Share of 897 images not trained on that a version reads rightly, by version."""
    images: list[list[float]]
    """Images that no version was trained on: 64 grey values of 0 to 16 each."""
    truth: list[int]
    fails: list[int]
    """Places of the images on which FAILING does."""
    answers: dict[str, list[int]]
    """What each version reads in `images`. The two differ on some of them."""

    def file(self, version: str) -> Path:
        """The model's file: one of VERSIONS or FAULTY."""
        return self.folder / f"{version}.onnx"

    def sha256(self, version: str) -> str:
        """The digest of the model's file, 64 hex digits."""
        return hashlib.sha256(self.file(version).read_bytes()).hexdigest()

    def questions(self, *versions: str) -> list[Question]:
        """What to ask a server of the model, and what the versions (all by default) answer."""
        wanted = versions or VERSIONS
        return [
            Question(json.dumps(body(image)), {version: str(self.answers[version][n]) for version in wanted})
            for n, image in enumerate(self.images)
        ]


def body(image: list[float]) -> dict[str, Any]:
    """The request that asks which digit `image` (64 values) shows."""
    return {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": image}]}


def draw(image: list[float]) -> str:
    """The image in the characters of a terminal: 4 lines of 16 columns, two pixels above each other in a character."""
    shades = (232, 236, 239, 242, 245, 248, 251, 254, 255)
    lines = []
    for row in range(0, 8, 2):
        cells = []
        for column in range(8):
            top, bottom = (shades[min(8, int(image[r * 8 + column] / 2))] for r in (row, row + 1))
            cells.append(f"\x1b[38;5;{top}m\x1b[48;5;{bottom}m▀▀")
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)


def draw_plain(image: list[float]) -> str:
    """The image in plain characters, for a log file: 8 lines of 16 columns."""
    shades = " .:-=+*#@"
    return "\n".join(
        "".join(shades[min(8, int(image[row * 8 + column] / 2))] * 2 for column in range(8)) for row in range(8)
    )


def digits() -> Digits:
    """The models, trained if the cache does not hold them."""
    folder = cached("models-digits", digest([Path(__file__)]), _train)
    return Digits(folder, **json.loads((folder / "about.json").read_text()))


def _fault(sums: Any) -> int:
    """A number of which FAILS of the sums are multiples."""
    return next(n for n in range(2, 10_000) if sum(sums % n == 0) == FAILS)


def _failing(file: Path, every: int) -> bytes:
    """The model, but an image whose grey values sum up to a multiple of a number makes one of its nodes fail."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(file)
    graph, label = model.graph, model.graph.output[0].name
    last = next(node for node in graph.node if label in node.output)
    last.output[:] = ["read" if name == label else name for name in last.output]
    graph.initializer.extend(
        numpy_helper.from_array(np.array([value], dtype=np.int64), name) for name, value in (("every", every), ("0", 0))
    )
    graph.node.extend(
        [
            helper.make_node("ReduceSum", ["image"], ["sum"], keepdims=0),
            helper.make_node("Cast", ["sum"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Mod", ["whole", "every"], ["rest"]),
            helper.make_node("Equal", ["rest", "0"], ["hit"]),
            helper.make_node("Cast", ["hit"], ["place"], to=TensorProto.INT64),
            helper.make_node("Gather", ["0", "place"], ["nothing"]),  # there is no place 1
            helper.make_node("Add", ["read", "nothing"], [label]),
        ]
    )
    return bytes(model.SerializeToString())


def _renamed(file: Path) -> bytes:
    """The model with an input that callers do not send."""
    import onnx

    model = onnx.load(file)
    model.graph.input[0].name = "pixels"
    for node in model.graph.node:
        node.input[:] = ["pixels" if name == "image" else name for name in node.input]
    return bytes(model.SerializeToString())


def _train(folder: Path) -> None:
    import numpy as np
    import onnxruntime
    from skl2onnx import to_onnx
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    data = load_digits()
    images, truth = data.data.astype(np.float32), data.target
    shuffled = np.random.default_rng(7).permutation(len(images))
    images, truth = images[shuffled], truth[shuffled]
    known, unknown = slice(0, 900), slice(900, None)
    # Version 1 has seen few images, so that its answers differ from those of version 2.
    few = slice(0, 60)
    models = {
        "1": make_pipeline(MinMaxScaler(), LogisticRegression(max_iter=500)).fit(images[few], truth[few]),
        "2": make_pipeline(MinMaxScaler(), MLPClassifier((64,), max_iter=400, random_state=7)),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models["2"].fit(images[known], truth[known])
    read = {}
    for version, model in models.items():
        options = {id(model): {"zipmap": False}}
        exported = to_onnx(model, images[:1], options=options, initial_types=None, final_types=None)
        exported.graph.input[0].name, old = "image", exported.graph.input[0].name
        for node in exported.graph.node:
            node.input[:] = ["image" if name == old else name for name in node.input]
        (folder / f"{version}.onnx").write_bytes(exported.SerializeToString())
        session = onnxruntime.InferenceSession(folder / f"{version}.onnx", providers=["CPUExecutionProvider"])
        read[version] = session.run(["label"], {"image": images[unknown]})[0]
    (folder / f"{BROKEN}.onnx").write_bytes(b"This is not an ONNX model.\n" * 100)
    (folder / f"{HOPELESS}.onnx").write_bytes(_failing(folder / "2.onnx", 1))
    (folder / f"{RENAMED}.onnx").write_bytes(_renamed(folder / "2.onnx"))
    right = {version: found == truth[unknown] for version, found in read.items()}
    differing = np.flatnonzero(read["1"] != read["2"])[: ASKED // 4]
    same = np.flatnonzero(right["1"] & right["2"])[: ASKED - len(differing)]
    chosen = np.concatenate([same, differing])
    sums = images[unknown][chosen].sum(axis=1).astype(int)
    (folder / f"{FAILING}.onnx").write_bytes(_failing(folder / "2.onnx", _fault(sums)))
    about = {
        "accuracy": {version: float(found.mean()) for version, found in right.items()},
        "images": images[unknown][chosen].tolist(),
        "truth": truth[unknown][chosen].tolist(),
        "fails": np.flatnonzero(sums % _fault(sums) == 0).tolist(),
        "answers": {version: found[chosen].tolist() for version, found in read.items()},
    }
    (folder / "about.json").write_text(json.dumps(about))
