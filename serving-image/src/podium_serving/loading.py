"""From a path to a model that is ready: probed, loaded, warmed up."""

import logging
import time
from dataclasses import dataclass

from podium_serving import memory
from podium_serving.inference import RunError
from podium_serving.logs import log
from podium_serving.model import Model
from podium_serving.probe import Probed, attempts, probe
from podium_serving.settings import Settings
from podium_serving.warm_up import samples


@dataclass(frozen=True)
class WarmUp:
    """What the model was run on before its first request, by the attempts' names, and what was wrong."""

    samples: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def load(settings: Settings) -> tuple[Model, WarmUp]:
    """Probes the model in a process of its own, loads it, and runs it once. Raises ModelError."""
    started = time.monotonic()
    probed = Probed(incomplete="PODIUM_PROBE_SECONDS is 0")
    if settings.probe_seconds:
        probed = probe(settings.path, settings.threads, settings.probe_seconds, memory.limit())
    probe_ended = time.monotonic()
    model = _bounded(settings, probed)
    model.refusals = tuple(probed.refusals)
    loaded = time.monotonic()
    warm = _warm_up(model, probed)
    model.give_back()
    cold = not warm.samples and not warm.sizes
    log(
        logging.WARNING if cold or warm.problems else logging.INFO,
        "model loaded; the warm-up run failed" if cold else "model loaded and warm",
        **({"warm_up_error": "; ".join(warm.problems)} if warm.problems else {}),
        **({"left_out_outputs": model.left_out} if model.left_out else {}),
        **({"probe_incomplete": probed.incomplete} if probed.incomplete else {}),
        **({"refused": [f"{each.case.name}: {each.signal}" for each in probed.refusals]} if probed.refusals else {}),
        warm_up_runs=[*warm.samples, *warm.sizes],
        probed=len(probed.finished),
        file=str(model.file),
        threads=model.threads,
        run_memory=model.run_memory,
        probe_seconds=round(probe_ended - started, 3),
        load_seconds=round(loaded - probe_ended, 3),
        warm_up_seconds=round(time.monotonic() - loaded, 3),
    )
    return model, warm


def _bounded(settings: Settings, probed: Probed) -> Model:
    """The model, whose runs may take what it and requests leave; loaded twice where the probe has not loaded it."""
    taken, packed = probed.taken, probed.packed
    before = memory.resident()
    if not taken:
        model = Model(settings.path, settings.threads)
        taken, packed = memory.resident() - before, model.packed
        del model
    limit, resident = memory.limit(), before + taken
    requests = settings.memory or memory.for_requests(limit, resident)
    run_memory = settings.run_memory or memory.for_runs(limit, resident, requests)
    return Model(settings.path, settings.threads, packed + run_memory)


def _warm_up(model: Model, probed: Probed) -> WarmUp:
    """All of the user's samples; without one that ran, the first sizes that fit the graph."""
    own, problems = samples(model.file, model.top, model.signature)
    ran, failures = [], list(problems)
    for attempt in own:
        try:
            model.run(attempt.feeds, model.signature.readable)
            ran.append(attempt.name)
        except RunError as problem:
            failures.append(f"{attempt.name}: {problem}")
    if ran:
        return WarmUp(samples=tuple(ran), problems=tuple(failures))
    first = ""
    tried_all = bool(probed.finished) and not probed.base and not probed.incomplete
    for attempt in () if tried_all else attempts(model):
        # What the probe has tried in vain need not be tried again.
        if attempt.source == "samples" or (probed.base and attempt.name != probed.base):
            continue
        try:
            model.run(attempt.feeds, model.signature.readable)
            return WarmUp(sizes=(attempt.name,), problems=tuple(failures))
        except RunError as problem:
            first = first or f"{attempt.name}: {problem}"
    return WarmUp(problems=(*failures, first or "the model ran on none of the sizes that were tried"))
