"""Requests of Bedrock's, read from their JSON, for tests."""

import msgspec

from gateway.core.refusal import Refused
from gateway.providers.adapter import Change, Endpoint, Headers, Path, Wanted
from gateway.providers.dialects.bedrock import Bedrock
from gateway.providers.dialects.bedrock.headers import HEEDED

CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
NOVA = "amazon.nova-pro-v1:0"
LLAMA = "us.meta.llama3-1-70b-instruct-v1:0"
MISTRAL = "mistral.mistral-large-2402-v1:0"
COMMAND = "cohere.command-r-v1:0"
TITAN = "amazon.titan-text-express-v1"
TITAN_EMBED = "amazon.titan-embed-text-v2:0"
COHERE_EMBED = "cohere.embed-english-v3"

SAID = [{"role": "user", "content": [{"text": "hello"}]}]
DIALECT = Bedrock()


def read(
    endpoint: Endpoint, body: object, *, model: str = CLAUDE, headers: Headers = ()
) -> Wanted | Refused:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    path = Path(endpoint=endpoint, model=model, heeds=HEEDED, headers=headers)
    return DIALECT.read(path, raw)


def taken(
    endpoint: Endpoint, body: object, *, model: str = CLAUDE, headers: Headers = ()
) -> Wanted:
    found = read(endpoint, body, model=model, headers=headers)
    assert isinstance(found, Wanted), found
    return found


def converse(*, model: str = CLAUDE, headers: Headers = (), **members: object) -> Wanted:
    body = {"messages": SAID} | members
    return taken(Endpoint.CONVERSE, body, model=model, headers=headers)


def refused(
    endpoint: Endpoint, body: object, *, model: str = CLAUDE, headers: Headers = ()
) -> Refused:
    found = read(endpoint, body, model=model, headers=headers)
    assert isinstance(found, Refused), found
    return found


def written(wanted: Wanted, ceiling: int | None, *, model: str = CLAUDE) -> bytes:
    change = Change(model=model, output_tokens=ceiling, reports_usage=False, names_tier=False)
    return DIALECT.write(wanted, change)
