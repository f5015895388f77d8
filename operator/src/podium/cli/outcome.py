"""Healthy and Ready, failed, or under way: one line and an exit code, for pipelines. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from podium.cli.errors import Exit
from podium.cli.view import View

_FAILED = frozenset({"RolledBack", "Failed"})


@dataclass(frozen=True)
class Outcome:
    """The answer about one ModelDeployment."""

    code: Exit
    line: str


def outcome(view: View) -> Outcome:
    """The first that applies: gone, not seen yet, a command under way, failed, healthy; else it is under way.

    A status of an older spec says nothing about this one, so nothing but the generation is read from it. Suspended
    and waiting for a person are under way: neither healthy nor failed.
    """
    if view.deleted:
        return Outcome(Exit.UNDER_WAY, f"{view.place}: is being deleted")
    if not view.current:
        seen = f"has seen generation {view.observed_generation}" if view.observed_generation else "has not seen it yet"
        return Outcome(Exit.UNDER_WAY, f"{view.place}: Podium {seen}; its spec is of generation {view.generation}")
    line = f"{view.place}: {view.phase}: {view.message}"
    if view.command_awaited:
        asked = view.asked or (view.last_command.value if view.last_command else "")
        return Outcome(
            Exit.UNDER_WAY, f'{view.place}: the command "{asked}" is under way: {view.phase}: {view.message}'
        )
    if view.stalled or view.phase in _FAILED:
        return Outcome(Exit.FAILED, line)
    if view.phase == "Healthy" and view.ready == "True":
        return Outcome(Exit.DONE, line)
    return Outcome(Exit.UNDER_WAY, line)


def awaited(views: Iterable[View]) -> tuple[View, Outcome]:
    """The first view that is healthy or has failed, else the last one, which is under way: there must be one."""
    found: tuple[View, Outcome] | None = None
    for view in views:
        found = view, outcome(view)
        if found[1].code is not Exit.UNDER_WAY:
            return found
    if found is None:
        raise ValueError("there is at least one state to be judged")
    view, last = found
    said = last.line.removeprefix(f"{view.place}: ")
    return view, Outcome(last.code, f"{view.place}: still under way when the time was up: {said}")
