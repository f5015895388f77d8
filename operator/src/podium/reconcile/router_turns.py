"""Whose turn it is to get another version of the routers: one namespace after the other."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from podium.api import names
from podium.kube.client import Object

log = logging.getLogger(__name__)

TURN: Final = 5.0
"""Seconds until a namespace asks again whether its routers may be brought up to date."""
WAITED_FOR: Final = 600.0
"""Seconds other namespaces wait for one to replace its routers: a full quota there must not block all updates."""


class Turns:
    """Of all namespaces; `clock` gives seconds, from whenever."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._changing: str | None = None
        """The namespace to whose routers a write is on its way: the cache does not show yet that they are replaced."""
        self._incomplete: dict[str, float] = {}
        """Since when routers have been seen that are not all of their present template, by namespace."""
        self._told: dict[str, str] = {}
        """For each namespace that waits, the one that it waits for, as logged last."""

    @contextmanager
    def changing(self, namespace: str) -> Iterator[None]:
        """While its routers get another template, no other namespace's may."""
        self._changing = namespace
        try:
            yield
        finally:
            self._changing = None

    def may_change(self, namespace: str, deployments: Mapping[str, Object]) -> bool:
        """Whether a Deployment that is there may get another template; `deployments`: of all routers, by namespace.

        So what is wrong with a new version of the routers stops at the first namespace, for as long as WAITED_FOR.
        """
        if self._changing is not None:
            return False
        now = self._clock()
        incomplete = [each for each, deployment in deployments.items() if not _is_complete(deployment)]
        self._incomplete = {each: self._incomplete.get(each, now) for each in incomplete}
        others = sorted(self._incomplete.keys() - {namespace})
        waited_for = next((each for each in others if now - self._incomplete[each] < WAITED_FOR), None)
        if waited_for is not None:
            if self._told.get(namespace) != waited_for:
                log.info("the routers of namespace %s wait to be replaced for those of %s", namespace, waited_for)
            self._told[namespace] = waited_for
            return False
        self._told.pop(namespace, None)
        if others:
            log.warning(
                "the routers of namespace %s are replaced although those of namespace %s have not been complete for "
                "%d s: see kubectl -n %s describe deployment %s",
                namespace,
                others[0],
                WAITED_FOR,
                others[0],
                names.ROUTER,
            )
        return True


def _is_complete(deployment: Object) -> bool:
    """Whether all its pods are of its present template, and available.

    One that is known by its metadata alone, for anybody may write our labels, is waited for by nobody.
    """
    if "spec" not in deployment:
        return True
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    seen = int(status.get("observedGeneration", 0)) >= int(deployment["metadata"].get("generation", 0))
    counts = {int(status.get(name, 0)) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    return seen and counts == {wanted}
