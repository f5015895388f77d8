"""`make soak`: small and large requests, bad ones, and clients that come and go, for ten minutes.

    python -m tests.soak --seconds 600

Prints the server's resident memory at rest, with 1,000 connections that have asked once and are idle, for a body of
64 MB of FP32, afterwards, and for a body of as many bytes of INT64, whose tensors are larger than it. Exit code 1 if a
good request got no good answer, if the body of FP32 took more than PEAK times its size beside what is there at rest, or
if the soak's last third took on average over MARGIN more than its middle one: what fills at first (caches, the arenas
of threads) is there by then, and what leaks goes on.
"""

import argparse
import contextlib
import http.client
import json
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.unit.serving.bad_requests import BODY, corpus
from tests.unit.serving.harness import JSON_TYPES, PATIENCE, Server, ask, identity, serving

MIB = 2**20
MARGIN = 8 * MIB
BUDGET = 256 * MIB
PEAK = 5
SAMPLES = 60
INFER = "/v2/models/model/infer"


def memory(server: Server, what: str = "VmRSS") -> int:
    """Bytes of the server's memory, and of the process that it has for large JSON; VmHWM: each one's peak, added up."""
    main = Path(f"/proc/{server.process.pid}")
    pids = [main.name, *(pid for tasks in main.glob("task/*/children") for pid in tasks.read_text().split())]
    return sum(int(Path(f"/proc/{pid}/status").read_text().split(f"{what}:")[1].split()[0]) for pid in pids) * 1024


def rows(count: int) -> bytes:
    """A request of so many rows, some 24 bytes of JSON each."""
    data = ",".join(["0.123456789,0.987654321"] * count)
    head = f'{{"inputs":[{{"name":"x","shape":[{count},2],"datatype":"FP32","data":['
    return f"{head}{data}]}}]}}".encode()


def ones(size: int) -> bytes:
    """A request for INT64 of about so many bytes, which becomes a tensor of four times its size."""
    count = size // 2
    head = f'{{"inputs":[{{"name":"n","shape":[{count}],"datatype":"INT64","data":['
    return f"{head}{'1,' * (count - 1)}1]}}]}}".encode()


class Soak:
    """Threads that are clients of one kind each, until they are told to stop; what went wrong is in `wrong`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.stop = threading.Event()
        self.answered = 0
        self.wrong: list[str] = []

    def good(self, body: bytes, pause: float, statuses: tuple[int, ...] = (200,)) -> None:
        """Asks on a connection for as long as it is kept, and on a new one then."""
        connection: http.client.HTTPConnection | None = None
        while not self.stop.is_set():
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
            try:
                connection.request("POST", INFER, body)
                response = connection.getresponse()
                response.read()
            except OSError as problem:
                self.wrong.append(repr(problem))
                connection.close()
                connection = None
                continue
            self.answered += 1
            if response.status not in statuses:
                self.wrong.append(f"{response.status}")
            if response.will_close:
                connection.close()
                connection = None
            time.sleep(pause)
        if connection:
            connection.close()

    def bad(self) -> None:
        """Sends what is in the corpus, and goes away before, while or after it is answered."""
        requests = list(corpus().values())
        while not self.stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.server.port)) as connection:
                connection.settimeout(2)
                connection.sendall(random.choice(requests))
                if random.random() < 0.5:
                    connection.recv(1000)

    def broken_off(self, body: bytes) -> None:
        """Begins to send a large body and goes away."""
        head = f"POST {INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        while not self.stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.server.port)) as connection:
                connection.settimeout(2)
                connection.sendall(head + body[: random.randrange(len(body))])
            time.sleep(0.1)


def idle_connections(server: Server, count: int) -> list[http.client.HTTPConnection]:
    """Connections on which one request each was answered."""
    found = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE) for _ in range(count)]
    for connection in found:
        assert ask(connection, "POST", INFER, BODY).status == 200
    assert all(connection.sock for connection in found), "asking them all took longer than a connection is kept"
    return found


def soak(server: Server, seconds: float) -> tuple[Soak, list[int]]:
    """Mixed load; also the memory after each of SAMPLES equal parts of the time."""
    run = Soak(server)
    large = rows(400_000)
    kinds = [
        *[lambda: run.good(BODY, 0)] * 4,
        lambda: run.good(rows(2000), 0.01),
        lambda: run.good(large, 0.2, (200, 503)),
        run.bad,
        lambda: run.broken_off(large),
    ]
    threads = [threading.Thread(target=kind) for kind in kinds]
    for thread in threads:
        thread.start()
    samples = []
    for _ in range(SAMPLES):
        time.sleep(seconds / SAMPLES)
        samples.append(memory(server))
    run.stop.set()
    for thread in threads:
        thread.join()
    return run, samples


def main() -> int:
    """All figures, one a line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--seconds", type=float, default=600.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "echo.onnx"
        path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["rows", 2]))
        with serving(path, PODIUM_MEMORY_BYTES=BUDGET) as server:
            figures = {"at rest": memory(server)}
            idle = idle_connections(server, 1000)
            figures["with 1,000 connections"] = memory(server)
            for connection in idle:
                connection.close()
            body = rows(2_650_000)
            assert server.infer(body).status == 200
            figures[f"for a body of {len(body) / 1e6:.0f} MB, at the most"] = peak = memory(server, "VmHWM")
            figures[f"after a body of {len(body) / 1e6:.0f} MB"] = memory(server)
            run, samples = soak(server, seconds)
            third = SAMPLES // 3
            thirds = [round(statistics.mean(samples[at : at + third])) for at in (0, third, 2 * third)]
            for which, size in zip(("first", "middle", "last"), thirds, strict=True):
                figures[f"in the {which} third of {seconds:g} s of the soak, on average"] = size
            figures["after the soak"] = memory(server)
            figures["at the most"] = memory(server, "VmHWM")
            failed = [line for line in server.lines if "exception" in json.loads(line)]
        path.write_bytes(identity({"n": JSON_TYPES["INT64"]}, ["n"]))
        with serving(path, PODIUM_MEMORY_BYTES=BUDGET) as server:
            # Printed alone: PEAK does not hold here, since tensor and result are 4 times the body each, and are in both
            # processes at times. 974 MiB, in a single measurement.
            assert server.infer(ones(len(body))).status == 200
            figures[f"for a body of {len(body) / 1e6:.0f} MB of INT64, at the most"] = memory(server, "VmHWM")
    for what, size in figures.items():
        print(f"resident {what}: {size / MIB:.0f} MiB")
    print(f"{run.answered:,} good requests, wrong: {run.wrong[:5] or 'none'}; exceptions: {failed[:1] or 'none'}")
    too_much = peak > figures["at rest"] + PEAK * len(body) or thirds[2] > thirds[1] + MARGIN
    return 1 if run.wrong or failed or too_much else 0


if __name__ == "__main__":
    sys.exit(main())
