"""What real providers were seen to do, or might, and what a client is to see of it.

A trap is a script for the scripted provider, and what is expected: `Same` as when the client speaks
to the provider itself, or something that the gateway says in its place.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.process.callers import Json

ALL = ("chat", "completions", "responses", "messages", "gemini", "gemini-array")
SSE = ("chat", "completions", "responses", "messages", "gemini")
OPENAI = ("chat", "completions")
STREAM, WHOLE = (True,), (False,)
BOTH = (True, False)

TEXT = "Grüße, 世界! 🐈\u200d⬛ a\u2028b\u0085c \U0001d11e, the end."
PROVIDER_KEY = "sk-provider-key-of-the-scripted-stand-in"
LONG = "What a secret prompt holds is nobody's business, and least of all that of a log."


@dataclass(frozen=True, slots=True)
class Same:
    """The client sees what it would see of the provider itself; the charge is its account."""

    basis: str = "reported"
    """metered: the provider's count can't be believed, and what was seen is charged."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing of the answer reaches the client, but a refusal of the gateway's own."""

    is_free: bool
    """Or else it costs the bound: it was sent, and nobody can say what of it was billed."""
    status: int = 502
    outcome: str = "provider_lost"


@dataclass(frozen=True, slots=True)
class Cut:
    """What came reaches the client, then an error event, and never the end."""

    outcome: str = "provider_lost"
    """cap_reached: what came was more than was held, and is charged all the same."""


@dataclass(frozen=True, slots=True)
class Broken:
    """What came reaches the client with the provider's own error event, which ends the stream."""

    basis: str = "metered"
    """none: it came before any output, and costs nothing."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The provider's own error answer reaches the client, and costs nothing."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)


Expected = Same | Refused | Cut | Broken | Passed


@dataclass(frozen=True, slots=True)
class Trap:
    name: str
    script: Json
    expected: Expected
    apis: tuple[str, ...] = ALL
    streams: tuple[bool, ...] = STREAM
    asks: Json = field(default_factory=dict)
    """Further members of the request."""
    is_counted: bool = True
    """Whether the client asks for the usage where it must; if not, it is to see nothing of it."""


def framings() -> Iterator[Trap]:
    yield Trap("plain", {}, Same(), ALL, BOTH)
    for name in ("crlf", "cr", "mixed", "no-space", "multiline"):
        yield Trap(name, {"framing": name}, Same(), SSE)
    yield Trap("split-crlf", _in_reads_of_their_own("split-crlf"), Same(), SSE)
    yield Trap("split-characters", _in_reads_of_their_own("split-characters"), Same(), ALL)
    for name in ("comments", "ids", "bom", "blank-lines", "no-last-blank"):
        yield Trap(name, {"framing": name}, Same(), SSE)
    # Gemini's events have no names.
    named = ("chat", "completions", "responses", "messages")
    yield Trap("unknown-events", {"framing": "unknown-events"}, Same(), named)
    for name in ("bytewise", "coalesced"):
        yield Trap(name, {"framing": name}, Same(), ALL)
    yield Trap("indented", {"framing": "indented"}, Same(), ("gemini-array",))
    yield Trap("cut-anywhere", {"write_bytes": 7}, Same(), ALL)
    yield Trap("big-event", {"pad_bytes": 2_000_000, "text": "x"}, Same(), ALL)
    yield Trap("slow", {"chunk_after": 0.002}, Same(), ALL)


def _in_reads_of_their_own(framing: str) -> Json:
    """Return a script whose pieces are far enough apart for each to be read by itself."""
    return {"framing": framing, "piece_after": 0.001, "text": TEXT[:14], "tokens_per_chunk": 2}


def hidden_usages() -> Iterator[Trap]:
    """Yield streams whose usage the gateway alone asks for: the client's bytes are as without it."""
    yield Trap("hidden", {}, Same(), OPENAI, is_counted=False)
    for name in (
        *("crlf", "cr", "no-space", "bom", "bytewise", "split-characters"),
        *("coalesced", "no-last-blank", "unknown-events"),
    ):
        yield Trap(f"hidden-{name}", {"framing": name}, Same(), OPENAI, is_counted=False)
    split = _in_reads_of_their_own("split-crlf")
    yield Trap("hidden-split-crlf", split, Same(), OPENAI, is_counted=False)
    yield Trap("hidden-late", {"usage_after": 0.3}, Same(), OPENAI, is_counted=False)
    yield Trap("hidden-none", {"usage": "never"}, Same("metered"), OPENAI, is_counted=False)


