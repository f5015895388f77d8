"""Gates: the first verdict wins."""

from dataclasses import replace

import pytest

from podium.api import names
from podium.kube.client import Object
from podium.kube.resources import CONTROLLER_REVISIONS, DEPLOYMENTS, MODEL_DEPLOYMENTS, PODS, Resource
from podium.manifests.fetch import Fetcher
from podium.reconcile.observe import Observer
from podium.rollout.gates import deadline
from podium.rollout.moment import Moment
from tests.unit.planner.controllers import DIED, INJECTED
from tests.unit.planner.given import BLUE_GREEN, MANUAL, rolled_back, serving, switched, updating
from tests.unit.planner.world import KEY, NAME, NAMESPACE, World, model


def break_champion(world: World, version: str = "1") -> None:
    """All pods of a version stop being ready, and new ones never are."""
    world.behave(version, ready_after=None)


def verdict_on(world: World, version: str = "2") -> tuple[str, str]:
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
    break_champion(world)
    world.advance(55)
    assert verdict_on(world) == ("", "")
    world.until(lambda: verdict_on(world) == ("Promoted", "champion-down"), within=30)
    assert world.selector() == {"podium.dev/model": "fraud", "podium.dev/revision": world.revision("2")}


def test_2_a_champion_that_comes_back_within_60_s_stays() -> None:
    world = updating(replicas=1, rollout=MANUAL)
    world.until(lambda: world.phase == "Paused")
    break_champion(world)
    world.advance(40)
    world.behave("1")
    world.advance(60)
    assert verdict_on(world) == ("", "")


def test_2_no_rollback_while_the_champion_has_no_available_pod() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", failure="crash")
    break_champion(world)
    world.advance(300)
    assert verdict_on(world) == ("", "")
    assert world.condition("Reconciling") == ("True", "ChampionUnavailable")
    world.behave("1")
    world.until(lambda: verdict_on(world) == ("RolledBack", "crash: CrashLoopBackOff"), within=30)


def test_2_no_rollback_at_the_deadline_either() -> None:
    world = updating(replicas=2, rollout={**BLUE_GREEN, "progressDeadline": "1m"})
    world.behave("2", ready_after=None)
    break_champion(world)
    world.advance(300)
    assert verdict_on(world) == ("", "")


def test_2_no_rollback_by_a_person_either() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", ready_after=None)
    break_champion(world)
    world.advance(10)
    world.command("abort", world.revision("2"))
    world.advance(5)
    assert verdict_on(world) == ("", "")
    assert world.status["lastCommand"]["result"] == "Refused"


