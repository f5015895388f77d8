"""The command line: words and flags in, one of the modules beside this one called, an exit code out."""

import io
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from podium.api.durations import parse_duration
from podium.cli import command, replay, shape
from podium.cli.cluster import Cluster
from podium.cli.errors import CliError, Exit
from podium.cli.follow import follow, views_of
from podium.cli.outcome import awaited, outcome
from podium.cli.screen import LiveViews, Screen
from podium.cli.stored import Stored, stored
from podium.cli.view import View, of

PROGRAM = "kubectl podium"


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

WaitingTime = Annotated[
    float, typer.Option(parser=_duration, metavar="DURATION", help="The longest wait with --wait.", show_default="10m")
]

app = typer.Typer(
    name=PROGRAM,
    help="ModelDeployments: what they do, why, and the commands of a person.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def get(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One ModelDeployment; default: all.", callback=_filled)
    ] = None,
    namespace: Namespace = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on, and show each change.")] = False,
    context: Context = None,
    output: Format = Output.TEXT,
) -> None:
    """Show champion, candidate, evidence, and what is awaited, as a tree."""
    cluster = Cluster.connect(context)
    if everywhere and name:
        raise typer.BadParameter("NAME is in one namespace: leave -A away")
    where = None if everywhere else namespace or cluster.namespace
    screen = Screen()
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


@app.command()
def status(
    name: Name,
    namespace: Namespace = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is healthy or has failed.")] = False,
    timeout: WaitingTime = 600.0,
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


def _verb(verb: str, what: str) -> None:
    """Add the command of one verb."""

    def run_verb(
        name: Name,
        revision: OneRevision = "",
        namespace: Namespace = None,
        timeout: Annotated[
            float,
            typer.Option(
                parser=_duration,
                metavar="DURATION",
                help="How long to wait until Podium acts on it.",
                show_default="1m",
            ),
        ] = 60.0,
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

    app.command(name=verb, help=f"{what} Exit code: 0 done, 1 refused, 2 not acted on in time.")(run_verb)


_verb("promote", "Make the candidate the champion.")
_verb("abort", "Roll the candidate back or, while its predecessor is kept warm, the champion.")
_verb("retry", "Roll out again what was rolled back.")
_verb("pause", "Hold the rollout (or the next one).")
_verb("resume", "End a pause.")
_verb("restart", "Roll out the champion anew, with what its ModelRuntime says now.")


@app.command()
def analyze(
    ledger: Annotated[
        str,
        typer.Argument(
            metavar="LEDGER", help="A file with a ledger or its ConfigMap, - for standard input, or a ModelDeployment."
        ),
    ],
    revision: OneRevision = "",
    namespace: Namespace = None,
    context: Context = None,
    output: Format = Output.TEXT,
) -> None:
    """Replay a ledger offline: evidence over time, each metric, and the verdict."""
    if ledger == "-" or Path(ledger).is_file() or "/" in ledger:
        text = replay.text_in(_content(ledger), "standard input" if ledger == "-" else ledger)
        read = Stored(text, ledger)
    else:
        cluster = Cluster.connect(context)
        read = stored(cluster, namespace or cluster.namespace, ledger, revision)
    found, compared = replay.replayed(read.text, read.source), read.comparison
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


def _content(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{file} cannot be read: {error}") from error


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
