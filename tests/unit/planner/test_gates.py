"""Gates: the first verdict wins."""

from dataclasses import replace
from datetime import datetime

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, MODEL_DEPLOYMENTS, PODS, Resource
from podium.manifests.fetch import Fetcher
from podium.reconcile.observe import Observer
from podium.rollout.gates import deadline
from podium.rollout.moment import Moment
from tests.unit.planner.controllers import DIED, INJECTED
from tests.unit.planner.given import BLUE_GREEN, MANUAL, created, rolled_back, serving, switched, updating
from tests.unit.planner.refusing import FAULTS, refuse
from tests.unit.planner.test_canary import canary, until_step
from tests.unit.planner.test_envoy import routed
from tests.unit.planner.world import KEY, NAME, NAMESPACE, World, model


def _break_champion(world: World, version: str = "1") -> None:
    """All pods of a version stop being ready, and new ones never are."""
    world.behave(version, ready_after=None)


def _outcome(world: World, version: str = "2") -> tuple[str, str]:
    return world.outcome(world.revision(version)), world.rule(world.revision(version))


# --- 1. Deletion or a terminating namespace


@pytest.mark.parametrize("propagation", ["Background", "Foreground", "Orphan"])
def test_1_deletion_the_plan_is_empty(propagation: str) -> None:
    world = updating(replicas=2)
    world.api.delete(MODEL_DEPLOYMENTS, NAMESPACE, NAME, propagation)
    calls = len(world.client.calls)
    world.deliver()
    world.reconcile()
    assert [str(call) for call in world.client.calls[calls:]] == []
    world.advance(60)
    assert [str(call) for call in world.client.calls[calls:]] == []
    assert bool(world.pods()) == (propagation == "Orphan")


def test_1_a_terminating_namespace_is_no_failure_and_nothing_more_is_tried() -> None:
    world = serving()
    world.api.terminating = True
    world.edit(model=model("2"))
    world.advance(5)
    calls = len(world.client.calls)
    world.edit(model=model("3"))
    world.advance(600)
    assert world.failures == []
    assert len(world.client.calls) == calls


# --- 2. champion-down


def test_2_a_champion_without_an_available_pod_for_60_s_gives_way_to_a_candidate_that_has_one() -> None:
    world = updating(replicas=4, rollout=BLUE_GREEN)
    world.behave(world.pods(world.revision("2"))[0]["metadata"]["name"], ready_after=None)
    world.until(lambda: len(world.ready_pods(world.revision("2"))) == 3)
    _break_champion(world)
    world.advance(55)
    assert _outcome(world) == ("", "")
    world.until(lambda: _outcome(world) == ("Promoted", "champion-down"), within=30)
    assert world.selector() == {"podium.dev/model": "fraud", "podium.dev/revision": world.revision("2")}


def test_2_a_champion_that_comes_back_within_60_s_stays() -> None:
    world = updating(replicas=1, rollout=MANUAL)
    world.until(lambda: world.phase == "Paused")
    _break_champion(world)
    world.advance(40)
    world.behave("1")
    world.advance(60)
    assert _outcome(world) == ("", "")


def test_2_no_rollback_while_the_champion_has_no_available_pod() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", failure="crash")
    _break_champion(world)
    world.advance(300)
    assert _outcome(world) == ("", "")
    assert world.condition("Reconciling") == ("True", "ChampionUnavailable")
    world.behave("1")
    world.until(lambda: _outcome(world) == ("RolledBack", "crash: CrashLoopBackOff"), within=30)


def test_2_no_rollback_at_the_deadline_either() -> None:
    world = updating(replicas=2, rollout={**BLUE_GREEN, "progressDeadline": "1m"})
    world.behave("2", ready_after=None)
    _break_champion(world)
    world.advance(300)
    assert _outcome(world) == ("", "")


def test_2_no_rollback_by_a_person_either() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", ready_after=None)
    _break_champion(world)
    world.advance(10)
    world.command("abort", world.revision("2"))
    world.advance(5)
    assert _outcome(world) == ("", "")
    assert world.status["lastCommand"]["result"] == "Refused"


