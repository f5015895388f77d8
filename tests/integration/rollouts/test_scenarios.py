"""Each scenario once, undisturbed, and what it must leave behind."""

from collections.abc import Callable

from tests.integration.rollouts.api import Object
from tests.integration.rollouts.kubelet import FETCHED
from tests.integration.rollouts.scenarios import BY_NAME, revision_annotations, run
from tests.integration.rollouts.stage import MODEL, Stage

RULE = "podium.dev/rule"


def rules(stage: Stage) -> dict[str, tuple[str, str]]:
    """version -> (outcome, rule) of its newest revision."""
    versions = {one["data"]["version"] for one in stage.all("ControllerRevision")}
    return {one: (stage.outcome(one), revision_annotations(stage, one).get(RULE, "")) for one in versions}


async def played(stage: Stage, name: str) -> Stage:
    await run(BY_NAME[name], stage)
    return stage


async def test_a_first_rollout_ends_ready_with_all_children(stage: Stage) -> None:
    await played(stage, "first-rollout")

    assert rules(stage) == {"v1": ("Promoted", "first")}
    assert stage.phase == "Healthy"
    assert {one["type"]: one["status"] for one in stage.status["conditions"]} == {"Available": "True", "Ready": "True"}
    revision = stage.revision("v1")
    assert stage.status["champion"] | {"since": ""} == {
        "revision": revision, "version": "v1", "desired": 2, "ready": 2, "available": 2, "since": "",
        "digest": FETCHED,
    }  # fmt: skip
    for kind, name in (
        ("ControllerRevision", revision),
        ("Deployment", revision),
        ("Service", MODEL),
        ("PodDisruptionBudget", MODEL),
    ):
        assert owner(stage.get(kind, name)) == stage.uid, kind
    assert stage.get("Service", f"{MODEL}-preview") is None


async def test_a_rolling_update_replaces_all_pods(stage: Stage) -> None:
    await played(stage, "rolling-update")

    assert rules(stage) == {"v1": ("Promoted", "first"), "v2": ("Promoted", "rolling-complete")}
    assert [one["outcome"] for one in stage.status["history"]] == ["Promoted", "Promoted"]


async def test_a_crash_is_rolled_back_with_its_reason(stage: Stage) -> None:
    await played(stage, "crash-rollback")

    assert rules(stage) == {"v1": ("Promoted", "first"), "v2": ("RolledBack", "crash: CrashLoopBackOff")}
    ready = stage.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "RolledBack")
    assert stage.condition("Available")["status"] == "True"
    assert stage.condition("Stalled")["status"] == "True"
    [note] = await stage.told("RolledBack")
    assert "no such operator" in note


async def test_a_late_rollback_brings_the_champion_back_in_full(stage: Stage) -> None:
    await played(stage, "late-rollback")

    assert rules(stage)["v2"] == ("RolledBack", "crash: FetchFailed")
    assert stage.status["champion"]["available"] == 3


async def test_blue_green_moves_all_traffic_and_ends_the_warm_window(stage: Stage) -> None:
    await played(stage, "blue-green")

    assert rules(stage)["v2"] == ("Promoted", "blue-green-available")
    assert "previous" not in stage.status


async def test_blue_green_is_undone_within_the_warm_window(stage: Stage) -> None:
    await played(stage, "blue-green-undone")

    assert rules(stage) == {"v1": ("Promoted", "first"), "v2": ("RolledBack", "person")}
    assert last_command(stage) == ("abort", "Done")


async def test_a_person_promotes_what_waits_behind_the_preview_service(stage: Stage) -> None:
    await played(stage, "promoted-by-a-person")

    assert rules(stage)["v2"] == ("Promoted", "person")
    assert last_command(stage) == ("promote", "Done")
    assert stage.status["previous"]["revision"] == stage.revision("v1")


async def test_a_canary_is_promoted_at_the_end_of_its_steps(stage: Stage) -> None:
    await played(stage, "canary")

    assert rules(stage)["v2"] == ("Promoted", "steps-complete")
    steps = await stage.told("Step")
    assert steps[0] == "Version v2: step 2 of 2: 50 % (rule step-complete)."


async def test_a_canary_in_place_is_promoted_by_a_person(stage: Stage) -> None:
    await played(stage, "canary-in-place")

    assert rules(stage)["v2"] == ("Promoted", "person")
    assert last_command(stage) == ("promote", "Done")


async def test_an_aborted_canary_gives_all_requests_back(stage: Stage) -> None:
    await played(stage, "canary-aborted")

    assert rules(stage)["v2"] == ("RolledBack", "person")
    assert last_command(stage) == ("abort", "Done")