def ends() -> Iterator[Trap]:
    named_end = ("chat", "completions", "messages")
    yield Trap("no-end", {"terminator": "never"}, Same(), named_end)
    yield Trap("no-end", {"terminator": "never"}, Cut(), ("responses", "gemini"))
    yield Trap("two-ends", {"terminator": "twice"}, Same(), (*named_end, "responses"))
    yield Trap("more-after-the-end", {"terminator": "followed"}, Same(), (*named_end, "responses"))
    for ending in ("reset", "close", "truncate"):
        yield Trap(f"{ending}-midway", {"ending": ending, "chunk_after": 0.005}, Cut(), ALL)
        first = {"ending": ending, "ending_after": 0}
        yield Trap(f"{ending}-at-once", first, Cut(), ("chat", "responses", "messages"))
        # These have no event before the first output.
        unseen = ("completions", "gemini", "gemini-array")
        yield Trap(f"{ending}-at-once", first, Refused(is_free=False), unseen)
    for ending in ("reset", "close"):
        unsaid = {"ending": ending, "ending_after": -1}
        yield Trap(f"{ending}-unanswered", unsaid, Refused(is_free=False), ALL, BOTH)
        yield Trap(f"{ending}-halfway", {"ending": ending}, Refused(is_free=False), ALL, WHOLE)
    endless = {"ignore_max_tokens": True, "text": None, "tokens": 4000, "chunk_after": 0.0005}
    yield Trap("endless", endless, Cut("cap_reached"), ALL)
    yield Trap("error-midway", {"ending": "error_event"}, Broken(), ALL)
    error_alone = {"ending": "error_event", "ending_after": -1}
    yield Trap("error-first", error_alone, Broken("none"), ALL)
    late = Refused(is_free=False, status=504, outcome="timed_out")
    yield Trap("silent", {"ending": "hang", "ending_after": -1}, late, ALL)
    yield Trap("stalled", {"ending": "hang"}, Cut("timed_out"), ALL)


