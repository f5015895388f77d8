"""The ledgers: what evidence was counted from, in ConfigMaps that are kept as long as their revisions. Pure."""

from collections.abc import Iterator

from podium.api import names
from podium.kube.resources import CONFIG_MAPS
from podium.manifests.ledger import ledger_map
from podium.manifests.owner import Owner
from podium.reconcile.observed import Observed
from podium.reconcile.writes import Apply, Remove, Stage, Told, Write
from podium.rollout.measuring import Snapshot
from podium.rollout.revision import RevisionState
from podium.rollout.state import Situation


def ledgers(observed: Observed, situation: Situation) -> Iterator[Write]:
    """Writes the present rollout's ledger and earlier ones that were refused; removes those of forgotten revisions."""
    now = _under_way(observed, situation)
    if now is not None:
        yield now
    over = {names.ledger_name(revision.name) for revision in situation.revisions if revision.outcome is not None}
    yield from (owed for owed in observed.owed if owed.name in over and (now is None or owed.name != now.name))
    known = {names.ledger_name(revision.name) for revision in situation.revisions}
    for resource, name in observed.children:
        if resource is CONFIG_MAPS and name.endswith(names.LEDGER_SUFFIX) and name not in known:
            yield Write(Stage.REMOVE, CONFIG_MAPS, name, Remove(), Told.MESSAGE)


def _under_way(observed: Observed, situation: Situation) -> Write | None:
    """Of the rollout that was under way when this pass began."""
    before = observed.situation.candidate if observed.situation is not None else None
    found = observed.situation.findings if observed.situation is not None else None
    after = next((each for each in situation.revisions if before is not None and each.name == before.name), None)
    if before is None or after is None or found is None or not before.record.asked:
        return None
    # What is decided is written with what it was decided from, which is newer than the last checkpoint: while the
    # candidate grows, a checkpoint would put an older ledger back.
    decided = after.outcome is not None or after.record.promoting
    snapshot = found.live if decided else found.published
    return _kept(observed.owner, before, snapshot) if snapshot is not None else None


def _kept(owner: Owner, candidate: RevisionState, snapshot: Snapshot) -> Write:
    obj = ledger_map(owner, candidate.name, snapshot.text, snapshot.digest(candidate.record.id))
    return Write(Stage.RECORD, CONFIG_MAPS, obj["metadata"]["name"], Apply(obj), owed=True)
