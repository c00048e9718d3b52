"""Several processes' metrics as one: sums that never fall, gauges by the table."""

import itertools
from random import Random

import pytest
from hypothesis import given, strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.exposition import SeriesCollector
from gateway.telemetry.merging import HIGHEST, SUMMED, Exposed, Family, Sample, Tally, families
from gateway.telemetry.series import Series

NAMES = ("calls", "dollars")
LABELS = ((), (("model", "a"),), (("model", "b"),))


def counter(name: str, rows: dict[tuple[tuple[str, str], ...], float]) -> Family:
    samples = [Sample(f"{name}_total", labels, value) for labels, value in rows.items()]
    return Family(name, "counter", "Counted.", samples)


def gauge(name: str, value: float) -> Family:
    return Family(name, "gauge", "Measured.", [Sample(name, (), value)])


def values(tally: Tally) -> dict[tuple[str, object], float]:
    return {(one.name, one.labels): one.value for each in tally.merged() for one in each.samples}


def a_process() -> SeriesCollector:
    return SeriesCollector(Series(set()), "1.2.3", lambda: {("x", "busy"): 2}, lambda: {"x": True})


amounts = st.floats(min_value=0, max_value=1e9, allow_nan=False)
growths = st.dictionaries(st.tuples(st.sampled_from(NAMES), st.sampled_from(LABELS)), amounts)
steps = st.lists(
    st.tuples(st.integers(0, 2), st.one_of(growths, st.none())), min_size=1, max_size=30
)


@given(steps)
def test_no_counter_ever_falls_whoever_dies_and_starts_anew(
    history: list[tuple[int, dict[tuple[str, tuple], float] | None]],
):
    tally, lives = Tally(), itertools.count()
    names = {slot: next(lives) for slot in range(3)}
    counted: dict[int, dict] = {}
    before: dict[tuple[str, object], float] = {}
    for slot, grown in history:
        if grown is None:
            tally.ended(names[slot])
            names[slot] = next(lives)
        else:
            own = counted.setdefault(names[slot], {})
            for key, amount in grown.items():
                own[key] = own.get(key, 0.0) + amount
            tally.told(names[slot], told(own))
        now = values(tally)
        assert all(now[key] >= value for key, value in before.items())
        before = now


def told(own: dict[tuple[str, tuple], float]) -> list[Family]:
    return [
        counter(name, {labels: value for (of, labels), value in own.items() if of == name})
        for name in NAMES
    ]


@given(st.lists(amounts, min_size=1, max_size=6), st.randoms())
def test_a_sum_does_not_depend_on_the_order(parts: list[float], chance: Random):
    def total(order: list[float]) -> float:
        tally = Tally()
        for number, part in enumerate(order):
            tally.told(number, [counter("calls", {(): part})])
        return values(tally)["calls_total", ()]

    shuffled = list(parts)
    chance.shuffle(shuffled)
    assert total(parts) == total(shuffled)


@given(st.lists(st.lists(amounts, min_size=4, max_size=4), min_size=1, max_size=5))
def test_a_merged_histogram_is_one(parts: list[list[float]]):
    tally = Tally()
    for number, part in enumerate(parts):
        cumulative = list(itertools.accumulate(part))
        bounds = ("0.1", "1.0", "5.0", "+Inf")
        rows = [
            Sample("h_bucket", (("le", b),), c) for b, c in zip(bounds, cumulative, strict=True)
        ]
        tally.told(number, [Family("h", "histogram", "x", rows)])
        if number % 2:
            tally.ended(number)
    merged = [one.value for one in tally.merged()[0].samples]
    assert merged == sorted(merged)
    assert merged[-1] == pytest.approx(sum(map(sum, parts)))


def test_one_process_alone_is_exposed_as_it_is():
    alone = CollectorRegistry()
    alone.register(a_process())
    tally = Tally()
    tally.told("a", families(alone))
    merged = CollectorRegistry()
    merged.register(Exposed(tally.merged()))
    assert generate_latest(merged) == generate_latest(alone)


def test_what_was_merged_can_be_scraped():
    tally = Tally()
    for number in range(3):
        tally.told(number, families(a_process()))
    registry = CollectorRegistry()
    registry.register(Exposed(tally.merged()))
    found = {
        one.name: one for one in text_string_to_metric_families(generate_latest(registry).decode())
    }
    (connections,) = found["gateway_upstream_connections"].samples
    assert connections.value == 6
    (circuit,) = found["gateway_upstream_circuit_open"].samples
    assert circuit.value == 1
    (info,) = found["gateway_build_info"].samples
    assert info.value == 1


def test_a_gauge_goes_with_its_process_and_its_counters_stay():
    tally = Tally()
    tally.told(1, [gauge("gateway_streams_active", 2), counter("calls", {(): 5})])
    tally.told(2, [gauge("gateway_streams_active", 3), counter("calls", {(): 7})])
    tally.ended(1)
    tally.ended(1)
    assert values(tally) == {("gateway_streams_active", ()): 3, ("calls_total", ()): 12}
    tally.ended(2)
    assert values(tally) == {("calls_total", ()): 12}


def test_what_each_reads_of_the_database_is_not_added_up():
    tally = Tally()
    for number, held in enumerate((1.5, 2.5, 2.0)):
        tally.told(number, [gauge("gateway_budget_held_usd", held)])
    assert values(tally) == {("gateway_budget_held_usd", ()): 2.5}


def test_what_a_process_lacks_others_have():
    tally = Tally()
    tally.told(1, [counter("calls", {(("model", "a"),): 1})])
    tally.told(2, [counter("calls", {(("model", "b"),): 2}), counter("others", {(): 3})])
    assert len(values(tally)) == 3


def test_it_was_decided_for_every_gauge_how_processes_share_it():
    gauges = {one.name for one in a_process().collect() if one.type == "gauge"}
    assert gauges == SUMMED | HIGHEST
    assert not SUMMED & HIGHEST
