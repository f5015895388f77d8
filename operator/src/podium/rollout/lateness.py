"""Gates: a candidate that does not get its pods in time, or loses them for as long, is rolled back. Pure."""

from podium.api.reasons import Reason
from podium.rollout.judging import asks_a_person
from podium.rollout.kept import no_way_back, stands
from podium.rollout.moment import Moment
from podium.rollout.record import Outcome
from podium.rollout.revision import RevisionState
from podium.rollout.rule import Kind, Rule
from podium.rollout.scarcity import scarcity
from podium.rollout.state import Situation
from podium.rollout.strategies import STRATEGIES
from podium.rollout.verdict import Hold, Mark, Verdict
from podium.rollout.words import available, lasted


def deadline(situation: Situation, moment: Moment) -> Verdict | None:
    """A candidate that is not available in full by its deadline is rolled back; flapping does not restart it."""
    candidate, champion = situation.candidate, situation.champion
    if candidate is None or champion is None or candidate.record.available_at is not None:
        return None
    needed = STRATEGIES[candidate.record.strategy].needed(situation, champion, candidate)
    if candidate.perhaps_available >= needed:
        return None
    if not moment.reached(situation.judged_at):
        return None
    if situation.candidate_kept_out_since is not None or not moment.reached(situation.tried_at):
        return None  # the gate `environment` holds it, or will once this process has tried to make its pods
    if candidate.workload is not None and not candidate.workload.settled:
        return None  # what is not counted yet is not missing; the Deployment's next report asks again
    return _too_long(situation, candidate, f"{available(candidate.available, needed)} by its deadline")


def lost(situation: Situation, moment: Moment) -> Verdict | None:
    """A candidate that had its pods, and has had too few of them for progressDeadline since, is rolled back.

    Nothing else would end a step or a promotion that waits for them: what nobody serves shows no evidence either.
    """
    candidate, champion, since = situation.candidate, situation.champion, situation.candidate_short_since
    if candidate is None or champion is None or since is None or situation.candidate_kept_out_since is not None:
        return None
    if not moment.reached(situation.deadline) or not moment.reached(situation.tried_at):
        return None
    for_long = f"for {lasted(moment.now - since)}"
    if candidate.reported == 0:
        return _too_long(situation, candidate, f"it has had no available pod {for_long}")
    counts = available(candidate.reported, to_keep(situation, champion, candidate, moment))
    return _too_long(situation, candidate, f"{counts}, fewer than it needs {for_long}")


def to_keep(situation: Situation, champion: RevisionState, candidate: RevisionState, moment: Moment) -> int:
    """How many available pods a candidate that had all of them needs to go on.

    One while a person is awaited, and where an HPA says how many it should have, which may be more than there is room
    for.
    """
    strategy, record = STRATEGIES.get(candidate.record.strategy), candidate.record
    if strategy is None:
        return 0  # of another version of Podium: nothing is decided about it
    needed = strategy.needed(situation, champion, candidate)
    if candidate.reported >= needed:
        return needed
    grows = situation.spec.autoscaling is not None and not strategy.fixed_size(record)
    awaited = situation.paused or strategy.awaits_person(situation, candidate)
    awaited = awaited or asks_a_person(situation, candidate, moment)
    return min(1, needed) if grows or awaited else needed


def _too_long(situation: Situation, candidate: RevisionState, what: str) -> Verdict:
    sentence = f"{what} (progressDeadline is {lasted(situation.progress_deadline)}){_cause(situation)}"
    if situation.champion_down_since is not None:
        return Hold(Reason.CHAMPION_UNAVAILABLE, no_way_back(situation, sentence))
    if candidate.promotion_stands:
        return stands(situation, candidate, sentence)
    return Mark(candidate.name, sentence, Outcome.ROLLED_BACK, Rule(Kind.DEADLINE))


def _cause(situation: Situation) -> str:
    candidate = situation.candidate
    if candidate is None:
        return ""
    refused = situation.candidate_refused or (candidate.workload.failure if candidate.workload else "")
    if refused:
        return f": {refused}"
    if not candidate.failures:
        doubt = situation.traffic.doubt or situation.traffic.kept_out
        return f": {doubt}" if doubt else ""
    scarce = scarcity(situation)
    return f": {candidate.failures[0].message}{'; it ' + scarce if scarce else ''}"
