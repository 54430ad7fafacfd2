"""Claims on cards: all or none, one server a card, whoever asks; freed by whoever dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from qcmatrix.matrix.entries import Entry
from qcmatrix.serving import cards as cards_module
from qcmatrix.serving.cards import claim
from qcmatrix.serving.guarded import Guarded
from qcmatrix.serving.hardware import Card, Hardware, Holder
from qcmatrix.serving.problems import CannotPlace

FOUR = Hardware(
    cards=tuple(
        Card(index=i, uuid=f"GPU-{i}", name="NVIDIA H200", total_gib=140.4, free_gib=140.0, used_gib=0.4, sku="H200")
        for i in range(4)
    )
)
HELD = msgspec.structs.replace(
    FOUR,
    cards=(
        msgspec.structs.replace(FOUR.cards[0], used_gib=77.0, holders=(Holder(4711, "python", 77.0),)),
        *FOUR.cards[1:],
    ),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QCMATRIX_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cards_module, "_LOOK_SECONDS", 0.05)
    return tmp_path


def of(make_entry: Callable[..., Entry], fleet: str) -> Entry:
    return make_entry("vllm serve x", id=f"e-{fleet.lower()}", fleet=fleet)


def test_no_card_twice(make_entry: Callable[..., Entry]) -> None:
    entry = of(make_entry, "2xH200")
    with claim(entry, look=lambda: FOUR) as one, claim(entry, look=lambda: FOUR) as other:
        assert len({card.uuid for card in (*one.cards, *other.cards)}) == 4
        with pytest.raises(CannotPlace, match="were not free within"):
            claim(of(make_entry, "1xH200"), look=lambda: FOUR, limit=0.3)
    with claim(of(make_entry, "4xH200"), look=lambda: FOUR) as all_of_them:
        assert len(all_of_them.cards) == 4


def test_all_or_none(make_entry: Callable[..., Entry]) -> None:
    with claim(of(make_entry, "2xH200"), look=lambda: FOUR):
        with pytest.raises(CannotPlace):
            claim(of(make_entry, "3xH200"), look=lambda: FOUR, limit=0.3)
        with claim(of(make_entry, "2xH200"), look=lambda: FOUR, limit=0.3) as rest:
            assert len(rest.cards) == 2  # who got nothing holds nothing


def test_one_that_waits_is_served_when_cards_are_freed(make_entry: Callable[..., Entry]) -> None:
    first = claim(of(make_entry, "4xH200"), look=lambda: FOUR)
    told: list[str] = []
    threading.Timer(0.5, first.release).start()
    with claim(of(make_entry, "4xH200"), look=lambda: FOUR, limit=60.0, progress=told.append) as second:
        assert len(second.cards) == 4
    assert any("waiting for 4xH200" in text for text in told)


def test_who_waits_for_all_is_not_passed_by(make_entry: Callable[..., Entry]) -> None:
    first = claim(of(make_entry, "2xH200"), look=lambda: FOUR)
    got: list[str] = []

    def take(fleet: str) -> None:
        with claim(of(make_entry, fleet), look=lambda: FOUR, limit=60.0):
            got.append(fleet)

    large = threading.Thread(target=take, args=("4xH200",))
    large.start()
    time.sleep(0.5)
    small = threading.Thread(target=take, args=("1xH200",))  # there is a card for it, but it came later
    small.start()
    time.sleep(0.5)
    assert got == []
    first.release()
    large.join(timeout=60.0)
    small.join(timeout=60.0)
    assert got == ["4xH200", "1xH200"]


def test_a_process_that_dies_lets_go(make_entry: Callable[..., Entry], cache: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from qcmatrix.serving.cards import _locked\n"
        "from qcmatrix.serving.hardware import Card\n"
        "card = lambda i: Card(index=i, uuid=f'GPU-{i}', name='', total_gib=1, free_gib=1, used_gib=0)\n"
        "assert _locked([card(i) for i in range(4)], 4)\n"
        "print('claimed', flush=True)\n"
        "time.sleep(600)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    with other.stdout:
        assert other.stdout.readline() == "claimed\n"
        with pytest.raises(CannotPlace):
            claim(of(make_entry, "1xH200"), look=lambda: FOUR, limit=0.3)
        other.kill()
        other.wait()
    with claim(of(make_entry, "4xH200"), look=lambda: FOUR, limit=30.0) as freed:
        assert len(freed.cards) == 4


def test_a_card_is_held_until_nothing_of_its_server_is_left(make_entry: Callable[..., Entry], tmp_path: Path) -> None:
    """We may be gone, and our locks with us: the guard keeps its own until it is through."""
    got = claim(of(make_entry, "4xH200"), look=lambda: FOUR)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"{deaf}; print('up', flush=True); time.sleep(600)"
    log = tmp_path / "log"
    with log.open("ab") as stream:
        server = Guarded([sys.executable, "-c", code], dict(os.environ), stream, grace=2.0, keep_open=got.descriptors)
    while b"up" not in log.read_bytes():
        time.sleep(0.05)
    got.release()
    server.tell_end()
    with pytest.raises(CannotPlace):
        claim(of(make_entry, "1xH200"), look=lambda: FOUR, limit=0.3)
    server.wait_gone()
    assert len(server.killed) == 1
    with claim(of(make_entry, "4xH200"), look=lambda: FOUR, limit=30.0) as freed:
        assert len(freed.cards) == 4


def test_a_card_that_somebody_else_uses_is_left_alone(
    make_entry: Callable[..., Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    with claim(of(make_entry, "3xH200"), look=lambda: HELD) as three:
        assert "GPU-0" not in {card.uuid for card in three.cards}
    monkeypatch.setattr(cards_module, "_FOREIGN_SECONDS", 0.3)
    with pytest.raises(CannotPlace, match="no server of ours hold") as caught:
        claim(of(make_entry, "4xH200"), look=lambda: HELD, limit=60.0)
    assert "77.0 GiB of card 0 (GPU-0) are held by python (4711)" in caught.value.notes


def test_memory_that_is_freed_late_is_waited_for(make_entry: Callable[..., Entry]) -> None:
    looks = iter([HELD, HELD])
    with claim(of(make_entry, "4xH200"), look=lambda: next(looks, FOUR), limit=60.0) as got:
        assert len(got.cards) == 4


def test_the_end_waits_for_the_memory(make_entry: Callable[..., Entry]) -> None:
    with claim(of(make_entry, "4xH200"), look=lambda: FOUR) as got:
        got._look = lambda: HELD
        assert "77.0 GiB of card 0" in got.settle(seconds=0.2)
        looks = iter([HELD, HELD])
        got._look = lambda: next(looks, FOUR)
        assert got.settle(seconds=60.0) == ""


def test_cards_that_are_not_there(make_entry: Callable[..., Entry]) -> None:
    with pytest.raises(CannotPlace, match="needs 8xH200, and this machine has 4xH200"):
        claim(of(make_entry, "8xH200"), look=lambda: FOUR)


def test_the_cpu_is_nobodys(make_entry: Callable[..., Entry]) -> None:
    def never() -> Hardware:
        raise AssertionError("no card is looked at")

    entry = make_entry("vllm serve tiny")
    with claim(entry, look=never) as one, claim(entry, look=never) as other:
        assert one.cards == other.cards == ()
        assert one.settle() == ""
