"""Whether an Envoy has ended, or is only busy."""

import socket
from pathlib import Path

import pytest

from podium.router import admin
from podium.router.admin import Admin, Gone, Unreachable


def test_without_a_socket_or_anybody_behind_it_there_is_no_envoy(tmp_path: Path) -> None:
    path = tmp_path / "admin"
    with pytest.raises(Gone):
        Admin(path).loaded()
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(path))
    with pytest.raises(Gone):
        Admin(path).loaded()


def test_one_that_does_not_answer_in_time_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(tmp_path / "admin"))
        busy.listen()
        with pytest.raises(Unreachable) as told:
            Admin(tmp_path / "admin").loaded()
    assert not isinstance(told.value, Gone)