def test_2_both_down_hold_and_Available_is_False() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", ready_after=None)
    _break_champion(world)
    world.advance(900)
    assert world.condition("Available") == ("False", "NoAvailablePod")
    assert _outcome(world) == ("", "")
    assert world.replicas(world.revision("1")) == 2


# --- 3. crash evidence


@pytest.mark.parametrize(
    ("behaviour", "rule", "seconds"),
    [
        ("crash", "crash: CrashLoopBackOff", 30),
        ("image", "crash: ImagePull", 30),
        ("fetch-permanent", "crash: FetchFailed", 30),
        ("invalid-image", "crash: InvalidImageName", 0),
    ],
)
def test_3_crash_evidence_rolls_back_long_before_the_deadline(behaviour: str, rule: str, seconds: int) -> None:
    world = serving(replicas=2)
    world.behave("2", failure=behaviour)
    world.edit(model=model("2"))
    began = world.now
    world.until(lambda: _outcome(world)[0] if len(world.api.all(CONTROLLER_REVISIONS)) > 1 else "")
    assert _outcome(world) == ("RolledBack", rule)
    assert seconds <= (world.now - began).total_seconds() <= seconds + 8
    assert len(world.ready_pods(world.revision("1"))) == 2


@pytest.mark.parametrize("words", ["tensor \\udcff is not known", "\\ud83d\\ude00 or \\ude00 is not known"])
def test_3_last_words_with_half_a_surrogate_pair_are_told_and_rolled_back_like_others(words: str) -> None:
    world = serving(replicas=2)
    world.behave("2", failure="crash", said='{"message": "' + words + '"}')
    world.edit(model=model("2"))
    world.until(lambda: _outcome(world)[0] if len(world.api.all(CONTROLLER_REVISIONS)) > 1 else "")
    assert _outcome(world) == ("RolledBack", "crash: CrashLoopBackOff")
    world.rest()
    assert "?" in world.message()


def test_3_one_candidate_pod_is_enough() -> None:
    world = updating(replicas=3, rollout=BLUE_GREEN)
    world.behave(world.pods(world.revision("2"))[1]["metadata"]["name"], failure="crash")
    world.until(lambda: _outcome(world)[0])
    assert _outcome(world) == ("RolledBack", "crash: CrashLoopBackOff")


def test_3_fewer_than_3_restarts_are_no_evidence() -> None:
    world = updating(replicas=1)
    world.behave("2", failure="crash", until=28)
    world.rest()
    assert _outcome(world)[0] == "Promoted"


def test_3_an_image_that_can_be_pulled_within_30_s_is_no_evidence() -> None:
    world = updating(replicas=1)
    world.behave("2", failure="image", until=25)
    world.rest()
    assert _outcome(world)[0] == "Promoted"


def test_3_ErrImagePull_and_ImagePullBackOff_are_one_state() -> None:
    """The simulated kubelet changes between the two every 10 s."""
    world = updating(replicas=1)
    world.behave("2", failure="image")
    world.until(lambda: _outcome(world)[0], within=40)
    assert _outcome(world) == ("RolledBack", "crash: ImagePull")


def test_3_an_init_failure_called_passing_is_never_crash_evidence_but_a_condition_until_the_deadline() -> None:
    world = updating(replicas=1, rollout={"progressDeadline": "5m"})
    world.behave("2", failure="fetch-passing")
    world.advance(280)
    assert _outcome(world) == ("", "")
    assert world.condition("PodFailure") == ("True", "FetchRetrying")
    world.advance(30)
    assert _outcome(world) == ("RolledBack", "deadline")


def _both_fail(candidate: str, champion: str) -> World:
    """All pods of the candidate, and one of the champion's that was made at about the same time."""
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", failure=candidate)
    first = world.pods(world.revision("1"))[0]
    world.behave("1", failure=champion)
    for pod in world.pods(world.revision("1"))[1:]:
        world.behave(pod["metadata"]["name"])
    world.cluster.stop(first)
    world.advance(120)
    return world


