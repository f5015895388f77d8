"""The ModelRuntimes that come with Podium: applied by the leader, left alone once a person has taken one over."""

import logging
from pathlib import Path

import yaml

from podium import names
from podium.kube.client import ApiError, KubeClient, Object
from podium.kube.resources import MODEL_RUNTIMES

log = logging.getLogger(__name__)


class InvalidRuntimes(Exception):
    """The file of built-in runtimes cannot be read as what it should be."""


def read_runtimes(path: str) -> list[Object]:
    """The ModelRuntimes of a YAML file, each with the label that marks it as built in.

    Raises InvalidRuntimes naming the file and what is wrong with it.
    """
    try:
        documents = [found for found in yaml.safe_load_all(Path(path).read_text()) if found is not None]
    except (OSError, yaml.YAMLError) as error:
        raise InvalidRuntimes(f"runtimes_file {path}: {error}") from error
    for number, found in enumerate(documents, start=1):
        kind = found.get("kind") if isinstance(found, dict) else type(found).__name__
        if kind != MODEL_RUNTIMES.kind or not found.get("metadata", {}).get("name"):
            raise InvalidRuntimes(f"runtimes_file {path}: document {number} is a {kind}, not a named ModelRuntime")
    return [_labelled(found) for found in documents]


async def apply_runtimes(client: KubeClient, runtimes: list[Object]) -> list[Object]:
    """Create the runtimes that are absent and refresh those that still carry the label.

    Answers those that have to be tried again; the reason is logged. NotLeader is raised.
    """
    again = []
    for runtime in runtimes:
        name = runtime["metadata"]["name"]
        try:
            live = await client.get(MODEL_RUNTIMES, None, name)
            if live is None or (live["metadata"].get("labels") or {}).get(names.LABEL_BUILTIN) == "true":
                await client.apply(runtime)
        except ApiError as error:
            log.warning("the built-in ModelRuntime %s could not be applied: %s", name, error)
            again.append(runtime)
    return again


def _labelled(runtime: Object) -> Object:
    meta = runtime["metadata"]
    labels = {**(meta.get("labels") or {}), names.LABEL_BUILTIN: "true", names.LABEL_MANAGED_BY: names.MANAGED_BY}
    return {**runtime, "metadata": {**meta, "labels": labels}}
