"""One pass over one ModelDeployment: observe, plan, apply, write status.

Everything else is called from here or from `app.py`. A pass with nothing to do makes no API call.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from podium.build.fetch import Fetcher
from podium.keys import Key
from podium.kube.client import KubeClient, Object
from podium.kube.resources import MODEL_DEPLOYMENTS
from podium.reconcile import status as statuses
from podium.reconcile.apply import Applier, Store
from podium.reconcile.decide import DECIDED, Note
from podium.reconcile.observe import Observed, Observer, View
from podium.reconcile.plan import plan
from podium.reconcile.transitions import transitions
from podium.rollout.moment import Moment
from podium.settings import Settings

log = logging.getLogger(__name__)

REFUSED_RETRY = 30.0
"""Seconds until what the API server refused is tried again: nothing tells us that a quota was raised."""

PASSING_RETRY = 2.0
"""Seconds until what will be possible soon is tried again: the watch mostly tells sooner."""


class Cache(View, Store, Protocol):
    """What a pass reads, and where it puts the answers to its writes."""


class Recorder(Protocol):
    """Where Events go; never fails a pass."""

    def emit(
        self, regarding: Object, *, type: str, reason: str, note: str, action: str, related: Object | None = None
    ) -> None:
        """One Event about `regarding`."""
        ...


def utc_now() -> datetime:
    """The wall clock: decisions are stamped with it."""
    return datetime.now(UTC)


class Reconciler:
    """Takes one ModelDeployment at a time one step further."""

    def __init__(
        self,
        cache: Cache,
        client: KubeClient,
        recorder: Recorder,
        settings: Settings,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._cache = cache
        self._client = client
        self._recorder = recorder
        self._settings = settings
        self._clock = clock
        fetcher = Fetcher(settings.fetcher_image, allow_addresses=settings.fetcher_allow_addresses)
        self._observer = Observer(cache, settings, fetcher)
        self._applier = Applier(client, cache, settings)
        self._fetcher = fetcher
        self._ending: dict[Key, str] = {}
        """Uids of those in a terminating namespace, which never comes back: nothing is planned for them any more."""

    def step_down(self) -> None:
        """The Lease is lost: what happens until it is gained again is not seen."""
        self._observer.lost_sight()

    async def reconcile(self, key: Key) -> float | None:
        """One pass. Answers in how many seconds it wants to look again though nothing happens; None: never.

        Raises ApiError for what may pass by itself (the caller tries again later) and NotLeader.
        """
        moment = Moment(self._clock())
        now = moment.now
        observed = self._observer.observe(key, moment)
        if observed is None:
            self._forget(key)
            return None
        if self._ending.get(key) == observed.owner.uid:
            return None
        planned = plan(observed, moment, self._fetcher)
        if planned is None:
            if not observed.deleting:
                await self._write_status(observed, statuses.invalid(observed, self._settings.installation, now))
            return None
        report = await self._applier.carry_out(planned, observed, now, lambda note: self._emit(observed, note))
        if report.terminating:
            self._ending[key] = observed.owner.uid
            return None
        status = statuses.compose(observed, planned, report, self._settings.installation, moment)
        decided = report.refused is None and any(
            note.action in DECIDED for entry in planned.entries for note in entry.notes
        )
        await self._write_status(observed, status, decided=decided)
        if report.refused is not None:
            return PASSING_RETRY if report.refused.passing else REFUSED_RETRY
        if report.again:
            return 0.0
        waits = [(moment.wake_at - now).total_seconds()] if moment.wake_at else []
        if report.contested:
            waits.append(self._settings.drift_window)
        return min(waits, default=None)

    async def _write_status(self, observed: Observed, status: Object, *, decided: bool = False) -> None:
        if status == observed.status:
            return
        answer = await self._client.write_status(MODEL_DEPLOYMENTS, observed.obj, status)
        self._cache.put(MODEL_DEPLOYMENTS, answer)
        for note in transitions(observed.status, status, decided=decided):
            self._emit(observed, note)

    def _emit(self, observed: Observed, note: Note) -> None:
        kind = "Warning" if note.warning else "Normal"
        self._recorder.emit(observed.obj, type=kind, reason=note.reason, note=note.message, action=note.action)
        log.info(
            note.message,
            extra={
                "modeldeployment": f"{observed.owner.namespace}/{observed.owner.name}",
                "revision": note.revision,
                "rule": note.rule,
                "reason": note.reason,
            },
        )

    def _forget(self, key: Key) -> None:
        self._observer.forget(key)
        self._applier.forget(key)
        self._ending.pop(key, None)
