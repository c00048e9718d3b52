"""The way to a provider: who may enter, with which key, and that each leaves once."""

import pytest
from hypothesis import given, strategies as st

from gateway.core.health import Circuit, Closed, Opened
from gateway.core.ids import Provider
from gateway.core.outcome import Completed, Ending, ProviderError, ProviderLost
from gateway.core.refusal import Code, Refused
from gateway.core.retrying import Advice
from gateway.core.secret import Secret
from gateway.exchange.doors import Door, Entry, Rested, Terms

KEYS = tuple(Secret(f"key-{number}") for number in range(3))
URL = "https://a.test/v1"


def door(url: str = URL, **terms: object) -> Door:
    return Door(Provider("stub"), Terms(base_url=url, **terms))  # type: ignore[arg-type]


def entered(way: Door, now: float = 0.0, tried: tuple[int, ...] = ()) -> Entry:
    entry = way.enter(now, tried)
    assert isinstance(entry, Entry)
    return entry


def refused(way: Door, now: float = 0.0) -> Refused:
    found = way.enter(now)
    assert isinstance(found, Refused)
    return found


def failing(way: Door, times: int = 2, now: float = 0.0) -> list[object]:
    return [change for _ in range(times) for change in entered(way, now).leave(now, ProviderLost())]


def used(entry: Entry) -> str | None:
    return None if entry.key is None else entry.key.reveal()


def test_a_provider_without_a_key_is_sent_none_and_one_with_one_that():
    assert used(entered(door())) is None
    way = door(keys=KEYS[:1])
    assert [used(entered(way)) for _ in range(2)] == ["key-0", "key-0"]


def test_keys_take_turns():
    way = door(keys=KEYS)
    assert [used(entered(way)) for _ in range(4)] == ["key-0", "key-1", "key-2", "key-0"]


def test_a_key_that_is_refused_rests_and_is_told_by_its_index():
    way = door(keys=KEYS[:2])
    entry = entered(way)
    entry.advice = Advice(7.0)
    assert entry.leave(1.0, ProviderError(429)) == [Rested(0, 429, 7.0)]
    assert [used(entered(way, 7.9)) for _ in range(2)] == ["key-1", "key-1"]
    assert used(entered(way, 8.0)) == "key-0"
    assert entered(way, 8.0).leave(8.0, ProviderError(401)) == [Rested(1, 401, 60.0)]
    assert [used(entered(way, 67.9)) for _ in range(2)] == ["key-0", "key-0"]


def test_a_key_that_is_accepted_though_it_rests_rests_no_more():
    way = door(keys=KEYS[:2])
    for _ in range(2):
        entered(way).leave(0.0, ProviderError(403))
    entered(way).leave(1.0, Completed())
    assert used(entered(way, 1.0)) == "key-0"
    assert used(entered(way, 1.0)) == "key-0"


def test_another_key_is_known_only_while_one_is_ready_and_untried():
    way = door(keys=KEYS)
    entry = entered(way)
    assert entry.has_other_key(0.0, ())
    assert entry.has_other_key(0.0, (1,))
    assert not entry.has_other_key(0.0, (1, 2))
    assert used(entered(way, 0.0, (0, 1))) == "key-2"
    assert not entered(door(keys=KEYS[:1])).has_other_key(0.0, ())


@pytest.mark.parametrize("ending", [None, Completed(), ProviderLost()])
def test_no_more_than_so_many_are_behind_it_at_a_time(ending: Ending | None):
    way = door(most_at_once=2)
    first, _ = entered(way), entered(way)
    assert not way.admits(0.0)
    no = refused(way)
    assert (no.code, no.retry_after_s) == (Code.TOO_MANY_STREAMS, 1)
    assert "2 calls from here to stub" in no.message
    first.leave(0.0, ending)
    assert first.leave(0.0, ending) == ()
    entered(way)
    assert not way.admits(0.0), "who leaves twice gives back one place"


def test_one_that_fails_is_shut_and_says_when_it_is_tried_again():
    way = door(circuit=Circuit(2, 10.0))
    assert failing(way) == [Opened(2, 10.0)]
    assert way.is_shut
    no = refused(way, 3.5)
    assert (no.code, no.retry_after_s) == (Code.UPSTREAM_ERROR, 7)
    assert no.message.startswith("stub has failed 2 times in a row; it is tried again in 7 s.")
    probe = entered(way, 10.0)
    assert refused(way, 10.0).retry_after_s == 1
    assert probe.answered() == Closed()
    assert not way.is_shut
    assert probe.leave(11.0, Completed()) == ()


def test_a_probe_that_leaves_unsent_lets_another_in():
    way = door(circuit=Circuit(2, 10.0))
    failing(way)
    assert entered(way, 10.0).leave(10.0) == ()
    assert way.is_shut
    assert entered(way, 10.0).leave(10.0, Completed()) == [Closed()]


def test_without_a_circuit_it_is_never_shut():
    way = door()
    assert failing(way, 50) == []
    assert not way.is_shut


def test_the_next_configurations_door_goes_on_from_the_one_before():
    before = door(keys=KEYS[:2], circuit=Circuit(2, 10.0))
    running = entered(before)
    failing(before)
    after = door(keys=KEYS[:2], circuit=Circuit(5, 1.0), most_at_once=1)
    after.go_on_from(before)
    assert after.is_shut
    assert not after.admits(20.0), "who entered before is still there"
    running.leave(20.0, Completed())
    assert used(entered(after, 20.0)) == "key-1", "the turns go on"


@pytest.mark.parametrize("change", [{"url": "https://b.test/v1"}, {"circuit": None}])
def test_another_place_or_no_circuit_begins_anew(change: dict[str, object]):
    before = door(circuit=Circuit(2, 10.0))
    failing(before)
    after = door(**{"circuit": Circuit(2, 10.0), **change})  # type: ignore[arg-type]
    after.go_on_from(before)
    assert after.admits(0.0)


def test_other_keys_begin_their_own_turns():
    before = door(keys=KEYS[:2])
    entered(before).leave(0.0, ProviderError(401))
    after = door(keys=KEYS[1:])
    after.go_on_from(before)
    assert [used(entered(after)) for _ in range(2)] == ["key-1", "key-2"]


ENDINGS = [None, Completed(), ProviderLost(), ProviderError(429), ProviderError(503)]


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 5), st.sampled_from(ENDINGS), st.floats(0, 20)),
        max_size=60,
    )
)
def test_places_are_given_back_whatever_happens(
    steps: list[tuple[bool, int, Ending | None, float]],
):
    way = door(keys=KEYS, circuit=Circuit(2, 5.0), most_at_once=3)
    inside: list[Entry] = []
    now = 0.0
    for enters, which, ending, seconds in steps:
        now += seconds
        admits = way.admits(now)
        if enters:
            found = way.enter(now)
            assert isinstance(found, Entry) is admits
            inside += [found] if isinstance(found, Entry) else []
        elif inside:
            inside.pop(which % len(inside)).leave(now, ending)
        assert way.room.taken == len(inside) <= 3
    for entry in inside:
        entry.leave(now, Completed())
    assert way.room.taken == 0
    assert way.admits(now + 40.0)