@pytest.mark.parametrize(
    ("candidate", "champion"),
    [
        ("crash", "crash"),
        ("crash", "between-crashes"),
        ("fetch-permanent", "fetch-permanent"),
        ("fetch-permanent", "fetch-passing"),
        ("image", "image"),
    ],
)
def test_3_not_when_champion_pods_made_in_the_same_5_min_fail_likewise(candidate: str, champion: str) -> None:
    """Which is a matter of the fault: the kubelet's word for it changes from one moment to the next."""
    world = _both_fail(candidate, champion)
    assert _outcome(world) == ("", "")
    assert world.condition("Reconciling") == ("True", "Environment")


@pytest.mark.parametrize(("candidate", "champion"), [("crash", "image"), ("image", "between-crashes")])
def test_3_champion_pods_that_fail_by_another_fault_do_not_excuse_the_candidate(candidate: str, champion: str) -> None:
    assert _outcome(_both_fail(candidate, champion))[0] == "RolledBack"


def test_3_champion_pods_made_earlier_do_not_excuse_the_candidate() -> None:
    world = serving(replicas=2, rollout=BLUE_GREEN)
    world.advance(600)
    world.edit(model=model("2"))
    world.behave("2", failure="crash")
    world.behave(world.pods(world.revision("1"))[0]["metadata"]["name"], failure="crash")
    world.rest()
    assert _outcome(world) == ("RolledBack", "crash: CrashLoopBackOff")


def _deadly_requests(champions_words: str, champion_died_after: float = 600) -> World:
    """The candidate's pods die of requests, again and again; of the champion's, which are ten minutes old, one did."""
    world = serving(replicas=2, rollout=BLUE_GREEN)
    victim = world.pods(world.revision("1"))[0]["metadata"]["name"]
    world.behave(victim, died=(champion_died_after, champions_words))
    world.advance(600)
    world.behave("2", failure="died")
    world.edit(model=model("2"))
    world.advance(120)
    return world


def test_3_not_when_requests_end_the_champion_s_servers_too() -> None:
    """A champion's pod that is ready again counts, whenever it was made."""
    world = _deadly_requests(DIED)
    assert _outcome(world) == ("", "")
    assert world.condition("Reconciling") == ("True", "Environment")
    assert "Requests crash servers of version 1, too" in world.message("Reconciling")


@pytest.mark.parametrize(
    "words",
    ["", "null", DIED.replace("Died", "Other"), DIED.replace('{"id": "a", "inputs": {"x": [1, 0, 3]}}', "null")],
    ids=["none", "no object", "another reason", "no request was running"],
)
def test_3_a_champion_that_survives_such_requests_does_not_excuse_the_candidate(words: str) -> None:
    assert _outcome(_deadly_requests(words)) == ("RolledBack", "crash: CrashLoopBackOff")


def test_3_a_champion_that_died_of_requests_long_before_does_not_excuse_the_candidate() -> None:
    assert _outcome(_deadly_requests(DIED, champion_died_after=60)) == ("RolledBack", "crash: CrashLoopBackOff")


