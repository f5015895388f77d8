"""The commands of a person: which revision one is about, how it is sent, and what came of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from podium.api import names
from podium.cli.api import Api
from podium.cli.errors import CliError, Exit
from podium.cli.follow import Objects, views_of
from podium.cli.view import View, of
from podium.rollout.command import Command

OPERATORS = "kubectl get pods -A -l app.kubernetes.io/name=podium"
"""Shows the operator's pods, wherever it is installed."""


def _candidate(view: View) -> str:
    return view.candidate.revision if view.candidate else ""


def _champion(view: View) -> str:
    return view.champion.revision if view.champion else ""


def _candidate_or_champion(view: View) -> str:
    return _candidate(view) or _champion(view)


def _aborted(view: View) -> str:
    """A candidate or, while its predecessor is kept warm, the promoted revision."""
    return _candidate(view) or (_champion(view) if view.previous else "")


def _retried(view: View) -> str:
    """The revision that was rolled back and spec still asks for; before the first champion the candidate.

    That has no outcome. History tells of a rollback also after spec has left it: another revision is on its way then,
    or what spec asks for serves.
    """
    if view.champion is None:
        return _candidate(view)
    stands = view.candidate is None and view.phase != "Healthy"
    return view.rolled_back[0] if stands and view.rolled_back else ""


@dataclass(frozen=True)
class Verb:
    """One command: the revision that it is about, and what is said where there is none."""

    about: Callable[[View], str]
    missing: str


VERBS = {
    "promote": Verb(_candidate, "there is no candidate to promote"),
    "abort": Verb(_aborted, "there is no candidate to abort, and no predecessor is kept warm to go back to"),
    "retry": Verb(_retried, "no revision was rolled back that could be retried"),
    "pause": Verb(_candidate_or_champion, "there is no revision yet to pause"),
    "resume": Verb(_candidate_or_champion, "there is no revision yet to resume"),
    "restart": Verb(_champion, "there is no champion yet to restart"),
}


@dataclass(frozen=True)
class Answer:
    """What came of a command; `-o json` prints it as it is."""

    namespace: str
    name: str
    command: str
    exit_code: Exit
    result: str
    """Done, Accepted, Refused, TimedOut or Replaced."""
    message: str


def revision_of(verb: str, view: View) -> str:
    """The revision that the verb is about by the object's status. Raises CliError where there is none."""
    found = VERBS[verb].about(view)
    if found:
        return found
    here = f"{view.phase}: {view.message}"
    raise CliError(f"{view.place}: {VERBS[verb].missing} ({here}); --revision names one", Exit.FAILED)


def asked(verb: str, view: View, revision: str, now: datetime) -> Command:
    """The command to be written; its token is the time. Raises CliError."""
    if revision and len(revision.split()) != 1:
        raise CliError(f"--revision {revision!r} is no name of a revision", Exit.UNDER_WAY)
    return Command(verb, revision or revision_of(verb, view), now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def answer(command: Command, view: View) -> Answer | None:
    """What came of it so far: None while it is not acted on."""
    value, last = str(command), view.last_command
    if last is not None and last.value == value:
        if last.result == "Pending":
            return None
        code = Exit.FAILED if last.result == "Refused" else Exit.DONE
        return Answer(view.namespace, view.name, value, code, last.result, told(command, view))
    if view.asked != value:
        other = f'replaced by "{view.asked}"' if view.asked else "taken away"
        message = f"the command was {other} before Podium acted on it"
        return Answer(view.namespace, view.name, value, Exit.FAILED, "Replaced", message)
    return None


def told(command: Command, view: View) -> str:
    """A sentence on a command that was acted on; a refusal is the operator's own sentence."""
    last = view.last_command
    if last is not None and last.message:
        return last.message
    if last is not None and last.result == "Accepted":
        return f"{command.verb} {command.revision} is accepted: its rollout is to start; {view.message}"
    return f"{command.verb} {command.revision} is done; {view.phase}: {view.message}"


def give(
    api: Api, states: Iterator[Objects], namespace: str, name: str, verb: str, revision: str, now: datetime
) -> Answer:
    """Write the command and go through `states`, which begin after that, until status tells what came of it.

    Raises CliError.
    """
    command = asked(verb, of(api.deployment(namespace, name)), revision, now)
    view = of(api.annotate(namespace, name, {names.ANNOTATION_COMMAND: str(command)}))
    for view in views_of(states, namespace, name):
        found = answer(command, view)
        if found is not None:
            return found
    last = view.last_command
    pending = last is not None and last.value == str(command)
    why = last.message if last is not None and pending else f"check that the operator runs: {OPERATORS}"
    message = f'"{command}" is written; Podium has not acted on it yet, and will once it can: {why}'
    return Answer(namespace, name, str(command), Exit.UNDER_WAY, "TimedOut", message)
