"""One pass over one ModelDeployment: observe, plan, apply, write status.

Everything else is called from here or from `app.py`. A pass with nothing to do makes no API call.
"""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from podium.api.reasons import Reason
from podium.keys import Key
from podium.kube.client import ApiError, KubeClient, NotLeader, Object
from podium.kube.reading import LEFT_OUT, unreadable
from podium.kube.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, MODEL_DEPLOYMENTS, Resource
from podium.manifests.fetch import Fetcher
from podium.reconcile import status as statuses
from podium.reconcile.analysed import task_of
from podium.reconcile.apply import Applier
from podium.reconcile.child import Store
from podium.reconcile.observe import Observer
from podium.reconcile.observed import Observed
from podium.reconcile.outcome import PassRefused, Report, may_be_the_champions, with_refusals
from podium.reconcile.plan import Plan, declined_command, plan, plan_as_recorded, plan_without
from podium.reconcile.transitions import transitions, untold_rollbacks
from podium.reconcile.views import Answers, Measures, Nobody, View
from podium.reconcile.writes import Note, Told
from podium.rollout.moment import Moment
from podium.settings import Settings

log = logging.getLogger(__name__)


BEHIND = 1.0
"""Seconds that the watch is given to bring what the API server has already."""
INFORMATIONAL = 10
"""Factor on the retry delay of writes on which nothing depends, such as that of a foreign PodDisruptionBudget."""


class Cache(View, Store, Protocol):
    """What a pass reads, and where it puts the answers to its writes."""

    def keys(self) -> list[Key]:
        """Every ModelDeployment."""
        ...

    def fill(self, resource: Resource, obj: Object) -> None:
        """Take in all of an object of which the metadata alone was kept."""
        ...