def test_3_a_champion_that_died_of_requests_does_not_excuse_a_candidate_that_fails_otherwise() -> None:
    world = serving(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", failure="crash")
    world.edit(model=model("2"))
    world.behave(world.pods(world.revision("1"))[0]["metadata"]["name"], died=(0, DIED))
    world.rest()
    assert _outcome(world) == ("RolledBack", "crash: CrashLoopBackOff")


def _inject(**fields: str) -> World:
    """A webhook adds an init container to every pod; in version 2's it fails again and again."""
    world = serving(replicas=2, rollout={"progressDeadline": "5m"})

    def inject(resource: Resource, obj: Object) -> None:
        if resource is PODS:
            obj["spec"]["initContainers"] = [{"name": INJECTED, "image": "injected", **fields}]

    world.api.admit.append(inject)
    world.behave("2", failure="init")
    world.edit(model=model("2"))
    world.advance(1)
    return world


def test_3_an_injected_init_container_is_no_evidence_but_a_condition_until_the_deadline() -> None:
    """vault-agent-init waits for Vault, istio-init for its node: neither says anything about the model."""
    world = _inject()
    world.advance(280)
    assert _outcome(world) == ("", "")
    assert world.condition("PodFailure") == ("True", "Crashed")
    assert f"container {INJECTED} of pod " in world.message("PodFailure")
    world.until(lambda: _outcome(world) == ("RolledBack", "deadline"), within=30)


def test_3_an_injected_init_container_that_comes_up_before_the_deadline_is_forgotten() -> None:
    world = _inject()
    world.advance(120)
    world.behave("2")
    world.rest()
    assert _outcome(world)[0] == "Promoted"


def test_3_a_sidecar_is_an_ordinary_container() -> None:
    world = _inject(restartPolicy="Always")
    world.until(lambda: _outcome(world) == ("RolledBack", "crash: CrashLoopBackOff"), within=60)


def test_3_the_sentence_names_the_pod_and_the_containers_last_words() -> None:
    world = rolled_back()
    assert world.rule(world.revision("2")) == "crash: CrashLoopBackOff"
    (note,) = world.events("RolledBack")
    assert world.revision("2") in note
    assert "no such operator" in note


# --- 4. progressDeadline


def test_4_a_candidate_that_is_not_available_by_the_deadline_is_rolled_back() -> None:
    world = updating(replicas=2)
    world.behave("2", ready_after=None)
    world.advance(590)
    assert _outcome(world) == ("", "")
    world.advance(20)
    assert _outcome(world) == ("RolledBack", "deadline")


def test_4_flapping_does_not_restart_it() -> None:
    world = updating(replicas=1, rollout={"progressDeadline": "3m", "minReadySeconds": 10})
    pod = world.pods(world.revision("2"))[0]["metadata"]["name"]
    for _ in range(12):
        world.behave(pod)
        world.advance(8)
        world.behave(pod, ready_after=None)
        world.advance(8)
    assert _outcome(world) == ("RolledBack", "deadline")


@pytest.mark.parametrize(
    ("behaviour", "reason", "sentence"),
    [
        ("config", "ConfigError", 'secret "s3" not found'),
        ("unschedulable", "Unschedulable", "Insufficient nvidia.com/gpu"),
    ],
)
def test_4_what_may_be_mended_is_a_condition_within_30_s_and_rolls_back_at_the_deadline(
    behaviour: str, reason: str, sentence: str
) -> None:
    world = updating(replicas=1)
    world.behave("2", failure=behaviour)
    world.advance(30)
    assert world.condition("PodFailure") == ("True", reason)
    assert sentence in world.message("PodFailure")
    assert sentence in world.status["message"]
    world.advance(540)
    assert _outcome(world) == ("", "")
    world.advance(40)
    assert _outcome(world) == ("RolledBack", "deadline")


def test_4_FailedCreate_is_a_condition_with_the_API_servers_own_sentence_and_rolls_back_at_the_deadline() -> None:
    world = serving(replicas=1)
    world.cluster.refused = 'pods "x" is forbidden: exceeded quota: team, requested: pods=1'
    world.edit(model=model("2"))
    world.advance(30)
    assert world.condition("PodFailure") == ("True", "FailedCreate")
    assert "exceeded quota: team" in world.message("PodFailure")
    world.advance(600)
    assert _outcome(world) == ("RolledBack", "deadline")


def test_4_what_is_mended_before_the_deadline_goes_on() -> None:
    world = serving(replicas=1)
    world.cluster.refused = "exceeded quota"
    world.edit(model=model("2"))
    world.advance(300)
    world.cluster.refused = ""
    world.rest()
    assert _outcome(world)[0] == "Promoted"
    assert world.condition("PodFailure") is None


# --- order


def test_crash_evidence_wins_over_a_persons_promote() -> None:
    world = updating(replicas=1, rollout=MANUAL)
    world.behave("2", failure="crash")
    world.until(lambda: world.pods(world.revision("2"))[0]["status"]["containerStatuses"][0]["restartCount"] >= 2)
    world.advance(9)
    world.command("promote", world.revision("2"))
    world.advance(3)
    assert _outcome(world) == ("RolledBack", "crash: CrashLoopBackOff")


# --- Pause


def test_pause_no_start() -> None:
    world = serving(paused=False)
    world.edit(paused=True, model=model("2"))
    world.rest()
    assert len(world.api.all(CONTROLLER_REVISIONS)) == 1
    assert world.phase == "Paused"


def test_pause_no_step() -> None:
    world = updating(replicas=4)
    world.edit(paused=True)
    world.advance(120)
    assert (world.replicas(world.revision("1")), world.replicas(world.revision("2"))) == (4, 1)


def test_pause_no_promotion() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.edit(paused=True)
    world.rest()
    assert _outcome(world) == ("", "")
    world.edit(paused=False)
    world.rest()
    assert _outcome(world) == ("Promoted", "blue-green-available")


def test_pause_crash_rollback_goes_on() -> None:
    world = updating(replicas=2, paused=False)
    world.edit(paused=True)
    world.behave("2", failure="crash")
    world.until(lambda: _outcome(world)[0] == "RolledBack")


def test_pause_drift_repair_goes_on() -> None:
    world = serving(replicas=2)
    world.edit(paused=True)
    one = world.revision("1")
    world.change(DEPLOYMENTS, one, lambda o: o["spec"].update(minReadySeconds=0))
    world.advance(2)
    assert world.need(DEPLOYMENTS, one)["spec"]["minReadySeconds"] == 10


def test_pause_scaling_goes_on() -> None:
    world = serving(replicas=2)
    world.edit(paused=True, replicas=5)
    world.rest()
    assert len(world.ready_pods()) == 5


def test_pause_progressDeadline_runs_on() -> None:
    world = updating(replicas=2)
    world.behave("2", ready_after=None)
    world.edit(paused=True)
    world.advance(620)
    assert _outcome(world) == ("RolledBack", "deadline")


def test_a_first_revision_is_not_started_while_paused() -> None:
    world = created(paused=True)
    world.rest()
    assert world.api.all(CONTROLLER_REVISIONS) == []
    assert world.phase == "Paused"
    world.edit(paused=False)
    world.rest()
    assert world.phase == "Healthy"


# --- spec changes


@pytest.mark.parametrize("rollout", [{}, BLUE_GREEN], ids=["RollingUpdate", "BlueGreen"])
def test_spec_changed_mid_rollout_supersedes_the_candidate_and_the_champion_stays(rollout: Object) -> None:
    world = updating(replicas=3, rollout=rollout)
    one, two = world.revision("1"), world.revision("2")
    world.until(lambda: world.ready_pods(two))
    world.edit(model=model("3"))
    world.advance(2)
    assert world.outcome(two) == "Superseded"
    assert world.status["champion"]["revision"] == one
    world.rest()
    assert world.status["champion"]["version"] == "3"
    assert world.live(DEPLOYMENTS, two) is None


@pytest.mark.parametrize("rollout", [{}, BLUE_GREEN], ids=["RollingUpdate", "BlueGreen"])
def test_spec_put_back_mid_way_retires_the_candidate_phase_Healthy(rollout: Object) -> None:
    world = updating(replicas=3, rollout=rollout)
    one, two = world.revision("1"), world.revision("2")
    world.until(lambda: len(world.ready_pods(two)) >= 2)
    world.edit(model=model("1"))
    world.rest()
    assert world.phase == "Healthy"
    assert world.condition("Ready") == ("True", "Serving")
    assert world.outcome(two) == "Superseded"
    assert world.status["champion"]["revision"] == one
    assert (world.replicas(one), world.replicas(two)) == (3, None)
    assert len(world.api.all(CONTROLLER_REVISIONS)) == 2


def test_a_candidate_that_was_superseded_before_does_not_stop_the_same_inputs_from_starting_anew() -> None:
    world = updating(replicas=2)
    world.edit(model=model("1"))
    world.advance(5)
    world.edit(model=model("2"))
    world.rest()
    assert world.status["champion"]["version"] == "2"


def test_spec_changed_on_a_first_revision_that_never_came_up_starts_the_new_one() -> None:
    world = created(replicas=2)
    world.behave("1", failure="crash")
    world.until(lambda: world.phase == "Failed")
    world.edit(model=model("2"))
    world.rest()
    assert world.phase == "Healthy"
    assert _outcome(world) == ("Promoted", "first")
    assert _outcome(world, "1") == ("Superseded", "spec-changed")


# --- first, no-replicas


def test_a_first_revision_that_failed_has_no_outcome_and_becomes_champion_if_it_comes_up_after_all() -> None:
    world = created(replicas=2)
    world.behave("1", failure="crash", until=900)
    world.until(lambda: world.phase == "Failed")
    assert _outcome(world, "1") == ("", "")
    assert len(world.pods()) == 2
    world.rest()
    assert _outcome(world, "1") == ("Promoted", "first")
    assert world.phase == "Healthy"


def test_with_replicas_0_a_new_revision_becomes_champion_at_once() -> None:
    world = serving(replicas=0)
    world.edit(model=model("2"))
    world.advance(2)
    assert _outcome(world) == ("Promoted", "no-replicas")
    assert world.pods() == []
    assert world.condition("Ready") == ("True", "ScaledToZero")


def test_from_0_to_some_replicas_it_is_Ready_once_they_serve() -> None:
    world = serving(replicas=0)
    world.edit(replicas=2)
    world.advance(3)
    assert world.condition("Ready") == ("False", "Degraded")
    world.rest()
    assert world.condition("Ready") == ("True", "Serving")


def test_a_bluegreen_undo_after_the_champion_lost_its_pods_is_champion_down_no_more() -> None:
    world = switched(replicas=1)
    two = world.revision("2")
    _break_champion(world, "2")
    world.advance(10)
    world.command("abort", two)
    world.advance(5)
    assert world.backends() == {world.revision("1")}


def test_2_the_60_s_go_on_while_the_champions_own_counts_are_not_settled() -> None:
    world = updating(replicas=4, rollout=BLUE_GREEN)
    world.behave(world.pods(world.revision("2"))[0]["metadata"]["name"], ready_after=None)
    world.until(lambda: len(world.ready_pods(world.revision("2"))) == 3)
    _break_champion(world)
    for _ in range(5):
        world.advance(12)
        world.lag[DEPLOYMENTS] = 5
        world.rollout(minReadySeconds=world.spec["rollout"].get("minReadySeconds", 10) + 1)
    world.until(lambda: _outcome(world) == ("Promoted", "champion-down"), within=30)


@pytest.mark.parametrize(("settled", "judged"), [(True, True), (False, False)])
def test_4_counts_that_are_not_settled_are_nothing_to_judge_by(settled: bool, judged: bool) -> None:
    world = updating(replicas=2)
    observed = Observer(world.cache, world.settings, Fetcher("f")).observe(KEY, Moment(world.now))
    assert observed is not None
    assert observed.situation is not None
    candidate = observed.situation.candidate
    assert candidate is not None
    assert candidate.workload is not None
    changed = replace(candidate, workload=replace(candidate.workload, settled=settled))
    situation = observed.situation.changed(changed)
    verdict = deadline(situation, Moment(candidate.record.started_at + situation.progress_deadline))
    assert (verdict is not None) == judged


def test_3_a_pod_that_only_has_the_labels_is_no_evidence() -> None:
    world = updating(replicas=2)
    two = world.revision("2")
    world.behave("2", ready_after=200.0)
    _stray(world, two, failing=True)
    world.until(lambda: world.outcome(two) == "Promoted")


def test_a_pod_that_only_has_the_labels_of_a_loser_is_named_with_the_way_out() -> None:
    world = updating(replicas=2)
    one, two = world.revision("1"), world.revision("2")
    _stray(world, one)
    world.until(lambda: world.outcome(two) == "Promoted")
    world.edit(model=model("3"))
    world.advance(60)
    assert world.condition("Ready") == ("False", "Draining")
    assert "pod debug is gone" in world.message()
    assert "podium.dev/model" in world.message()
    world.api.purge((PODS, NAMESPACE, "debug"))
    world.rest()
    assert world.status["champion"]["version"] == "3"


def _stray(world: World, revision: str, *, failing: bool = False) -> None:
    labels = {names.LABEL_MODEL: NAME, names.LABEL_REVISION: revision}
    world.behave("debug", failure="crash" if failing else "")
    meta = {"name": "debug", "namespace": NAMESPACE, "labels": labels}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}, "status": {"phase": "Pending"}}
    world.api.create(pod, "kubectl")


