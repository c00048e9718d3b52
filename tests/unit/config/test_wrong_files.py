"""Wrong configurations, each with the exact line that it is refused with."""

from collections.abc import Mapping

import pytest

from gateway.config import parse
from gateway.config.checks import NOT_YET
from gateway.errors import ConfigurationInvalid

KEY = "sk-canary-5f1e"
ENVIRON = {
    "OPENAI_API_KEY": KEY,
    "GROQ_API_KEY": KEY,
    "PASSWORD": KEY,
    "EMPTY": "",
    "TZ_NAME": "UTC",
}
USD = 'dollars such as "2.50" or 5, at most 1000000000 with nine decimals'
WAIT = "a duration such as 250ms, 30s, 5m, 24h or 30d, from 1ms to 24h"
MODEL = "provider/model, such as openai/gpt-5-mini"
BASE_URL = "an http:// or https:// URL without user, query or fragment, or sandbox:"
LIMITS = "month_usd, run_usd, request_usd, output_tokens, over_ceiling, short_budget, require_run, timezone, alert_at"
SECTIONS = (
    "listen, database, providers, models, prices, timeouts, limits, webhooks, ledger, privacy, "
    "aggregates, egress, shutdown"
)
WEBHOOK_URL = (
    "an https:// URL without user or fragment; http:// only to this machine or a private network"
)
WEBHOOK_SECRET = 'whsec_ and 24 to 64 random bytes in base64, best as "${NAME}"'
NOT_SUPPORTED = "which is not supported by this release"


def line(source: str | bytes, environ: Mapping[str, str] = ENVIRON) -> str:
    """Return the line that a wrong file is refused with."""
    with pytest.raises(ConfigurationInvalid) as caught:
        parse(source.encode() if isinstance(source, str) else source, environ)
    return str(caught.value)


def provider(**changes: str) -> str:
    fields = {"dialect": "openai", "base_url": "http://127.0.0.1/v1"} | changes
    inside = ", ".join(f"{name}: {value}" for name, value in fields.items())
    return f"providers: {{p: {{{inside}}}}}\n"


def webhook(**changes: str) -> str:
    fields = {"url": "https://h/x", "secret": "whsec_" + "A" * 32} | changes
    inside = ", ".join(f"{name}: {value}" for name, value in fields.items())
    return f"webhooks: {{ops: {{{inside}}}}}\n"


