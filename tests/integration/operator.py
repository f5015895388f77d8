"""The operator as a process of its own, as in its container: started, watched, stopped, killed, frozen."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.client import session
from tests.cluster.ports import reserve

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 120.0


class Operator:
    """`python -m podium` with a kubeconfig; every Settings field may be given as a keyword.

    As a context manager it is started at once and killed at the end, if it still runs. `module` is another program
    with the same arguments, for tests of the shell alone.
    """

    def __init__(
        self,
        folder: Path,
        kubeconfig: Path,
        *,
        identity: str = "operator",
        module: str = "podium",
        lease_namespace: str = "default",
        **settings: Any,
    ) -> None:
        self.identity = identity
        self._kubeconfig = kubeconfig
        self._module = module
        self._health_port, self._metrics_port = reserve(2)
        self._settings = {"lease_namespace": lease_namespace, "identity": identity} | settings
        folder.mkdir(parents=True, exist_ok=True)
        self.log_file = folder / f"{identity}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def arguments(self) -> list[str]:
        """The command line after the module's name."""
        given = self._settings | {"health_port": self._health_port, "metrics_port": self._metrics_port}
        return [f"--{name.replace('_', '-')}={_text(value)}" for name, value in given.items()]

    @property
    def pid(self) -> int:
        """The process's id; it must have been started."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs (or is frozen)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process (again); it adds to the same log."""
        assert not self.alive
        python_path = os.pathsep.join([str(ROOT / "operator" / "src"), str(ROOT)])
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module, *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT, start_new_session=True,
                env={
                    "PATH": os.environ.get("PATH", ""), "HOME": str(self.log_file.parent), "PYTHONPATH": python_path,
                    "KUBECONFIG": str(self._kubeconfig), "PYTHONWARNINGS": "default",
                },
            )  # fmt: skip

    def kill(self) -> None:
        """SIGKILL, as a crash or the loss of the node; nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self, seconds: float = 15.0) -> int:
        """SIGTERM, and the exit code; AssertionError if it takes longer than `seconds`."""
        self.terminate()
        return self.await_end(seconds)

    def terminate(self) -> None:
        """SIGTERM, without waiting for the end."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def await_end(self, seconds: float = 15.0) -> int:
        """The exit code; AssertionError if the process still runs after `seconds`."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.identity} still runs after {seconds} s; {self.tail()}") from None

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def await_ready(self, seconds: float = DEADLINE) -> None:
        """Wait until /readyz says ok: all caches are filled."""
        self.await_true(lambda: self.get("/readyz") == 200, "ready", seconds)

    def await_log(self, words: str, seconds: float = DEADLINE) -> dict[str, Any]:
        """Wait for a log line whose message contains the words."""
        self.await_true(lambda: any(words in line["message"] for line in self.lines()), f"log {words!r}", seconds)
        return next(line for line in self.lines() if words in line["message"])

    def await_true(self, condition: Callable[[], bool], what: str, seconds: float = DEADLINE) -> None:
        """Wait for a condition; AssertionError with the end of the log if it does not come, or the process ends."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.alive, f"{self.identity} has ended while waiting for: {what}; {self.tail()}"
            assert time.monotonic() < end, f"{self.identity} after {seconds} s is not there: {what}; {self.tail()}"
            time.sleep(0.02)

    def get(self, path: str) -> int:
        """The status that the health port answers a path with; 0 for no answer."""
        return _fetch(f"http://127.0.0.1:{self._health_port}{path}")[0]

    def metric(self, name: str, /, **labels: str) -> float:
        """The sum of a metric's samples with at least these labels."""
        _, text = _fetch(f"http://127.0.0.1:{self._metrics_port}/metrics")
        found = 0.0
        for line in text.splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(f'{key}="{one}"' in series for key, one in labels.items()):
                found += float(value)
        return found

    def lines(self) -> list[dict[str, Any]]:
        """The JSON log lines so far; whatever else was printed counts as a message without a level."""
        text = self.log_file.read_text() if self.log_file.exists() else ""
        return [_parsed(line) for line in text.splitlines()]

    def tail(self, count: int = 30) -> str:
        """The end of the log, for messages of failed assertions."""
        return "its log ends with:\n" + "\n".join(self.log_file.read_text().splitlines()[-count:])

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) and "message" in found else {"message": line, "level": "", "logger": ""}


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list | tuple) else str(value)


def _fetch(url: str) -> tuple[int, str]:
    try:
        with session() as asking:
            response = asking.get(url, timeout=10)
    except OSError:
        return 0, ""
    return response.status_code, response.text
