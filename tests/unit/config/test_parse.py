"""What a file and the environment mean."""

import base64
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from gateway.config import Config, parse, reloadable
from gateway.config.sections import ProviderSettings, Timeouts
from gateway.core.ids import Provider
from gateway.core.secret import Secret
from gateway.errors import ConfigurationInvalid

KEY = "sk-canary-5f1e"


def parsed(text: str, **environ: str) -> Config:
    return parse(text.encode(), environ)


def provider(**changes: str) -> str:
    fields = {"dialect": "openai", "base_url": "http://127.0.0.1/v1"} | changes
    inside = ", ".join(f"{name}: {value}" for name, value in fields.items())
    return f"providers: {{p: {{{inside}}}}}\n"


def test_everything_in_a_file_arrives():
    config = parsed(
        """
        listen: {host: "::", port: 0, ops_port: 0, tls: {certificate: c.pem, key: k.pem}}
        database: postgresql://me:${PW}@db:5432/gateway
        providers:
          a:
            {dialect: openai, base_url: "https://h/v1/", key: "${PW}", timeouts: {idle: 250ms}, usage_in_stream: false}
          sandbox: {dialect: openai, base_url: "sandbox:"}
        models:
          fast: {targets: [{model: a/x/y, weight: 95}, {model: sandbox/echo}], fallbacks: []}
        prices:
          a/x/y:
            input: "0.11"
            output: 3
            cached_input: "0.000000001"
            above: {tokens: 200000, input: "0.22"}
            tiers: {priority: 2, flex: 0.5, batch: "0.25"}
            per_request: "0.01"
            max_output_tokens: 8192
            context_tokens: 131072
            hidden_reasoning: true
        timeouts: {connect: 1s, first_byte: 5m, idle: 1500ms, total: 24h}
        limits: {month_usd: null, run_usd: "2.50", request_usd: 7, output_tokens: null,
                 over_ceiling: refuse, short_budget: refuse, require_run: true, timezone: Europe/Berlin,
                 alert_at: [1, 99]}
        webhooks: {ops: {url: "https://h/x?y=${PW}", secret: "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}
        ledger: {lease_ttl: 1m, lease_share: 1}
        privacy: {content_days: 1, trace_days: 2}
        aggregates: {url: https://hub.example, secret: x}
        egress: {allow_private: true}
        shutdown: {grace: 0s}
        """,
        PW="p",
    )
    assert config.listen.tls is not None
    assert (config.listen.host, config.listen.port, config.listen.tls.key) == ("::", 0, "k.pem")
    assert config.database_url == Secret("postgresql://me:p@db:5432/gateway")
    own = config.providers[Provider("a")]
    assert (own.base_url, own.key) == ("https://h/v1", Secret("p"))
    assert config.timeouts_of(Provider("a")) == Timeouts(
        connect_ms=1000, first_byte_ms=300_000, idle_ms=250, total_ms=86_400_000
    )
    assert config.timeouts_of(Provider("sandbox")) == config.timeouts
    assert [(t.model, t.weight) for t in config.models["fast"].targets] == [
        ("a/x/y", 95),
        ("sandbox/echo", 1),
    ]
    price = config.prices["a/x/y"]
    assert (price.input, price.output, price.cached_input) == (110_000_000, 3_000_000_000, 1)
    assert price.above is not None
    assert (price.above.tokens, price.above.input, price.above.output) == (
        200_000,
        220_000_000,
        None,
    )
    assert price.tiers_ppm == {"priority": 2_000_000, "flex": 500_000, "batch": 250_000}
    assert (price.per_request, price.hidden_reasoning) == (10_000_000, True)
    limits = config.limits
    assert (limits.month_nusd, limits.run_nusd, limits.request_nusd) == (
        None,
        25 * 10**8,
        7 * 10**9,
    )
    assert (limits.output_tokens, limits.over_ceiling, limits.require_run) == (None, "refuse", True)
    assert (limits.timezone, limits.alert_at) == ("Europe/Berlin", (1, 99))
    ops = config.webhooks["ops"]
    assert (ops.url, ops.events) == ("https://h/x?y=p", ("budget.threshold",))
    assert ops.secret == Secret("whsec_" + 32 * "A")
    assert (config.ledger.lease_ttl_ms, config.ledger.lease_share_ppm) == (60_000, 1_000_000)
    assert config.shutdown.grace_ms == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/services/T/B/x?y=z",
        "http://127.0.0.1:9000/x",
        "http://[::1]/",
        "http://10.0.0.7",
        "http://[fd00::7]/x",
        "http://localhost:1",
        "http://receiver:8000/x",
        "http://receiver.monitoring.svc.cluster.local",
        "http://alerts.internal/x",
    ],
)
def test_a_webhook_goes_over_tls_or_stays_near(url: str):
    secret = "whsec_" + 32 * "A"
    config = parsed(f"webhooks: {{ops: {{url: '{url}', secret: {secret}}}}}")
    assert config.webhooks["ops"].url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/x",
        "http://0.0.0.0/x",
        "http://2130706433/x",
        "http://127.1/x",
        "http://localhost.example.com",
        "http://[2001:4860:4860::8888]/",
        "ftp://10.0.0.7/x",
        "https:///x",
        "https://h/x#y",
        "https://u@h/x",
        "//h/x",
    ],
)
def test_a_webhook_goes_nowhere_else(url: str):
    secret = "whsec_" + 32 * "A"
    with pytest.raises(ConfigurationInvalid):
        parsed(f"webhooks: {{ops: {{url: '{url}', secret: {secret}}}}}")


