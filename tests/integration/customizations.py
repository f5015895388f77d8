"""Argo CD's own Lua VM: it runs the scripts of charts/argocd/argocd-cm.yaml with the few libraries they get there."""

import json
import subprocess
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Self

import yaml

from tests.client import Object
from tests.cluster import binaries
from tests.integration.operator import ROOT

CONFIG_MAP = ROOT / "charts" / "argocd" / "argocd-cm.yaml"
_PREFIX = "resource.customizations."


class ScriptError(Exception):
    """What a script gave up with, as Argo CD shows it."""


@dataclass(frozen=True)
class Judgment:
    """What Argo CD shows of an object: its health, a sentence, and which of the actions can be chosen."""

    health: str
    message: str
    actions: dict[str, bool]

    @property
    def offered(self) -> set[str]:
        return {name for name, enabled in self.actions.items() if enabled}


class Customizations:
    """One process that answers in milliseconds. Use it as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [binaries.argocd(), "customizations"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def judge(self, obj: Object) -> Judgment:
        """Health and actions; raises ScriptError."""
        said = self._ask({"object": obj})
        actions = {one["name"]: not one.get("disabled", False) for one in said.get("actions") or []}
        return Judgment(said["health"]["status"], said["health"].get("message", ""), actions)

    def act(self, obj: Object, action: str) -> Object:
        """The object as the action leaves it; raises ScriptError."""
        changed: Object = self._ask({"object": obj, "action": action})["changed"]
        return changed

    def _ask(self, question: Object) -> Object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question | {"overrides": self._overrides}) + "\n")
        self._process.stdin.flush()
        answer: Object = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise ScriptError(answer["error"])
        return answer

    @cached_property
    def _overrides(self) -> Object:
        """The ConfigMap's keys `resource.customizations.WHAT.GROUP_KIND`, as Argo CD reads them, by group and kind."""
        found: Object = {}
        for key, text in yaml.safe_load(CONFIG_MAP.read_text())["data"].items():
            what, _, kind = key.removeprefix(_PREFIX).partition(".")
            field = {"health": "health.lua", "actions": "actions"}[what]
            found.setdefault(kind.replace("_", "/"), {})[field] = text
        return found
