"""`kubectl podium` beside the operator itself: each command names a revision that the operator acts on."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

from tests.cluster import binaries
from tests.integration.rollouts.scenarios import CANARY
from tests.integration.rollouts.stage import MODEL, Stage, spec


async def podium(stage: Stage, command: str, *flags: str) -> dict[str, Any]:
    """`kubectl podium COMMAND fraud -o json`, as JSON."""
    kubeconfig = stage.cluster.plane.kubeconfig()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        binaries.kubectl(), "podium", command, MODEL, "-n", stage.namespace, "-o", "json", "--timeout", "120s", *flags,
        env={"PATH": path, "HOME": str(kubeconfig.parent), "KUBECONFIG": str(kubeconfig)}, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert err == b""
    answer: dict[str, Any] = json.loads(out)
    assert process.returncode == answer["exitCode"]
    return answer


async def test_the_operator_acts_on_every_command_as_it_is_written(stage: Stage) -> None:
    await stage.apply(spec("v1", 2, rollout=CANARY))
    first = await podium(stage, "status", "--wait")
    assert (first["result"], first["item"]["champion"]["version"]) == ("Done", "v1")

    await stage.apply(spec("v2", 2, rollout=CANARY))
    await stage.until(lambda: stage.condition("Paused").get("reason") == "WaitingForResume", "the pause of its steps")
    assert (await podium(stage, "pause"))["result"] == "Done"
    refused = await podium(stage, "promote")
    assert (refused["result"], refused["exitCode"]) == ("Refused", 1)
    assert "send resume first" in refused["message"]
    assert (await podium(stage, "resume"))["result"] == "Done"

    assert (await podium(stage, "promote"))["result"] == "Done"
    promoted = await podium(stage, "status", "--wait")
    assert (promoted["result"], promoted["item"]["champion"]["version"]) == ("Done", "v2")

    assert (await podium(stage, "abort"))["result"] == "Done"  # its predecessor is still warm
    undone = await podium(stage, "status", "--wait")
    assert (undone["result"], undone["item"]["champion"]["version"]) == ("Failed", "v1")
    assert undone["item"]["phase"] == "RolledBack"

    assert (await podium(stage, "retry"))["result"] in ("Accepted", "Done")
    await stage.until(lambda: stage.condition("Paused").get("reason") == "WaitingForResume", "the pause of its steps")
    assert (await podium(stage, "abort"))["result"] == "Done"
    await stage.apply(spec("v1", 2, rollout=CANARY))
    assert (await podium(stage, "status", "--wait"))["result"] == "Done"
    assert (await podium(stage, "restart"))["result"] in ("Accepted", "Done")
    await stage.until(lambda: "candidate" in stage.status, "that the champion is rolled out anew")