def test_2_both_down_hold_and_Available_is_False() -> None:
    world = updating(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", ready_after=None)
    break_champion(world)
    world.advance(900)
    assert world.condition("Available") == ("False", "NoAvailablePod")
    assert verdict_on(world) == ("", "")
    assert world.replicas(world.revision("1")) == 2


def test_a_bluegreen_undo_after_the_champion_lost_its_pods_is_champion_down_no_more() -> None:
    world = switched(replicas=1)
    two = world.revision("2")
    break_champion(world, "2")
    world.advance(10)
    world.command("abort", two)
    world.advance(5)
    assert world.backends() == {world.revision("1")}


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
    world.until(lambda: verdict_on(world)[0] if len(world.api.all(CONTROLLER_REVISIONS)) > 1 else "")
    assert verdict_on(world) == ("RolledBack", rule)
    assert seconds <= (world.now - began).total_seconds() <= seconds + 8
    assert len(world.ready_pods(world.revision("1"))) == 2


@pytest.mark.parametrize("words", ["tensor \\udcff is not known", "\\ud83d\\ude00 or \\ude00 is not known"])
def test_3_last_words_with_half_a_surrogate_pair_are_told_and_rolled_back_like_others(words: str) -> None:
    world = serving(replicas=2)
    world.behave("2", failure="crash", said='{"message": "' + words + '"}')
    world.edit(model=model("2"))
    world.until(lambda: verdict_on(world)[0] if len(world.api.all(CONTROLLER_REVISIONS)) > 1 else "")
    assert verdict_on(world) == ("RolledBack", "crash: CrashLoopBackOff")
    world.rest()
    assert "?" in world.message()


def test_3_one_candidate_pod_is_enough() -> None:
    world = updating(replicas=3, rollout=BLUE_GREEN)
    world.behave(world.pods(world.revision("2"))[1]["metadata"]["name"], failure="crash")
    world.until(lambda: verdict_on(world)[0])
    assert verdict_on(world) == ("RolledBack", "crash: CrashLoopBackOff")


def test_3_fewer_than_3_restarts_are_no_evidence() -> None:
    world = updating(replicas=1)
    world.behave("2", failure="crash", until=28)
    world.rest()
    assert verdict_on(world)[0] == "Promoted"


def test_3_an_image_that_can_be_pulled_within_30_s_is_no_evidence() -> None:
    world = updating(replicas=1)
    world.behave("2", failure="image", until=25)
    world.rest()
    assert verdict_on(world)[0] == "Promoted"


def test_3_ErrImagePull_and_ImagePullBackOff_are_one_state() -> None:
    """The simulated kubelet changes between the two every 10 s."""
    world = updating(replicas=1)
    world.behave("2", failure="image")
    world.until(lambda: verdict_on(world)[0], within=40)
    assert verdict_on(world) == ("RolledBack", "crash: ImagePull")


def test_3_an_init_failure_called_passing_is_never_crash_evidence_but_a_condition_until_the_deadline() -> None:
    world = updating(replicas=1, rollout={"progressDeadline": "5m"})
    world.behave("2", failure="fetch-passing")
    world.advance(280)
    assert verdict_on(world) == ("", "")
    assert world.condition("PodFailure") == ("True", "FetchRetrying")
    world.advance(30)
    assert verdict_on(world) == ("RolledBack", "deadline")


def both_fail(candidate: str, champion: str) -> World:
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
    world = both_fail(candidate, champion)
    assert verdict_on(world) == ("", "")
    assert world.condition("Reconciling") == ("True", "Environment")


@pytest.mark.parametrize(("candidate", "champion"), [("crash", "image"), ("image", "between-crashes")])
def test_3_champion_pods_that_fail_by_another_fault_do_not_excuse_the_candidate(candidate: str, champion: str) -> None:
    assert verdict_on(both_fail(candidate, champion))[0] == "RolledBack"


def test_3_champion_pods_made_earlier_do_not_excuse_the_candidate() -> None:
    world = serving(replicas=2, rollout=BLUE_GREEN)
    world.advance(600)
    world.edit(model=model("2"))
    world.behave("2", failure="crash")
    world.behave(world.pods(world.revision("1"))[0]["metadata"]["name"], failure="crash")
    world.rest()
    assert verdict_on(world) == ("RolledBack", "crash: CrashLoopBackOff")


def deadly_requests(champions_words: str, champion_died_after: float = 600) -> World:
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
    world = deadly_requests(DIED)
    assert verdict_on(world) == ("", "")
    assert world.condition("Reconciling") == ("True", "Environment")
    assert "Requests crash servers of version 1, too" in world.message("Reconciling")


@pytest.mark.parametrize(
    "words",
    ["", "null", DIED.replace("Died", "Other"), DIED.replace('{"id": "a", "inputs": {"x": [1, 0, 3]}}', "null")],
    ids=["none", "no object", "another reason", "no request was running"],
)
def test_3_a_champion_that_survives_such_requests_does_not_excuse_the_candidate(words: str) -> None:
    assert verdict_on(deadly_requests(words)) == ("RolledBack", "crash: CrashLoopBackOff")


def test_3_a_champion_that_died_of_requests_long_before_does_not_excuse_the_candidate() -> None:
    assert verdict_on(deadly_requests(DIED, champion_died_after=60)) == ("RolledBack", "crash: CrashLoopBackOff")


def test_3_a_champion_that_died_of_requests_does_not_excuse_a_candidate_that_fails_otherwise() -> None:
    world = serving(replicas=2, rollout=BLUE_GREEN)
    world.behave("2", failure="crash")
    world.edit(model=model("2"))
    world.behave(world.pods(world.revision("1"))[0]["metadata"]["name"], died=(0, DIED))
    world.rest()
    assert verdict_on(world) == ("RolledBack", "crash: CrashLoopBackOff")


def inject(**fields: str) -> World:
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
    world = inject()
    world.advance(280)
    assert verdict_on(world) == ("", "")
    assert world.condition("PodFailure") == ("True", "Crashed")
    assert f"container {INJECTED} of pod " in world.message("PodFailure")
    world.until(lambda: verdict_on(world) == ("RolledBack", "deadline"), within=30)


def test_3_an_injected_init_container_that_comes_up_before_the_deadline_is_forgotten() -> None:
    world = inject()
    world.advance(120)
    world.behave("2")
    world.rest()
    assert verdict_on(world)[0] == "Promoted"


def test_3_a_sidecar_is_an_ordinary_container() -> None:
    world = inject(restartPolicy="Always")
    world.until(lambda: verdict_on(world) == ("RolledBack", "crash: CrashLoopBackOff"), within=60)


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
    assert verdict_on(world) == ("", "")
    world.advance(20)
    assert verdict_on(world) == ("RolledBack", "deadline")


def test_4_flapping_does_not_restart_it() -> None:
    world = updating(replicas=1, rollout={"progressDeadline": "3m", "minReadySeconds": 10})
    pod = world.pods(world.revision("2"))[0]["metadata"]["name"]
    for _ in range(12):
        world.behave(pod)
        world.advance(8)
        world.behave(pod, ready_after=None)
        world.advance(8)
    assert verdict_on(world) == ("RolledBack", "deadline")


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
    assert verdict_on(world) == ("", "")
    world.advance(40)
    assert verdict_on(world) == ("RolledBack", "deadline")


def test_4_FailedCreate_is_a_condition_with_the_API_servers_own_sentence_and_rolls_back_at_the_deadline() -> None:
    world = serving(replicas=1)
    world.cluster.refused = 'pods "x" is forbidden: exceeded quota: team, requested: pods=1'
    world.edit(model=model("2"))
    world.advance(30)
    assert world.condition("PodFailure") == ("True", "FailedCreate")
    assert "exceeded quota: team" in world.message("PodFailure")
    world.advance(600)
    assert verdict_on(world) == ("RolledBack", "deadline")


def test_4_what_is_mended_before_the_deadline_goes_on() -> None:
    world = serving(replicas=1)
    world.cluster.refused = "exceeded quota"
    world.edit(model=model("2"))
    world.advance(300)
    world.cluster.refused = ""
    world.rest()
    assert verdict_on(world)[0] == "Promoted"
    assert world.condition("PodFailure") is None


# --- order


def test_crash_evidence_wins_over_a_persons_promote() -> None:
    world = updating(replicas=1, rollout=MANUAL)
    world.behave("2", failure="crash")
    world.until(lambda: world.pods(world.revision("2"))[0]["status"]["containerStatuses"][0]["restartCount"] >= 2)
    world.advance(9)
    world.command("promote", world.revision("2"))
    world.advance(3)
    assert verdict_on(world) == ("RolledBack", "crash: CrashLoopBackOff")


def test_2_the_60_s_go_on_while_the_champions_own_counts_are_not_settled() -> None:
    world = updating(replicas=4, rollout=BLUE_GREEN)
    world.behave(world.pods(world.revision("2"))[0]["metadata"]["name"], ready_after=None)
    world.until(lambda: len(world.ready_pods(world.revision("2"))) == 3)
    break_champion(world)
    for _ in range(5):
        world.advance(12)
        world.lag[DEPLOYMENTS] = 5
        world.rollout(minReadySeconds=world.spec["rollout"].get("minReadySeconds", 10) + 1)
    world.until(lambda: verdict_on(world) == ("Promoted", "champion-down"), within=30)


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
    stray(world, two, failing=True)
    world.until(lambda: world.outcome(two) == "Promoted")


def test_a_pod_that_only_has_the_labels_of_a_loser_is_named_with_the_way_out() -> None:
    world = updating(replicas=2)
    one, two = world.revision("1"), world.revision("2")
    stray(world, one)
    world.until(lambda: world.outcome(two) == "Promoted")
    world.edit(model=model("3"))
    world.advance(60)
    assert world.condition("Ready") == ("False", "Draining")
    assert "pod debug is gone" in world.message()
    assert "podium.dev/model" in world.message()
    world.api.purge((PODS, NAMESPACE, "debug"))
    world.rest()
    assert world.status["champion"]["version"] == "3"


def stray(world: World, revision: str, *, failing: bool = False) -> None:
    labels = {names.LABEL_MODEL: NAME, names.LABEL_REVISION: revision}
    world.behave("debug", failure="crash" if failing else "")
    meta = {"name": "debug", "namespace": NAMESPACE, "labels": labels}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}, "status": {"phase": "Pending"}}
    world.api.create(pod, "kubectl")
