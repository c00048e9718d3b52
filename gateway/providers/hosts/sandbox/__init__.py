"""The built-in provider: local, deterministic, free of charge, and not a model.

It answers as OpenAI's API does on the wire, so that caps, ceilings and the kill switch can be tried
without a key. `echo` repeats the words of the last user message at once; `slow` counts at 20 tokens
a second until its ceiling, long enough to be cut. A sandbox token is two bytes of text: no real
tokenizer finds more than twice as many, so its figures stay within what a meter tolerates.

It is pure: what it answers, and after how long, is a value. Whoever sends requests performs it.
"""

from typing import Final

from gateway.core.ids import Provider
from gateway.providers.adapter import Endpoint, Headers, PreparedRequest, Wanted
from gateway.providers.hosts.sandbox import chat, embeddings
from gateway.providers.hosts.sandbox.scripts import Script, refusal

SCHEME: Final = "sandbox"
BASE_URL: Final = "sandbox:"


class SandboxHost:
    """The sandbox's place: none. Its requests carry the scheme `sandbox` and go to `answer`."""

    def __init__(self, provider: Provider) -> None:
        """Take the name it was configured under."""
        self.provider = provider
        self.reports_usage = True
        self.has_tiers = False
        self.ceiling_field = "max_completion_tokens"

    def request(
        self,
        wanted: Wanted,
        body: bytes,
        *,
        model: str,  # noqa: ARG002  # the body says it
        key: str | None,  # noqa: ARG002  # it takes none
        passed: Headers,
    ) -> PreparedRequest:
        """Return the request of a call."""
        return PreparedRequest(
            method=b"POST",
            scheme=SCHEME,
            host=SCHEME,
            port=0,
            target=f"/{wanted.endpoint}".encode(),
            headers=[(b"content-type", b"application/json"), *passed],
            body=body,
        )


def answer(request: PreparedRequest) -> Script:
    """Return what the sandbox answers, and when."""
    if request.target == f"/{Endpoint.CHAT_COMPLETIONS}".encode():
        return chat.answer(request.body)
    if request.target == f"/{Endpoint.EMBEDDINGS}".encode():
        return embeddings.answer(request.body)
    return refusal(404, "The sandbox has chat completions and embeddings only.", "not_found")
