"""The names, labels and help of every metric, read from `series` whenever a scraper asks.

Names never change; a label's values are closed sets, so no caller can make a series. Sums of money
are integers until here, and are divided once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.core.ids import Provider
from gateway.core.money import PER_DOLLAR
from gateway.telemetry.series import Histogram, ModelSeries, Series

ConnectionState = Literal["busy", "idle"]
UpstreamConnections = Callable[[], Mapping[tuple[Provider, ConnectionState], int]]
"""Tells how many connections to each provider there are in each state, at this moment."""
OpenCircuits = Callable[[], Mapping[Provider, bool]]
"""Tells of each provider whether its circuit is open, half-open included, at this moment."""

_Rows = Iterable[tuple[Sequence[str], float]]
_PREFIX: Final = "gateway_"


class SeriesCollector(Collector):
    """Turns the series into metrics each time they are scraped."""

    def __init__(
        self,
        series: Series,
        version: str,
        connections: UpstreamConnections,
        circuits: OpenCircuits = dict,
    ) -> None:
        """Read `series`; `connections` and `circuits` are asked at each scrape."""
        self._series = series
        self._version = version
        self._connections = connections
        self._circuits = circuits

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the registry has no other collector whose names could clash."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the gateway."""
        yield from _calls(self._series)
        yield from _money(self._series)
        yield from _streams(self._series)
        yield from _operations(self._series)
        connections = self._connections().items()
        yield _gauge(
            "upstream_connections", "Open connections to providers.", "provider state", connections
        )
        circuits = [((provider,), float(is_open)) for provider, is_open in self._circuits().items()]
        yield _gauge(
            "upstream_circuit_open",
            "1 where a provider fails and is not asked, but to try it.",
            "provider",
            circuits,
        )
        version = [((self._version,), 1)]
        yield _gauge(
            "build_info", "Always 1; the label is the running version.", "version", version
        )


def _calls(series: Series) -> Iterator[Metric]:
    models = series.models.values()
    requests = [
        ((one.provider, one.model, dialect, outcome), count)
        for one in models
        for (dialect, outcome), count in one.requests.items()
    ]
    tokens = [
        ((one.provider, one.model, kind), count) for one in models for kind, count in _tokens(one)
    ]
    refusals = [((code,), count) for code, count in series.refusals.items()]
    yield _counter(
        "requests",
        "Calls that ended, by how they ended.",
        "provider model dialect outcome",
        requests,
    )
    yield _histogram(
        "request_duration_seconds", "Duration of calls, until the answer's end.", series.duration
    )
    yield _histogram(
        "overhead_seconds", "Time that calls spent in the gateway itself.", series.overhead
    )
    yield _histogram(
        "time_to_first_byte_seconds", "Time until a provider's answer began.", series.first_byte
    )
    yield _counter(
        "tokens", "Tokens used; reasoning is a part of output.", "provider model kind", tokens
    )
    yield _counter("refusals", "Calls that the gateway refused.", "code", refusals)


def _tokens(one: ModelSeries) -> Iterator[tuple[str, int]]:
    yield "input", one.input
    yield "cached", one.cached
    yield "cache_write", one.cache_write
    yield "output", one.output
    yield "reasoning", one.reasoning


def _money(series: Series) -> Iterator[Metric]:
    costs = [((one.provider, one.model), _usd(one.cost_nusd)) for one in series.models.values()]
    budgets = series.budgets.items()
    limits = [
        ((scope,), _usd(sums.limit_nusd)) for scope, sums in budgets if sums.limit_nusd is not None
    ]
    spent = [((scope,), _usd(sums.spent_nusd)) for scope, sums in budgets]
    held = [((scope,), _usd(sums.held_nusd)) for scope, sums in budgets]
    overshoot = [((), _usd(series.overshoot_nusd))]
    yield _counter("cost_usd", "What calls cost, in US dollars.", "provider model", costs)
    yield _gauge("budget_limit_usd", "The caps of this period, in US dollars.", "scope", limits)
    yield _gauge("budget_spent_usd", "Spent in this period, in US dollars.", "scope", spent)
    yield _gauge("budget_held_usd", "Held for running calls, in US dollars.", "scope", held)
    yield _counter(
        "overshoot_usd", "Billed beyond the bounds that were held, in US dollars.", "", overshoot
    )
    yield _histogram(
        "bound_to_cost_ratio", "The bound held for a call over its cost.", series.bound_ratio
    )


def _streams(series: Series) -> Iterator[Metric]:
    aborted = [((reason,), count) for reason, count in series.aborted.items()]
    yield _gauge("streams_active", "Streams that run now.", "", [((), series.streams_active)])
    yield _counter("streams_aborted", "Streams that ended early.", "reason", aborted)


def _operations(series: Series) -> Iterator[Metric]:
    kills = [((scope,), count) for scope, count in series.kills.items()]
    queued = [((), series.traces_queued)]
    dropped = [((), series.traces_dropped)]
    yield _gauge("kill_switch_active", "Kill switches that are on.", "scope", kills)
    yield _histogram(
        "kill_propagation_seconds",
        "Time from a kill command to its effect here.",
        series.kill_propagation,
    )
    yield _histogram(
        "ledger_lease_wait_seconds", "Time that calls waited for a lease.", series.lease_wait
    )
    yield _gauge("traces_queue_depth", "Traces not yet written.", "", queued)
    yield _counter("traces_dropped", "Traces lost for want of room.", "", dropped)
    sent = [((result,), count) for result, count in series.webhooks.items()]
    yield _counter("webhooks", "Attempts to deliver a message to a webhook.", "result", sent)


def _counter(name: str, text: str, labels: str, rows: _Rows) -> Metric:
    """Return a counter; the exposition adds `_total`."""
    family = CounterMetricFamily(_PREFIX + name, text, labels=labels.split())
    for values, count in rows:
        family.add_metric(values, count)
    return family


def _gauge(name: str, text: str, labels: str, rows: _Rows) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, text, labels=labels.split())
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    buckets = histogram.cumulative()
    return HistogramMetricFamily(_PREFIX + name, text, buckets=buckets, sum_value=histogram.sum)


def _usd(nano: int) -> float:
    return nano / PER_DOLLAR
