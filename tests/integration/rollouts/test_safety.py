"""Without a router pods say what they have answered: read by their addresses, they stop a candidate that fails."""

import pytest
from aiohttp import web

from podium.analysis.decision import Call, Circumstances
from podium.analysis.ledger import decided, read, replay
from tests.integration.rollouts.stage import MODEL, Stage, spec

PORT = 8080
"""Of the built-in runtime onnxruntime."""
CANARY = {"strategy": "Canary", "steps": [{"weight": 50, "for": "1m"}], "analysis": {"interval": "1s"}}
ROLLING = {"analysis": {"interval": "1s", "metrics": [{"name": "errors", "type": "ErrorRate"}]}}


class Model:
    """The server of a version's pods: 40 requests come from each reading to the next."""

    def __init__(self, *, fails: bool) -> None:
        self.code = 500 if fails else 200
        self.counts = {200: 0, 500: 0}

    async def metrics(self, request: web.Request) -> web.Response:
        """What podium_serving says."""
        self.counts[self.code] += 40
        name = "podium_serving_requests_total"
        return web.Response(
            text="".join(
                f'{name}{{model="fraud",code="{code}",code_class="{code // 100}xx"}} {count}\n'
                for code, count in self.counts.items()
            )
        )


async def versions(stage: Stage, **fails: bool) -> None:
    """Pods of each of these versions have a server."""
    for version, bad in fails.items():
        app = web.Application()
        app.router.add_get("/metrics", Model(fails=bad).metrics)
        address = await stage.cluster.routers.address(PORT, app)
        stage.kubelet.place(stage.namespace, MODEL, address, version)


@pytest.mark.parametrize("rollout", [CANARY, ROLLING], ids=["Canary", "RollingUpdate"])
async def test_a_candidate_whose_pods_answer_500_is_rolled_back_by_what_they_say(
    stage: Stage, rollout: dict[str, object]
) -> None:
    slow = {**rollout, "minReadySeconds": 20, "rollingUpdate": {"maxSurge": 1}} if rollout is ROLLING else rollout
    await versions(stage, v1=False, v2=True)
    await stage.apply(spec("v1", rollout=rollout))
    await stage.until_ready("v1")
    await stage.apply(spec("v2", rollout=slow))
    await stage.until(lambda: stage.phase == "RolledBack", "v2 is rolled back")

    assert stage.status["rollout"]["decision"]["rule"] == "harm: errors"
    assert "approximate: errors counted at the pods" in stage.status["message"]
    kept = stage.get("ConfigMap", f"{stage.revision('v2')}-ledger")
    assert kept is not None
    ledger = read(kept["data"]["ledger"])
    assert decided(ledger, Circumstances()).call is Call.ROLL_BACK
    good, bad = replay(ledger).counted["5xx"]
    assert (good, bad) == (0, replay(ledger).counted["finished"][1])
    assert bad >= 40
