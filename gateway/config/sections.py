"""The sections of the configuration, as frozen structs: every key, its meaning, its default.

Inside, a name carries its unit (`first_byte_ms`, `run_nusd`, `lease_share_ppm`); in the file the same
keys are `first_byte`, `run_usd`, `lease_share`, since there the value carries it (`120s`, `"5"`).
Nothing else in the package holds a default of these.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from gateway.config import forms
from gateway.config.forms import PartsPerMillion, written_as
from gateway.core.ids import ModelName, Provider
from gateway.core.money import PER_DOLLAR, NanoDollars, NanoDollarsPerMillion
from gateway.core.secret import Secret

Dollars = Annotated[NanoDollars, written_as(forms.USD)]
Rate = Annotated[NanoDollarsPerMillion, written_as(forms.USD)]
Model = Annotated[ModelName, written_as(forms.MODEL)]
ProviderName = Annotated[Provider, written_as(forms.PROVIDER)]
Wait = Annotated[int, written_as(forms.WAIT)]
Credential = Annotated[Secret, written_as(forms.SECRET)]
File = Annotated[str, written_as(forms.FILE)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Days = Annotated[int, Meta(ge=1, le=3650)]
Tokens = Annotated[int, Meta(ge=1, le=10**9)]
OverLimit = Literal["clamp", "refuse"]
HttpClient = Literal["own", "httpx"]
WebhookEvent = Literal["budget.threshold"]
Dialect = Literal["openai", "anthropic", "gemini", "azure", "bedrock"]

_HOSTS_WITHOUT_STREAM_OPTIONS = ("mistral.ai", "openrouter.ai")


def _key(name: str) -> str:
    """Return what the file calls a field."""
    if name.endswith("_nusd"):
        return f"{name.removesuffix('_nusd')}_usd"
    return name.removesuffix("_ms").removesuffix("_ppm")


def _nothing() -> Mapping[Any, Any]:
    return MappingProxyType({})


def _vault() -> Secret:
    return Secret(forms.VAULT)


def _sandbox_alone() -> Mapping[Provider, "ProviderSettings"]:
    sandbox = ProviderSettings(dialect="openai", base_url=forms.SANDBOX_URL)
    return MappingProxyType({Provider("sandbox"): sandbox})


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=_key):
    """What all sections share: frozen, named fields only, unknown keys refused."""


class Tls(Section, frozen=True, kw_only=True):
    """Certificate and key of the main port, in PEM files."""

    certificate: Annotated[File, Meta(description="File of the certificate chain, PEM.")]
    key: Annotated[File, Meta(description="File of the certificate's private key, PEM.")]


class Listen(Section, frozen=True, kw_only=True):
    """Where the gateway listens. Changed only by a restart."""

    host: Annotated[
        str,
        written_as(forms.HOST),
        Meta(description="Address or host name; 0.0.0.0 or :: for every interface."),
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Main port; 0 takes any free one.")] = 8080
    ops_port: Annotated[
        Port, Meta(description="Port of /healthz, /readyz and /metrics; 0 takes any free one.")
    ] = 9464
    tls: Annotated[Tls | None, Meta(description="TLS on the main port; null is plain HTTP.")] = None


class Timeouts(Section, frozen=True, kw_only=True):
    """How long a provider may take."""

    connect_ms: Annotated[Wait, Meta(description="To open a connection, TLS included.")] = 5_000
    first_byte_ms: Annotated[
        Wait, Meta(description="From the request sent to the answer's first byte.")
    ] = 120_000
    idle_ms: Annotated[Wait, Meta(description="Between two pieces of an answer.")] = 60_000
    total_ms: Annotated[Wait, Meta(description="For the whole call.")] = 3_600_000


class ProviderTimeouts(Section, frozen=True, kw_only=True):
    """The time-outs of one provider; what is null is as in the section `timeouts`."""

    connect_ms: Annotated[Wait | None, Meta(description="See timeouts.connect.")] = None
    first_byte_ms: Annotated[Wait | None, Meta(description="See timeouts.first_byte.")] = None
    idle_ms: Annotated[Wait | None, Meta(description="See timeouts.idle.")] = None
    total_ms: Annotated[Wait | None, Meta(description="See timeouts.total.")] = None


class CircuitSettings(Section, frozen=True, kw_only=True):
    """When a provider that fails is not asked any more, and for how long."""

    failures: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="So many calls in a row must fail: not reached, broken off, not answered "
            "in time, or answered with 500 or more.",
        ),
    ] = 5
    cool_down_ms: Annotated[
        Wait,
        Meta(
            description="Then it is not asked for so long, and one call alone tries it. While that "
            "fails, the time doubles, up to eight times."
        ),
    ] = 10_000


class AwsSettings(Section, frozen=True, kw_only=True):
    """For what requests to Amazon Bedrock are signed, with the credentials of this gateway's own.

    They are found as AWS's own tools find them: the environment, a profile, a web identity, a
    container's or an instance's role.
    """

    region: Annotated[
        Annotated[str, written_as(forms.REGION)] | None,
        Meta(description="The region; null is the one that base_url names."),
    ] = None


class ProviderSettings(Section, frozen=True, kw_only=True):
    """One provider: where it is, what it speaks, and our keys for it."""

    dialect: Annotated[Dialect, Meta(description="The API it speaks.")]
    base_url: Annotated[
        str,
        written_as(forms.BASE_URL),
        Meta(
            description="Where its API is: of the dialect openai with its version (…/v1), of the "
            "others without; a last slash is dropped. sandbox: is the built-in provider, which "
            "costs nothing."
        ),
    ]
    key: Annotated[
        Credential | None,
        Meta(
            description='Our key, best as "${NAME}"; null sends none. vault is not supported yet.'
        ),
    ] = None
    keys: Annotated[
        tuple[Credential, ...],
        Meta(
            description="Several in the place of key, used in turn. One that is answered with 429, "
            "401, 402 or 403 rests while others do not.",
        ),
    ] = ()
    aws: Annotated[
        AwsSettings | None,
        Meta(
            description="For bedrock, in the place of key: sign requests with AWS credentials found "
            "where the gateway runs."
        ),
    ] = None
    timeouts: Annotated[
        ProviderTimeouts, Meta(description="Time-outs that differ for this provider.")
    ] = msgspec.field(default_factory=ProviderTimeouts)
    circuit: Annotated[
        CircuitSettings | None,
        Meta(description="When it is not asked as it fails; null asks it always."),
    ] = msgspec.field(default_factory=CircuitSettings)
    retries: Annotated[
        int,
        Meta(
            ge=0,
            le=5,
            description="How often a call is tried again with the same model, where that certainly "
            "cost nothing: not reached, or answered with 429, 500, 502, 503, 504 or 529.",
        ),
    ] = 0
    max_concurrent: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        Meta(description="The most calls at a time from each process; null is no limit."),
    ] = None
    usage_in_stream: Annotated[
        bool | None,
        Meta(
            description="May a stream be asked for its usage (stream_options.include_usage)? "
            "null: yes, but for Mistral and OpenRouter."
        ),
    ] = None

    http_client: Annotated[
        HttpClient,
        Meta(
            description="What sends its requests: own is quicker; httpx goes through the proxies "
            "that the environment names (HTTPS_PROXY, NO_PROXY)."
        ),
    ] = "own"

    @property
    def is_sandbox(self) -> bool:
        """Whether this is the built-in provider."""
        return self.base_url == forms.SANDBOX_URL

    @property
    def is_usage_asked(self) -> bool:
        """Whether a stream may be asked for its usage: as set, else by the host.

        Mistral has answered `stream_options` with 422; OpenRouter ignores it and always sends usage.
        """
        if self.usage_in_stream is not None:
            return self.usage_in_stream
        host = urlsplit(self.base_url).hostname or ""
        return not f".{host}".endswith(tuple(f".{name}" for name in _HOSTS_WITHOUT_STREAM_OPTIONS))


class Target(Section, frozen=True, kw_only=True):
    """A model that answers under another name, and its share of the calls."""

    model: Annotated[Model, Meta(description="provider/model.")]
    weight: Annotated[
        int,
        Meta(ge=0, le=1_000_000, description="Share of the calls, relative to the other weights."),
    ] = 1


class ModelRoute(Section, frozen=True, kw_only=True):
    """A name that clients may use besides provider/model."""

    targets: Annotated[tuple[Target, ...], Meta(min_length=1, description="Who answers.")]
    fallbacks: Annotated[
        tuple[Model, ...],
        Meta(description="Who answers when that one fails, in this order: provider/model."),
    ] = ()


class Rates(Section, frozen=True, kw_only=True):
    """US dollars per million tokens; what is missing is priced as its dearest relative."""

    input: Annotated[Rate | None, Meta(description="Input.")] = None
    output: Annotated[Rate | None, Meta(description="Output, reasoning included.")] = None
    cached_input: Annotated[Rate | None, Meta(description="Input read from a cache.")] = None
    cache_write: Annotated[Rate | None, Meta(description="Input written to a cache.")] = None
    cache_write_1h: Annotated[
        Rate | None, Meta(description="Input written to a cache for an hour.")
    ] = None
    audio_input: Annotated[Rate | None, Meta(description="Audio input.")] = None
    audio_output: Annotated[Rate | None, Meta(description="Audio output.")] = None
    image_output: Annotated[Rate | None, Meta(description="Image output.")] = None


class RatesAbove(Rates, frozen=True, kw_only=True):
    """The rates of a whole request whose input is longer than so many tokens."""

    tokens: Annotated[Tokens, Meta(description="Input tokens above which these rates hold.")]


class PriceOverride(Rates, frozen=True, kw_only=True):
    """A price that overrides or adds to the built-in table; what is null is as there."""

    per_request: Annotated[Dollars | None, Meta(description="US dollars for each request.")] = None
    above: Annotated[RatesAbove | None, Meta(description="Other rates for long input.")] = None
    tiers_ppm: Annotated[
        Mapping[
            Annotated[str, written_as(forms.TIER)],
            Annotated[PartsPerMillion, written_as(forms.FACTOR)],
        ],
        Meta(description="Factor on the whole price by service tier: {priority: 2, flex: 0.5}."),
    ] = msgspec.field(default_factory=_nothing)
    max_output_tokens: Annotated[
        Tokens | None, Meta(description="The most the model can answer with.")
    ] = None
    context_tokens: Annotated[
        Tokens | None, Meta(description="The most the model can read and answer with.")
    ] = None
    hidden_reasoning: Annotated[
        bool | None,
        Meta(description="May the model think unseen (billed, not streamed)? null is unknown."),
    ] = None


class Limits(Section, frozen=True, kw_only=True):
    """What may be spent. Amounts are US dollars, as strings or whole numbers; null is no limit."""

    month_nusd: Annotated[
        Dollars | None, Meta(description="The whole workspace, each calendar month.")
    ] = NanoDollars(500 * PER_DOLLAR)
    run_nusd: Annotated[
        Dollars | None, Meta(description="Each run, unless created with another cap.")
    ] = NanoDollars(5 * PER_DOLLAR)
    request_nusd: Annotated[Dollars | None, Meta(description="Each request.")] = NanoDollars(
        PER_DOLLAR
    )
    output_tokens: Annotated[
        Tokens | None, Meta(description="Ceiling on the output of one request.")
    ] = 4096
    over_ceiling: Annotated[
        OverLimit,
        Meta(description="A request asks for more than the ceiling: lower it, or refuse."),
    ] = "clamp"
    short_budget: Annotated[
        OverLimit,
        Meta(description="The rest of a cap buys fewer output tokens: lower them, or refuse."),
    ] = "clamp"
    require_run: Annotated[bool, Meta(description="Refuse a request that names no run.")] = False
    timezone: Annotated[
        str, written_as(forms.TIMEZONE), Meta(description="Where months and days begin.")
    ] = "UTC"
    alert_at: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=100)], ...],
        Meta(
            description="Per cents of a cap, rising: webhooks are told once each as a budget "
            "reaches them. [] tells nothing."
        ),
    ] = (50, 80, 100)


class WebhookSettings(Section, frozen=True, kw_only=True):
    """One receiver of signed messages, as Standard Webhooks has them."""

    url: Annotated[
        str,
        written_as(forms.WEBHOOK_URL),
        Meta(
            description="Where messages are posted: https, or http to this machine or a private "
            "network."
        ),
    ]
    secret: Annotated[
        Secret,
        written_as(forms.WEBHOOK_SECRET),
        Meta(
            description='What signs them: whsec_ and 24 to 64 bytes in base64, best as "${NAME}".'
        ),
    ]
    events: Annotated[
        tuple[WebhookEvent, ...], Meta(min_length=1, description="What it is told of.")
    ] = ("budget.threshold",)


class LedgerSettings(Section, frozen=True, kw_only=True):
    """How money is granted to a replica. Changed only by a restart."""

    lease_ttl_ms: Annotated[
        int,
        written_as(forms.LEASE),
        Meta(description="A replica that can't renew for so long stops admitting."),
    ] = 15_000
    lease_share_ppm: Annotated[
        PartsPerMillion,
        written_as(forms.SHARE),
        Meta(description="The most of what is free that one replica is granted ahead of need."),
    ] = PartsPerMillion(20_000)


class Privacy(Section, frozen=True, kw_only=True):
    """What is kept, and how long."""

    allow_content: Annotated[
        bool, Meta(description="May a call ask for its text to be stored? Not supported yet.")
    ] = False
    content_days: Annotated[Days, Meta(description="Stored text is removed after so long.")] = 30
    trace_days: Annotated[Days, Meta(description="Traces are removed after so long.")] = 400


class Aggregates(Section, frozen=True, kw_only=True):
    """Sending of aggregates to a recommendation service. Not supported yet."""

    enabled: Annotated[bool, Meta(description="Send them.")] = False
    url: Annotated[
        Annotated[str, written_as(forms.WEB_URL)] | None,
        Meta(description="Base URL of the service."),
    ] = None
    secret: Annotated[Credential, Meta(description="What signs them; vault keeps it.")] = (
        msgspec.field(default_factory=_vault)
    )


class Egress(Section, frozen=True, kw_only=True):
    """Where calls may go."""

    allow_private: Annotated[
        bool,
        Meta(
            description="May base URLs set through the API point at private addresses? "
            "This file always may."
        ),
    ] = False


class Shutdown(Section, frozen=True, kw_only=True):
    """How the gateway stops."""

    grace_ms: Annotated[
        int,
        written_as(forms.GRACE),
        Meta(description="Running streams may go on for so long."),
    ] = 300_000


class Config(Section, frozen=True, kw_only=True):
    """The configuration of ReasonRank Gateway."""

    listen: Listen = msgspec.field(default_factory=Listen)
    database_url: Annotated[
        Secret | None,
        written_as(forms.DATABASE),
        Meta(description="embedded, or the URL of a PostgreSQL. Changed only by a restart."),
    ] = msgspec.field(name="database", default=None)
    """`None` is the embedded PostgreSQL. A URL may hold a password, so it is a secret."""
    providers: Annotated[
        Mapping[ProviderName, ProviderSettings],
        Meta(
            description="Providers by name. Without this section: those that the environment has "
            "keys for (OPENAI_API_KEY, ANTHROPIC_API_KEY …); else the sandbox."
        ),
    ] = msgspec.field(default_factory=_sandbox_alone)
    models: Annotated[
        Mapping[Annotated[str, written_as(forms.ALIAS)], ModelRoute],
        Meta(description="Names that clients may use besides provider/model."),
    ] = msgspec.field(default_factory=_nothing)
    prices: Annotated[
        Mapping[Model, PriceOverride],
        Meta(description="Prices by provider/model that override or add to the built-in table."),
    ] = msgspec.field(default_factory=_nothing)
    timeouts: Timeouts = msgspec.field(default_factory=Timeouts)
    limits: Limits = msgspec.field(default_factory=Limits)
    webhooks: Annotated[
        Mapping[Annotated[str, written_as(forms.WEBHOOK)], WebhookSettings],
        Meta(description="Receivers of signed messages, by name."),
    ] = msgspec.field(default_factory=_nothing)
    ledger: LedgerSettings = msgspec.field(default_factory=LedgerSettings)
    privacy: Privacy = msgspec.field(default_factory=Privacy)
    aggregates: Aggregates = msgspec.field(default_factory=Aggregates)
    egress: Egress = msgspec.field(default_factory=Egress)
    shutdown: Shutdown = msgspec.field(default_factory=Shutdown)

    def timeouts_of(self, provider: Provider) -> Timeouts:
        """Return a provider's time-outs: its own where it has them, else the general ones.

        Raises:
            KeyError: no such provider is configured.
        """
        own = msgspec.structs.asdict(self.providers[provider].timeouts)
        differing = {name: value for name, value in own.items() if value is not None}
        return msgspec.structs.replace(self.timeouts, **differing)