# --- a candidate that had its pods and lost them


def test_a_canary_whose_pods_are_all_lost_in_a_step_is_rolled_back_after_progressDeadline() -> None:
    world = updating(replicas=4, rollout=canary(25, 50, progressDeadline="2m"))
    two = world.revision("2")
    until_step(world, 1)
    world.behave("2", ready_after=None)
    world.until(lambda: not world.ready_pods(two))
    lost = world.now
    world.until(lambda: world.phase == "RollingBack" or world.outcome(two) == "RolledBack")
    assert world.rule(two) == "deadline"
    assert (world.now - lost).total_seconds() == pytest.approx(120, abs=3)
    world.rest()
    assert world.backends() == {world.revision("1")}


def test_a_candidate_that_waits_for_a_person_and_loses_its_pods_is_rolled_back_unless_they_come_again() -> None:
    world = updating(replicas=2, rollout={**BLUE_GREEN, "promotion": "Manual", "progressDeadline": "2m"})
    two = world.revision("2")
    world.until(lambda: world.phase == "Paused")
    world.behave("2", ready_after=None)
    world.advance(100)
    world.behave("2", ready_after=1.0)
    world.advance(100)
    world.behave("2", ready_after=None)
    world.advance(110)
    assert world.outcome(two) == "", "they were there meanwhile"
    world.advance(20)
    assert (world.outcome(two), world.rule(two)) == ("RolledBack", "deadline")


