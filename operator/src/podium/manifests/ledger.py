"""The ConfigMap that keeps the ledger of one rollout: what its evidence was counted from."""

from collections.abc import Mapping
from typing import Any

from podium.api import names
from podium.manifests.owner import Owner, child_metadata

KEY = "ledger"


def ledger_map(owner: Owner, candidate: str, text: str, digest: str) -> dict[str, Any]:
    """`text`: the ledger's, at most 256 KiB; `digest`: of that, by which a change by somebody else is noticed."""
    labels = names.revision_labels(owner.name, candidate) | {names.LABEL_ROUTER: names.LEDGER}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(owner, names.ledger_name(candidate), labels, {names.ANNOTATION_LEDGER: digest}),
        "data": {KEY: text},
    }


def ledger_in(live: Mapping[str, Any] | None) -> str:
    """The text in a ConfigMap as it is; empty without one."""
    data = (live or {}).get("data")
    text = data.get(KEY, "") if isinstance(data, Mapping) else ""
    return text if isinstance(text, str) else ""


def digest_in(live: Mapping[str, Any] | None) -> str:
    """The digest that was written with it; empty without one."""
    annotations = ((live or {}).get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(names.ANNOTATION_LEDGER, ""))
