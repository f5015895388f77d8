"""Operators by the hundred: a process that has imported Podium forks one whenever it is asked to.

`python -m podium` takes a second of CPU until its imports are done, several times what a whole rollout costs. Here
that is paid once; what is forked runs the same `main` with arguments and environment of its own, as a process that can
be killed like any other. Tests of single runs start the operator as its container does; kill runs use this.
"""

import ctypes
import gc
import json
import os
import random
import select
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.integration.operator import ROOT, Operator

PR_SET_PDEATHSIG = 1


class Nursery:
    """The forking process; a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": f"{ROOT / 'operator' / 'src'}:{ROOT}"},
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def fork(self, arguments: list[str], environment: dict[str, str], log: Path) -> int:
        """Start an operator; answers its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"arguments": arguments, "environment": environment, "log": str(log)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class Nursling(Operator):
    """An operator from the nursery."""

    def __init__(self, nursery: Nursery, folder: Path, kubeconfig: Path, **settings: Any) -> None:
        super().__init__(folder, kubeconfig, **settings)
        self._nursery = nursery
        self._pid_file: int | None = None
        self._id = 0

    @property
    def pid(self) -> int:
        """See Operator."""
        return self._id

    @property
    def alive(self) -> bool:
        """See Operator."""
        return self._pid_file is not None and not _ended(self._pid_file, 0)

    def start(self) -> None:
        """See Operator."""
        assert not self.alive
        environment = {"KUBECONFIG": str(self._kubeconfig), "HOME": str(self.log_file.parent)}
        self._id = self._nursery.fork(self.arguments, environment, self.log_file)
        self._close()
        self._pid_file = os.pidfd_open(self._id)

    def kill(self) -> None:
        """See Operator."""
        if self._pid_file is not None:
            if self.alive:
                signal.pidfd_send_signal(self._pid_file, signal.SIGKILL)
                assert _ended(self._pid_file, 60), f"process {self._id} is still there 60 s after SIGKILL"
            self._close()

    def stop(self, seconds: float = 15.0) -> int:
        """SIGTERM, and wait; the exit code is not known here and given as 0."""
        assert self._pid_file is not None
        signal.pidfd_send_signal(self._pid_file, signal.SIGTERM)
        assert _ended(self._pid_file, seconds), f"{self.identity} still runs {seconds} s after SIGTERM; {self.tail()}"
        self._close()
        return 0

    def _close(self) -> None:
        if self._pid_file is not None:
            os.close(self._pid_file)
            self._pid_file = None


def _ended(pid_file: int, seconds: float) -> bool:
    # A pidfd becomes readable when its process has ended.
    return bool(select.select([pid_file], [], [], seconds)[0])


def serve() -> None:
    """The nursery's own main: an order a line on stdin, a process id a line on stdout, until stdin ends."""
    from podium.__main__ import main

    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    for line in sys.stdin:
        order = json.loads(line)
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _become(order, parent)
                code = main(order["arguments"])
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        print(child, flush=True)


def _become(order: dict[str, Any], parent: int) -> None:
    """In the child: be as if started anew, and end when the nursery ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(order["environment"])
    random.seed()


if __name__ == "__main__":
    serve()
