"""The bodies that are sent: the client's own bytes, but for the ceiling and the model's name."""

import json

import pytest

from gateway.providers.adapter import Change, Endpoint, Path, Wanted
from gateway.providers.dialects.generate_content import GenerateContent

DIALECT = GenerateContent()


def write(
    body: bytes, ceiling: int | None = None, endpoint: Endpoint = Endpoint.GENERATE_CONTENT
) -> bytes:
    found = DIALECT.read(Path(endpoint=endpoint, model="p/m"), body)
    assert isinstance(found, Wanted), found
    change = Change(model="m-1", output_tokens=ceiling, reports_usage=True, names_tier=True)
    return DIALECT.write(found, change)


SPACED = b'{"contents":[ {"parts": [{"text" :"a\\u00e9"}]} ],"labels":{"x": 1.50}}'


def test_members_that_do_not_change_keep_their_bytes():
    assert write(SPACED) == SPACED


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, b',"generationConfig":{"maxOutputTokens":9}'),
        (b'"generationConfig":null', b',"generationConfig":{"maxOutputTokens":9}'),
        (b'"generation_config":null', b',"generation_config":{"max_output_tokens":9}'),
        (b'"generationConfig":{}', b',"generationConfig":{"maxOutputTokens":9}'),
        (b'"generation_config":{}', b',"generation_config":{"max_output_tokens":9}'),
        (
            b'"generationConfig":{"topP": 0.10}',
            b',"generationConfig":{"topP":0.10,"maxOutputTokens":9}',
        ),
        (
            b'"generation_config":{"maxOutputTokens":null}',
            b',"generation_config":{"maxOutputTokens":9}',
        ),
        (
            b'"generationConfig":{"max_output_tokens":10}',
            b',"generationConfig":{"max_output_tokens":9}',
        ),
        (
            b'"generationConfig":{"maxOutputTokens": 9 }',
            b',"generationConfig":{"maxOutputTokens": 9 }',
        ),
        (b'"generationConfig":{"maxOutputTokens":3}', b',"generationConfig":{"maxOutputTokens":3}'),
    ],
)
def test_the_ceiling_is_written_as_the_client_spells_it(given: bytes | None, sent: bytes):
    contents = b'{"contents":[]'
    body = contents + (b"," + given if given else b"") + b"}"
    assert write(body, 9) == contents + sent + b"}"


def test_a_ceiling_beside_the_config_stays_where_the_vendor_ignores_it():
    sent = json.loads(write(b'{"contents":[],"maxOutputTokens":5}', 9))
    assert sent == {
        "contents": [],
        "maxOutputTokens": 5,
        "generationConfig": {"maxOutputTokens": 9},
    }


def test_the_model_is_named_as_the_provider_knows_it_wherever_it_is_named():
    assert write(b'{"model":"models/p/m","contents":[]}') == b'{"model":"models/m-1","contents":[]}'
    one = b'{"model":"models/p/m","content":{"parts":[]}}'
    sent = b'{"model":"models/m-1","content":{"parts":[]}}'
    assert write(one, endpoint=Endpoint.EMBED_CONTENT) == sent
    batch = Endpoint.BATCH_EMBED_CONTENTS
    assert write(b'{"requests":[%b,%b]}' % (one, one), endpoint=batch) == (
        b'{"requests":[%b,%b]}' % (sent, sent)
    )
    assert write(b'{"requests":%b}' % one, endpoint=batch) == b'{"requests":%b}' % sent
    for name in (b"generateContentRequest", b"generate_content_request"):
        body = b'{"%b":{"model":"p/m","contents":[]}}' % name
        counted = b'{"%b":{"model":"models/m-1","contents":[]}}' % name
        assert write(body, endpoint=Endpoint.COUNT_TOKENS) == counted


def test_embeddings_get_no_ceiling():
    body = b'{"content":{"parts":[]}}'
    assert write(body, endpoint=Endpoint.EMBED_CONTENT) == body
