"""The headers of a refusal that SDKs act on, whichever API they were written for.

OpenAI's and Anthropic's SDKs retry 408, 409, 429 and 5xx by themselves unless `x-should-retry`
forbids it. A `retry-after` above 120 s would stop OpenAI's from retrying at all, and Anthropic's sleeps
as long as it is told (openai 3.57 and anthropic 2.13, `_base_client.py`), so none is above 60 s.
"""

from typing import Final

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import STATUS

MOST_RETRY_AFTER_S: Final = 60

_RETRIED: Final = frozenset({429, 502, 503})
"""Where another try may help. After a 504 tokens may have been billed, so trying again is the client's choice."""


def headers(refused: Refused) -> list[tuple[bytes, bytes]]:
    """Return a refusal's headers, without those that name the call or its body's length."""
    status = STATUS[refused.code]
    found = [(b"content-type", b"application/json")]
    if status not in _RETRIED or refused.is_final:
        found.append((b"x-should-retry", b"false"))
    elif refused.code is not Code.UPSTREAM_ERROR or refused.retry_after_s is not None:
        wait = min(max(refused.retry_after_s or 1, 1), MOST_RETRY_AFTER_S)
        found.append((b"retry-after", b"%d" % wait))
    if refused.code is Code.TOKEN_INVALID:
        found.append((b"www-authenticate", b"Bearer"))
    if refused.code is Code.BODY_TOO_LARGE:
        found.append((b"connection", b"close"))
    return found
