"""What real answers cost: each amount computed by hand from the vendor's published price.

Each row is a body as its provider sends it, read by the dialect itself and settled by the meter. The
amounts are written as what a person would reckon: tokens times nano-dollars a token ($1 a million
tokens is 1,000 nano-dollars a token), by the prices of 25 November 2026 as genai-prices 0.2.3 has them.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec
import pytest

from gateway.core.ids import ModelName, Provider
from gateway.core.meter import Bound, Meter
from gateway.core.money import NanoDollars
from gateway.core.outcome import Completed
from gateway.core.pricing import Model, Override, PriceBook
from gateway.core.traces import Basis
from gateway.providers import catalog
from gateway.providers.adapter import Dialect, Endpoint, Headers, Path, Wanted
from gateway.providers.dialects.bedrock import Bedrock
from gateway.providers.dialects.chat_completions import ChatCompletions
from gateway.providers.dialects.generate_content import GenerateContent
from gateway.providers.dialects.messages import Messages
from gateway.providers.dialects.responses import Responses
from gateway.store.prices import compile_book

TODAY = date(2026, 11, 25)
PLACES = {
    Provider(name): place
    for name, place in {
        "openai": "https://api.openai.com/v1",
        "azure": "https://mine.openai.azure.com/openai/v1",
        "anthropic": "https://api.anthropic.com",
        "google": "https://generativelanguage.googleapis.com",
        "bedrock": "https://bedrock-runtime.us-east-1.amazonaws.com",
        "mistral": "https://api.mistral.ai/v1",
        "groq": "https://api.groq.com/openai/v1",
        "deepseek": "https://api.deepseek.com",
        "xai": "https://api.x.ai/v1",
        "openrouter": "https://openrouter.ai/api/v1",
        "together": "https://api.together.xyz/v1",
        "vllm": "http://10.0.0.7:8000/v1",
        "ollama": "http://10.0.0.8:11434/v1",
    }.items()
}
OVERRIDES = {
    # A deployment's name is the operator's own: a Data Zone's GPT-4o costs a tenth more than listed.
    ModelName("azure/chat-eu"): Override(
        input=2_750_000_000, cached_input=1_375_000_000, output=11_000_000_000
    ),
    ModelName("vllm/qwen3"): Override(input=100_000_000, output=300_000_000),
    ModelName("ollama/llama3.2"): Override(input=0, output=0),
}

Body = Mapping[str, Any]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, what was asked, and what it costs in nano-dollars."""

    what: str
    model: str
    dialect: Dialect
    path: Path
    body: Body
    answer: Body
    headers: Headers = ()
    nusd: int


CHAT, RESPONSES = ChatCompletions("openai"), Responses("openai")
MESSAGES, GEMINI, BEDROCK = Messages(), GenerateContent(), Bedrock()
HELLO = [{"role": "user", "content": "Hello"}]
SAID = [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]


def chat(
    what: str, model: str, usage: Body, nusd: int, /, *, asks: Body | None = None, **more: object
) -> Row:
    """Return a chat completion: `more` is what its answer has besides, `asks` its request."""
    own = model.partition("/")[2]
    answer = {"id": "c1", "object": "chat.completion", "model": own, "choices": SAID}
    return Row(
        what=what,
        model=model,
        dialect=CHAT,
        path=Path(endpoint=Endpoint.CHAT_COMPLETIONS),
        body={"model": own, "messages": HELLO, "max_completion_tokens": 9000, **(asks or {})},
        answer={**answer, "usage": usage, **more},
        nusd=nusd,
    )


def response(what: str, model: str, usage: Body, nusd: int, /, **more: object) -> Row:
    own = model.partition("/")[2]
    said = [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}]
    answer = {"id": "r1", "object": "response", "status": "completed", "model": own, "output": said}
    return Row(
        what=what,
        model=model,
        dialect=RESPONSES,
        path=Path(endpoint=Endpoint.RESPONSES),
        body={"model": own, "input": "Hello", "max_output_tokens": 9000},
        answer={**answer, "usage": usage, **more},
        nusd=nusd,
    )


