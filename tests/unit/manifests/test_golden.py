"""The pod templates of the built-in runtimes, whole, so that a change of any line is seen and meant.

Write them anew with `python -m tests.unit.manifests.test_golden`, and read the difference.
"""

import json
from pathlib import Path

import pytest
import yaml

from tests.unit.manifests.examples import builtin, revision, spec

FOLDER = Path("tests/unit/manifests/golden")
MODELS = {
    "onnxruntime": {
        "uri": "s3://models/fraud/7",
        "format": "onnx",
        "sha256": "0" * 64,
        "credentialsSecret": "s3-models",
    },
    "torchserve": {"uri": "s3://models/digits/3/digits.mar", "version": "3"},
}


def text(name: str) -> str:
    user = spec(model=MODELS[name], runtime={"name": name})
    template = json.loads(json.dumps(revision(user, builtin(name)).template))  # no aliases
    return yaml.safe_dump(template, width=120, sort_keys=True)


@pytest.mark.parametrize("name", MODELS)
def test_the_template_is_the_one_that_was_reviewed(name: str) -> None:
    assert text(name) == (FOLDER / f"{name}.yaml").read_text()


if __name__ == "__main__":
    for each in MODELS:
        (FOLDER / f"{each}.yaml").write_text(text(each))