@given(st.binary(max_size=80))
def test_a_webhooks_secret_is_24_to_64_bytes(key: bytes):
    encoded = base64.b64encode(key).decode()
    for written in (f"whsec_{encoded}", f"whsec_{encoded.rstrip('=')}"):
        source = f"webhooks: {{ops: {{url: 'https://h', secret: '{written}'}}}}"
        if 24 <= len(key) <= 64:
            assert parsed(source).webhooks["ops"].secret.reveal() == written
        else:
            with pytest.raises(ConfigurationInvalid):
                parsed(source)


def test_a_configuration_can_not_be_changed():
    config = parsed("prices: {a/b: {}}")
    with pytest.raises(AttributeError):
        config.limits = config.limits
    with pytest.raises(TypeError):
        config.prices["a/c"] = config.prices["a/b"]


@pytest.mark.parametrize(
    "source", [b"", b"# only words\n", b"---\n", b"{}", b"\xef\xbb\xbf{}", b"~"]
)
def test_an_empty_file_is_the_built_in_defaults(source: bytes):
    assert parse(source, {}) == Config()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("yes", "yes"),
        ("010", "010"),
        ("1:30", "1:30"),
        ("0x1f", "0x1f"),
        ("'5'", "5"),
        ("2026-01-01", "2026-01-01"),
    ],
)
def test_yaml_does_not_turn_words_into_other_things(written: str, read: str):
    config = parsed(f"providers: {{p: {{dialect: openai, base_url: 'http://h', key: {written}}}}}")
    assert config.providers[Provider("p")].key == Secret(read)


@pytest.mark.parametrize(
    ("written", "nano"), [('"5"', 5 * 10**9), ("5", 5 * 10**9), ('"0.000000001"', 1), ("0", 0)]
)
def test_an_amount_is_a_text_or_a_whole_number(written: str, nano: int):
    assert parsed(f"limits: {{run_usd: {written}}}").limits.run_nusd == nano


@pytest.mark.parametrize(
    ("written", "ms"),
    [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("24h", 86_400_000), ("1d", 86_400_000)],
)
def test_a_duration_is_milliseconds_inside(written: str, ms: int):
    assert parsed(f"timeouts: {{total: {written}}}").timeouts.total_ms == ms


