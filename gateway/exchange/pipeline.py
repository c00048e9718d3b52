"""The stages of a call, in order: identify, read, find, admit, hold, send.

Each stage adds what it learned to the call's progress, or refuses. Nothing is held before the last
of them, and nothing is sent before it is held.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from gateway.core import limits as deciding
from gateway.core.ids import UUID7_ENTROPY_BYTES, TraceId, uuid7
from gateway.core.limits import Caller, Run
from gateway.core.refusal import Code, Refused
from gateway.errors import LedgerUnavailable
from gateway.exchange import admission, answers, controls, records, sending
from gateway.exchange.estimates import Estimate
from gateway.exchange.holding import Holding
from gateway.exchange.pacing import Pacing
from gateway.exchange.ports import Callers, Client, Clock, Counter, Runs
from gateway.exchange.progress import Call, Progress, Standing
from gateway.exchange.purse import Purse
from gateway.exchange.reading import BodyReader
from gateway.exchange.relay import Relay
from gateway.exchange.sending import Sender
from gateway.exchange.switchboard import STOPPING, Switchboard


class Reporter(sending.Reporter, Protocol):
    """Who hears how calls ended, and what was none."""

    def refused(self, code: Code) -> None:
        """A request was refused whose sender is not known, so that it leaves no trace."""
        ...


class Pipeline:
    """Runs calls. Built once by the composition root; `standing` is replaced on reload.

    What was learned of providers outlives a standing: the doors of the next one go on from it.
    """

    def __init__(  # noqa: PLR0913  # the ports, each by name, from the one place that builds them
        self,
        *,
        standing: Standing,
        callers: Callers,
        runs: Runs,
        bodies: BodyReader,
        pacing: Pacing,
        counter: Counter,
        clock: Clock,
        board: Switchboard,
        purse: Purse,
        holding: Holding,
        relay: Relay,
        reporter: Reporter,
        chance: Callable[[], float],
    ) -> None:
        self._standing = standing
        self.is_draining = False
        self._callers = callers
        self._runs = runs
        self._bodies = bodies
        self._pacing = pacing
        self._clock = clock
        self._board = board
        self._purse = purse
        self._holding = holding
        self._reporter = reporter
        self._sender = Sender(
            counter=counter,
            clock=clock,
            board=board,
            purse=purse,
            holding=holding,
            relay=relay,
            reporter=reporter,
            chance=chance,
            is_stopping=lambda: self.is_draining,
        )

    @property
    def standing(self) -> Standing:
        """What the configuration in force says of models and providers."""
        return self._standing

    @standing.setter
    def standing(self, following: Standing) -> None:
        for provider, door in following.doors.items():
            before = self._standing.doors.get(provider)
            if before is not None:
                door.go_on_from(before)
        self._standing = following

    async def run(self, call: Call, client: Client) -> None:
        """Serve one call to its end: an answer, a stream or a refusal."""
        progress = self.begin(call, client)
        try:
            refused = await self.prepare(progress)
            if refused is None and progress.controls.is_dry_run:
                refused = await self._answer_dry_run(progress)
            elif refused is None:
                refused = await self._held(progress)
                if refused is None:
                    await self._sender.send(progress)
        finally:
            admission.leave(progress, self._clock)
            if progress.taken is not None:
                self._pacing.settle(progress.taken)
        if refused is not None:
            await self._refuse(progress, refused)

    def begin(self, call: Call, client: Client) -> Progress:
        """Return the progress of a call that has just arrived."""
        started = self._clock.now()
        unix_ms = int(started.utc.timestamp() * 1000)
        trace = uuid7(unix_ms, self._clock.entropy(UUID7_ENTROPY_BYTES))
        return Progress(call, client, TraceId(trace), started, self._standing)

    async def prepare(self, progress: Progress) -> Refused | None:
        """Run every stage that needs no money: what is known after it can be estimated.

        A call that is to be made has its place with its provider after it, until `run` leaves it.
        """
        if self.is_draining:
            return STOPPING
        if not self._purse.can_admit:
            return _unavailable(LedgerUnavailable("the ledger can't be reached; try again"))
        try:
            return await self._identify(progress) or await self._understood(progress)
        except LedgerUnavailable as error:
            return _unavailable(error)

    async def models(self, call: Call, client: Client, one: str | None = None) -> None:
        """Answer with the models that the caller may use, or with the one that is named."""
        progress = self.begin(call, client)
        try:
            refused = await self._identify(progress)
        except LedgerUnavailable as error:
            refused = _unavailable(error)
        if refused is not None:
            await self._refuse(progress, refused)
            return
        listed = _listing(progress, one)
        if isinstance(listed, Refused):
            await self._refuse(progress, listed)
        else:
            await answers.send_json(progress, listed)

    async def unserved(
        self, call: Call, client: Client, refused: Refused, allow: bytes | None
    ) -> None:
        """Refuse a path that is not served, whoever asks; `allow` is the method that it would take."""
        self._reporter.refused(refused.code)
        await answers.send_refusal(self.begin(call, client), refused, allow)

    async def estimate(self, progress: Progress) -> Estimate | Refused:
        """Return what a prepared call may cost, and whether it would be admitted now."""
        try:
            return await self._holding.estimate(progress)
        except LedgerUnavailable as error:
            return _unavailable(error)

    async def quote(self, call: Call, caller: Caller, client: Client) -> Estimate | Refused:
        """Return what a call of a known caller may cost. Its controls must ask for a dry run."""
        progress = self.begin(call, client)
        progress.caller = caller
        try:
            refused = await self._understood(progress)
        except LedgerUnavailable as error:
            return _unavailable(error)
        return refused or await self.estimate(progress)

    async def _understood(self, progress: Progress) -> Refused | None:
        for stage in (self._read, self._find, self._admit):
            refused = await stage(progress)
            if refused is not None:
                return refused
        return None

    async def _answer_dry_run(self, progress: Progress) -> Refused | None:
        estimate = await self.estimate(progress)
        if isinstance(estimate, Refused):
            return estimate
        await answers.send_json(progress, msgspec.json.encode(estimate))
        return None

    async def _identify(self, progress: Progress) -> Refused | None:
        secret = progress.call.secret
        caller = None
        if secret is not None:
            caller = await self._callers.identify(secret, progress.started.utc)
        if caller is None:
            return Refused(Code.TOKEN_INVALID, "Unknown or missing gateway key.")
        progress.caller = caller
        return None

    async def _read(self, progress: Progress) -> Refused | None:
        asked = controls.read(progress.call.headers)
        if isinstance(asked, Refused):
            return asked
        progress.controls = asked
        body = await progress.client.body()
        if isinstance(body, Refused):
            return body
        wanted = await self._bodies.read(progress.call.dialect, progress.call.path, body)
        if isinstance(wanted, Refused):
            return wanted
        progress.wanted = wanted
        return None

    async def _find(self, progress: Progress) -> Refused | None:
        asked = progress.controls
        if asked.run is None and self._board.limits.require_run:
            return Refused(
                Code.RUN_REQUIRED,
                "Every call here belongs to a run. Send the header x-gateway-run.",
                param="x-gateway-run",
            )
        standing, name = progress.standing, progress.wanted.asked.model
        directory = standing.spoken[progress.call.dialect.name]
        is_open = partial(admission.is_open, progress, now=self._clock.monotonic())
        model = directory.find(name, asked.run or progress.trace, is_open)
        if isinstance(model, Refused):
            return model
        progress.fallbacks = directory.fallbacks_of(name, model)
        admission.aim(progress, model)
        return None

    async def _admit(self, progress: Progress) -> Refused | None:
        """Decide from memory; open the run only for a call that may go on.

        From here on the call has its place with its provider, but for a dry run, which needs none.
        """
        refused = admission.admit(progress, self._board.limits)
        if refused is None and not progress.controls.is_dry_run:
            now = self._clock.monotonic()
            refused = admission.pace(progress, self._pacing) or admission.enter_any(
                progress, self._board.limits, now
            )
        if refused is not None:
            return refused
        progress.run = await self._open_run(progress)
        if progress.run is not None:
            refused = deciding.closed(progress.run) or admission.admit(progress, self._board.limits)
        return refused or self._holding.bound(progress)

    async def _open_run(self, progress: Progress) -> Run | None:
        asked, caller = progress.controls, progress.caller
        if asked.run is None:
            return None
        if asked.is_dry_run:
            return await self._runs.find(caller.project, asked.run)
        run = await self._runs.open(caller.project, asked.run, asked.run_cap, caller)
        if asked.run_cap is not None:
            self._purse.lower(deciding.run_budget(run), asked.run_cap)
        return run

    async def _held(self, progress: Progress) -> Refused | None:
        try:
            return await self._holding.hold(progress)
        except LedgerUnavailable as error:
            return _unavailable(error)

    async def _refuse(self, progress: Progress, refused: Refused) -> None:
        if not hasattr(progress, "caller"):
            self._reporter.refused(refused.code)
        else:
            trace = records.refused(
                progress, refused, self._clock.monotonic(), progress.standing.directory.book.version
            )
            self._purse.record(trace)
            self._reporter.call_ended(trace)
        await answers.send_refusal(progress, refused)


def _listing(progress: Progress, one: str | None) -> bytes | Refused:
    """Return the listing of what the caller may use, or the entry of one name."""
    dialect, caller = progress.call.dialect, progress.caller
    directory = progress.standing.spoken[dialect.name]
    names = [
        alias
        for alias, targets in directory.aliases.items()
        if any(deciding.may_use(caller, target.model) for target in targets)
    ]
    if one is None:
        book = directory.book.models.values()
        models = [model for model in book if deciding.may_use(caller, model.name)]
        return dialect.models(models, names)
    if one in names:
        return dialect.model(one)
    found = directory.find(one, progress.trace)
    if isinstance(found, Refused):
        return found
    return deciding.disallowed(caller, found.name) or dialect.model(found)


def _unavailable(error: LedgerUnavailable) -> Refused:
    text = str(error)
    return Refused(Code.LEDGER_UNAVAILABLE, f"{text[:1].upper()}{text[1:]}.", retry_after_s=1)
