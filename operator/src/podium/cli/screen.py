"""Where it is shown: a rich tree in a terminal, else plain lines, whole, without colour, two spaces a level."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from podium.cli.bars import BLOCKS, LETTERS, Glyphs
from podium.cli.tree import Node, tree
from podium.cli.view import View

PLAIN_WIDTH = 240
"""Characters of a table that is read by no terminal."""


def nothing(namespace: str | None, name: str | None = None) -> str:
    """What is shown in place of trees where there are none: where was looked, and where else one can."""
    if namespace is None:
        return "no ModelDeployments in any namespace"
    if name:
        return f"no ModelDeployment {name} in namespace {namespace}; without the name all of them are shown"
    return f"no ModelDeployments in namespace {namespace}; -A shows those of all namespaces"


class Screen:
    """Standard output."""

    def __init__(self, out: TextIO | None = None, none: str = "no ModelDeployments") -> None:
        """`none`: what is shown where there is nothing to be seen."""
        self._out, self._none = out or sys.stdout, none
        self.console = Console(file=self._out, highlight=False, soft_wrap=False)
        self.terminal = self.console.is_terminal

    @property
    def glyphs(self) -> Glyphs:
        """What bars are drawn with here."""
        return BLOCKS if self.terminal else LETTERS

    def line(self, text: str) -> None:
        """One line, never wrapped."""
        print(text, file=self._out, flush=True)

    def views(self, views: Sequence[View]) -> None:
        """A tree for each."""
        if self.terminal:
            self.console.print(self.trees(views))
        else:
            self.line(plain(tree(view, self.glyphs, datetime.now(UTC)) for view in views) or self._none)

    def table(self, table: Table) -> None:
        """A table: as wide as the terminal, else as it needs."""
        width = None if self.terminal else PLAIN_WIDTH
        with self.console.capture() as lines:
            self.console.print(table, width=width)
        for line in lines.get().splitlines():
            self.line(line.rstrip())

    def trees(self, views: Sequence[View]) -> RenderableType:
        """The same, to be drawn."""
        now = datetime.now(UTC)
        return Group(*(drawn(tree(view, self.glyphs, now)) for view in views)) if views else Text(self._none)


class LiveViews:
    """Trees that are drawn again in place; where there is no terminal, again below, and only those that changed."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._views: Sequence[View] = ()
        self._live = Live(
            console=screen.console,
            get_renderable=lambda: screen.trees(self._views),
            refresh_per_second=1,  # "for 4m" grows by itself
            vertical_overflow="ellipsis",  # what a screen does not hold is shown in full at the end
        )

    def __enter__(self) -> Self:
        if self._screen.terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._screen.terminal:
            self._live.stop()

    def show(self, views: Sequence[View]) -> None:
        """What there is now."""
        before, self._views = self._views, views
        if self._screen.terminal:
            self._live.refresh()
            return
        known = {view.place: view for view in before}
        changed = [view for view in views if known.get(view.place) != view]
        for place in sorted(known.keys() - {view.place for view in views}):
            self._screen.line(f"{place}  deleted")
        if changed or not (views or before):
            self._screen.views(changed)


def plain(nodes: Iterable[Node]) -> str:
    """Nodes as indented lines."""
    return "\n".join(line for node in nodes for line in _lines(node, 0))


def drawn(node: Node) -> Tree:
    """A node as a rich tree."""
    return _grown(Tree(node.label), node)


def _grown(at: Tree, node: Node) -> Tree:
    for child in node.children:
        _grown(at.add(child.label), child)
    return at


def _lines(node: Node, depth: int) -> Iterable[str]:
    yield "  " * depth + node.label.plain.rstrip()
    for child in node.children:
        yield from _lines(child, depth + 1)
