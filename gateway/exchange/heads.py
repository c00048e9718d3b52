"""What of a provider's head is believed and passed on: an allow-list, in every dialect."""

from typing import Final

from gateway.providers.adapter import Headers

_KEPT: Final = frozenset(
    {
        b"content-type",
        b"openai-processing-ms",
        b"openai-version",
        b"request-id",
        b"retry-after",
        b"retry-after-ms",
        b"x-amzn-errortype",
        b"x-amzn-requestid",
        b"x-request-id",
        b"x-should-retry",
    }
)
_KEPT_PREFIXES: Final = (b"x-ratelimit-", b"anthropic-ratelimit-", b"x-amzn-bedrock-")
_JSON: Final = frozenset({b"application/json", b"application/x-amz-json-1.1"})
"""The media types of an error answer; the second is AWS's."""


def of_stream(headers: Headers) -> Headers:
    """Return the head of a stream that is passed on: no proxy may keep or hold back any of it."""
    return [
        *kept(headers),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
    ]


def is_json(headers: Headers) -> bool:
    """Return whether an error answer is JSON, as an SDK would read it."""
    return media_type(headers) in _JSON


def media_type(headers: Headers) -> bytes:
    """Return the media type in lower case, without its parameters; empty where there is none."""
    value = next((value for name, value in headers if name == b"content-type"), b"")
    return value.partition(b";")[0].strip().lower()


def kept(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers that are passed on."""
    return [
        (name, value) for name, value in headers if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    ]
