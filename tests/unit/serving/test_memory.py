"""The container's memory limit, as cgroups of both versions say it, and how much of it requests may take."""

import os
import socket
from pathlib import Path

import pytest

from podium_serving.memory import SMALLEST, for_requests, for_runs, limit
from tests.unit.serving.cgroup import write
from tests.unit.serving.harness import JSON_TYPES, identity, serving

MIB = 2**20
MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("membership", "files", "size"),
    [
        ("0::/", {"memory.max": "max"}, MACHINE),
        ("0::/", {"memory.max": f"{64 * MIB}"}, 64 * MIB),
        ("0::/", {"memory.max": f"{4 * MACHINE}"}, MACHINE),
        # The pod's limit is below its container's, or the other way round.
        ("0::/pod/container", {"pod/memory.max": f"{64 * MIB}", "pod/container/memory.max": "max"}, 64 * MIB),
        (
            "0::/pod/container",
            {"pod/memory.max": f"{96 * MIB}", "pod/container/memory.max": f"{64 * MIB}"},
            64 * MIB,
        ),
        # Version 1 has no "max", but a number beyond every machine.
        ("9:memory:/", {"memory/memory.limit_in_bytes": "9223372036854771712"}, MACHINE),
        ("9:memory:/", {"memory/memory.limit_in_bytes": f"{64 * MIB}"}, 64 * MIB),
        # In a container the own cgroup is mounted where the host has the root, and the path leads nowhere.
        ("9:memory:/kubepods/x", {"memory/memory.limit_in_bytes": f"{64 * MIB}"}, 64 * MIB),
        ("1:name=systemd:/", {"memory/memory.limit_in_bytes": f"{64 * MIB}"}, MACHINE),
    ],
)
def test_the_limit_is_the_smallest_that_a_cgroup_sets(
    tmp_path: Path, membership: str, files: dict[str, str], size: int
) -> None:
    root = write(tmp_path / "cgroup", files)
    (tmp_path / "membership").write_text(membership + "\n")
    assert limit(root, tmp_path / "membership") == size


def test_without_cgroups_the_machines_memory_is_there(tmp_path: Path) -> None:
    assert limit(tmp_path, tmp_path / "nothing") == MACHINE


@pytest.mark.parametrize(
    ("container", "model", "requests"),
    [
        (1024 * MIB, 224 * MIB, 200 * MIB),
        (512 * MIB, 112 * MIB, 100 * MIB),
        # A model that leaves next to nothing: small requests must be taken all the same.
        (128 * MIB, 120 * MIB, SMALLEST),
        (128 * MIB, 200 * MIB, SMALLEST),
    ],
)
def test_requests_may_take_a_quarter_of_what_the_model_leaves(container: int, model: int, requests: int) -> None:
    assert for_requests(container, model) == requests


@pytest.mark.parametrize(
    ("container", "model", "requests", "runs"),
    [
        (1024 * MIB, 224 * MIB, 200 * MIB, 400 * MIB),
        (1024 * MIB, 224 * MIB, 500 * MIB, 200 * MIB),
        # What requests are left at the least is nothing that runs could have.
        (176 * MIB, 112 * MIB, SMALLEST, 32 * MIB),
        (128 * MIB, 200 * MIB, SMALLEST, SMALLEST),
    ],
)
def test_runs_may_take_two_thirds_of_the_rest(container: int, model: int, requests: int, runs: int) -> None:
    assert for_runs(container, model, requests) == runs


def test_a_server_that_is_not_told_how_much_requests_may_take_goes_by_its_limit(folder: Path) -> None:
    path = folder / "memory.onnx"
    path.write_bytes(identity({"x": JSON_TYPES["FP32"]}, ["n"]))
    head = "POST /v2/models/model/infer HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n"
    with serving(path, PODIUM_MAX_BODY_BYTES=2**40) as server:
        for length, first in ((SMALLEST, b"HTTP/1.1 100"), (limit() // 4, b"HTTP/1.1 413")):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
                connection.sendall(head.format(length).encode())
                assert connection.recv(12) == first
