"""Two replicas and one Lease: who writes when, as the API server's audit log tells it."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.integration.operator import Operator
from tests.integration.shell.rig import ADMINS, PATIENCE, STUB

TERM, TAKEN_WITHIN = 12.0, 15.0
"""Seconds, of production: the Lease's, and within which a follower has it after its holder's crash.

By the audit log, and of the Lease itself: how long a follower's first pass takes depends on the machine.
"""


def restless(plane: ControlPlane, namespace: str) -> None:
    """ModelDeployments about which whoever leads writes some twenty times a second, always with a pass under way."""
    items = [
        {
            "apiVersion": "podium.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": f"m{number}", "namespace": namespace, "annotations": {"restless": ""}},
            "spec": {"model": {"uri": "s3://models/m", "format": "onnx"}},
        }
        for number in range(8)
    ]
    plane.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def replica(plane: ControlPlane, folder: Path, namespace: str, name: str, **settings: Any) -> Operator:
    """A replica whose requests are audited under a user of its own, with the Lease in the test's namespace."""
    user = f"{name}-{namespace}"
    config = plane.kubeconfig(user, ADMINS)
    return Operator(
        folder, config, identity=user, module=STUB, lease_namespace=namespace, watch_namespaces=namespace, **settings
    )


def audited_writes(plane: ControlPlane, operator: Operator) -> list[tuple[float, str, str]]:
    """(seconds since the epoch, verb, resource) of every write that the API server took from this replica."""
    found = []
    for event in plane.audit():
        user: Any = event["user"]
        if user["username"] != operator.identity or event["verb"] not in ("create", "update", "patch", "delete"):
            continue
        reference: Any = event["objectRef"]
        moment = datetime.fromisoformat(str(event["requestReceivedTimestamp"])).timestamp()
        found.append((moment, str(event["verb"]), str(reference["resource"])))
    return found


def work(writes: list[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """All but what a contender for the Lease writes."""
    return [write for write in writes if write[2] != "leases"]


def claims(plane: ControlPlane, operator: Operator) -> list[float]:
    """The moments at which the replica wrote the Lease: took, renewed or released it."""
    return [moment for moment, _, kind in audited_writes(plane, operator) if kind == "leases"]


def await_claim(plane: ControlPlane, operator: Operator) -> float:
    """The moment at which the replica first wrote the Lease."""
    operator.await_true(lambda: bool(claims(plane, operator)), "the Lease", PATIENCE)
    return min(claims(plane, operator))


def await_work(plane: ControlPlane, operator: Operator, since: float, seconds: float = PATIENCE) -> float:
    """The moment of the replica's first write but for the Lease after `since`."""
    operator.await_true(
        lambda: any(moment >= since for moment, *_ in work(audited_writes(plane, operator))), "a write", seconds
    )
    return min(moment for moment, *_ in work(audited_writes(plane, operator)) if moment >= since)


@pytest.fixture
def pair(plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[tuple[Operator, Operator]]:
    """A replica that leads and writes, and one that is ready to follow; the times are those of production."""
    restless(plane, namespace)
    with replica(plane, tmp_path, namespace, "first") as first:
        await_work(plane, first, 0.0)
        with replica(plane, tmp_path, namespace, "second") as second:
            second.await_ready()
            yield first, second


def test_only_the_holder_writes_and_both_are_ready(plane: ControlPlane, pair: tuple[Operator, Operator]) -> None:
    first, second = pair

    now = time.time()
    await_work(plane, first, now)

    assert second.get("/readyz") == second.get("/livez") == 200
    assert work(audited_writes(plane, second)) == []
    assert first.metric("leader_election_master_status") == 1
    assert second.metric("leader_election_master_status") == 0


def test_the_follower_takes_over_within_15_s_of_a_sigkill(plane: ControlPlane, pair: tuple[Operator, Operator]) -> None:
    first, second = pair

    killed = time.time()
    first.kill()

    taken = await_claim(plane, second)
    # Not a moment before the term is over, which began with the last renewal.
    assert taken - max(claims(plane, first)) >= TERM
    assert taken - killed < TAKEN_WITHIN
    await_work(plane, second, taken)


def test_the_follower_does_not_wait_for_the_term_after_a_clean_stop(
    plane: ControlPlane, pair: tuple[Operator, Operator]
) -> None:
    first, second = pair

    stopped = time.time()
    first.terminate()
    taken = await_claim(plane, second)
    resumed = await_work(plane, second, stopped)

    assert first.await_end(PATIENCE) == 0
    # The last that it wrote of the Lease is its release; without that, the term would have passed since a renewal.
    assert taken - max(claims(plane, first)) < TERM
    assert max(moment for moment, *_ in work(audited_writes(plane, first))) < resumed


def test_a_holder_that_was_frozen_past_its_term_writes_nothing_more_but_as_a_contender(
    plane: ControlPlane, pair: tuple[Operator, Operator]
) -> None:
    first, second = pair

    frozen = time.time()
    first.freeze()
    taken = await_claim(plane, second)
    await_work(plane, second, taken)
    thawed = time.time()
    first.thaw()
    # It has understood, and has had time for ten more writes.
    first.await_log("no longer held")
    await_work(plane, second, time.time() + 2)

    assert taken - frozen < TAKEN_WITHIN
    late = work([write for write in audited_writes(plane, first) if write[0] >= thawed])
    assert late == []
    assert first.alive


def test_a_frozen_holder_whose_lease_nobody_took_plans_anew_before_it_writes(
    plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    restless(plane, namespace)
    with replica(plane, tmp_path, namespace, "only") as only:
        await_work(plane, only, 0.0)

        only.freeze()
        time.sleep(9)  # past the deadline for writes, within the term
        thawed = time.time()
        only.thaw()
        first_write = await_work(plane, only, thawed)

        renewals = [moment for moment, _, kind in audited_writes(plane, only) if kind == "leases" and moment >= thawed]
        assert renewals
        assert min(renewals) < first_write


def test_a_process_that_comes_back_with_the_same_identity_does_not_wait_for_the_term(
    plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    restless(plane, namespace)
    # A term far longer than anybody waits for here: who comes back within PATIENCE has not waited for it.
    with replica(plane, tmp_path, namespace, "same", lease_duration=300, lease_write_deadline=200) as operator:
        await_work(plane, operator, 0.0)

        operator.kill()
        restarted = time.time()
        operator.start()

        await_work(plane, operator, restarted)
