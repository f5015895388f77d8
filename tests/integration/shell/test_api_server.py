"""What the shell makes of an API server that is away, slow, forgetful or refusing, and of what it is asked to watch."""

import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.cluster.controlplane import ControlPlane
from tests.integration.proxy import Call, Fault, Proxy, anything, of, watches, writes
from tests.integration.shell.rig import PATIENCE, Rig, apply, audited, pod


def test_it_waits_for_an_api_server_that_is_away_and_resumes(hasty_rig: Rig) -> None:
    rig = hasty_rig
    with rig.proxy.away():
        rig.apply("m", replicas=2)
        rig.operator.await_log("no longer held")
        time.sleep(5)  # well past the Lease's term and several attempts
        assert rig.operator.get("/livez") == 200

    rig.await_message("m", "replicas 2")
    errors = [line for line in rig.operator.lines() if line["level"] in ("error", "critical", "")]
    assert errors == []


def test_being_away_is_said_a_few_times_and_not_with_every_attempt(rig: Rig) -> None:
    before = len(rig.operator.lines())

    with rig.proxy.away():
        time.sleep(6)
        said = rig.operator.lines()[before:]

    assert 0 < len(said) < 10
    assert any("127.0.0.1" in line["message"] for line in said)


def test_events_still_arrive_after_the_watches_were_cut(rig: Rig) -> None:
    rig.operator.await_true(lambda: rig.proxy.watching >= 9, "all watches", PATIENCE)
    assert rig.proxy.drop_watches() >= 9

    rig.apply("m", replicas=3)
    pod(rig.plane, rig.namespace, "p", "m")

    rig.await_message("m", "replicas 3, pods 1")


def test_what_was_deleted_while_a_watch_was_blind_is_noticed_after_its_410(rig: Rig) -> None:
    pod(rig.plane, rig.namespace, "p", "m")
    pod(rig.plane, rig.namespace, "q", "m")
    rig.await_message("m", "pods 2")
    blind = rig.proxy.fault(Fault(match=watches, status=500))
    rig.proxy.drop_watches()

    rig.plane.kubectl("delete", "pod", "p", "-n", rig.namespace, "--force", "--grace-period=0")
    rig.proxy.expire_watches("pods")
    rig.proxy.remove(blind)

    rig.await_message("m", "pods 1")


def test_a_model_deployment_deleted_while_its_watch_was_blind_is_noticed_too(rig: Rig) -> None:
    rig.apply("other")
    rig.await_message("other", "replicas 1")
    blind = rig.proxy.fault(Fault(match=watches, status=500))
    rig.proxy.drop_watches()

    rig.plane.kubectl("delete", "mdep", "m", "-n", rig.namespace)
    rig.proxy.expire_watches("modeldeployments")
    rig.proxy.remove(blind)

    rig.operator.await_log(f"{rig.namespace}/m is gone")


def test_on_429_all_work_slows_down_for_as_long_as_the_server_asks(rig: Rig) -> None:
    refusing = rig.proxy.fault(Fault(match=writes, status=429, retry_after=3, times=1))

    start, before = time.monotonic(), len(rig.operator.lines())
    rig.apply("m", replicas=4)
    # It is the write about `m` that is refused, and `n` comes after that.
    rig.operator.await_true(
        lambda: any("tried again in" in line["message"] for line in rig.operator.lines()[before:]), "the 429", PATIENCE
    )
    rig.apply("n")
    rig.await_message("m", "replicas 4")
    rig.await_message("n", "replicas 1")

    assert refusing.hits == 1
    after = [one.at - start for one in rig.proxy.answered() if one.at > start]
    assert len(after) == 2
    assert min(after) >= 3


def test_a_500_is_tried_again_with_growing_delays(rig: Rig) -> None:
    failing = rig.proxy.fault(Fault(match=writes, status=500, times=5))

    rig.apply("m", replicas=5)
    rig.await_message("m", "replicas 5")

    assert failing.hits == 5
    said = [line["message"] for line in rig.operator.lines() if "tried again in" in line["message"]]
    delays = [float(text.split("tried again in ")[1].split()[0]) for text in said]
    assert delays == sorted(delays)
    assert delays[-1] >= 8 * delays[0]


def test_a_write_whose_answer_is_lost_is_made_good(rig: Rig) -> None:
    lost = rig.proxy.fault(Fault(match=writes, lose_answer=True, times=1))

    rig.apply("m", replicas=6)
    rig.await_message("m", "replicas 6")
    pod(rig.plane, rig.namespace, "p", "m")

    rig.await_message("m", "replicas 6, pods 1")
    assert lost.hits == 1


