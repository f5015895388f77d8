"""The command line: words and flags in, one of the modules beside this one called, an exit code out."""

import io
import os
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from podium.api.durations import parse_duration
from podium.cli import command, replay, shape
from podium.cli.cluster import Cluster
from podium.cli.errors import CliError, Exit, Missing
from podium.cli.follow import follow, views_of
from podium.cli.outcome import awaited, outcome
from podium.cli.screen import LiveViews, Screen, nothing
from podium.cli.stored import GET, Stored, stored
from podium.cli.view import View, of

PROGRAM = "kubectl podium"
_NAME = re.compile(r"[a-z][-a-z0-9]*")
"""What a ModelDeployment may be called; anything else is meant for a file, for which no cluster is needed."""


class Output(StrEnum):
    """How answers are printed."""

    TEXT = "text"
    JSON = "json"


def _duration(text: str | float) -> float:
    """Seconds; typer hands the default, which is some already, over as well."""
    try:
        return parse_duration(text) if isinstance(text, str) else text
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _filled(name: str | None) -> str | None:
    """A shell's empty variable must not be taken for all of them."""
    if name is not None and not name.strip():
        raise typer.BadParameter("is empty")
    return name


Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NS", help="Default: that of the kubeconfig's context.")
]
Context = Annotated[str | None, typer.Option("--context", metavar="NAME", help="A context of the kubeconfig.")]
Format = Annotated[Output, typer.Option("--output", "-o", help="text, or json of a stable shape.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A ModelDeployment.", callback=_filled)]
OneRevision = Annotated[
    str, typer.Option("--revision", metavar="REVISION", help="Default: the one that status gives for the command.")
]
OneLedger = Annotated[
    str,
    typer.Option(
        "--revision",
        metavar="REVISION",
        help="Of a ModelDeployment; default: its candidate, else what was decided on last.",
    ),
]


def _waiting(what: str, default: str) -> Any:
    """An option; its default is told here, for typer puts one that is given as text into brackets of its own."""
    text = f"{what} [default: {default}]"
    return typer.Option(parser=_duration, metavar="DURATION", help=text, show_default=False)