def test_a_suspension_longer_than_progressDeadline_loses_no_candidate() -> None:
    world = updating(replicas=2, rollout={**MANUAL, "progressDeadline": "2m"})
    world.until(lambda: world.phase == "Paused")
    world.edit(suspend=True)
    world.advance(600)
    world.edit(suspend=False)
    world.advance(600)
    assert world.outcome(world.revision("2")) == ""
    assert world.condition("Ready") == ("False", "WaitingForPromotion")


@pytest.mark.parametrize("rollout", [canary(50, progressDeadline="2m"), {**BLUE_GREEN, "progressDeadline": "2m"}])
def test_where_nobody_is_awaited_one_pod_that_stays_away_is_enough(rollout: Object) -> None:
    world = updating(replicas=4, rollout=rollout)
    two = world.revision("2")
    world.edit(paused=True)
    world.advance(40)
    world.behave(world.ready_pods(two)[0]["metadata"]["name"], ready_after=None)
    world.advance(600)
    assert world.outcome(two) == "", "while it is paused a person is awaited"
    world.edit(paused=False)
    resumed = world.now
    world.advance(5)
    said = datetime.fromisoformat(world.status["rollout"]["deadline"])
    assert (said - resumed).total_seconds() == pytest.approx(120, abs=5)
    world.until(lambda: world.outcome(two) == "RolledBack")
    assert world.rule(two) == "deadline"
    assert (world.now - resumed).total_seconds() == pytest.approx(120, abs=5)


