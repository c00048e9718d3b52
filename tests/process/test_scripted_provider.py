"""The scripted provider: it does what it is told, and its account is what happened."""

import asyncio
import importlib
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.process.conversation import HELLO, MODEL, WEATHER, client_of, said
from tests.process.script import WORDS
from tests.process.standins import Scripted, Standin, wait_until


@pytest.fixture
def scripted_sdk(scripted: Scripted) -> Iterator[openai.OpenAI]:
    with client_of(scripted) as client:
        yield client


@pytest.mark.filterwarnings("ignore:open_binary is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
def test_each_word_of_the_scripted_provider_is_one_token(name: str) -> None:
    bpe_openai = importlib.import_module("bpe_openai")  # warns, on import, on Python 3.11
    encoding = bpe_openai.get_encoding(name)
    assert [len(encoding.encode(f" {word}")) for word in WORDS] == [1] * len(WORDS)
    text = "".join(f" {word}" for word in WORDS * 20)
    assert len(encoding.encode(text)) == 20 * len(WORDS)


def test_the_account_of_a_stream_is_what_arrived(
    scripted: Scripted, scripted_sdk: openai.OpenAI
) -> None:
    scripted.script(MODEL, tokens=40, tokens_per_chunk=3)
    with scripted_sdk.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        chunks = list(stream)
    (served,) = scripted.settled(1)
    assert len(said(chunks).split()) == 40
    assert served["outcome"] == "complete"
    assert served["completion_tokens"] == served["billed_completion_tokens"] == 40
    assert served["chunks"] == len(served["chunk_times"]) == 14
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 40
    assert chunks[-1].usage.prompt_tokens == served["prompt_tokens"] == 3 + 3 + 3
    assert served["usage_reported"]
    assert served["headers"]["authorization"] == f"Bearer {scripted.key}"
    assert served["body"]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("spelling", ["max_tokens", "max_completion_tokens"])
def test_a_limit_is_honoured_unless_the_script_says_otherwise(
    scripted: Scripted, scripted_sdk: openai.OpenAI, spelling: str
) -> None:
    def finish_and_words(limit: int) -> tuple[str, int]:
        answer = scripted_sdk.chat.completions.create(
            model=MODEL, messages=HELLO, extra_body={spelling: limit}
        )
        choice = answer.choices[0]
        return choice.finish_reason, len((choice.message.content or "").split())

    assert finish_and_words(5) == ("length", 5)
    assert finish_and_words(16) == ("stop", 16)
    scripted.script(MODEL, ignore_max_tokens=True)
    assert finish_and_words(5) == ("stop", 16)
    assert [served["completion_tokens"] for served in scripted.settled(3)] == [5, 16, 16]


def test_each_choice_is_charged(scripted: Scripted, scripted_sdk: openai.OpenAI) -> None:
    answer = scripted_sdk.chat.completions.create(model=MODEL, messages=HELLO, n=3, max_tokens=4)
    with scripted_sdk.chat.completions.create(
        model=MODEL, messages=HELLO, n=3, max_tokens=4, stream=True
    ) as stream:
        texts = {0: "", 1: "", 2: ""}
        for chunk in stream:
            texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert [choice.message.content for choice in answer.choices] == list(texts.values())
    assert [served["completion_tokens"] for served in scripted.settled(2)] == [12, 12]


def test_thought_and_overbilling_are_told_apart(
    scripted: Scripted, scripted_sdk: openai.OpenAI
) -> None:
    scripted.script(MODEL, reasoning_tokens=6, extra_billed_tokens=7, cached_tokens=2)
    usage = scripted_sdk.chat.completions.create(
        model=MODEL, messages=HELLO, max_completion_tokens=10
    ).usage
    (served,) = scripted.settled(1)
    assert served["completion_tokens"] == 10
    assert served["billed_completion_tokens"] == 17
    assert usage is not None
    assert usage.completion_tokens == 17
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 6
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 2


@pytest.mark.parametrize(
    ("usage", "asks", "expected"),
    [
        ("asked", False, 0),
        ("asked", True, 1),
        ("never", True, 0),
        ("always", False, 1),
        ("twice", False, 2),
        ("each", False, 4),
    ],
)
def test_usage_comes_as_often_as_the_script_says(
    scripted: Scripted, scripted_sdk: openai.OpenAI, usage: str, expected: int, *, asks: bool
) -> None:
    scripted.script(MODEL, tokens=2, usage=usage)
    options: Any = {"include_usage": True} if asks else openai.omit
    with scripted_sdk.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options=options
    ) as stream:
        reports = [chunk.usage for chunk in stream if chunk.usage is not None]
    assert len(reports) == expected
    assert all(report.completion_tokens <= 2 for report in reports)