async def test_a_spec_put_back_during_a_canary_supersedes_the_candidate(stage: Stage) -> None:
    await played(stage, "canary-put-back")

    assert rules(stage)["v2"] == ("Superseded", "spec-changed")
    assert stage.condition("Ready")["reason"] == "Serving"


async def test_a_live_ModelDeployment_is_led_through_routers(stage: Stage) -> None:
    await played(stage, "taken-up-by-routers")

    assert rules(stage) == {"v1": ("Promoted", "first")}


async def test_a_canary_through_routers_is_promoted_at_the_end_of_its_steps(stage: Stage) -> None:
    await played(stage, "envoy-canary")

    assert rules(stage)["v2"] == ("Promoted", "steps-complete")


async def test_an_aborted_canary_through_routers_gives_all_requests_back(stage: Stage) -> None:
    await played(stage, "envoy-canary-aborted")

    assert rules(stage)["v2"] == ("RolledBack", "person")
    assert last_command(stage) == ("abort", "Done")


async def test_a_spec_put_back_during_a_canary_through_routers_supersedes_the_candidate(stage: Stage) -> None:
    await played(stage, "envoy-canary-put-back")

    assert rules(stage)["v2"] == ("Superseded", "spec-changed")


async def test_a_spec_put_back_midway_supersedes_the_candidate(stage: Stage) -> None:
    await played(stage, "reverted-midway")

    assert rules(stage) == {"v1": ("Promoted", "first"), "v2": ("Superseded", "spec-changed")}
    assert stage.condition("Ready")["reason"] == "Serving"


async def test_a_spec_changed_midway_starts_over_with_the_new_one(stage: Stage) -> None:
    await played(stage, "replaced-midway")

    assert rules(stage) == {
        "v1": ("Promoted", "first"),
        "v2": ("Superseded", "spec-changed"),
        "v3": ("Promoted", "rolling-complete"),
    }


async def test_autoscaling_hands_the_count_over_and_takes_it_back(stage: Stage) -> None:
    seen: list[int] = []
    stage.world.listen("Deployment", counts_into(seen, stage.namespace))

    await played(stage, "autoscaling-on-and-off")

    assert stage.replicas("v1") == 3
    assert min(seen) == 2, f"replicas fell on the way: {seen}"


async def test_an_update_under_autoscaling_gives_the_new_revision_an_hpa(stage: Stage) -> None:
    await played(stage, "updated-under-autoscaling")

    assert rules(stage)["v2"] == ("Promoted", "rolling-complete")
    [hpa] = stage.all("HorizontalPodAutoscaler")
    assert hpa["spec"]["scaleTargetRef"]["name"] == stage.revision("v2")
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (2, 5)


async def test_a_rollout_is_paused_and_resumed_by_command(stage: Stage) -> None:
    await played(stage, "paused-and-resumed")

    assert rules(stage)["v2"] == ("Promoted", "rolling-complete")
    assert last_command(stage) == ("resume", "Done")
    assert not stage.condition("Paused")


async def test_a_restart_makes_a_new_revision_of_the_same_inputs(stage: Stage) -> None:
    await played(stage, "restarted")

    first, second = sorted(stage.all("ControllerRevision"), key=lambda one: int(one["revision"]))
    assert first["data"]["inputs"] == second["data"]["inputs"]
    assert stage.status["champion"]["revision"] == second["metadata"]["name"]
    assert last_command(stage) == ("restart", "Done")


async def test_a_rolled_back_revision_is_tried_again_by_retry(stage: Stage) -> None:
    await played(stage, "retried")

    outcomes = [
        one["metadata"]["annotations"]["podium.dev/outcome"]
        for one in sorted(stage.all("ControllerRevision"), key=lambda one: int(one["revision"]))
    ]
    assert outcomes == ["Promoted", "Superseded", "Promoted"]
    assert last_command(stage) == ("retry", "Done")


async def test_a_deletion_leaves_nothing(stage: Stage) -> None:
    await played(stage, "deleted")

    assert stage.operator.alive


async def test_replicas_0_takes_a_new_version_at_once(stage: Stage) -> None:
    await played(stage, "to-zero-and-back")

    assert rules(stage)["v2"] == ("Promoted", "no-replicas")


def owner(obj: Object | None) -> str:
    references = (obj or {"metadata": {}})["metadata"].get("ownerReferences") or []
    return next((one["uid"] for one in references if one.get("controller")), "")


def last_command(stage: Stage) -> tuple[str, str]:
    last = stage.status["lastCommand"]
    return last["value"].split()[0], last["result"]


def counts_into(seen: list[int], namespace: str) -> Callable[..., None]:
    def listen(version: object) -> None:
        obj = getattr(version, "obj", {})
        if obj["metadata"]["namespace"] == namespace and obj["spec"].get("replicas") is not None:
            seen.append(obj["spec"]["replicas"])

    return listen