WRONG = {
    # keys and kinds
    "limit: {}": f"$.limit: found an unknown key, allowed is {SECTIONS}; did you mean limits?",
    "limits: {run_us: 5}": f"$.limits.run_us: found an unknown key, allowed is {LIMITS}; did you mean run_usd?",
    "limits: {colour: 5}": f"$.limits.colour: found an unknown key, allowed is {LIMITS}",
    "limits: {run_nusd: 5}": f"$.limits.run_nusd: found an unknown key, allowed is {LIMITS}; did you mean run_usd?",
    '"a\\nb": 1': f'$["a\\nb"]: found an unknown key, allowed is {SECTIONS}',
    "limits:": "$.limits: found nothing (null), allowed is a mapping",
    "limits: 5": "$.limits: found 5, allowed is a mapping",
    "listen: [1]": "$.listen: found a list, allowed is a mapping",
    "prices: free": '$.prices: found text "free", allowed is a mapping',
    "listen: {tls: {certificate: c.pem}}": "$.listen.tls.key: found no key, allowed is the path of a file",
    "providers: {p: {base_url: 'http://h'}}": (
        "$.providers.p.dialect: found no key, allowed is one of anthropic, azure, bedrock, gemini, openai"
    ),
    "providers: {p: {dialect: openai}}": f"$.providers.p.base_url: found no key, allowed is {BASE_URL}",
    # money
    "limits: {run_usd: 0.11}": (
        '$.limits.run_usd: found 0.11, allowed is an exact amount: put it in quotes, "0.11"'
    ),
    "limits: {run_usd: 5.0000000001}": f"$.limits.run_usd: found 5.0000000001, allowed is {USD} or null",
    "limits: {run_usd: -1}": f"$.limits.run_usd: found -1, allowed is {USD} or null",
    "limits: {run_usd: '-1'}": f'$.limits.run_usd: found text "-1", allowed is {USD} or null',
    "limits: {run_usd: $5}": f'$.limits.run_usd: found text "$5", allowed is {USD} or null',
    "limits: {run_usd: 1e3}": f'$.limits.run_usd: found text "1e3", allowed is {USD} or null',
    "limits: {run_usd: .nan}": f'$.limits.run_usd: found text ".nan", allowed is {USD} or null',
    "limits: {run_usd: true}": f"$.limits.run_usd: found true, allowed is {USD} or null",
    "limits: {month_usd: [5]}": f"$.limits.month_usd: found a list, allowed is {USD} or null",
    "limits: {month_usd: 1000000001}": f"$.limits.month_usd: found 1000000001, allowed is {USD} or null",
    "prices: {groq/llama: {input: 0.11}}": (
        '$.prices["groq/llama"].input: found 0.11, allowed is an exact amount: put it in quotes, "0.11"'
    ),
    "prices: {llama: {input: 1}}": f"$.prices.llama: found such a key, allowed is {MODEL}",
    "prices: {a/b: {above: {input: 1}}}": (
        '$.prices["a/b"].above.tokens: found no key, allowed is a whole number from 1 to 1000000000'
    ),
    "prices: {a/b: {tiers: {flex: 0}}}": (
        '$.prices["a/b"].tiers.flex: found 0, allowed is a number above 0, at most 1000, '
        "with at most six decimals"
    ),
    "prices: {a/b: {context_tokens: 0}}": (
        '$.prices["a/b"].context_tokens: found 0, allowed is a whole number from 1 to 1000000000 or null'
    ),
    "prices: {a/b: {hidden_reasoning: no}}": (
        '$.prices["a/b"].hidden_reasoning: found text "no", allowed is true or false or null'
    ),
    # numbers, words, durations
    "limits: {output_tokens: 1.5}": (
        "$.limits.output_tokens: found 1.5, allowed is a whole number from 1 to 1000000000 or null"
    ),
    "limits: {output_tokens: '5'}": (
        '$.limits.output_tokens: found text "5", allowed is a whole number from 1 to 1000000000 or null'
    ),
    "limits: {output_tokens: true}": (
        "$.limits.output_tokens: found true, allowed is a whole number from 1 to 1000000000 or null"
    ),
    "limits: {over_ceiling: cut}": (
        '$.limits.over_ceiling: found text "cut", allowed is one of clamp, refuse'
    ),
    "limits: {require_run: yes}": '$.limits.require_run: found text "yes", allowed is true or false',
    "limits: {timezone: Mars/Olympus}": (
        '$.limits.timezone: found text "Mars/Olympus", allowed is UTC or a name of the IANA time zone '
        "database such as Europe/Berlin"
    ),
    "limits: {timezone: ../../etc/passwd}": (
        '$.limits.timezone: found text "../../etc/passwd", allowed is UTC or a name of the IANA time '
        "zone database such as Europe/Berlin"
    ),
    "limits: {timezone: America}": (
        '$.limits.timezone: found text "America", allowed is UTC or a name of the IANA time '
        "zone database such as Europe/Berlin"
    ),
    "timeouts: {idle: 60}": f"$.timeouts.idle: found 60, allowed is {WAIT}",
    "timeouts: {idle: 60 s}": f'$.timeouts.idle: found text "60 s", allowed is {WAIT}',
    "timeouts: {idle: 0s}": f'$.timeouts.idle: found text "0s", allowed is {WAIT}',
    "timeouts: {total: 25h}": f'$.timeouts.total: found text "25h", allowed is {WAIT}',
    "timeouts: {total: null}": f"$.timeouts.total: found nothing (null), allowed is {WAIT}",
    "ledger: {lease_ttl: 999ms}": (
        '$.ledger.lease_ttl: found text "999ms", allowed is a duration such as 250ms, 30s, 5m, 24h or '
        "30d, from 1s to 1h"
    ),
    "ledger: {lease_share: 0}": (
        "$.ledger.lease_share: found 0, allowed is a number above 0, at most 1, with at most six decimals"
    ),
    "ledger: {lease_share: 1.000001}": (
        "$.ledger.lease_share: found 1.000001, allowed is a number above 0, at most 1, "
        "with at most six decimals"
    ),
    "privacy: {trace_days: 0}": "$.privacy.trace_days: found 0, allowed is a whole number from 1 to 3650",
    # places
    "listen: {port: 65536}": "$.listen.port: found 65536, allowed is a whole number from 0 to 65535",
    "listen: {port: 9464}": "$.listen.ops_port: found 9464, which is listen.port, allowed is another port, or 0",
    "listen: {host: a b}": (
        '$.listen.host: found text "a b", allowed is an address or host name such as 127.0.0.1'
    ),
    "database: mysql://u:pw@h/d": (
        "$.database: found a text (not shown), allowed is embedded or "
        "postgresql://user:password@host/database"
    ),
    "database: null": (
        "$.database: found nothing (null), allowed is embedded or postgresql://user:password@host/database"
    ),
    "database: 'postgresql://h:99999/d'": (
        "$.database: found a text (not shown), allowed is embedded or "
        "postgresql://user:password@host/database"
    ),
    provider(
        base_url="ftp://h"
    ): f'$.providers.p.base_url: found text "ftp://h", allowed is {BASE_URL}',
    provider(base_url="'http://me:pw@h/v1'"): (
        f'$.providers.p.base_url: found text "http://***h/v1", allowed is {BASE_URL}'
    ),
    provider(base_url="'http://h/v1?key=pw'"): (
        f'$.providers.p.base_url: found text "http://h/v1?***", allowed is {BASE_URL}'
    ),
    provider(base_url="'http://h/v1#x'"): (
        f'$.providers.p.base_url: found text "http://h/v1#x", allowed is {BASE_URL}'
    ),
    provider(base_url="'http://[::1/v1'"): (
        f'$.providers.p.base_url: found text "http://[::1/v1", allowed is {BASE_URL}'
    ),
    provider(base_url="'http:///v1'"): (
        f'$.providers.p.base_url: found text "http:///v1", allowed is {BASE_URL}'
    ),
    provider(key="'two words'"): (
        "$.providers.p.key: found a text (not shown), allowed is 1 to 4096 visible ASCII characters "
        'without spaces, best as "${NAME}" or null'
    ),
    provider(key="k", keys="[k2]"): (
        "$.providers.p.keys: found keys besides a key, allowed is one or the other"
    ),
    provider(keys="[k1, k2, k1]"): (
        "$.providers.p.keys[2]: found the same key twice, allowed is each key once"
    ),
    provider(keys="k1"): '$.providers.p.keys: found text "k1", allowed is a list',
    provider(circuit="{failures: 0}"): (
        "$.providers.p.circuit.failures: found 0, allowed is a whole number from 1 to 1000"
    ),
    provider(circuit="off"): ('$.providers.p.circuit: found text "off", allowed is a mapping'),
    provider(retries="6"): (
        "$.providers.p.retries: found 6, allowed is a whole number from 0 to 5"
    ),
    provider(max_concurrent="0"): (
        "$.providers.p.max_concurrent: found 0, allowed is a whole number from 1 to 1000000 or null"
    ),
    provider(key='"${EMPTY}"'): (
        "$.providers.p.key: found a text (not shown), allowed is 1 to 4096 visible ASCII characters "
        'without spaces, best as "${NAME}" or null'
    ),
    provider(
        timeouts="{idle: 1}"
    ): f"$.providers.p.timeouts.idle: found 1, allowed is {WAIT} or null",
    "providers: {a/b: {}}": (
        '$.providers["a/b"]: found such a key, allowed is 1 to 64 of A-Za-z0-9._-, such as openai'
    ),
    # the environment
    provider(key='"${UNSET}"'): (
        "$.providers.p.key: found ${UNSET}, which the environment does not set, "
        "allowed is a variable that is set"
    ),
    "limits: {timezone: '${}'}": (
        "$.limits.timezone: found ${ without a name, allowed is ${NAME}, or $${ for the two characters"
    ),
    "limits: {timezone: '${PASSWORD}'}": (
        '$.limits.timezone: found text "${PASSWORD}", allowed is UTC or a name of the IANA time zone '
        "database such as Europe/Berlin"
    ),
    "listen: {port: '${PASSWORD}'}": (
        '$.listen.port: found text "${PASSWORD}", allowed is a whole number from 0 to 65535'
    ),
    # parts that contradict each other
    provider() + "models: {fast: {targets: []}}": (
        "$.models.fast.targets: found a list of 0, allowed is at least 1"
    ),
    provider() + "models: {fast: {targets: [{model: p/m, weight: 0}]}}": (
        "$.models.fast.targets: found only weights of 0, allowed is at least one above 0"
    ),
    provider() + "models: {fast: {targets: [{model: p/m, weight: -1}]}}": (
        "$.models.fast.targets[0].weight: found -1, allowed is a whole number from 0 to 1000000"
    ),
    provider() + "models: {fast: {targets: [{model: p/m}, {model: m}]}}": (
        f'$.models.fast.targets[1].model: found text "m", allowed is {MODEL}'
    ),
    "models: {fast: {targets: [{model: openia/m}]}}": (
        "$.models.fast.targets[0].model: found a provider that is not configured, "
        "allowed is one of openai; did you mean openai?"
    ),
    provider() + "models: {p/m: {targets: [{model: p/m}]}}": (
        '$.models["p/m"]: found a name that reads as a model of the provider p, '
        "allowed is a name of its own"
    ),
    "models: {fast: {targets: [{model: openai/m}], fallbacks: [openai/n, openia/m]}}": (
        "$.models.fast.fallbacks[1]: found a provider that is not configured, "
        "allowed is one of openai; did you mean openai?"
    ),
    provider() + "models: {fast: {targets: [{model: p/m}], fallbacks: [slow]}}": (
        f'$.models.fast.fallbacks[0]: found text "slow", allowed is {MODEL}'
    ),
    provider()
    + "models: {fast: {targets: [{model: p/m}], fallbacks: [a/b]}, a/b: {targets: [{model: p/m}]}}": (
        "$.models.fast.fallbacks[0]: found a name under models, allowed is provider/model itself"
    ),
    provider() + "models: {fast: {targets: [{model: p/m}], fallbacks: [p/n, p/n]}}": (
        "$.models.fast.fallbacks[1]: found the same model twice, allowed is each model once"
    ),
    provider() + "models: {fast: {targets: [{model: p/m}], fallbacks: [p/m]}}": (
        "$.models.fast.fallbacks[0]: found the one target itself, allowed is another model"
    ),
    # alerts
    "limits: {alert_at: [50, 101]}": (
        "$.limits.alert_at[1]: found 101, allowed is a whole number from 1 to 100"
    ),
    "limits: {alert_at: [0]}": "$.limits.alert_at[0]: found 0, allowed is a whole number from 1 to 100",
    "limits: {alert_at: 50}": "$.limits.alert_at: found 50, allowed is a list",
    "limits: {alert_at: [50, 50]}": (
        "$.limits.alert_at: found 50, 50, allowed is each above the one before, such as 50, 80, 100"
    ),
    "webhooks: {'a b': {}}": '$.webhooks["a b"]: found such a key, allowed is 1 to 64 of A-Za-z0-9._-, such as ops',
    "webhooks: {ops: {url: 'https://h'}}": f"$.webhooks.ops.secret: found no key, allowed is {WEBHOOK_SECRET}",
    webhook(url="'http://example.com/x'"): (
        f"$.webhooks.ops.url: found a text (not shown), allowed is {WEBHOOK_URL}"
    ),
    webhook(url="'https://u:p@example.com/x'"): (
        f"$.webhooks.ops.url: found a text (not shown), allowed is {WEBHOOK_URL}"
    ),
    webhook(secret="whsec_AAAA"): (
        f"$.webhooks.ops.secret: found a text (not shown), allowed is {WEBHOOK_SECRET}"
    ),
    webhook(events="[]"): "$.webhooks.ops.events: found a list of 0, allowed is at least 1",
    webhook(events="[budget.spent]"): (
        '$.webhooks.ops.events[0]: found text "budget.spent", allowed is one of budget.threshold'
    ),
    provider(aws="{region: Frankfurt}", dialect="bedrock"): (
        '$.providers.p.aws.region: found text "Frankfurt", allowed is an AWS region such as us-east-1 or null'
    ),
    provider(
        aws="{}"
    ): "$.providers.p.aws: found aws of a provider that speaks openai, allowed is none",
    provider(aws="{}", dialect="bedrock", key="k"): (
        "$.providers.p.aws: found aws besides a key, allowed is one or the other"
    ),
    # not in this release
    provider(key="vault"): (
        f'$.providers.p.key: found vault, {NOT_SUPPORTED}, allowed is the key itself, best as "${{NAME}}"'
    ),
    "privacy: {allow_content: true}": (
        f"$.privacy.allow_content: found true, {NOT_SUPPORTED}, allowed is false"
    ),
    "aggregates: {enabled: true}": f"$.aggregates.enabled: found true, {NOT_SUPPORTED}, allowed is false",
    # YAML itself
    "- a": "$: found a file that is not a mapping, allowed is a mapping of sections",
    "just words": "$: found a file that is not a mapping, allowed is a mapping of sections",
    "a: 1\n---\nb: 1": "$: found a second document at line 2, allowed is one",
    "limits:\n  run_usd: 5\n  run_usd: 500": (
        "$.limits.run_usd: found the same key twice at line 3, allowed is each key once"
    ),
    "listen: &a {}\negress: *a": (
        "$.listen: found an anchor or alias at line 1, allowed is the value written out"
    ),
    "limits: {<<: *a}": '$.limits["<<"]: found an anchor or alias at line 1, allowed is the value written out',
    "limits: {run_usd: !!str 5}": (
        "$.limits.run_usd: found a tag at line 1, allowed is a value without one"
    ),
    "limits: !!python/object/apply:os.system [ls]": (
        "$.limits: found a tag at line 1, allowed is a value without one"
    ),
    "1: a": "$: found a key that is not text at line 1, allowed is text, in quotes where needed",
    "? [a]\n: b": "$: found a key that is not text at line 1, allowed is text, in quotes where needed",
    "limits: " + "[" * 20 + "]" * 20: "$: found nesting at line 1, allowed is at most 16 levels",
    b"a: \xff": "$: found a byte that is not UTF-8 at 3, allowed is UTF-8",
    b"a: \x00": "$: found invalid YAML, allowed is one YAML mapping",
    b"#" * (1 << 20) + b"#": "$: found a file of 1048577 bytes, allowed is at most 1048576",
}


