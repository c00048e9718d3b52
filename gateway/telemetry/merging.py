"""The metrics of several processes as one exposition, for whoever scrapes their common port.

What only grows (counters, histograms) is added up, that of processes that have ended included, so that
no counter ever goes backwards: Prometheus takes a fall by the last bit of a float for a restart from 0.
So sums are exact and rounded once, as the sum of larger numbers is then never smaller. A gauge is added
up where each process has a part of the whole, and is else the highest of what they say.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Final

import msgspec
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

SUMMED: Final = frozenset(
    {"gateway_streams_active", "gateway_traces_queue_depth", "gateway_upstream_connections"}
)
"""Gauges of which each process has a part."""
HIGHEST: Final = frozenset(
    {
        "gateway_budget_limit_usd",
        "gateway_budget_spent_usd",
        "gateway_budget_held_usd",
        "gateway_kill_switch_active",
        "gateway_upstream_circuit_open",
        "gateway_build_info",
    }
)
"""Gauges that each process has of the same thing: the database, mostly, or a provider."""

Labels = tuple[tuple[str, str], ...]
_Row = tuple[str, Labels]
_Sums = dict[_Row, Fraction]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number, under the name and labels that it is exposed by."""

    name: str
    labels: Labels
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric; `kind` is Prometheus's word for its type."""

    name: str
    kind: str
    text: str
    samples: Sequence[Sample]

    @property
    def grows(self) -> bool:
        """Whether its numbers only ever grow, so that they outlive their process."""
        return self.kind in {"counter", "histogram"}


class Tally:
    """What the processes of one gateway have counted, those that ended included."""

    def __init__(self) -> None:
        self._living: dict[Hashable, Sequence[Family]] = {}
        self._forms: dict[str, Family] = {}
        self._departed: dict[str, _Sums] = {}

    def told(self, process: Hashable, families: Sequence[Family]) -> None:
        """Replace what a process said before: its counts are from its own start."""
        self._living[process] = families
        for family in families:
            self._forms.setdefault(family.name, family)

    def ended(self, process: Hashable) -> None:
        """Keep what a process had counted when it was last heard of; its gauges go with it."""
        for family in self._living.pop(process, ()):
            if family.grows:
                before = self._departed.get(family.name, {})
                self._departed[family.name] = _summed(family.samples, before)

    def merged(self) -> list[Family]:
        """Return each metric once, with the rows that any process has."""
        rows: dict[str, list[Sample]] = {name: [] for name in self._forms}
        for told in self._living.values():
            for family in told:
                rows[family.name] += family.samples
        return [self._merge(form, rows[name]) for name, form in self._forms.items()]

    def _merge(self, form: Family, samples: Sequence[Sample]) -> Family:
        if form.grows or form.name in SUMMED:
            sums = _summed(samples, self._departed.get(form.name, {}))
            values = {key: float(value) for key, value in sums.items()}
        else:
            values = _highest(samples)
        merged = [Sample(name, labels, value) for (name, labels), value in values.items()]
        return msgspec.structs.replace(form, samples=merged)


class Exposed(Collector):
    """Hands over what was merged to an encoder of Prometheus's client library."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        for family in self._families:
            metric = Metric(family.name, family.text, family.kind)
            for sample in family.samples:
                metric.add_sample(sample.name, dict(sample.labels), sample.value)
            yield metric


def families(collector: Collector) -> list[Family]:
    """Return what a collector exposes now."""
    return [
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            [Sample(one.name, tuple(one.labels.items()), one.value) for one in metric.samples],
        )
        for metric in collector.collect()
    ]


def _summed(samples: Iterable[Sample], before: _Sums) -> _Sums:
    sums = dict(before)
    for one in samples:
        key = (one.name, one.labels)
        sums[key] = sums.get(key, Fraction()) + Fraction(one.value)
    return sums


def _highest(samples: Iterable[Sample]) -> dict[_Row, float]:
    values: dict[_Row, float] = {}
    for one in samples:
        key = (one.name, one.labels)
        values[key] = max(values.get(key, one.value), one.value)
    return values
