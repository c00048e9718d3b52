"""Everything that happens, as a function named for it. Each updates the metrics and writes the line.

A function takes what its metric and its line may hold, and nothing else. Texts that it takes are
sentences of ours (a failure's `str`, a supervisor's report), which hold no secret and no caller's text.
"""

from collections.abc import Iterable, Set
from contextlib import AbstractContextManager

from prometheus_client import CollectorRegistry

from gateway.core.budget import BudgetKey
from gateway.core.ids import ModelName, Provider, ReplicaId, TraceId
from gateway.core.limits import Kill, KillScope
from gateway.core.money import ZERO, NanoDollars, to_usd
from gateway.core.refusal import Code
from gateway.core.traces import FailedAttempt, Trace
from gateway.telemetry.exposition import OpenCircuits, SeriesCollector, UpstreamConnections
from gateway.telemetry.foreign import captured, described
from gateway.telemetry.journal import Journal
from gateway.telemetry.series import BudgetFigures, Series


class Telemetry:
    """The metrics and the log of one process. Not for use from another thread than the event loop's."""

    def __init__(
        self,
        version: str,
        known_models: Set[ModelName],
        journal: Journal,
        *,
        upstream_connections: UpstreamConnections = dict,
        open_circuits: OpenCircuits = dict,
    ) -> None:
        """Label calls to `known_models` (configured or priced) by name, and all others as `other`."""
        self._version = version
        self._journal = journal
        self._series = Series(known_models)
        self._log = journal.log
        self.registry = CollectorRegistry()
        self.registry.register(
            SeriesCollector(self._series, version, upstream_connections, open_circuits)
        )

    def libraries_captured(self) -> AbstractContextManager[None]:
        """Bring what libraries and the interpreter would print into our lines, for this process."""
        return captured(self._journal, self.unhandled)

    def models_known(self, models: Set[ModelName]) -> None:
        """Replace the models that have a label of their own."""
        self._series.knows(models)

    def call_ended(self, trace: Trace, earlier_nusd: NanoDollars = ZERO) -> None:
        """A call ended, or was refused; counts everything about it and writes its line.

        `earlier_nusd` of its cost is of attempts that failed, and counted as theirs.
        """
        series = self._series.model(trace.model, trace.provider)
        self._series.call_ended(trace, series, earlier_nusd)
        self._journal.call_ended(trace, series.provider, series.model)

    def attempt_failed(self, attempt: FailedAttempt, trace: TraceId) -> None:
        """An attempt failed, and the call goes on with another. Its cost is its own model's."""
        series = self._series.model(attempt.model, attempt.provider)
        series.cost_nusd += attempt.cost_nusd
        self._log.warning(
            "attempt_failed",
            trace=trace,
            provider=series.provider,
            model=series.model,
            outcome=attempt.outcome,
            cost_usd=to_usd(attempt.cost_nusd),
        )

    def refused(self, code: Code) -> None:
        """A request was refused before it became a call, so that it leaves no trace and no line."""
        self._series.refusals[code] += 1

    def stream_opened(self) -> None:
        """A stream began."""
        self._series.streams_active += 1

    def stream_closed(self) -> None:
        """A stream ended; once for each that was opened."""
        self._series.streams_active -= 1

    def upstream_failed(self, provider: Provider, kind: str, trace: TraceId) -> None:
        """A provider did not answer as HTTP; `kind` is the failure's type."""
        self._log.warning("upstream_failed", trace=trace, provider=provider, kind=kind)

    def circuit_opened(self, provider: Provider, failures: int, wait_s: float) -> None:
        """A provider failed so often in a row that it is not asked for a while."""
        self._log.warning(
            "circuit_opened", provider=provider, failures=failures, wait_s=round(wait_s, 3)
        )

    def circuit_closed(self, provider: Provider) -> None:
        """A provider that was not asked answers again."""
        self._log.info("circuit_closed", provider=provider)

    def key_rests(self, provider: Provider, key: int, status: int, seconds: float) -> None:
        """One of a provider's keys was refused with this status and rests; `key` is its index."""
        self._log.warning(
            "key_rests", provider=provider, index=key, status=status, rest_s=round(seconds, 3)
        )

    def overshoot(self, nusd: int, trace: TraceId) -> None:
        """A provider billed so much beyond the bound it was given."""
        self._series.overshoot_nusd += nusd
        self._log.warning("overshoot", trace=trace, overshoot_usd=to_usd(nusd))

    def lease_waited(self, seconds: float) -> None:
        """A call waited for the database to lease it more."""
        self._series.lease_wait.observe(seconds)

    def budgets(self, rows: Iterable[BudgetFigures]) -> None:
        """Budgets were read: these are all that there are, one window of each."""
        self._series.budgets_are(rows)

    def ledger_lost(self, reason: str) -> None:
        """This replica may not admit calls any more; `reason` is a failure's sentence."""
        self._log.error("ledger_lost", reason=reason)

    def ledger_back(self) -> None:
        """This replica admits calls again."""
        self._log.info("ledger_back")

    def replica_reclaimed(self, replica: ReplicaId, nusd: int) -> None:
        """A silent replica's leases became unsettled spend."""
        self._log.warning("replica_reclaimed", replica=replica, unsettled_usd=to_usd(nusd))

    def traces_queued(self, count: int) -> None:
        """So many traces wait to be written now."""
        self._series.traces_queued = count

    def traces_dropped(self, count: int) -> None:
        """So many traces were lost; their money was not."""
        self._series.traces_dropped += count
        self._log.error("traces_dropped", count=count)

    def kill_applied(self, kill: Kill, cut: int) -> None:
        """A kill switch took effect here, and cut so many running calls."""
        self._log.warning("kill_applied", kill=kill.id, scope=kill.scope, cut=cut)

    def kill_propagated(self, seconds: float) -> None:
        """A kill switch took effect so long after it was commanded."""
        self._series.kill_propagation.observe(seconds)

    def kills(self, scopes: Iterable[KillScope]) -> None:
        """These kill switches are on: the scope of each, and no other."""
        self._series.kills_are(scopes)

    def threshold_passed(self, key: BudgetKey, percent: int) -> None:
        """A budget newly passed a threshold, and webhooks are to be told."""
        self._log.warning(
            "threshold_passed",
            scope=key.scope,
            scope_id=key.scope_id,
            window=key.window,
            period_start=key.period_start,
            percent=percent,
        )

    def webhook_delivered(self, webhook: str, message: str, attempt: int) -> None:
        """A webhook's receiver has a message; `webhook` is its name in the configuration."""
        self._series.webhooks["delivered"] += 1
        self._log.info("webhook_delivered", webhook=webhook, message=message, attempt=attempt)

    def webhook_failed(self, webhook: str, message: str, attempt: int, reason: str) -> None:
        """A message was not delivered, and is sent again later; `reason` is a word of ours."""
        self._series.webhooks["failed"] += 1
        self._log.warning(
            "webhook_failed", webhook=webhook, message=message, attempt=attempt, reason=reason
        )

    def webhook_given_up(self, webhook: str, message: str, attempt: int, reason: str) -> None:
        """A message was not delivered, and is not sent again."""
        self._series.webhooks["given_up"] += 1
        self._log.error(
            "webhook_given_up", webhook=webhook, message=message, attempt=attempt, reason=reason
        )

    def started(self, base_url: str | None) -> None:
        """The gateway serves; no calls where it has no base URL."""
        self._log.info("started", base_url=base_url, version=self._version)

    def worker_started(self, number: int, pid: int, replica: ReplicaId) -> None:
        """A worker serves, as this replica."""
        self._log.info("worker_started", worker=number, pid=pid, replica=replica)

    def worker_ended(self, number: int, pid: int, words: str, pause_s: float) -> None:
        """A worker ended unasked; another is started after the pause."""
        self._log.warning("worker_ended", worker=number, pid=pid, how=words, restart_s=pause_s)

    def sandbox_offered(self) -> None:
        """The built-in provider answers: no real one does under its name."""
        self._log.warning("sandbox_offered", provider="sandbox", costs_money=False)

    def stopping(self, running: int) -> None:
        """The gateway drains; so many calls still run."""
        self._log.info("stopping", running=running)

    def stopped(self) -> None:
        """The gateway has stopped, everything settled."""
        self._log.info("stopped")

    def configuration_reloaded(self) -> None:
        """A new configuration is in force."""
        self._log.info("configuration_reloaded")

    def configuration_refused(self, line: str) -> None:
        """A new configuration is wrong, as `line` says; the old one stays."""
        self._log.error("configuration_refused", reason=line)

    def prices_changed(self, version: str) -> None:
        """Calls are priced by another list from here on."""
        self._log.info("prices_changed", version=version)

    def prices_refused(self, line: str) -> None:
        """The list of prices that was chosen can't be used here, as `line` says; the old one stays."""
        self._log.error("prices_refused", reason=line)

    def embedded_database(self, line: str) -> None:
        """Something happened to the embedded database, as its supervisor reports."""
        self._log.info("embedded_database", message=line)

    def unhandled(self, error: BaseException, where: str) -> None:
        """A bug: nothing expected this. `where` is a route's template or a task's name.

        Of the exception only types and places are written, since its words may quote a request.
        """
        self._log.error("unhandled", where=where, **described(error))
