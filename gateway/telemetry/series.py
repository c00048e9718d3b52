"""What is counted, as plain integers and floats in this process's memory.

Everything runs in one event loop, so nothing here locks; money stays in integer nano-dollars and
becomes a float only when it is read (`exposition`). Finishing a call touches four histograms, six
sums and a count, and has to cost a few microseconds, which a client library's locked children do not.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Set
from typing import Final

import msgspec

from gateway.core.budget import Scope
from gateway.core.ids import ModelName, Provider
from gateway.core.limits import KillScope
from gateway.core.money import NanoDollars
from gateway.core.outcome import Outcome
from gateway.core.refusal import Code
from gateway.core.traces import Trace

OTHER: Final = "other"
"""The label of a provider or model that is unknown, or was not known when a call ended."""
BUDGET_SCOPES: Final = (Scope.WORKSPACE, Scope.PROJECT)
ABORTED: Final = (
    Outcome.CLIENT_GONE,
    Outcome.KILLED,
    Outcome.CAP_REACHED,
    Outcome.PROVIDER_ERROR,
    Outcome.PROVIDER_LOST,
    Outcome.TIMED_OUT,
    Outcome.SHUT_DOWN,
)
"""The outcomes that end a stream early, which are also the reasons in `streams_aborted_total`."""
WEBHOOK_RESULTS: Final = ("delivered", "failed", "given_up")
"""What may come of an attempt to deliver: there, to be tried again, or not."""

_DURATION_S: Final = (
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
)  # fmt: skip
_OVERHEAD_S: Final = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
)  # fmt: skip
_FIRST_BYTE_S: Final = (
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
)  # fmt: skip
_BOUND_RATIO: Final = (1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1000.0)
_PROPAGATION_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 5.0, 15.0)
_LEASE_WAIT_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Histogram:
    """A distribution over fixed upper bounds (inclusive); `counts` has one more, for what is above."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Return (upper bound, how many were at most that), the last for +Inf."""
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self.counts, strict=True):
            total += count
            buckets.append((bound, total))
        return buckets


class ModelSeries:
    """What the calls to one model came to. Tokens are as in a `Trace`; `requests` by dialect, outcome."""

    __slots__ = (
        "cache_write", "cached", "cost_nusd", "input", "model", "output", "provider", "reasoning", "requests",
    )  # fmt: skip

    def __init__(self, provider: str, model: str) -> None:
        self.provider = provider
        self.model = model
        self.input = self.cached = self.cache_write = self.output = self.reasoning = 0
        self.cost_nusd = 0
        self.requests: Counter[tuple[str, Outcome]] = Counter()


class BudgetFigures(msgspec.Struct, frozen=True):
    """One budget as it stands, in nano-dollars; `limit_nusd` None where it is counted, not capped.

    Give one window of each budget (the month): what is added up over its windows means nothing.
    """

    scope: Scope
    limit_nusd: int | None
    spent_nusd: int
    held_nusd: int


class BudgetSums(msgspec.Struct):
    """The budgets of one scope, added up. `limit_nusd` None: none of them is capped."""

    limit_nusd: int | None = None
    spent_nusd: int = 0
    held_nusd: int = 0


class Series:
    """Every number behind the metrics. Names and labels are given where they are exposed."""

    def __init__(self, known_models: Set[ModelName]) -> None:
        self.known_models = known_models
        self.models: dict[tuple[str, str], ModelSeries] = {}
        self._by_name: dict[ModelName | None, ModelSeries] = {}
        self.duration = Histogram(_DURATION_S)
        self.overhead = Histogram(_OVERHEAD_S)
        self.first_byte = Histogram(_FIRST_BYTE_S)
        self.bound_ratio = Histogram(_BOUND_RATIO)
        self.kill_propagation = Histogram(_PROPAGATION_S)
        self.lease_wait = Histogram(_LEASE_WAIT_S)
        self.refusals = dict.fromkeys(Code, 0)
        self.aborted = dict.fromkeys(ABORTED, 0)
        self.streams_active = 0
        self.overshoot_nusd = 0
        self.traces_queued = 0
        self.traces_dropped = 0
        self.webhooks = dict.fromkeys(WEBHOOK_RESULTS, 0)
        self.kills = dict.fromkeys(KillScope, 0)
        self.budgets = {scope: BudgetSums() for scope in BUDGET_SCOPES}

    def model(self, model: ModelName | None, provider: Provider | None) -> ModelSeries:
        """Return the series of a model; one that is not known shares its provider's `other`."""
        series = self._by_name.get(model)
        if series is not None:
            return series
        is_known = model is not None and model in self.known_models
        labels = (provider or OTHER, model if is_known and model is not None else OTHER)
        series = self.models.setdefault(labels, ModelSeries(*labels))
        if is_known:
            self._by_name[model] = series
        return series

    def knows(self, models: Set[ModelName]) -> None:
        """Replace the models that have a label of their own. What was counted stays as it was."""
        self.known_models = models
        self._by_name.clear()

    def call_ended(self, trace: Trace, series: ModelSeries, earlier_nusd: NanoDollars) -> None:
        """Count a call that has ended, however it ended; `earlier_nusd` of its cost was counted before."""
        series.requests[trace.dialect, trace.outcome] += 1
        self.duration.observe(trace.latency_ms * 0.001)
        self.overhead.observe(trace.overhead_ms * 0.001)
        if trace.first_byte_ms is not None:
            self.first_byte.observe(trace.first_byte_ms * 0.001)
        series.input += trace.input_tokens
        series.cached += trace.cached_tokens
        series.cache_write += trace.cache_write_tokens
        series.output += trace.output_tokens
        series.reasoning += trace.reasoning_tokens
        cost = trace.cost_nusd
        if cost:
            series.cost_nusd += cost - earlier_nusd
            self.bound_ratio.observe(trace.bound_nusd / cost)
        if trace.outcome is not Outcome.COMPLETED:
            self._not_completed(trace)

    def _not_completed(self, trace: Trace) -> None:
        if trace.outcome is Outcome.REFUSED:
            if trace.code is not None:
                self.refusals[trace.code] += 1
        elif trace.stream and not _is_error_answer(trace):
            self.aborted[trace.outcome] += 1

    def budgets_are(self, rows: Iterable[BudgetFigures]) -> None:
        """Replace what is known of all budgets; scopes without a metric are left out."""
        sums = {scope: BudgetSums() for scope in BUDGET_SCOPES}
        for row in rows:
            if row.scope not in sums:
                continue
            total = sums[row.scope]
            total.spent_nusd += row.spent_nusd
            total.held_nusd += row.held_nusd
            if row.limit_nusd is not None:
                total.limit_nusd = (total.limit_nusd or 0) + row.limit_nusd
        self.budgets = sums

    def kills_are(self, scopes: Iterable[KillScope]) -> None:
        """Replace the kill switches that are on, one scope for each switch."""
        self.kills = {**dict.fromkeys(KillScope, 0), **Counter(scopes)}


def _is_error_answer(trace: Trace) -> bool:
    """Whether a provider refused a stream whole, before it began, so that none was aborted."""
    return trace.outcome is Outcome.PROVIDER_ERROR and trace.status >= 400
