"""A test that goes on in several ways from one moment, each in a process of its own.

    with Forks() as forks:
        ...                     # what all of them share is played once
        if forks.another():     # True in the new process, which goes on from here, and False in this one
            ...                 # until the block ends, and with it that process

A fork costs some milliseconds, where playing everything from the beginning costs as many hundreds.
"""

import os
import traceback
from types import TracebackType
from typing import Self


class Forks:
    """The processes that a block of a test has begun; one at a time."""

    def __init__(self) -> None:
        self._tells: int | None = None
        """In a new process: where to say what went wrong."""
        self._wrong = ""
        """What went wrong in the others, the first time."""

    def __enter__(self) -> Self:
        return self

    def another(self) -> bool:
        """Goes on in a new process first. If something goes wrong there, the block ends with it."""
        if self._wrong:
            return False
        hears, tells = os.pipe()
        child = os.fork()
        if not child:
            os.close(hears)
            self._tells = tells
            return True
        os.close(tells)
        with os.fdopen(hears) as said:
            wrong = said.read()
        _, status = os.waitpid(child, 0)
        if wrong or status:
            self._wrong = wrong or f"it ended with {os.waitstatus_to_exitcode(status)}"
        return False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._tells is None:
            assert not self._wrong, self._wrong
            return
        # Nothing of pytest's may run here: neither its report nor what it does at exit.
        if error is not None:
            with os.fdopen(self._tells, "w") as told:
                told.write("".join(traceback.format_exception(error)))
        os._exit(0 if error is None else 1)
