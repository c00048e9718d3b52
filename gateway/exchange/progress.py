"""A call as it arrived, and what is known of it as the stages go on."""

from collections.abc import Mapping
from datetime import tzinfo

import msgspec

from gateway.core.budget import BudgetKey, Hold
from gateway.core.calls import Timeouts
from gateway.core.ids import Provider, TraceId
from gateway.core.limits import Admitted, Caller, Run, Target
from gateway.core.pricing import Model
from gateway.core.routing import Directory
from gateway.exchange.controls import Controls
from gateway.exchange.offers import Offer
from gateway.exchange.ports import Client, Instant, Keys
from gateway.providers.adapter import Adapter, Dialect, Endpoint, Headers, Wanted


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it arrived, before anything of it was believed.

    `secret` is the one credential it carried; `headers` have lower-case names.
    """

    endpoint: Endpoint
    dialect: Dialect
    secret: str | None
    headers: Headers
    passed: Headers
    """The client's headers that may go upstream."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says of models and providers; replaced whole when it is reloaded."""

    directory: Directory
    adapters: Mapping[Provider, Adapter]
    timeouts: Mapping[Provider, Timeouts]
    keys: Keys
    """The keys that belong to these adapters: a key goes to the place it was given for."""
    zone: tzinfo


class Progress:
    """What is known of a call so far. Each stage sets its own attributes, in this order."""

    call: Call
    client: Client
    trace: TraceId
    started: Instant
    standing: Standing
    caller: Caller
    controls: Controls
    wanted: Wanted
    model: Model
    target: Target
    run: Run | None = None
    admitted: Admitted
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