def usages() -> Iterator[Trap]:
    """Yield usage that comes at odd times, and usage that can't be believed."""
    yield Trap("no-usage", {"usage": "never"}, Same("metered"), ALL, BOTH)
    yield Trap("usage-twice", {"usage": "twice"}, Same(), ALL)
    yield Trap("usage-each", {"usage": "each"}, Same(), ALL)
    yield Trap("usage-in-last", {"usage": "in_last"}, Same(), OPENAI)
    yield Trap("usage-differing", {"usage": "differing"}, Same(), OPENAI)
    yield Trap("usage-of-groq", {"usage": "groq"}, Same(), OPENAI)
    yield Trap("usage-late", {"usage": "asked", "usage_after": 0.3}, Same(), ("chat", "messages"))
    yield Trap("usage-first", {"usage": "first"}, Same("metered"), (*OPENAI, "messages"))
    for name, value in _UNBELIEVABLE.items():
        for api, field_name in _OUTPUT.items():
            script = {"usage_fields": {field_name: value}}
            yield Trap(f"usage-{name}", script, Same("metered"), (api,), BOTH)
    for api, field_name in _OUTPUT.items():
        # For Gemini null is to say nothing, and the total says it too.
        basis = "reported" if api.startswith("gemini") else "metered"
        missing = {"usage_fields": {field_name: None}}
        yield Trap("usage-null", missing, Same(basis), (api,), BOTH)
    for api, field_name in _OUTPUT.items():
        tokens = -(-len(TEXT) // 4)
        whole = {"usage_fields": {field_name: float(tokens)}}
        yield Trap("usage-integral", whole, Same(), (api,), BOTH)
        twice = f'{{"{field_name}": 1, "{field_name}": 2}}'
        yield Trap("usage-named-twice", {"usage_text": twice}, Same("metered"), (api,), BOTH)
        yield Trap("usage-empty", {"usage_text": "{}"}, Same("metered"), (api,), BOTH)
        yield Trap("usage-text", {"usage_text": '"many"'}, Same("metered"), (api,), BOTH)


_OUTPUT = {
    "chat": "completion_tokens",
    "completions": "completion_tokens",
    "responses": "output_tokens",
    "messages": "output_tokens",
    "gemini": "candidatesTokenCount",
    "gemini-array": "candidatesTokenCount",
}
_UNBELIEVABLE: dict[str, Any] = {
    "string": "5",
    "fraction": 5.5,
    "negative": -5,
    "huge": 10**30,
    "true": True,
}


def codings() -> Iterator[Trap]:
    for name in ("gzip", "deflate", "identity", "two-members", "zstd"):
        yield Trap(f"coded-{name}", {"coding": name}, Same(), ALL, BOTH)
    for name in ("br", "gzip-twice", "unknown", "false-label"):
        yield Trap(f"coded-{name}", {"coding": name}, Refused(is_free=False), ALL, BOTH)
    yield Trap("coded-truncated", {"coding": "truncated"}, Refused(is_free=False), ALL, WHOLE)
    yield Trap("coded-bomb", {"coding": "bomb"}, Refused(is_free=False), ALL, WHOLE)


def transfers() -> Iterator[Trap]:
    for name in (
        *("trailers", "chunk-extensions", "http10", "until-close", "sized", "interim"),
        *("hop-by-hop", "stray-answer", "closed-afterwards"),
    ):
        yield Trap(f"sent-{name}", {"transfer": name}, Same(), ALL, BOTH)
    for name in ("both-lengths", "two-lengths", "big-head", "many-headers", "bad-status"):
        yield Trap(f"sent-{name}", {"transfer": name}, Refused(is_free=False), ALL, BOTH)
    for name in ("size-too-large", "bad-chunk"):
        yield Trap(f"sent-{name}", {"transfer": name}, Refused(is_free=False), ALL, WHOLE)


def errors() -> Iterator[Trap]:
    """Yield error answers, and successes that are none."""
    for status in (400, 404, 413, 422, 429, 500, 503, 529):
        yield Trap(f"error-{status}", {"status": status}, Passed(status), ALL, BOTH)
    for status in (401, 402, 403):
        yield Trap(f"error-{status}", {"status": status}, Refused(is_free=True), ALL, BOTH)
    for name, headers in _RETRIES.items():
        script = {"status": 429, "headers": headers}
        yield Trap(f"retry-{name}", script, Passed(429, headers), ALL)
    by_its_clock = {
        "date": "Wed, 21 Oct 2099 07:28:00 GMT",
        "retry-after": "Wed, 21 Oct 2099 07:28:30 GMT",
    }
    dated = {"status": 429, "headers": by_its_clock}
    yield Trap("retry-at-a-date", dated, Passed(429, {"retry-after": "30"}), ALL)
    patient = {"status": 429, "headers": {"retry-after": "2592000"}}
    at_once = {"retry-after": "60", "x-should-retry": "false"}
    yield Trap("retry-in-a-month", patient, Passed(429, at_once), ALL)
    forced = {"x-should-retry": "true"}
    yield Trap("retry-forced", {"status": 400, "headers": forced}, Passed(400, forced), ALL)
    html = {"content-type": "text/html"}
    page = "<!doctype html><title>502 Bad Gateway</title>"
    bad: dict[str, Json] = {
        "html-error": {"status": 502, "raw": page, "headers": html},
        "big-error": {"status": 500, "body": {"error": {"message": "x" * 3_000_000}}},
        "empty-error": {"status": 500, "raw": ""},
        "key-in-error": {"status": 400, "body": {"error": {"message": f"bad {PROVIDER_KEY}"}}},
        "redirect": {"status": 307, "raw": "", "headers": {"location": "http://127.0.0.1:1/"}},
        "moved": {"status": 301, "raw": "", "headers": {"location": "/v1/models"}},
    }
    for name, script in bad.items():
        yield Trap(name, script, Refused(is_free=True), ALL, BOTH)
    quoted = {"status": 400, "body": {"error": {"message": f"not allowed: {LONG}"}}}
    for api, asked in _LONG_PROMPTS.items():
        yield Trap(
            "prompt-in-error", quoted, Refused(is_free=True, status=400), (api,), BOTH, asked
        )
    no_answers: dict[str, Json] = {
        "no-content": {"status": 204, "raw": ""},
        "accepted": {"status": 202, "body": {"id": "later"}},
        "empty": {"raw": ""},
        "html": {"raw": page, "headers": html},
        "no-json": {"raw": "{not json"},
        "json-null": {"raw": "null"},
        "json-array": {"raw": "[]"},
    }
    for name, script in no_answers.items():
        yield Trap(name, script, Refused(is_free=False), ALL, BOTH)
    said = {"type": "error", "error": {"code": 503, "message": "overloaded", "type": "x"}}
    yield Trap("error-in-success", {"body": said}, Refused(is_free=True), SSE, BOTH)
    yield Trap("no-stream", {"form": "whole"}, Refused(is_free=False), ALL)
    yield Trap("forced-stream", {"form": "stream"}, Refused(is_free=False), SSE, WHOLE)


_LONG_PROMPTS: dict[str, Json] = {
    "chat": {"messages": [{"role": "user", "content": LONG}]},
    "completions": {"prompt": LONG},
    "responses": {"input": LONG},
    "messages": {"messages": [{"role": "user", "content": LONG}]},
    "gemini-array": {"contents": [{"role": "user", "parts": [{"text": LONG}]}]},
}
_RETRIES: dict[str, dict[str, str]] = {
    "seconds": {"retry-after": "7"},
    "milliseconds": {"retry-after-ms": "250"},
}


def contents() -> Iterator[Trap]:
    """Yield what is strange inside of events, and what is not."""
    for name, text in _CHAT_EVENTS.items():
        yield Trap(f"chat-{name}", {"inserted": f"data: {text}"}, Same(), ("chat",))
    # Nobody can say what it holds, so all of it counts as output: more than was held for.
    deep = '{"choices": ' + "[" * 20_000 + "]" * 20_000 + "}"
    for api in ("chat", "messages"):
        yield Trap("event-deep", {"inserted": f"data: {deep}"}, Cut("cap_reached"), (api,))
    for name, text in _ODD_JSON.items():
        yield Trap(f"event-{name}", {"inserted": f"data: {text}"}, Same(), ("chat",))
        named = f"event: content_block_delta\ndata: {text}"
        yield Trap(f"event-{name}", {"inserted": named}, Same(), ("messages",))
        named = f"event: response.output_text.delta\ndata: {text}"
        yield Trap(f"event-{name}", {"inserted": named}, Same(), ("responses",))
        if text.strip():
            yield Trap(f"event-{name}", {"inserted": f"data: {text}"}, Same(), ("gemini",))
        if text.strip() and name != "no-json":
            yield Trap(f"event-{name}", {"inserted": text}, Same(), ("gemini-array",))
    first = {"inserted": f"data: {_FILTER}", "inserted_at": 0}
    yield Trap("filter-first", first, Same(), ("chat",))
    thinks = {"reasoning_tokens": 5, "thinks_aloud": True}
    speaking = ("chat", "responses", "messages", "gemini", "gemini-array")
    yield Trap("thinks-aloud", thinks, Same(), speaking, BOTH)
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    argued = {"tool_arguments": {"city": "Paris 🐈"}, "text": None}
    yield Trap("tool", argued, Same(), ("chat",), BOTH, {"tools": [tool]})
    claude = {"name": "f", "input_schema": {"type": "object"}}
    yield Trap("tool", argued, Same(), ("messages",), BOTH, {"tools": [claude]})
    flat = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
    yield Trap("tool", argued, Same(), ("responses",), BOTH, {"tools": [flat]})
    function = {"functionDeclarations": [{"name": "f"}]}
    yield Trap("tool", argued, Same(), ("gemini", "gemini-array"), BOTH, {"tools": [function]})
    yield Trap("two-choices", {}, Same(), OPENAI, BOTH, {"n": 2})
    yield Trap("cached", {"prompt_tokens": 40, "cached_tokens": 30}, Same(), ALL, BOTH)
    yield Trap("unseen-thought", {"reasoning_tokens": 9}, Same(), ALL, BOTH)


_FILTER = '{"choices": [], "prompt_filter_results": [{"prompt_index": 0}], "id": ""}'
_CHAT_EVENTS = {
    "no-choices": _FILTER,
    "null-choices": '{"id": "x", "choices": null}',
    "refusal": '{"choices": [{"index": 0, "delta": {"refusal": "no"}}]}',
    "logprobs": '{"choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": {"content":'
    ' [{"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}]}}]}',
    "empty-delta": '{"choices": [{"index": 0, "delta": {}}]}',
    "null-delta": '{"choices": [{"index": 0, "delta": null}]}',
    "other-index": '{"choices": [{"index": 7, "delta": {"content": "x"}}]}',
    "escapes": '{"choices": [{"index": 0, "delta": {"content": "\\u00e9\\ud83d\\ude00"}}]}',
}
_ODD_JSON = {
    "nan": '{"choices": [{"index": 0, "delta": {"content": "x"}, "logprobs": NaN}]}',
    "infinity": '{"choices": [], "n": -Infinity}',
    "surrogate": '{"choices": [{"index": 0, "delta": {"content": "\\ud800"}}]}',
    "bad-utf-8": '{"choices": [{"index": 0, "delta": {"content": "\xff\xfe\xc3"}}]}',
    "no-json": "{not json",
    "null": "null",
    "number": "12",
    "empty": "",
    "spaces": "   ",
}


def traps() -> list[Trap]:
    groups = (framings, hidden_usages, ends, usages, codings, transfers, errors, contents)
    return [trap for group in groups for trap in group()]