def test_one_pod_that_is_lost_while_a_person_is_awaited_is_told_without_a_deadline() -> None:
    world = updating(replicas=4, rollout={**MANUAL, "progressDeadline": "2m"})
    two = world.revision("2")
    world.until(lambda: world.phase == "Paused")
    world.behave(world.ready_pods(two)[0]["metadata"]["name"], ready_after=None)
    world.advance(600)
    assert world.outcome(two) == ""
    assert "3 of 4 pods available, and waits for the rest" in world.message()
    assert "deadline" not in world.status["rollout"]


def test_a_candidate_that_a_person_promoted_is_kept_when_its_pods_are_lost() -> None:
    world = updating(replicas=4, rollout=canary(25, 50, promotion="Manual", progressDeadline="2m"))
    two = world.revision("2")
    until_step(world, 2)
    world.behave("2", ready_after=None)
    world.until(lambda: not world.ready_pods(two))
    world.command("promote", two)
    world.advance(300)
    assert world.outcome(two) == ""
    assert world.condition("Ready") == ("False", "PromotionStands")


def test_time_in_which_the_cluster_takes_no_pods_does_not_count_for_lost_ones_either() -> None:
    world = updating(replicas=4, rollout=canary(25, 50, progressDeadline="2m"))
    two = world.revision("2")
    until_step(world, 1)
    world.cluster.refused = FAULTS["webhook"]().message
    for pod in world.pods(two):
        world.api.purge((PODS, NAMESPACE, pod["metadata"]["name"]))
    world.advance(600)
    assert world.condition("Ready") == ("False", "Environment")
    world.cluster.refused = ""
    world.until(lambda: world.outcome(two) == "Promoted")


