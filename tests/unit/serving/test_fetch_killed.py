"""A fetcher that is killed before any of its renames leaves the old model or the new one: no half of each, nor none."""

from pathlib import Path

import pytest

from tests.unit.serving.harness import SOURCE, fetch, start_fetch

# Run by Python before anything else: ends the process before its next rename once LEFT of them have been done.
DEADLY = """
import os
from podium_serving.fetch import place

left = int(os.environ["LEFT"])

def deadly(move):
    def moved(*arguments, **options):
        global left
        if left == 0:
            os._exit(137)
        left -= 1
        return move(*arguments, **options)
    return moved

# A file system that cannot exchange two paths, as NFS, says so and changes nothing.
place._exchange = deadly(place._exchange) if os.environ["EXCHANGE"] == "yes" else lambda one, other: False
os.rename, os.replace = deadly(os.rename), deadly(os.replace)
"""
MOST = 12


def put(folder: Path, generation: str) -> None:
    """A claim with a model of two files, both of this generation."""
    claim = folder / "pvc" / generation
    claim.mkdir(parents=True)
    for name in ("a", "b"):
        (claim / name).write_text(generation)


def placed(folder: Path) -> set[str]:
    """The generations of the files in the model's place; none if nothing is there."""
    return {(folder / "models" / "model" / name).read_text() for name in ("a", "b")}


@pytest.mark.parametrize("exchange", ["yes", "no"])
def test_a_kill_before_any_rename_leaves_the_old_or_the_new(tmp_path: Path, exchange: str) -> None:
    (tmp_path / "deadly").mkdir()
    (tmp_path / "deadly" / "sitecustomize.py").write_text(DEADLY)
    ends = []
    for left in range(MOST):
        folder = tmp_path / str(left)
        put(folder, "old")
        put(folder, "new")
        assert fetch(folder, "pvc://claim/old").code == 0
        process = start_fetch(
            folder, "pvc://claim/new", PYTHONPATH=f"{tmp_path / 'deadly'}:{SOURCE}", LEFT=left, EXCHANGE=exchange
        )
        output, _ = process.communicate(timeout=60)
        # The next run finds nothing at its source: what it leaves is what the killed one left.
        assert fetch(folder, "pvc://claim/gone").code == 65
        ends.append((process.returncode, *placed(folder)))
        if process.returncode == 0:
            break
        assert process.returncode == 137, output
    killed, (last,) = ends[:-1], ends[-1:]
    assert last == (0, "new")
    assert {"old"} <= {generation for _, generation in killed} <= {"old", "new"}
    assert len(killed) >= (3 if exchange == "no" else 2), ends