def test_an_unexpected_error_in_a_watch_starts_the_watches_anew_and_not_the_process(rig: Rig) -> None:
    pid = rig.operator.pid
    gone = rig.proxy.fault(Fault(match=lambda call: call.is_watch and call.resource == "pods", status=404, times=1))
    rig.proxy.drop_watches()
    rig.operator.await_log("start again in")

    pod(rig.plane, rig.namespace, "p", "m")

    rig.await_message("m", "pods 1")
    assert gone.hits == 1
    assert (rig.operator.alive, rig.operator.pid) == (True, pid)


def test_pages_of_html_in_place_of_answers_end_nothing(hasty_rig: Rig) -> None:
    rig = hasty_rig
    pid = rig.operator.pid
    page = rig.proxy.fault(Fault(match=anything, page="<html>Sign in</html>"))
    rig.proxy.drop_watches()
    rig.operator.await_log("Sign in")
    rig.operator.await_log("no longer held")
    rig.operator.await_log("the watches have ended")
    pod(rig.plane, rig.namespace, "p", "m")
    assert rig.operator.get("/livez") == 200

    rig.proxy.remove(page)

    rig.await_message("m", "pods 1")
    assert (rig.operator.alive, rig.operator.pid) == (True, pid)
    assert rig.operator.metric("podium_part_failures_total") == 0, "it is the API server's absence, by another name"


def test_one_page_of_html_for_a_list_of_the_resync_is_asked_for_again(rig: Rig) -> None:
    def listing(call: Call) -> bool:
        return call.method == "GET" and call.resource == "pods" and not call.is_watch

    pod(rig.plane, rig.namespace, "p", "m")
    rig.await_message("m", "pods 1")
    page = rig.proxy.fault(Fault(match=listing, page="<html>Sign in</html>", times=2))
    blind = rig.proxy.fault(Fault(match=watches, status=500))
    rig.proxy.drop_watches()
    rig.plane.kubectl("delete", "pod", "p", "-n", rig.namespace, "--force", "--grace-period=0")
    rig.proxy.expire_watches("pods")
    rig.proxy.remove(blind)

    rig.await_message("m", "pods 0")
    assert page.hits == 2


def test_the_cut_comes_after_exactly_the_write_that_was_asked_for(rig: Rig) -> None:
    before = len(rig.proxy.answered())

    rig.proxy.cut_after_write(3)
    for name in ("a", "b", "c", "d", "e"):
        rig.apply(name)

    assert rig.proxy.wait_until_cut(PATIENCE)
    time.sleep(1)
    assert len(rig.proxy.answered()) - before == 3
    assert sum("replicas" in rig.message(name) for name in ("a", "b", "c", "d", "e")) == 3
    rig.proxy.mend()
    for name in ("a", "b", "c", "d", "e"):
        rig.await_message(name, "replicas 1")


def test_a_replica_without_the_crds_waits_says_so_and_starts_when_they_come(
    plane: ControlPlane, namespace: str, tmp_path: Path, proxy: Proxy
) -> None:
    def discovery(call: Call) -> bool:
        return call.path == "/apis/podium.dev/v1alpha1"

    apply(plane, namespace, "m")
    absent = proxy.fault(Fault(match=discovery, status=404))
    rig = Rig(plane, namespace, tmp_path, proxy)
    with rig.operator as operator:
        line = operator.await_log("modeldeployments.podium.dev, modelruntimes.podium.dev")
        assert "apply crds/" in line["message"]
        assert operator.get("/readyz") == 503
        assert operator.get("/livez") == 200

        proxy.remove(absent)

        rig.await_message("m", "replicas 1")
        assert operator.get("/readyz") == 200


def test_only_what_the_selector_selects_is_looked_after(
    plane: ControlPlane, namespace: str, tmp_path: Path, proxy: Proxy
) -> None:
    apply(plane, namespace, "mine", labels={"team": "a"})
    apply(plane, namespace, "theirs", labels={"team": "b"})
    rig = Rig(plane, namespace, tmp_path, proxy, selector="team in (a,c)")
    with rig.operator:
        rig.await_message("mine", "replicas 1")
        apply(plane, namespace, "late", labels={"team": "c"})
        rig.await_message("late", "replicas 1")

    assert rig.message("theirs") == ""


def test_cluster_wide_it_looks_after_every_namespace(
    plane: ControlPlane, namespace: str, tmp_path: Path, proxy: Proxy
) -> None:
    plane.kubectl("create", "namespace", f"{namespace}-b")
    labels = {"round": namespace}  # the plane is shared with other tests
    apply(plane, namespace, "m", labels=labels)
    apply(plane, f"{namespace}-b", "m", labels=labels)
    rig = Rig(plane, namespace, tmp_path, proxy, watch_namespaces="", selector=f"round={namespace}")
    with rig.operator:
        rig.await_message("m", "replicas 1")
        rig.namespace = f"{namespace}-b"
        rig.await_message("m", "replicas 1")


