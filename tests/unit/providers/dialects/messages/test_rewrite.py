"""What is sent on: the client's own bytes, but for the model and a lower limit."""

import json

import pytest

from gateway.providers.adapter import Change, Endpoint, Path, Wanted
from gateway.providers.dialects.messages import Messages

DIALECT = Messages()
BODY = (
    b'{"max_tokens": 100, "model": "fast", "messages": [{"role": "user", "content": "h\\u00e9"}],'
    b' "thinking": {"type": "enabled", "budget_tokens": 20}, "temperature": 1.0, "speed": null}'
)


def written(output_tokens: int | None) -> bytes:
    wanted = DIALECT.read(Path(endpoint=Endpoint.MESSAGES), BODY)
    assert isinstance(wanted, Wanted)
    change = Change(
        model="claude-opus-5", output_tokens=output_tokens, reports_usage=True, names_tier=True
    )
    return DIALECT.write(wanted, change)


@pytest.mark.parametrize(
    ("ceiling", "sent"), [(None, 100), (100, 100), (4096, 100), (50, 50), (0, 0)]
)
def test_a_limit_is_only_ever_lowered(ceiling: int | None, sent: int):
    assert json.loads(written(ceiling)) == json.loads(BODY) | {
        "model": "claude-opus-5",
        "max_tokens": sent,
    }


def test_members_keep_their_order_and_their_very_bytes():
    found = written(None)
    assert list(json.loads(found)) == list(json.loads(BODY))
    assert b'[{"role": "user", "content": "h\\u00e9"}]' in found
    assert b'"temperature":1.0' in found