@given(st.integers(0, 10**18))
def test_an_amount_comes_back_as_it_was_written(nano: int):
    written = f"{Decimal(nano) / 10**9:f}"
    assert parsed(f"limits: {{run_usd: '{written}'}}").limits.run_nusd == nano


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("${A}", "one"),
        ("x-${A}-${B}", "x-one-${A}"),
        ("$${A}", "${A}"),
        ("$$${A}", "$${A}"),
        ("$A", "$A"),
        ("$", "$"),
        ("{A}", "{A}"),
    ],
)
def test_a_variable_is_replaced_once_and_can_be_escaped(written: str, key: str):
    config = parsed(provider(key=f'"{written}"'), A="one", B="${A}")
    assert config.providers[Provider("p")].key == Secret(key)


def test_a_variable_completes_amounts_and_durations():
    config = parsed("limits: {run_usd: '${CAP}'}\ntimeouts: {idle: '${N}s'}", CAP="2.5", N="7")
    assert (config.limits.run_nusd, config.timeouts.idle_ms) == (2_500_000_000, 7000)


SANDBOX = {"sandbox": ProviderSettings(dialect="openai", base_url="sandbox:")}
OPENAI = {
    "openai": ProviderSettings(
        dialect="openai", base_url="https://api.openai.com/v1", key=Secret(KEY)
    )
}


@pytest.mark.parametrize(
    ("text", "environ", "providers"),
    [
        ("", {}, SANDBOX),
        ("", {"OPENAI_API_KEY": ""}, SANDBOX),
        ("", {"OPENAI_API_KEY": KEY}, OPENAI),
        ("providers: {}", {"OPENAI_API_KEY": KEY}, SANDBOX),
        (
            "providers: {sandbox: {dialect: openai, base_url: 'sandbox:'}}",
            {"OPENAI_API_KEY": KEY},
            SANDBOX,
        ),
    ],
)
def test_providers_are_what_the_file_names_else_what_the_environment_offers(
    text: str, environ: dict[str, str], providers: dict[str, ProviderSettings]
):
    assert parse(text.encode(), environ).providers == providers


def test_a_bad_key_in_the_environment_is_refused_without_being_shown():
    said = r"^\$\.providers\.openai\.key: found a text \(not shown\), allowed is [^\n]*$"
    with pytest.raises(ConfigurationInvalid, match=said):
        parse(b"", {"OPENAI_API_KEY": f"{KEY}\n"})


@pytest.mark.parametrize(
    ("base_url", "setting", "is_asked"),
    [
        ("https://api.openai.com/v1", None, True),
        ("http://127.0.0.1:8000/v1", None, True),
        ("https://api.mistral.ai/v1", None, False),
        ("https://openrouter.ai/api/v1", None, False),
        ("https://notmistral.ai/v1", None, True),
        ("https://api.mistral.ai/v1", True, True),
        ("https://api.openai.com/v1", False, False),
        ("sandbox:", None, True),
    ],
)
def test_a_stream_is_asked_for_its_usage_where_the_host_can_bear_it(
    base_url: str, *, setting: bool | None, is_asked: bool
):
    settings = ProviderSettings(dialect="openai", base_url=base_url, usage_in_stream=setting)
    assert settings.is_usage_asked is is_asked


def test_only_the_sandbox_is_the_sandbox():
    assert SANDBOX["sandbox"].is_sandbox
    assert not OPENAI["openai"].is_sandbox


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("", []),
        ("limits: {run_usd: 1}\nprices: {a/b: {input: 1}}\nshutdown: {grace: 1s}", []),
        (
            "limits: {alert_at: [1]}\nwebhooks: {a: {url: 'https://h', secret: whsec_"
            + 32 * "A"
            + "}}",
            [],
        ),
        ("listen: {port: 1, host: '::'}", ["$.listen.host", "$.listen.port"]),
        ("listen: {tls: {certificate: a, key: b}}", ["$.listen.tls"]),
        ("database: postgresql://h/d\nlimits: {run_usd: 1}", ["$.database"]),
        ("ledger: {lease_ttl: 1s, lease_share: 1}", ["$.ledger.lease_ttl", "$.ledger.lease_share"]),
    ],
)
def test_a_reload_is_told_what_needs_a_restart(text: str, paths: list[str]):
    assert reloadable(Config(), parsed(text)) == paths
