"""Where a model's files are put in its pod, per layout of the runtime."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from podium.api.uris import parts

MODELS = "/models"
"""Mount point of the volume that the model is fetched into; the model container sees it read-only."""


@dataclass(frozen=True)
class Placement:
    """`fetched`: the path that the fetcher makes; `kind`: File or Folder; `path`: what the runtime is told."""

    fetched: str
    kind: str
    path: str


def placement(layout: str, model: str, uri: str) -> Placement:
    """Where the model at `uri` goes.

    - Folder: its files in a folder; `{{path}}` is the folder. A single file lies in it under its own name.
    - File: one file; `{{path}}` is the file, with the extension that it has in the URI.
    - Store: one archive called after the ModelDeployment, in TorchServe's manner; `{{path}}` is the folder it lies in.

    KeyError names a layout that is none of these.
    """
    match layout:
        case "Folder":
            return Placement(f"{MODELS}/model", "Folder", f"{MODELS}/model")
        case "File":
            path = f"{MODELS}/model{PurePosixPath(parts(uri).last).suffix}"
            return Placement(path, "File", path)
        case "Store":
            return Placement(f"{MODELS}/{model}.mar", "File", MODELS)
        case _:
            raise KeyError(layout)


def claim_of(uri: str) -> str | None:
    """The claim that a `pvc://claim/path` URI names, or None for other URIs."""
    found = parts(uri)
    return found.host if found.scheme == "pvc" else None