def test_a_client_that_leaves_is_noticed_at_once_and_charged_for_what_was_produced(
    scripted: Scripted, scripted_sdk: openai.OpenAI
) -> None:
    scripted.script(MODEL, tokens=1000, chunk_after=0.02)
    with scripted_sdk.chat.completions.create(model=MODEL, messages=HELLO, stream=True) as stream:
        received = [chunk for _, chunk in zip(range(4), stream, strict=False)]
    left = time.monotonic()
    (served,) = scripted.settled(1)
    assert len(said(received).split()) == 3
    assert served["outcome"] == "client_gone"
    assert 3 <= served["gone_at_chunk"] == served["completion_tokens"] < 20
    assert served["gone_at"] - left < 0.1


def test_a_client_that_leaves_a_silent_provider_is_noticed(scripted: Scripted) -> None:
    scripted.script(MODEL, ending="hang", ending_after=-1)
    with client_of(scripted) as client, pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.2).chat.completions.create(
            model=MODEL, messages=HELLO, stream=True
        )
    (served,) = scripted.settled(1)
    assert (served["outcome"], served["gone_at_chunk"]) == ("client_gone", 0)


@pytest.mark.parametrize(
    ("ending", "seen_as"), [("reset", httpx.ReadError), ("close", httpx.RemoteProtocolError)]
)
def test_a_stream_can_be_broken_off(
    scripted: Scripted, ending: str, seen_as: type[Exception]
) -> None:
    scripted.script(MODEL, ending=ending, ending_after=3, chunk_after=0.01)
    with pytest.raises(seen_as):
        post(scripted, {"model": MODEL, "messages": HELLO, "stream": True})
    (served,) = scripted.settled(1)
    assert (served["outcome"], served["chunks"], served["completion_tokens"]) == (
        "broken_off",
        3,
        3,
    )


def test_a_stream_can_end_without_done(scripted: Scripted, scripted_sdk: openai.OpenAI) -> None:
    scripted.script(MODEL, ending="truncate", ending_after=2)
    with scripted_sdk.chat.completions.create(model=MODEL, messages=HELLO, stream=True) as stream:
        chunks = list(stream)
    assert len(said(chunks).split()) == 2
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks)
    assert scripted.settled(1)[0]["outcome"] == "broken_off"


def test_a_stream_can_end_with_an_error_event(
    scripted: Scripted, scripted_sdk: openai.OpenAI
) -> None:
    scripted.script(MODEL, ending="error_event", ending_after=1)
    with (
        pytest.raises(openai.APIError, match="as the script says"),
        scripted_sdk.chat.completions.create(model=MODEL, messages=HELLO, stream=True) as stream,
    ):
        list(stream)


@pytest.mark.parametrize(("ending", "ending_after"), [("reset", -1), ("close", 0)])
def test_a_whole_answer_can_be_broken_off(
    scripted: Scripted, scripted_sdk: openai.OpenAI, ending: str, ending_after: int
) -> None:
    scripted.script(MODEL, ending=ending, ending_after=ending_after)
    with pytest.raises(openai.APIConnectionError):
        scripted_sdk.chat.completions.create(model=MODEL, messages=HELLO)
    assert scripted.settled(1)[0]["completion_tokens"] == 16, "produced, though it never arrived"


def test_an_error_answer_is_charged_nothing(
    scripted: Scripted, scripted_sdk: openai.OpenAI
) -> None:
    scripted.script(MODEL, status=429, headers={"retry-after": "7"})
    with pytest.raises(openai.RateLimitError) as raised:
        scripted_sdk.chat.completions.create(model=MODEL, messages=HELLO)
    assert raised.value.response.headers["retry-after"] == "7"
    (served,) = scripted.settled(1)
    assert (served["outcome"], served["prompt_tokens"], served["completion_tokens"]) == (
        "refused",
        0,
        0,
    )


def test_an_error_can_come_with_status_200(scripted: Scripted) -> None:
    scripted.script(MODEL, body={"error": {"message": "overloaded"}})
    answer = post(scripted, {"model": MODEL, "messages": []})
    assert (answer.status_code, answer.json()) == (200, {"error": {"message": "overloaded"}})


def test_a_request_can_bring_its_own_script(
    scripted: Scripted, scripted_sdk: openai.OpenAI
) -> None:
    by_metadata = scripted_sdk.chat.completions.create(
        model=MODEL, messages=HELLO, metadata={"script": json.dumps({"tokens": 2})}
    )
    by_header = scripted_sdk.chat.completions.create(
        model=MODEL, messages=HELLO, extra_headers={"x-script": json.dumps({"tokens": 3})}
    )
    words = [len((a.choices[0].message.content or "").split()) for a in (by_metadata, by_header)]
    assert words == [2, 3]