class Recorder(Protocol):
    """Where Events go; never fails a pass."""

    def emit(
        self,
        regarding: Object,
        *,
        type: str,
        reason: str,
        note: str,
        action: str,
        related: Object | None = None,
        fault: str = "",
    ) -> None:
        """One Event about `regarding`; those that name the same `fault` are one, whatever they say of it."""
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
        answers: Answers | None = None,
        measures: Measures | None = None,
        decided: Callable[[str, str], None] | None = None,
    ) -> None:
        self._cache = cache
        self._client = client
        self._recorder = recorder
        self._settings = settings
        self._clock = clock
        fetcher = Fetcher(
            settings.fetcher_image,
            allow_addresses=settings.fetcher_allow_addresses,
            proxy=settings.fetcher_proxy,
            no_proxy=settings.fetcher_no_proxy,
        )
        self._measures = measures or Nobody()
        self._decided = decided
        self._observer = Observer(cache, settings, fetcher, answers, measures=self._measures)
        self._applier = Applier(client, cache, settings, clock)
        self._fetcher = fetcher
        self._ending: dict[Key, str] = {}
        """Uids of those in a terminating namespace, which never comes back: nothing is planned for them any more."""
        self._unreadable: dict[Key, str] = {}
        """Versions of ModelDeployments that cannot be read, of which an Event has told."""
        self._unsaid: dict[Key, set[str]] = {}
        """Revisions with a decision whose Event was emitted while status does not show it yet."""

    def keys(self) -> list[Key]:
        """Every ModelDeployment."""
        return self._cache.keys()

    def step_down(self) -> None:
        """The Lease is lost: forget what this process has seen, since it sees nothing until it leads again."""
        self._observer.lost_sight()
        self._measures.forget()
        self._applier.step_down()
        self._unsaid.clear()

    def read_ahead(self, key: Key) -> None:
        """Without the Lease: parse what the first pass with it would; see Observer."""
        self._observer.read_ahead(key)

    async def reconcile(self, key: Key) -> float | None:
        """One pass. Answers in how many seconds it wants to look again though nothing happens; None: never.

        Raises PassRefused and ApiError for what may pass by itself (the caller tries again later), NotLeader, and
        any other exception, which is a bug in Podium, once status reports it.
        """
        moment = Moment(self._clock())
        try:
            return await self._pass(key, moment)
        except (ApiError, NotLeader, PassRefused):
            raise
        except Exception as error:
            await self._tell_of(error, key, moment.now)
            raise

    async def _pass(self, key: Key, moment: Moment) -> float | None:
        now = moment.now
        observed = self._observer.observe(key, moment)
        if observed is None:
            self._forget(key)
            return None
        if self._ending.get(key) == observed.owner.uid:
            return None
        if unreadable(observed.obj):  # its status, too: what is not known must not be replaced
            version = observed.obj["metadata"]["resourceVersion"]
            if not observed.deleting and self._unreadable.get(key) != version:
                self._unreadable[key] = version
                said = Note(observed.reason, observed.invalid, "Observe", warning=True, fault=observed.reason)
                self._emit(observed.obj, said)
            return None
        if observed.left_out:
            return await self._fill(key, observed.left_out)
        for note in self._applier.untold(key).seen((MODEL_DEPLOYMENTS, key.name), observed.status):
            self._emit(observed.obj, note)
        observed = replace(with_refusals(observed, self._applier.refusals(key)), owed=self._applier.owed(key))
        planned = plan(observed, moment, self._fetcher)
        if planned is None:
            if not observed.deleting:
                about = (observed.reason, observed.invalid, self._settings.installation)
                status = statuses.unplanned(observed.obj, *about, now, observed.children)
                await self._write_status(observed.obj, status)
            return None
        # Before anything is written: while a weight changes, nothing is counted until routers confirm it.
        self._measures.follow(key, task_of(planned))
        for note in planned.notes:
            self._emit(observed.obj, note)
        planned, report = await self._carry_out(planned, observed, moment)
        if report.decided:
            self._unsaid.setdefault(key, set()).update(report.decided)
        if report.terminating:
            self._ending[key] = observed.owner.uid
            return None
        if report.outdated:
            return 0.0
        report.ended = self._clock()
        if not report.settling:
            await self._tell(observed, planned, report, moment)
        return self._next(report, moment)

    async def _fill(self, key: Key, config_map: str) -> float:
        """Read a ledger of which the cache keeps only metadata: somebody removed the outcome of its revision."""
        live = await self._client.get(CONFIG_MAPS, key.namespace, config_map)
        if live is not None:
            self._cache.fill(CONFIG_MAPS, live)
        known = self._cache.get(CONFIG_MAPS, key.namespace, config_map)
        return 0.0 if known is not None and LEFT_OUT not in known else BEHIND

    async def _tell(self, observed: Observed, planned: Plan, report: Report, moment: Moment) -> None:
        """Status, and the Events that follow from it. PassRefused when it cannot be written."""
        status = statuses.compose(observed, planned, report, self._settings.installation, moment)
        key = MODEL_DEPLOYMENTS.key(observed.owner.namespace, observed.owner.name)
        decided = key in self._unsaid and report.told(Told.READY) is None
        declined = (declined_command(planned.declined),) if planned.declined is not None else ()
        notes = (*declined, *untold_rollbacks(observed.status, planned.situation, self._unsaid.get(key, set())))
        try:
            await self._write_status(observed.obj, status, notes, decided=decided)
        except ApiError as error:
            # Not raised unchanged: the plan's next deadline must still be kept.
            wait = self._wait(report, moment)
            raise PassRefused(str(error), retry_after=error.retry_after or 0.0, wake_in=wait) from error
        self._unsaid.pop(key, None)

    async def _carry_out(self, planned: Plan, observed: Observed, moment: Moment) -> tuple[Plan, Report]:
        """Walk the plan; where a record is refused, go on with what the records as they stand ask for."""
        walk = self._applier.begin(observed, moment.now, lambda note: self._emit(observed.obj, note))
        await walk.go(planned.writes)
        if walk.report.halted:
            planned = plan_as_recorded(observed, walk.report.entered, moment, self._fetcher)
            if not walk.report.cut and not may_be_the_champions(observed, walk.report.unsure):
                await walk.go(planned.writes)
        elif walk.report.unwritten:
            unmarked = [entry.revision for entry in walk.report.unwritten]
            planned = plan_without(observed, unmarked, moment, self._fetcher)
        return planned, self._applier.end(walk)

    def _next(self, report: Report, moment: Moment) -> float | None:
        """When to look again: the earliest of what the pass waits for and what was refused."""
        wait = self._wait(report, moment)
        if report.clears:
            refusals = report.refusals.values()
            asked = max(refusal.retry_after for refusal in refusals)
            said = "; ".join(sorted({refusal.message for refusal in refusals}))
            raise PassRefused(said, retry_after=asked, wake_in=wait)
        return wait

    def _wait(self, report: Report, moment: Moment) -> float | None:
        waits = [(moment.wake_at - moment.now).total_seconds()] if moment.wake_at else []
        waits += [self._settings.drift_window] if report.contested else []
        waits += [0.0] if report.again else []
        persons = [refusal for refusal in report.refusals.values() if not refusal.fault.clears]
        if persons:
            relied_on = any(refusal.told in (Told.READY, Told.MESSAGE, Told.RECORD) for refusal in persons)
            waits.append(self._settings.refused_retry * (1 if relied_on else INFORMATIONAL))
        return min(waits, default=None)

    async def _tell_of(self, error: Exception, key: Key, now: datetime) -> None:
        """A bug in Podium: status says so, and other ModelDeployments are not affected."""
        obj = self._cache.get(MODEL_DEPLOYMENTS, key.namespace, key.name)
        if obj is None or "deletionTimestamp" in obj["metadata"]:
            return
        message = (
            f"Podium cannot handle this ModelDeployment: {type(error).__name__}: {error}. What runs goes on running. "
            "Please report it with the operator's log of this pass."
        )
        with contextlib.suppress(ApiError, NotLeader):
            installation = self._settings.installation
            status = statuses.unplanned(obj, Reason.INTERNAL_ERROR, message, installation, now)
            await self._write_status(obj, status)

    async def _write_status(
        self, obj: Object, status: Object, notes: tuple[Note, ...] = (), *, decided: bool = False
    ) -> None:
        """Write it if it is another one; `notes` are told with what follows from the change, once it stands."""
        before, meta = obj.get("status") or {}, obj["metadata"]
        if status == before:
            return
        notes += transitions(before, status, decided=decided)
        untold = self._applier.untold(MODEL_DEPLOYMENTS.key(meta["namespace"], meta["name"]))
        place = (MODEL_DEPLOYMENTS, meta["name"])
        try:
            answer = await self._client.write_status(MODEL_DEPLOYMENTS, obj, status)
        except ApiError as error:
            if error.unsure:
                untold.keep(place, status, notes)
            raise
        untold.drop(place)
        self._cache.put(MODEL_DEPLOYMENTS, answer)
        for note in notes:
            self._emit(obj, note)

    def _emit(self, obj: Object, note: Note) -> None:
        kind = "Warning" if note.warning else "Normal"
        self._recorder.emit(
            obj,
            type=kind,
            reason=note.reason,
            note=note.message,
            action=note.action,
            related=self._record(obj, note.revision),
            fault=note.fault,
        )
        if note.rule and self._decided is not None:
            self._decided(note.reason, note.rule)
        log.info(
            note.message,
            extra={
                "modeldeployment": f"{obj['metadata']['namespace']}/{obj['metadata']['name']}",
                "revision": note.revision,
                "rule": note.rule,
                "reason": note.reason,
            },
        )

    def _record(self, obj: Object, revision: str) -> Object | None:
        """What an Event about a revision refers to; its ControllerRevision may have gone, or not be known yet."""
        if not revision:
            return None
        kind, namespace = CONTROLLER_REVISIONS, obj["metadata"]["namespace"]
        named = {"name": revision, "namespace": namespace}
        known = self._cache.get(kind, namespace, revision)
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": known["metadata"] if known else named}

    def _forget(self, key: Key) -> None:
        self._observer.forget(key)
        self._applier.forget(key)
        self._measures.follow(key, None)
        self._ending.pop(key, None)
        self._unreadable.pop(key, None)
        self._unsaid.pop(key, None)
