"""Nodes whose clocks are five minutes ahead or behind, against a real API server and its controllers."""

from datetime import timedelta

import pytest

from tests.integration.rollouts.kubelet import Serves
from tests.integration.rollouts.stage import Stage, spec

ROLLOUT = {"minReadySeconds": 2, "progressDeadline": "4m"}


@pytest.mark.parametrize("minutes", [-5, 5])
async def test_nodes_clocks_change_neither_how_long_a_rollout_takes_nor_its_outcome(stage: Stage, minutes: int) -> None:
    # Given a healthy version on nodes whose clocks are off,
    stage.kubelet.set_clock(stage.namespace, timedelta(minutes=minutes))
    await stage.apply(spec("v1", 2, rollout=ROLLOUT))
    await stage.until_ready("v1")
    # when another one is rolled out, with a deadline that is shorter than the clocks are apart,
    await stage.apply(spec("v2", 2, rollout=ROLLOUT))
    # then it is promoted, and serves.
    await stage.until(lambda: stage.outcome("v2") == "Promoted", "that v2 is promoted")
    await stage.until_ready("v2")
    # And one whose pods never turn ready is rolled back at its deadline.
    stage.kubelet.script(stage.namespace, "v3", Serves(limit=0))
    await stage.apply(spec("v3", 2, rollout={**ROLLOUT, "progressDeadline": "5s"}))
    await stage.until(lambda: stage.outcome("v3") == "RolledBack", "that v3 is rolled back")
    assert stage.status["champion"]["version"] == "v2"