@pytest.mark.parametrize(("source", "said"), WRONG.items(), ids=range(len(WRONG)))
def test_a_wrong_file_is_refused_with_its_path_what_was_found_and_what_is_allowed(
    source: str | bytes, said: str
):
    assert line(source) == said


def test_invalid_yaml_is_refused_with_its_line():
    """The words in brackets are the parser's own, which differ with and without libyaml."""
    said = line("limits:\n  run_usd: [5}\n")
    assert said.startswith("$: found invalid YAML at line 2, column 14 (")
    assert said.endswith("), allowed is one YAML mapping")


def test_deep_nesting_is_refused_without_recursing_into_it():
    assert line("a: " + "[" * 100_000).startswith("$: found ")


def test_a_long_text_is_shortened_in_the_line():
    said = line(f"limits: {{timezone: {'z' * 5000}}}")
    assert f'"{"z" * 60}"…' in said
    assert len(said) < 250


@pytest.mark.parametrize(
    "text",
    [
        provider(key=f"'{KEY} x'"),
        provider(key='"${OPENAI_API_KEY} x"'),
        provider(keys='["${OPENAI_API_KEY}", "${OPENAI_API_KEY}"]'),
        f"database: mysql://u:{KEY}@h/d",
        provider(base_url=f"'http://u:{KEY}@h'"),
        provider(base_url=f"'http://h?key={KEY}'"),
        webhook(secret=KEY),
        webhook(secret='"${PASSWORD}"'),
        webhook(url=f"'http://example.com/{KEY}'"),
        webhook(url=f"'https://u:{KEY}@h/'"),
        "limits: {timezone: '${PASSWORD}'}",
        "limits: {over_ceiling: '${PASSWORD}'}",
        "models: {m: {targets: [{model: '${PASSWORD}/x'}]}}",
        f"providers: {{p: {{key: [{KEY}]}}}}",
        f"providers: {{p: {{key: {KEY}",
    ],
)
def test_no_line_holds_a_secret(text: str):
    assert KEY not in line(text)


def test_a_key_among_several_can_not_be_in_the_vault_either():
    said = line(provider(keys="[k1, vault]"))
    assert said.startswith(f"$.providers.p.keys[1]: found vault, {NOT_SUPPORTED}")


def test_each_thing_not_in_this_release_has_its_line_in_the_table_of_wrong_files():
    assert sum(NOT_SUPPORTED in said for said in WRONG.values()) == len(NOT_YET)
