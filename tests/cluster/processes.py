"""The processes of a cluster: started in the background, found again by another command, ended for certain."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.cluster.progress import ClusterError, tail


class Processes:
    """Named processes whose ids and logs are kept in `folder`, so that whoever opens the folder again can end them.

    Every process gets the variable PODIUM_CLUSTER=`mark`, by which even those are found whose id was not yet
    written when their starter was killed. With `outlive` they are meant to go on when this process ends.
    """

    def __init__(self, folder: Path, mark: str, *, outlive: bool = False) -> None:
        self.folder = folder
        self.outlive = outlive
        self.mark = mark
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        for kind in ("log", "pid"):
            (folder / kind).mkdir(parents=True, exist_ok=True)

    def log(self, name: str) -> Path:
        """Where the process writes."""
        return self.folder / "log" / f"{name}.log"

    def start(self, name: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> None:
        """Starts a process in a session of its own; what it writes is added to its log."""
        if self.alive(name):
            raise ClusterError(f"{name} runs already, as process {self._identity(name)[0]}")
        words = [str(word) for word in command]
        environment = os.environ | {"PODIUM_CLUSTER": self.mark} | dict(env or {})
        pid = self._orphan(name, words, environment) if self.outlive else self._child(name, words, environment)
        self._file(name).write_text(f"{pid} {start_time(pid)}")

    def _child(self, name: str, words: list[str], environment: Mapping[str, str]) -> int:
        with self.log(name).open("ab") as log:
            child = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, env=environment,
                start_new_session=True,
            )  # fmt: skip
        self._children[name] = child
        return child.pid

    def _orphan(self, name: str, words: list[str], environment: Mapping[str, str]) -> int:
        # The shell that starts it ends at once: then init is its parent, and not this process.
        script = 'setsid "$@" < /dev/null >> "$0" 2>&1 & echo $!'
        started = subprocess.run(
            ["sh", "-c", script, str(self.log(name)), *words], cwd=self.folder, env=environment, check=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return int(started.stdout)

    def pid(self, name: str) -> int | None:
        """The process's id, while it lives."""
        pid, started = self._identity(name)
        child = self._children.get(name)
        if child is not None and child.pid == pid and child.poll() is not None:
            return None
        return pid if pid and start_time(pid) == started else None

    def alive(self, name: str) -> bool:
        """Whether the process lives."""
        return self.pid(name) is not None

    def require(self, name: str) -> None:
        """Raises ClusterError with the end of its log, if the process has ended."""
        if not self.alive(name):
            raise ClusterError(f"{name} has ended; {tail(self.log(name))}")

    def names(self) -> list[str]:
        """The processes that live."""
        return [file.name for file in sorted((self.folder / "pid").iterdir()) if self.alive(file.name)]

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal, for instance SIGSTOP and SIGCONT."""
        pid = self.pid(name)
        if pid is None:
            raise ClusterError(f"{name} does not run")
        os.kill(pid, number)

    def stop(self, name: str, seconds: float = 10) -> None:
        """Asks the process to end and waits; after `seconds` it is killed. Nothing happens if it does not run."""
        pid = self.pid(name)
        if pid is not None:
            # A stopped process would not hear it.
            for number in (signal.SIGCONT, signal.SIGTERM):
                os.kill(pid, number)
            if not await_true(lambda: not self.alive(name), seconds):
                self.kill(name)
        self._forget(name)

    def kill(self, name: str) -> None:
        """Kills the process and waits until it is gone. Nothing happens if it does not run."""
        pid = self.pid(name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            if not await_true(lambda: not self.alive(name), 60):
                raise ClusterError(f"{name} (process {pid}) is still there 60 s after SIGKILL")
        self._forget(name)

    def kill_marked(self) -> list[int]:
        """Kills all processes on this host that carry the mark, known by name or not; returns their ids."""
        found = marked(self.mark)
        for pid in found:
            _kill(pid)
        if not await_true(lambda: not marked(self.mark), 60):
            raise ClusterError(f"processes {marked(self.mark)} are still there 60 s after SIGKILL")
        for name in list(self._children):
            self._children.pop(name).wait()
        return found

    def _file(self, name: str) -> Path:
        return self.folder / "pid" / name

    def _identity(self, name: str) -> tuple[int, str]:
        try:
            pid, _, started = self._file(name).read_text().partition(" ")
            return int(pid), started
        except (FileNotFoundError, ValueError):
            return 0, ""

    def _forget(self, name: str) -> None:
        child = self._children.pop(name, None)
        if child is not None:
            child.wait()
        self._file(name).unlink(missing_ok=True)


class Guard:
    """A small shell that kills processes when this one dies without having called `close`."""

    def __init__(self) -> None:
        # It reads until its input ends; the last line counts.
        script = 'while read -r line; do pids=$line; done; [ -z "$pids" ] || kill -9 $pids'
        self._shell = subprocess.Popen(
            ["sh", "-c", script], stdin=subprocess.PIPE, text=True, start_new_session=True, stderr=subprocess.DEVNULL
        )

    def tell(self, processes: Processes) -> None:
        """From now on it would kill those that live now, and no others."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(" ".join(str(processes.pid(name)) for name in processes.names()) + "\n")
        self._shell.stdin.flush()

    def close(self) -> None:
        """Nobody is killed any more."""
        self._shell.kill()
        self._shell.communicate()


def start_time(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty if it is gone or a zombie. Tells reused ids apart."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def marked(mark: str) -> list[int]:
    """The ids of the living processes that were started with PODIUM_CLUSTER=`mark`."""
    wanted = f"PODIUM_CLUSTER={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0") and start_time(int(folder.name)):
            found.append(int(folder.name))
    return found


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def await_true(condition: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Asks until `condition` holds; False if it does not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True
