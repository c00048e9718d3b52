"""A call as it arrived, and what is known of it as the stages go on."""

from collections.abc import Mapping
from copy import copy
from datetime import tzinfo

import msgspec

from gateway.core.budget import BudgetKey, Hold
from gateway.core.calls import Timeouts
from gateway.core.ids import Provider, TraceId
from gateway.core.limits import Admitted, Caller, Run, Target
from gateway.core.money import ZERO, NanoDollars
from gateway.core.pricing import Model
from gateway.core.routing import Directory
from gateway.core.traces import FailedAttempt
from gateway.exchange.controls import Controls
from gateway.exchange.doors import Door, Entry
from gateway.exchange.offers import Offer
from gateway.exchange.pacing import Taken
from gateway.exchange.ports import Client, Instant
from gateway.providers.adapter import Adapter, Dialect, Headers, Path, Wanted


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it arrived, before anything of it was believed.

    `secret` is the one credential it carried; `headers` have lower-case names.
    """

    path: Path
    dialect: Dialect
    secret: str | None
    headers: Headers
    passed: Headers
    """The client's headers that may go upstream."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says of models and providers; replaced whole when it is reloaded."""

    directory: Directory
    """All models. What a client may name is in the one of its dialect."""
    spoken: Mapping[str, Directory]
    adapters: Mapping[Provider, Adapter]
    timeouts: Mapping[Provider, Timeouts]
    doors: Mapping[Provider, Door]
    """With the keys that belong to these adapters: a key goes to the place it was given for."""
    zone: tzinfo


class Progress:
    """What is known of a call so far. Each stage sets its own attributes, in this order.

    From `model` on they are of one attempt; one that follows has a progress of its own.
    """

    call: Call
    client: Client
    trace: TraceId
    started: Instant
    standing: Standing
    caller: Caller
    controls: Controls
    wanted: Wanted
    run: Run | None = None
    model: Model
    fallbacks: tuple[Model, ...] = ()
    """The models to try, in turn, when this one fails."""
    earlier: tuple[FailedAttempt, ...] = ()
    earlier_nusd: NanoDollars = ZERO
    """What the attempts before this one owe."""
    earlier_bound_nusd: NanoDollars = ZERO
    earlier_s: float = 0.0
    """How long they were with their providers, and paused between."""
    ends_at: float
    """Monotonic: when the time of all attempts is up. Only where there are earlier ones."""
    repeats: int = 0
    """How often this model was tried before, for the sake of `retries`."""
    tried: tuple[int, ...] = ()
    """The keys of this model's provider that were tried before."""
    target: Target
    admitted: Admitted
    taken: Taken | None = None
    """What it took of its token's rate limits, if it has any; all attempts together."""
    entry: Entry
    """Its place with its provider, until it has left."""
    keys: tuple[BudgetKey, ...]
    offer: Offer
    hold: Hold
    sent_at: float

    def __init__(
        self, call: Call, client: Client, trace: TraceId, started: Instant, standing: Standing
    ) -> None:
        self.call = call
        self.client = client
        self.trace = trace
        self.started = started
        self.standing = standing

    def followed(self, attempt: FailedAttempt, ends_at: float, paused_s: float = 0.0) -> "Progress":
        """Return the progress of the attempt after this one, which came to `attempt`.

        `paused_s` is how long was waited on purpose, which is nobody's overhead.
        """
        following = copy(self)
        following.earlier = (*self.earlier, attempt)
        following.earlier_nusd = NanoDollars(self.earlier_nusd + attempt.cost_nusd)
        following.earlier_bound_nusd = NanoDollars(self.earlier_bound_nusd + attempt.bound_nusd)
        following.earlier_s = self.earlier_s + attempt.took_s + paused_s
        following.ends_at = ends_at
        return following