def message(what: str, model: str, usage: Body, nusd: int, /, **asks: object) -> Row:
    own = model.partition("/")[2]
    answer = {"id": "m1", "type": "message", "role": "assistant", "model": own}
    said = [{"type": "text", "text": "Hi"}]
    return Row(
        what=what,
        model=model,
        dialect=MESSAGES,
        path=Path(endpoint=Endpoint.MESSAGES),
        body={"model": own, "messages": HELLO, "max_tokens": 9000, **asks},
        answer={**answer, "content": said, "stop_reason": "end_turn", "usage": usage},
        nusd=nusd,
    )


def gemini(what: str, model: str, usage: Body, nusd: int, /, **asks: object) -> Row:
    own = model.partition("/")[2]
    said = {"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}
    return Row(
        what=what,
        model=model,
        dialect=GEMINI,
        path=Path(endpoint=Endpoint.GENERATE_CONTENT, model=own, version="v1beta"),
        body={"contents": [{"role": "user", "parts": [{"text": "Hello"}]}], **asks},
        answer={"candidates": [said], "usageMetadata": usage, "modelVersion": own},
        nusd=nusd,
    )


def converse(what: str, model: str, usage: Body, nusd: int) -> Row:
    said = {"message": {"role": "assistant", "content": [{"text": "Hi"}]}}
    return Row(
        what=what,
        model=model,
        dialect=BEDROCK,
        path=Path(endpoint=Endpoint.CONVERSE, model=model.partition("/")[2]),
        body={
            "messages": [{"role": "user", "content": [{"text": "Hello"}]}],
            "inferenceConfig": {"maxTokens": 9000},
        },
        answer={"output": said, "stopReason": "end_turn", "usage": usage},
        nusd=nusd,
    )


def invoke(what: str, model: str, body: Body, answer: Body, nusd: int, **counts: int) -> Row:
    headers = [
        (f"x-amzn-bedrock-{kind}-token-count".encode(), str(count).encode())
        for kind, count in counts.items()
    ]
    return Row(
        what=what,
        model=model,
        dialect=BEDROCK,
        path=Path(endpoint=Endpoint.INVOKE, model=model.partition("/")[2]),
        body=body,
        answer=answer,
        headers=headers,
        nusd=nusd,
    )


def tokens(prompt: int, completion: int, **more: object) -> Body:
    """Return a usage as OpenAI's chat completions have it, `total_tokens` their sum if not given."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {**counts, "total_tokens": prompt + completion, **more}


OPENAI = [
    # $0.15 in, $0.60 out
    chat(
        "GPT-4o mini",
        "openai/gpt-4o-mini",
        tokens(1000, 500),
        1000 * 150 + 500 * 600,
    ),
    # $2.50 in, $1.25 cached, $10 out; cached tokens are part of the prompt
    chat(
        "GPT-4o, mostly from the cache",
        "openai/gpt-4o-2024-08-06",
        tokens(2006, 300, prompt_tokens_details={"cached_tokens": 1920, "audio_tokens": 0}),
        86 * 2500 + 1920 * 1250 + 300 * 10_000,
    ),
    # $0.25 in, $2 out; reasoning is part of the completion
    chat(
        "GPT-5 mini, thinking",
        "openai/gpt-5-mini",
        tokens(75, 1186, completion_tokens_details={"reasoning_tokens": 1024}),
        75 * 250 + 1186 * 2000,
    ),
    # priority: $2.50 in, $0.25 cached, $20 out
    chat(
        "GPT-5, priority",
        "openai/gpt-5",
        tokens(3000, 3000, prompt_tokens_details={"cached_tokens": 2000}),
        1000 * 2500 + 2000 * 250 + 3000 * 20_000,
        service_tier="priority",
        asks={"service_tier": "priority"},
    ),
    # flex: $0.125 in, $0.0125 cached, $1 out: 12.5 nano-dollars a cached token, rounded up at the end
    chat(
        "GPT-5 mini, flex, an odd cached token",
        "openai/gpt-5-mini",
        tokens(1001, 10, prompt_tokens_details={"cached_tokens": 1001}),
        (1001 * 125 + 10 * 10_000 + 9) // 10,
        service_tier="flex",
        asks={"service_tier": "flex"},
    ),
    # priority, though nobody asked for it: $3.50 in, $14 out
    chat(
        "GPT-4.1, answered in a dearer tier",
        "openai/gpt-4.1",
        tokens(100, 200),
        100 * 3500 + 200 * 14_000,
        service_tier="priority",
    ),
    # asked $0.15 and $0.60; served by GPT-4o: $2.50 and $10
    chat(
        "GPT-4o mini, answered by a dearer model",
        "openai/gpt-4o-mini",
        tokens(10, 20),
        10 * 2500 + 20 * 10_000,
        model="gpt-4o-2024-08-06",
    ),
    # $4 in, $0.40 cached, $5 written, $20 out
    chat(
        "GPT-5.6, read from and written to the cache",
        "openai/gpt-5.6-sol",
        tokens(
            5000, 400, prompt_tokens_details={"cached_tokens": 2000, "cache_write_tokens": 2500}
        ),
        500 * 4000 + 2000 * 400 + 2500 * 5000 + 400 * 20_000,
    ),
    # up to 272,000 tokens: $4 in
    chat(
        "GPT-5.6, just below its cliff",
        "openai/gpt-5.6-sol",
        tokens(272_000, 1),
        272_000 * 4000 + 1 * 20_000,
    ),
    # above: $8 in, $30 out, for all tokens
    chat(
        "GPT-5.6, just above its cliff",
        "openai/gpt-5.6-sol",
        tokens(272_001, 1),
        272_001 * 8000 + 1 * 30_000,
    ),
    # flex above the cliff: $4 in, $0.40 cached, $15 out; cached tokens count for the cliff
    chat(
        "GPT-5.6, flex, above its cliff by cached tokens",
        "openai/gpt-5.6-sol",
        tokens(300_000, 1000, prompt_tokens_details={"cached_tokens": 290_000}),
        10_000 * 4000 + 290_000 * 400 + 1000 * 15_000,
        service_tier="flex",
        asks={"service_tier": "flex"},
    ),
    # text $2.50 and $10, audio $32 and $64
    chat(
        "GPT audio",
        "openai/gpt-audio",
        tokens(
            150,
            50,
            prompt_tokens_details={"text_tokens": 100, "audio_tokens": 50, "cached_tokens": 0},
            completion_tokens_details={"text_tokens": 20, "audio_tokens": 30},
        ),
        100 * 2500 + 50 * 32_000 + 20 * 10_000 + 30 * 64_000,
        asks={"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
    ),
    # $2 in, $8 out; rejected predictions are billed, and part of the completion
    chat(
        "o3, a prediction that failed",
        "openai/o3",
        tokens(
            120,
            100,
            completion_tokens_details={
                "accepted_prediction_tokens": 60,
                "rejected_prediction_tokens": 20,
                "reasoning_tokens": 10,
            },
        ),
        120 * 2000 + 100 * 8000,
    ),
    # $1.50 in, $2 out
    Row(
        what="a legacy completion",
        model="openai/gpt-3.5-turbo-instruct",
        dialect=CHAT,
        path=Path(endpoint=Endpoint.COMPLETIONS),
        body={"model": "gpt-3.5-turbo-instruct", "prompt": ["a", "b"], "max_tokens": 20},
        answer={
            "object": "text_completion",
            "model": "gpt-3.5-turbo-instruct",
            "choices": [{"text": "x", "index": 0}, {"text": "y", "index": 1}],
            "usage": tokens(12, 40),
        },
        nusd=12 * 1500 + 40 * 2000,
    ),
    # $0.02 in
    Row(
        what="an embedding",
        model="openai/text-embedding-3-small",
        dialect=CHAT,
        path=Path(endpoint=Endpoint.EMBEDDINGS),
        body={"model": "text-embedding-3-small", "input": ["one", "two"]},
        answer={
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
            "model": "text-embedding-3-small",
            "usage": {"prompt_tokens": 1234, "total_tokens": 1234},
        },
        nusd=1234 * 20,
    ),
    # $1.25 in, $0.125 cached, $10 out
    response(
        "Responses: GPT-5, thinking, with a cache",
        "openai/gpt-5",
        {
            "input_tokens": 5000,
            "input_tokens_details": {"cached_tokens": 4000},
            "output_tokens": 700,
            "output_tokens_details": {"reasoning_tokens": 512},
            "total_tokens": 5700,
        },
        1000 * 1250 + 4000 * 125 + 700 * 10_000,
        service_tier="default",
    ),
    # $2 in, $0.20 cached, $2.50 written, $10 out
    response(
        "Responses: GPT-6, written to the cache",
        "openai/gpt-6-sol",
        {
            "input_tokens": 3000,
            "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 1500},
            "output_tokens": 100,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 3100,
        },
        500 * 2000 + 1000 * 200 + 1500 * 2500 + 100 * 10_000,
    ),
    # flex: $1 in, $4 out
    response(
        "Responses: o3, flex, cut at its limit",
        "openai/o3",
        {"input_tokens": 321, "output_tokens": 9000, "total_tokens": 9321},
        321 * 1000 + 9000 * 4000,
        service_tier="flex",
        status="incomplete",
        incomplete_details={"reason": "max_output_tokens"},
    ),
    # $1.10 in, $0.275 cached, $4.40 out
    chat(
        "Azure: o4-mini, with what its filters found",
        "azure/o4-mini",
        tokens(
            1100,
            600,
            prompt_tokens_details={"cached_tokens": 1024},
            completion_tokens_details={"reasoning_tokens": 448},
        ),
        76 * 1100 + 1024 * 275 + 600 * 4400,
        prompt_filter_results=[{"prompt_index": 0, "content_filter_results": {}}],
    ),
    # $2.75 in, $1.375 cached, $11 out, as the operator says of this deployment
    chat(
        "Azure: a deployment with a price of its own",
        "azure/chat-eu",
        tokens(2000, 100, prompt_tokens_details={"cached_tokens": 1024}),
        976 * 2750 + 1024 * 1375 + 100 * 11_000,
        model="gpt-4o-2024-11-20",
    ),
]
ANTHROPIC = [
    # $1 in, $5 out
    message(
        "Claude Haiku 4.5",
        "anthropic/claude-haiku-4-5-20251001",
        {"input_tokens": 25, "output_tokens": 150},
        25 * 1000 + 150 * 5000,
    ),
    # $2 in, $0.10 read, $2.50 written for five minutes, $10 out; all apart from each other
    message(
        "Claude Sonnet 5.5, cache read and written",
        "anthropic/claude-sonnet-5-5",
        {
            "input_tokens": 12,
            "cache_read_input_tokens": 8000,
            "cache_creation_input_tokens": 400,
            "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 300,
        },
        12 * 2000 + 8000 * 100 + 400 * 2500 + 300 * 10_000,
    ),
    # $4 in, $5 written for five minutes, $8 for an hour, $20 out
    message(
        "Claude Opus 5.5, written for five minutes and for an hour",
        "anthropic/claude-opus-5-5",
        {
            "input_tokens": 7,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 5000,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 1000,
                "ephemeral_1h_input_tokens": 4000,
            },
            "output_tokens": 50,
            "service_tier": "standard",
        },
        7 * 4000 + 1000 * 5000 + 4000 * 8000 + 50 * 20_000,
    ),
    # nobody says for how long: $8 for an hour
    message(
        "Claude Opus 5.5, written for a time that is not told",
        "anthropic/claude-opus-5-5",
        {"input_tokens": 7, "cache_creation_input_tokens": 5000, "output_tokens": 50},
        7 * 4000 + 5000 * 8000 + 50 * 20_000,
    ),
    # fast: $8 in, $0.40 read, $40 out
    message(
        "Claude Opus 5.5, fast",
        "anthropic/claude-opus-5-5",
        {
            "input_tokens": 100,
            "cache_read_input_tokens": 900,
            "output_tokens": 200,
            "speed": "fast",
        },
        100 * 8000 + 900 * 400 + 200 * 40_000,
        speed="fast",
    ),
    # within the United States: a tenth more than $5 in, $25 out
    message(
        "Claude Opus 4.8, kept in one country",
        "anthropic/claude-opus-4-8",
        {"input_tokens": 100, "output_tokens": 200, "inference_geo": "us"},
        100 * 5500 + 200 * 27_500,
        inference_geo="us",
    ),
    # above 100,000 tokens, cached ones included: $0.50 in, $0.05 read, $2.50 out
    message(
        "Claude Haiku 5.5, above its cliff",
        "anthropic/claude-haiku-5-5",
        {"input_tokens": 60_000, "cache_read_input_tokens": 50_000, "output_tokens": 10},
        60_000 * 500 + 50_000 * 50 + 10 * 2500,
    ),
    # $3 in, $15 out; thoughts are part of the output
    message(
        "Claude Sonnet 4.5, thinking",
        "anthropic/claude-sonnet-4-5-20250929",
        {
            "input_tokens": 44,
            "output_tokens": 2500,
            "output_tokens_details": {"thinking_tokens": 2048},
        },
        44 * 3000 + 2500 * 15_000,
        thinking={"type": "enabled", "budget_tokens": 4096},
    ),
    # $2 in, $10 out; what was compacted is billed beyond the totals
    message(
        "Claude Sonnet 5.5, a conversation compacted",
        "anthropic/claude-sonnet-5-5",
        {
            "input_tokens": 23_000,
            "output_tokens": 1000,
            "iterations": [
                {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3500},
                {"type": "message", "input_tokens": 23_000, "output_tokens": 1000},
            ],
        },
        (23_000 + 180_000) * 2000 + (1000 + 3500) * 10_000,
    ),
]
GOOGLE = [
    # $0.30 in, $2.50 out; thoughts are outside the candidates
    gemini(
        "Gemini 2.5 Flash, thinking",
        "google/gemini-2.5-flash",
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 50,
            "thoughtsTokenCount": 200,
            "totalTokenCount": 350,
        },
        100 * 300 + 250 * 2500,
    ),
    # up to 200,000 tokens: $1.25 in, $0.125 cached, $10 out; cached are part of the prompt
    gemini(
        "Gemini 2.5 Pro, with a cache",
        "google/gemini-2.5-pro",
        {
            "promptTokenCount": 200_000,
            "cachedContentTokenCount": 150_000,
            "candidatesTokenCount": 1000,
            "totalTokenCount": 201_000,
        },
        50_000 * 1250 + 150_000 * 125 + 1000 * 10_000,
    ),
    # above: $2.50 in, $0.25 cached, $15 out
    gemini(
        "Gemini 2.5 Pro, above its cliff",
        "google/gemini-2.5-pro",
        {
            "promptTokenCount": 200_001,
            "cachedContentTokenCount": 150_000,
            "candidatesTokenCount": 1000,
            "thoughtsTokenCount": 24,
            "totalTokenCount": 201_025,
        },
        50_001 * 2500 + 150_000 * 250 + 1024 * 15_000,
    ),
    # $2 in, $12 out; what tools answered is outside the prompt
    gemini(
        "Gemini 3.1 Pro, with tools' results",
        "google/gemini-3.1-pro-preview",
        {
            "promptTokenCount": 900,
            "toolUsePromptTokenCount": 4100,
            "candidatesTokenCount": 80,
            "thoughtsTokenCount": 20,
            "totalTokenCount": 5100,
        },
        5000 * 2000 + 100 * 12_000,
    ),
    # text $0.30, audio $1, $2.50 out
    gemini(
        "Gemini 2.5 Flash, hearing",
        "google/gemini-2.5-flash",
        {
            "promptTokenCount": 330,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 10},
                {"modality": "AUDIO", "tokenCount": 320},
            ],
            "candidatesTokenCount": 40,
            "totalTokenCount": 370,
        },
        10 * 300 + 320 * 1000 + 40 * 2500,
        contents=[
            {"parts": [{"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}], "role": "user"}
        ],
    ),
    # text $0.30 and $0.03 from a cache, audio $1 and $0.10, $2.50 out
    gemini(
        "Gemini 2.5 Flash, a cache of text and of audio",
        "google/gemini-2.5-flash",
        {
            "promptTokenCount": 5000,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 3000},
                {"modality": "AUDIO", "tokenCount": 2000},
            ],
            "cachedContentTokenCount": 4000,
            "cacheTokensDetails": [
                {"modality": "TEXT", "tokenCount": 2500},
                {"modality": "AUDIO", "tokenCount": 1500},
            ],
            "candidatesTokenCount": 40,
            "totalTokenCount": 5040,
        },
        500 * 300 + 2500 * 30 + 500 * 1000 + 1500 * 100 + 40 * 2500,
        contents=[
            {"parts": [{"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}], "role": "user"}
        ],
    ),
    # $0.30 in, $0.03 from a cache: a prompt of text alone has cached text alone
    gemini(
        "Gemini 2.5 Flash, a cache that was not asked for",
        "google/gemini-2.5-flash",
        {
            "promptTokenCount": 3000,
            "cachedContentTokenCount": 2048,
            "candidatesTokenCount": 10,
            "totalTokenCount": 3010,
        },
        952 * 300 + 2048 * 30 + 10 * 2500,
    ),
    # $0.50 in; text and thoughts $3, images $60 out
    gemini(
        "Gemini 3.1 Flash Image",
        "google/gemini-3.1-flash-image",
        {
            "promptTokenCount": 20,
            "candidatesTokenCount": 1130,
            "candidatesTokensDetails": [
                {"modality": "TEXT", "tokenCount": 10},
                {"modality": "IMAGE", "tokenCount": 1120},
            ],
            "thoughtsTokenCount": 100,
            "totalTokenCount": 1250,
        },
        20 * 500 + (10 + 100) * 3000 + 1120 * 60_000,
    ),
    # $2 in, $10 out; the total leaves more for the output than its parts say
    gemini(
        "Gemini 4, parts that are not its total",
        "google/gemini-4-argon",
        {"promptTokenCount": 100, "candidatesTokenCount": 50, "totalTokenCount": 190},
        100 * 2000 + 90 * 10_000,
    ),
]
BEDROCK_ROWS = [
    # $0.06 in, $0.015 read, $0.24 out; cached tokens are outside the input
    converse(
        "Converse: Nova Lite, with a cache",
        "bedrock/us.amazon.nova-lite-v1:0",
        {
            "inputTokens": 30,
            "outputTokens": 200,
            "totalTokens": 1254,
            "cacheReadInputTokens": 1024,
            "cacheWriteInputTokens": 0,
        },
        30 * 60 + 1024 * 15 + 200 * 240,
    ),
    # Europe: $1.10 in, $0.11 read, $1.375 written for five minutes, $2.20 for an hour, $5.50 out
    converse(
        "Converse: Claude in Europe, written for both times",
        "bedrock/eu.anthropic.claude-haiku-4-5-20251001-v1:0",
        {
            "inputTokens": 30,
            "outputTokens": 200,
            "totalTokens": 7230,
            "cacheReadInputTokens": 4000,
            "cacheWriteInputTokens": 3000,
            "cacheDetails": [
                {"ttl": "5m", "inputTokens": 1000},
                {"ttl": "1h", "inputTokens": 2000},
            ],
        },
        30 * 1100 + 4000 * 110 + 1000 * 1375 + 2000 * 2200 + 200 * 5500,
    ),
    # anywhere, above 100,000 tokens: $0.50 in, $0.05 read, $2.50 out
    converse(
        "Converse: Claude anywhere, above its cliff",
        "bedrock/global.anthropic.claude-haiku-5-5",
        {
            "inputTokens": 1000,
            "outputTokens": 100,
            "totalTokens": 101_100,
            "cacheReadInputTokens": 100_000,
        },
        1000 * 500 + 100_000 * 50 + 100 * 2500,
    ),
    # $1.10 in, $1.375 written for five minutes, $5.50 out
    invoke(
        "Invoke: Claude's own body",
        "bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0",
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 900, "messages": HELLO},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "Hi"}],
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 2000,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 2000,
                    "ephemeral_1h_input_tokens": 0,
                },
                "output_tokens": 20,
            },
        },
        10 * 1100 + 2000 * 1375 + 20 * 5500,
    ),
    # $0.72 in and out
    invoke(
        "Invoke: Llama's own body",
        "bedrock/us.meta.llama3-3-70b-instruct-v1:0",
        {"prompt": "Hello", "max_gen_len": 512},
        {
            "generation": "Hi",
            "prompt_token_count": 33,
            "generation_token_count": 44,
            "stop_reason": "stop",
        },
        (33 + 44) * 720,
    ),
    # $4 in, $12 out, counted in headers alone
    invoke(
        "Invoke: Mistral's own body",
        "bedrock/mistral.mistral-large-2402-v1:0",
        {"prompt": "<s>[INST] Hello [/INST]", "max_tokens": 400},
        {"outputs": [{"text": "Hi", "stop_reason": "stop"}]},
        12 * 4000 + 34 * 12_000,
        input=12,
        output=34,
    ),
    # $0.02 in
    invoke(
        "Invoke: Titan's embedding",
        "bedrock/amazon.titan-embed-text-v2:0",
        {"inputText": "Hello"},
        {"embedding": [0.1, 0.2], "inputTextTokenCount": 6},
        6 * 20,
    ),
]
COMPATIBLE = [
    # $0.50 in, $1.50 out
    chat(
        "Mistral Large",
        "mistral/mistral-large-2512",
        tokens(412, 88),
        412 * 500 + 88 * 1500,
    ),
    # $0.15 in, $0.075 cached, $0.60 out
    chat(
        "Groq: gpt-oss, with its own figures besides",
        "groq/openai/gpt-oss-120b",
        tokens(
            300,
            200,
            prompt_tokens_details={"cached_tokens": 256},
            completion_tokens_details={"reasoning_tokens": 120},
            queue_time=0.02,
            total_time=0.4,
        ),
        44 * 150 + 256 * 75 + 200 * 600,
        x_groq={"id": "req_1"},
    ),
    # $0.59 in, $0.79 out
    chat(
        "Groq: Llama",
        "groq/llama-3.3-70b-versatile",
        tokens(18, 66),
        18 * 590 + 66 * 790,
        service_tier="on_demand",
    ),
    # $0.27 in, $0.07 from the cache, $1.10 out
    chat(
        "DeepSeek, a hit and a miss",
        "deepseek/deepseek-chat",
        tokens(1000, 100, prompt_cache_hit_tokens=640, prompt_cache_miss_tokens=360),
        360 * 270 + 640 * 70 + 100 * 1100,
    ),
    # $0.55 in, $2.19 out
    chat(
        "DeepSeek, thinking",
        "deepseek/deepseek-reasoner",
        tokens(
            50,
            900,
            prompt_cache_hit_tokens=0,
            prompt_cache_miss_tokens=50,
            completion_tokens_details={"reasoning_tokens": 700},
        ),
        50 * 550 + 900 * 2190,
    ),
    # $2 in, $0.50 cached, $6 out; thoughts are outside the completion
    chat(
        "xAI: Grok, thinking beside its completion",
        "xai/grok-4.7",
        tokens(
            1000,
            50,
            total_tokens=1450,
            prompt_tokens_details={"cached_tokens": 600, "text_tokens": 1000},
            completion_tokens_details={"reasoning_tokens": 400},
        ),
        400 * 2000 + 600 * 500 + (50 + 400) * 6000,
    ),
    # from 200,000 tokens on: $4 in, $12 out
    chat(
        "xAI: Grok, at its cliff",
        "xai/grok-4.7",
        tokens(200_000, 10, total_tokens=200_010),
        200_000 * 4000 + 10 * 12_000,
    ),
    # $2 in, $6 out is less than the 0.003 dollars that it says it bills: 30,000,000 ticks
    chat(
        "xAI: Grok, a bill above its prices",
        "xai/grok-4.7",
        tokens(100, 50, cost_in_usd_ticks=30_000_000),
        30_000_000 // 10,
    ),
    # $2 in, $6 out is more than what it says
    chat(
        "xAI: Grok, a bill below its prices",
        "xai/grok-4.7",
        tokens(100, 50, cost_in_usd_ticks=1),
        100 * 2000 + 50 * 6000,
    ),
    # its own account is the cost, below its listed price too: 0.000020001 dollars
    chat(
        "OpenRouter: what it says that it bills",
        "openrouter/openai/gpt-4o-mini",
        tokens(
            194, 2, cost=0.000020001, is_byok=False, cost_details={"upstream_inference_cost": None}
        ),
        20_001,
    ),
    # with a key of the operator's own, what that is billed elsewhere too
    chat(
        "OpenRouter: a fee, and another's bill",
        "openrouter/openai/gpt-4o-mini",
        tokens(
            194, 2, cost=0.0000015, is_byok=True, cost_details={"upstream_inference_cost": 0.00003}
        ),
        1_500 + 30_000,
    ),
    # $1 in, $1.25 written, $0.10 read, $5 out; for an hour, if nobody says: $2
    chat(
        "OpenRouter: a Claude, without its cost",
        "openrouter/anthropic/claude-haiku-4.5",
        tokens(3000, 10, prompt_tokens_details={"cached_tokens": 1000, "cache_write_tokens": 1500}),
        500 * 1000 + 1000 * 100 + 1500 * 2000 + 10 * 5000,
    ),
    # $0.88 in and out
    chat(
        "Together: Llama",
        "together/meta-llama/Llama-3.3-70B-Instruct-Turbo",
        tokens(37, 63),
        100 * 880,
    ),
    # $0.10 in, $0.30 out, as the operator says
    chat(
        "vLLM",
        "vllm/qwen3",
        tokens(20, 30, prompt_tokens_details=None),
        20 * 100 + 30 * 300,
        prompt_logprobs=None,
        kv_transfer_params=None,
    ),
    chat("Ollama, for nothing", "ollama/llama3.2", tokens(26, 298), 0),
]
ROWS = [*OPENAI, *ANTHROPIC, *GOOGLE, *BEDROCK_ROWS, *COMPATIBLE]


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return compile_book(PLACES, OVERRIDES, TODAY)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_an_answer_costs_what_a_person_reckons(row: Row, book: PriceBook):
    model = book.models[ModelName(row.model)]
    wanted = row.dialect.read(row.path, msgspec.json.encode(row.body))
    assert isinstance(wanted, Wanted)
    meter = metered(model, wanted, book)
    for event in row.dialect.whole(wanted, msgspec.json.encode(row.answer), row.headers):
        meter.feed(event)
    owed = meter.owed(Completed())
    assert (owed.amount, owed.basis) == (row.nusd, Basis.REPORTED)


def metered(model: Model, wanted: Wanted, book: PriceBook) -> Meter:
    """Return the meter of a call that was sent, held amply, and is answered whole."""

    def sibling(name: str) -> Model | None:
        return book.models.get(ModelName(f"{model.provider}/{name}"))

    bound = Bound(10**6, 10**6, NanoDollars(10**15))
    host = catalog.adapter(model.provider, "openai", PLACES[model.provider])
    meter = Meter(
        model, wanted.asked, bound, lambda *_: None, sibling, believes_bill=host.states_cost
    )
    meter.sent()
    meter.answered(streams=False)
    return meter


def test_every_provider_and_kind_of_token_is_among_them():
    assert len(ROWS) >= 40
    assert {row.model.partition("/")[0] for row in ROWS} == set(PLACES)
    assert len({row.what for row in ROWS}) == len(ROWS)
