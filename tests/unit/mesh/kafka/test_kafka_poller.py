import threading
import time

import pytest

from mesh.kafka.consumer.origins import SessionLostError
from mesh.kafka.consumer.poller import Poller


class Session:
    """Takes turns until told what to do instead."""

    assigned = frozenset({("topic", 0)})

    def __init__(self) -> None:
        self.lag = {("topic", 0): "a lag"}
        self.turns = 0
        self.drained = False
        self.closed = False
        self.next: BaseException | threading.Event | None = None

    def turn(self, *, draining: bool) -> None:
        self.turns += 1
        self.drained = self.drained or draining
        if isinstance(self.next, threading.Event):
            self.next.wait()
        elif self.next is not None:
            raise self.next
        time.sleep(0.001)

    def close(self) -> None:
        self.closed = True


class Rig:
    """A poller with the sessions it made."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.refusals: list[Exception] = []
        self.cleaned = 0
        self.poller = Poller("test-poller", self._make, self._clean)

    def _make(self) -> Session:
        if self.refusals:
            raise self.refusals.pop()
        self.sessions.append(Session())
        return self.sessions[-1]

    def _clean(self) -> None:
        self.cleaned += 1

    def until(self, condition) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.002)


@pytest.fixture
def rig():
    rig = Rig()
    yield rig
    for session in rig.sessions:
        if isinstance(session.next, threading.Event):
            session.next.set()
    rig.poller.end(5)


def test_it_takes_turns_until_it_is_ended(rig):
    rig.poller.start()
    rig.until(lambda: rig.sessions and rig.sessions[0].turns > 3)
    assert rig.poller.alive
    assert rig.poller.beat_age < 5
    assert rig.poller.assigned == Session.assigned
    assert rig.poller.lag == {("topic", 0): "a lag"}
    rig.poller.drain()
    rig.until(lambda: rig.sessions[0].drained)
    assert rig.poller.end(5)
    assert not rig.poller.alive
    assert rig.sessions[0].closed
    assert (len(rig.sessions), rig.cleaned) == (1, 1)
    assert rig.poller.assigned == frozenset()


@pytest.mark.parametrize("error", [SessionLostError("the log is new"), ValueError("bad batch")])
def test_a_session_that_fails_is_closed_and_followed_by_another(rig, error):
    rig.poller.start()
    rig.until(lambda: rig.sessions and rig.sessions[0].turns)
    rig.sessions[0].next = error
    rig.until(lambda: len(rig.sessions) == 2 and rig.sessions[1].turns > 1)
    assert rig.sessions[0].closed
    assert rig.cleaned == 1


def test_a_broker_that_is_away_is_tried_again(rig):
    rig.refusals = [ConnectionError(), ConnectionError()]
    rig.poller.start()
    rig.until(lambda: rig.sessions and rig.sessions[0].turns)
    assert rig.refusals == []
    assert rig.cleaned == 2


def test_a_hanging_poll_shows(rig):
    rig.poller.start()
    rig.until(lambda: rig.sessions and rig.sessions[0].turns)
    rig.sessions[0].next = threading.Event()
    before = rig.poller.beat_age
    rig.until(lambda: rig.poller.beat_age > before + 0.2)
    assert rig.poller.alive
    assert not rig.poller.end(0.05)
