"""A ledger in the cluster: which one is meant, and whether it is the one that the revision's record names."""

import json
from dataclasses import dataclass
from typing import Any

from podium.analysis.ledger import digest
from podium.api import names
from podium.cli import replay
from podium.cli.api import Api, Object
from podium.cli.errors import CliError, Missing
from podium.cli.view import of

ANOTHER = "--revision names another"
GET = "kubectl get configmap REVISION-ledger -o yaml"
"""Writes a ledger as `analyze` reads it."""


@dataclass(frozen=True)
class Comparison:
    """What the digest of a ledger says."""

    as_recorded: bool | None = None
    """Whether it is the ledger that was decided from or, before that, as the operator wrote it; None: not known."""
    sentence: str = ""
    """What is to be known of it; empty if it is as recorded, and where nothing is recorded."""


NOTHING = Comparison()
"""Of a file: no record stands beside it."""


@dataclass(frozen=True)
class Stored:
    """A ledger's text, and where it is from."""

    text: str
    source: str
    comparison: Comparison = NOTHING
    way_out: str = ""
    """What to do where that text is no ledger."""


def stored(api: Api, namespace: str, name: str, revision: str = "") -> Stored:
    """The ledger of `revision`; by default of the candidate, else of what was decided on last.

    Raises Missing where there is no such ModelDeployment, and CliError.
    """
    if not revision:
        view = of(api.deployment(namespace, name))
        revision = view.candidate.revision if view.candidate else view.latest
    if not revision:
        raise CliError(f"{namespace}/{name} has no revision yet, so there is no ledger")
    place = names.ledger_name(revision)
    source = f"configmap {namespace}/{place}"
    try:
        config_map = api.config_map(namespace, place)
    except Missing as error:
        raise CliError(
            f"{namespace}/{name}: revision {revision} has no ledger (ConfigMap {place}): only a rollout with analysis "
            f"has one; {ANOTHER}"
        ) from error
    text = replay.text_of(config_map, source, ANOTHER)
    try:
        comparison = compared(text, config_map, api.controller_revision(namespace, revision))
    except CliError as error:
        comparison = Comparison(None, f"This ledger is not compared with the record of its revision: {error.message}.")
    return Stored(text, source, comparison, ANOTHER)


def compared(text: str, config_map: Object, revision: Object) -> Comparison:
    """The ledger's text with the digest that stands beside it, and with the one in its ControllerRevision."""
    beside, record = _annotations(config_map), _annotations(revision)
    found, name = digest(text, _rollout(record)), revision["metadata"]["name"]
    written, decided = beside.get(names.ANNOTATION_LEDGER), record.get(names.ANNOTATION_LEDGER)
    if found in (decided, written if decided is None else None):
        return Comparison(True)
    if written not in (None, found):
        changed = "its digest is not the one that was written with it"
        return Comparison(False, f"This ledger was changed, and not by Podium: {changed}.")
    if decided is None:
        return NOTHING
    return Comparison(
        False,
        f"This is not the ledger that was decided from, since the record of {name} has another digest: the "
        "operator ended before it could write it, or somebody changed it.",
    )


def _annotations(obj: Object) -> dict[str, Any]:
    return obj["metadata"].get("annotations") or {}


def _rollout(annotations: dict[str, Any]) -> str:
    """The rollout's id, which is part of the digest. Raises CliError."""
    try:
        return str(json.loads(annotations[names.ANNOTATION_ROLLOUT])["id"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CliError(f"its annotation {names.ANNOTATION_ROLLOUT} cannot be read") from error