def test_a_script_that_makes_no_sense_is_refused(scripted_sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="tokenz"):
        scripted_sdk.chat.completions.create(
            model=MODEL, messages=HELLO, extra_headers={"x-script": '{"tokenz": 3}'}
        )


def test_the_prompt_is_echoed_in_text_and_in_arguments(
    scripted: Scripted, scripted_sdk: openai.OpenAI
) -> None:
    scripted.script(MODEL, echo=True)
    text = scripted_sdk.chat.completions.create(model=MODEL, messages=HELLO)
    call = scripted_sdk.chat.completions.create(model=MODEL, messages=HELLO, tools=[WEATHER])
    assert text.choices[0].message.content == "hello there"
    calls = call.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert json.loads(calls[0].function.arguments) == {"text": "hello there"}


def test_a_schema_is_followed(scripted_sdk: openai.OpenAI) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["a", "b"]},
            "count": {"type": "integer"},
            "names": {"type": "array", "items": {"type": "string"}},
        },
    }
    answer = scripted_sdk.chat.completions.create(
        model=MODEL,
        messages=HELLO,
        response_format={"type": "json_schema", "json_schema": {"name": "it", "schema": schema}},
    )
    assert json.loads(answer.choices[0].message.content or "") == {
        "kind": "a",
        "count": 1,
        "names": ["cat"],
    }


def test_events_can_be_cut_anywhere_and_commented(
    scripted: Scripted, scripted_sdk: openai.OpenAI
) -> None:
    scripted.script(MODEL, write_bytes=7, comments=True, tokens=5)
    with scripted_sdk.chat.completions.create(model=MODEL, messages=HELLO, stream=True) as stream:
        assert len(said(list(stream)).split()) == 5


def test_waits_are_kept(scripted: Scripted, scripted_sdk: openai.OpenAI) -> None:
    scripted.script(MODEL, answer_after=0.2, chunk_after=0.05, tokens=4)
    with scripted_sdk.chat.completions.create(model=MODEL, messages=HELLO, stream=True) as stream:
        list(stream)
    (served,) = scripted.settled(1)
    times = served["chunk_times"]
    assert served["first_byte"] - served["started"] >= 0.2
    assert all(later - earlier >= 0.05 for earlier, later in itertools.pairwise(times))


def test_a_client_that_does_not_read_stops_the_provider(
    scripted: Scripted, scripted_sdk: openai.OpenAI
) -> None:
    scripted.script(MODEL, tokens=2000, pad_bytes=64 * 1024)
    stream = scripted_sdk.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    counts = [-1]

    def has_stopped() -> bool:
        counts.append(scripted.seen()[0]["chunks"])
        return counts[-1] == counts[-2] > 0

    wait_until(has_stopped, "the provider waits", every=0.2)
    assert counts[-1] < 500
    stream.close()
    assert scripted.settled(1)[0]["outcome"] == "client_gone"


def test_another_key_is_refused(scripted: Scripted) -> None:
    with (
        client_of(Standin(scripted.url, "sk-wrong")) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.chat.completions.create(model=MODEL, messages=HELLO)
    assert scripted.seen() == []


def test_token_arrays_are_counted_as_tokens(
    scripted: Scripted, scripted_sdk: openai.OpenAI
) -> None:
    scripted_sdk.embeddings.create(model="e", input=[[1, 2, 3], [4]], dimensions=8)
    scripted_sdk.embeddings.create(model="e", input="12345", encoding_format="float")
    assert [served["prompt_tokens"] for served in scripted.settled(2)] == [4, 2]


async def test_five_hundred_streams_run_at_once(scripted: Scripted) -> None:
    scripted.script(MODEL, tokens=20, chunk_after=0.1)
    async with asyncio.TaskGroup() as clients:
        streams = [clients.create_task(raw_stream(scripted)) for _ in range(500)]
    assert {stream.result().count(b'"content":" ') for stream in streams} == {20}
    assert scripted.totals()["models"][MODEL]["completion_tokens"] == 500 * 20
    seen = scripted.seen()
    are_together = min(one["ended"] for one in seen) > max(one["started"] for one in seen)
    assert are_together, "all had started before the first ended"
    waited = [one["ended"] - one["started"] for one in seen]
    assert max(waited) < 2 * 20 * 0.1, "the provider keeps its pace"


async def raw_stream(standin: Standin) -> bytes:
    """Return the bytes of one streamed answer; an HTTP client would cost more than the provider."""
    body = json.dumps({"model": MODEL, "messages": HELLO, "stream": True})
    port = httpx.URL(standin.url).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024 * 1024)
    writer.write(
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
        f"authorization: Bearer {standin.key}\r\n\r\n{body}".encode()
    )
    answer = await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return answer


def post(standin: Standin, body: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {standin.key}"}
    return httpx.post(f"{standin.base_url}/chat/completions", json=body, headers=headers)