def test_a_watched_namespace_that_was_deleted_with_its_rights_holds_up_nobody_and_is_taken_up_when_it_is_back(
    plane: ControlPlane, namespace: str, tmp_path: Path, proxy: Proxy
) -> None:
    back = f"{namespace}-back"
    plane.kubectl("create", "namespace", back)
    apply(plane, back, "m")
    apply(plane, namespace, "m")
    refusal = proxy.fault(Fault(lambda call: f"/namespaces/{back}/" in call.path, status=403))
    rig = Rig(plane, namespace, tmp_path, proxy, watch_namespaces=f"{back},{namespace}")
    with rig.operator:
        rig.await_message("m", "replicas 1")
        proxy.remove(refusal)
        rig.namespace = back
        rig.await_message("m", "replicas 1", 120)


def test_children_are_listed_and_watched_by_label_so_that_foreign_pods_cost_nothing(rig: Rig) -> None:
    user = f"op-{rig.namespace}"
    pod(rig.plane, rig.namespace, "foreign", "")

    reads = [event for event in audited(rig.plane, user) if event["verb"] in ("list", "watch")]

    foreign = ("modeldeployments", "modelruntimes")
    for event in reads:
        selector = parse_qs(urlsplit(event["requestURI"]).query).get("labelSelector")
        if event["objectRef"]["resource"] == "configmaps":
            assert selector == ["podium.dev/router in (routing,ledger)"], event["requestURI"]
        elif event["objectRef"]["resource"] not in foreign:
            assert selector == ["podium.dev/model"], event["requestURI"]
    assert {event["objectRef"]["resource"] for event in reads} == {
        "modeldeployments", "modelruntimes", "controllerrevisions", "deployments", "services", "endpointslices",
        "configmaps", "horizontalpodautoscalers", "poddisruptionbudgets", "pods",
    }  # fmt: skip


def test_the_informer_writes_nothing_and_asks_for_nothing_that_is_not_in_the_table(rig: Rig) -> None:
    rig.apply("m", replicas=7)
    rig.await_message("m", "replicas 7")

    asked = set()
    for event in audited(rig.plane, f"op-{rig.namespace}"):
        reference = event["objectRef"]
        name = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
        asked.add((name, event["verb"]))

    read = {(name, verb) for name, verb in asked if verb in ("list", "watch")}
    assert asked - read <= {
        ("leases", "get"), ("leases", "create"), ("leases", "update"),
        ("modeldeployments/status", "update"),
        ("events", "create"), ("events", "patch"),
    }  # fmt: skip
    assert not {name for name, _ in read} & {"namespaces", "customresourcedefinitions", "secrets", "events"}


def test_at_rest_it_writes_nothing_but_its_lease(rig: Rig) -> None:
    rig.operator.await_true(lambda: len(rig.proxy.answered(of("events"))) >= 1, "the Event", PATIENCE)
    before = len(rig.proxy.answered(lambda call: call.resource != "leases"))
    begun, known = time.monotonic(), len(rig.proxy.answered(of("leases")))

    def renewals() -> int:
        return len(rig.proxy.answered(of("leases"))) - known

    rig.operator.await_true(lambda: renewals() >= 6, "renewals", PATIENCE)

    assert len(rig.proxy.answered(lambda call: call.resource != "leases")) == before
    assert renewals() <= (time.monotonic() - begun) / 0.5 + 2


def test_the_metrics_bear_the_names_of_controller_runtime_and_its_work_queue(rig: Rig) -> None:
    operator = rig.operator

    # A pass is counted once it has ended, which is after its write.
    operator.await_true(
        lambda: operator.metric("controller_runtime_reconcile_total", result="success") >= 1, "a pass", PATIENCE
    )
    assert operator.metric("controller_runtime_max_concurrent_reconciles") == 16
    assert operator.metric("workqueue_adds_total", name="modeldeployment") >= 1
    operator.await_true(
        lambda: operator.metric("workqueue_work_duration_seconds_count") >= 1, "a pass of the queue", PATIENCE
    )
    assert operator.metric("rest_client_requests_total", code="200", method="list") >= 9
    assert operator.metric("leader_election_master_status") == 1


def test_a_kopf_without_the_seam_of_the_short_cut_brings_the_same_events(
    plane: ControlPlane, namespace: str, tmp_path: Path, proxy: Proxy
) -> None:
    apply(plane, namespace, "m")
    rig = Rig(plane, namespace, tmp_path, proxy, module="tests.integration.shell.without_short_cut")
    with rig.operator:
        rig.await_message("m", "replicas 1, pods 0")

        rig.apply("m", replicas=2)
        pod(plane, namespace, "p", "m")

        rig.await_message("m", "replicas 2, pods 1")
        plane.kubectl("delete", "mdep", "m", "-n", namespace)
        rig.operator.await_log(f"{namespace}/m is gone")