class Command(TyperCommand):
    """A command whose usage line names an argument as kubectl's do: NAME where it is needed, else [NAME]."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The pieces after the command's name; typer puts braces around what is needed."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


app = typer.Typer(
    name=PROGRAM,
    help="ModelDeployments: what they do, why, and the commands of a person.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command(cls=Command)
def get(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One ModelDeployment; default: all.", callback=_filled)
    ] = None,
    namespace: Namespace = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, and show each change.")] = False,
    context: Context = None,
    output: Format = Output.TEXT,
) -> None:
    """Show champion, candidate, evidence, and what is awaited, as a tree. Exit code: 0, or 3 if it cannot be read."""
    cluster = Cluster.connect(context)
    if everywhere and name:
        raise typer.BadParameter("NAME is in one namespace: leave -A away")
    where = None if everywhere else namespace or cluster.namespace
    screen = Screen(none=nothing(where, name))
    if watch:
        _watch(cluster, where, name, screen, output)
    elif name and where:
        _show([of(cluster.deployment(where, name))], screen, output)
    else:
        _show([of(obj) for obj in cluster.deployments(where).items], screen, output)


def _show(views: Sequence[View], screen: Screen, output: Output) -> None:
    if output is Output.JSON:
        screen.line(shape.text(shape.items(views)))
    else:
        screen.views(views)


def _watch(cluster: Cluster, where: str | None, name: str | None, screen: Screen, output: Output) -> None:
    states = ([of(obj) for obj in objects.values()] for objects in follow(cluster, where, name))
    if output is Output.JSON:
        for views in states:
            screen.line(shape.text(shape.items(views), line=True))
        return
    with LiveViews(screen) as live:
        for views in states:
            live.show(views)


@app.command(cls=Command)
def status(
    name: Name,
    namespace: Namespace = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is healthy or has failed.")] = False,
    timeout: Annotated[float, _waiting("The longest wait with --wait.", "10m")] = 600.0,
    context: Context = None,
    output: Format = Output.TEXT,
) -> None:
    """Say in one line how it is. Exit code: 0 healthy, 1 rolled back or failed, 2 under way, 3 cannot be read."""
    cluster = Cluster.connect(context)
    where = namespace or cluster.namespace
    if wait:
        view, found = awaited(views_of(follow(cluster, where, name, seconds=timeout), where, name))
    else:
        view = of(cluster.deployment(where, name))
        found = outcome(view)
    Screen().line(shape.text(shape.status(view, found.code, found.line)) if output is Output.JSON else found.line)
    raise typer.Exit(int(found.code))


EXIT_CODES = "Exit code: 0 done or accepted, 1 refused, 2 not acted on in time, 3 cannot be read."


def _verb(verb: str, what: str) -> None:
    """Add the command of one verb."""

    def run_verb(
        name: Name,
        revision: OneRevision = "",
        namespace: Namespace = None,
        timeout: Annotated[float, _waiting("How long to wait until Podium acts on it.", "1m")] = 60.0,
        context: Context = None,
        output: Format = Output.TEXT,
    ) -> None:
        cluster = Cluster.connect(context)
        where = namespace or cluster.namespace
        states = follow(cluster, where, name, seconds=timeout)
        found = command.give(cluster, states, where, name, verb, revision, datetime.now(UTC))
        text = shape.text(shape.plain(found)) if output is Output.JSON else f"{found.result}: {found.message}"
        Screen().line(text)
        raise typer.Exit(int(found.exit_code))

    app.command(name=verb, cls=Command, help=f"{what} {EXIT_CODES}")(run_verb)


_verb("promote", "Make the candidate the champion.")
_verb("abort", "Roll the candidate back or, while its predecessor is kept warm, the champion.")
_verb("retry", "Roll out again what was rolled back.")
_verb("pause", "Hold the rollout (or the next one).")
_verb("resume", "End a pause.")
_verb("restart", "Roll out the champion anew, with what its ModelRuntime says now.")


@app.command(cls=Command)
def analyze(
    ledger: Annotated[
        str,
        typer.Argument(
            metavar="LEDGER", help="A file with a ledger or its ConfigMap, - for standard input, or a ModelDeployment."
        ),
    ],
    revision: OneLedger = "",
    namespace: Namespace = None,
    context: Context = None,
    output: Format = Output.TEXT,
) -> None:
    """Replay a ledger: evidence over time, each metric, and the decision. Exit code: 0, or 3 if it cannot be read."""
    read = _read(ledger, revision, namespace, context)
    found, compared = replay.replayed(read.text, read.source, read.way_out), read.comparison
    screen = Screen()
    if output is Output.JSON:
        more = {"asRecorded": compared.as_recorded, "comparison": compared.sentence}
        screen.line(shape.text(found.to_json() | more))
        return
    screen.table(found.over_time())
    screen.line("")
    screen.table(found.by_metric())
    screen.line("")
    for line in filter(None, (compared.sentence, *found.lines())):
        screen.line(line)


def _read(ledger: str, revision: str, namespace: str | None, context: str | None) -> Stored:
    """The ledger from wherever it is. Raises CliError."""
    if ledger == "-":
        source, way_out = "standard input", f"pipe in what {GET} prints"
    elif Path(ledger).is_file() or "/" in ledger:
        source, way_out = ledger, f"get it again with {GET} > {ledger}"
    elif not _NAME.fullmatch(ledger):
        raise CliError(f"there is no file {ledger}, and no ModelDeployment can have that name")
    else:
        cluster = Cluster.connect(context)
        try:
            return stored(cluster, namespace or cluster.namespace, ledger, revision)
        except Missing as error:
            raise CliError(f"there is no file {ledger}, and {error.message}") from error
    return Stored(replay.text_in(_content(ledger), source, way_out), source, way_out=way_out)


def _content(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except UnicodeDecodeError as error:
        raise CliError(f"{file} is no text, so it is no ledger") from error
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror or error}") from error


def run(arguments: Sequence[str] | None = None) -> int:
    """The command; answers its exit code. What goes wrong is one sentence on stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without block characters
    try:
        code = app(args=arguments, prog_name=PROGRAM, standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except CliError as error:
        print(f"{PROGRAM}: {error.message}", file=sys.stderr)
        return int(error.code)
    except Exception as error:
        if os.environ.get("PODIUM_TRACEBACK"):
            raise
        told = f"{type(error).__name__}: {error}"
        print(f"{PROGRAM}: internal error: {told}; PODIUM_TRACEBACK=1 shows where", file=sys.stderr)
        return int(Exit.UNREADABLE)
    return int(code or 0)