@pytest.mark.parametrize("at_last", [True, False], ids=["and comes back at last", "for good"])
def test_while_nobody_can_be_asked_to_admit_a_larger_Deployment_no_candidate_is_short(at_last: bool) -> None:
    world = updating(replicas=4, rollout=canary(50, {"weight": 75, "for": "10m"}, progressDeadline="2m"))
    two = world.revision("2")
    until_step(world, 2)
    admit = refuse(world, "webhook", lambda call: call.resource is DEPLOYMENTS and call.name == two)
    world.edit(replicas=8)
    world.advance(118 if at_last else 900)
    assert world.condition("Ready") == ("False", "Environment")
    if at_last:
        admit()
        world.behave("2", ready_after=20.0)
        world.until(lambda: world.outcome(two) == "Promoted")
    else:
        assert world.outcome(two) == ""


def test_a_candidate_whose_Deployment_is_deleted_and_may_not_be_made_again_is_lost() -> None:
    world = updating(replicas=2, rollout={**MANUAL, "progressDeadline": "2m"})
    two = world.revision("2")
    world.until(lambda: world.phase == "Paused")

    refuse(world, "a policy", lambda call: call.resource is DEPLOYMENTS and call.name == two)
    world.api.delete(DEPLOYMENTS, NAMESPACE, two)
    world.until(lambda: world.outcome(two) == "RolledBack", within=200)
    assert "no available pod" in world.message()
    assert "not that image" in world.message()


@pytest.mark.parametrize("whose", ["1", "2"])
def test_an_HPA_that_asks_for_more_than_there_is_room_for_costs_no_candidate(whose: str) -> None:
    """Without routers the candidate's pods follow the champion's HPA; with them it has its own."""
    rollout = canary({"weight": 50, "for": "1h"}, progressDeadline="2m")
    sized: Object = {"replicas": 4, "autoscaling": {"minReplicas": 4, "maxReplicas": 20}, "rollout": rollout}
    world = updating(**sized) if whose == "1" else routed(**sized)
    world.edit(model=model("2"))
    world.until(lambda: world.status.get("candidate"))
    until_step(world, 1)
    two = world.revision("2")
    world.advance(30)
    there = [pod["metadata"]["name"] for pod in world.ready_pods(two)]
    world.behave("2", failure="unschedulable")
    for name in there:
        world.behave(name)
    world.cluster.demand[world.revision(whose)] = 6
    world.advance(900)
    assert world.outcome(two) == ""
    assert len(world.pods(two)) > len(there)
