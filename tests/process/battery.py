"""The same questions put through every SDK: what is asked, what each SDK made of the answers.

A place is where an SDK is pointed: `{"base_url", "key", "model", "embedder", "run"}`.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import openai

from tests.process.conversation import HELLO, WEATHER
from tests.process.programs import run_node, run_sdk2

Place = Mapping[str, str]
Heard = dict[str, Any]
"""What an SDK returned for each question, as plain data; of a stream the list of its chunks."""

COUNTED = {"stream_options": {"include_usage": True}}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
CHATS: dict[str, dict[str, Any]] = {
    "whole": {},
    "stream": {"stream": True},
    "counted stream": {"stream": True, **COUNTED},
    "tool": {"tools": [WEATHER]},
    "streamed tool": {"tools": [WEATHER], "stream": True, **COUNTED},
    "JSON": {"response_format": {"type": "json_object"}},
    "schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "weather", "strict": True, "schema": SCHEMA},
        }
    },
}
EMBEDDED = ["one", "two words"]
QUESTIONS = [*CHATS, "embeddings"]


def chats(place: Place) -> dict[str, dict[str, Any]]:
    """Return what is asked of a place, as arguments of `chat.completions.create`."""
    said = {"model": place["model"], "messages": HELLO}
    return {name: {**said, **asked} for name, asked in CHATS.items()}


def options(place: Place) -> dict[str, Any]:
    headers = {"x-gateway-run": place["run"]}
    shared = {"base_url": place["base_url"], "api_key": place["key"], "default_headers": headers}
    return {**shared, "max_retries": 0, "timeout": 30}


def ask(client: openai.OpenAI, chats: Mapping[str, Any], embedding: Mapping[str, Any]) -> Heard:
    """Ask everything. Also the source of what the SDK of the release before runs: self-contained."""
    heard = {}
    for name, asked in chats.items():
        made = client.chat.completions.create(**asked)
        is_stream = asked.get("stream", False)
        heard[name] = [c.model_dump() for c in made] if is_stream else made.model_dump()
    heard["embeddings"] = client.embeddings.create(**embedding).model_dump()
    return heard


async def ask_async(place: Place) -> Heard:
    heard: Heard = {}
    async with openai.AsyncOpenAI(**options(place)) as client:
        for name, asked in chats(place).items():
            made = await client.chat.completions.create(**asked)
            if asked.get("stream", False):
                heard[name] = [chunk.model_dump() async for chunk in made]
            else:
                heard[name] = made.model_dump()
        heard["embeddings"] = (await client.embeddings.create(**_embedding(place))).model_dump()
    return heard


def _newest(places: Mapping[str, Place]) -> dict[str, Heard]:
    heard = {}
    for name, place in places.items():
        with openai.OpenAI(**options(place)) as client:
            heard[name] = ask(client, chats(place), _embedding(place))
    return heard


def _newest_async(places: Mapping[str, Place]) -> dict[str, Heard]:
    with asyncio.Runner() as runner:
        return {name: runner.run(ask_async(place)) for name, place in places.items()}


def _release_before(places: Mapping[str, Place]) -> dict[str, Heard]:
    source = f"""
from collections.abc import Mapping
from typing import Any
import openai
Heard = dict
{inspect.getsource(ask)}
answer({{
    name: ask(openai.OpenAI(**asked["options"]), asked["chats"], asked["embedding"])
    for name, asked in given.items()
}})
"""
    return run_sdk2(source, _asked(places))


def _typescript(places: Mapping[str, Place]) -> dict[str, Heard]:
    source = """
import OpenAI from "openai";
async function heard({ options, chats, embedding }) {
  const client = new OpenAI({ baseURL: options.base_url, apiKey: options.api_key,
    defaultHeaders: options.default_headers, maxRetries: 0, timeout: 30000 });
  const results = {};
  for (const [name, asked] of Object.entries(chats)) {
    const made = await client.chat.completions.create(asked);
    results[name] = made;
    if (asked.stream) {
      results[name] = [];
      for await (const chunk of made) results[name].push(chunk);
    }
  }
  results.embeddings = await client.embeddings.create(embedding);
  return results;
}
const results = {};
for (const [name, asked] of Object.entries(given)) results[name] = await heard(asked);
answer(results);
"""
    return run_node(source, _asked(places))


SDKS: dict[str, Callable[[Mapping[str, Place]], dict[str, Heard]]] = {
    "newest": _newest,
    "newest async": _newest_async,
    "2.x": _release_before,
    "TypeScript": _typescript,
}
"""Each asks every place everything, in as few processes as it can."""


def _asked(places: Mapping[str, Place]) -> dict[str, Any]:
    return {
        name: {"options": options(place), "chats": chats(place), "embedding": _embedding(place)}
        for name, place in places.items()
    }


def _embedding(place: Place) -> dict[str, Any]:
    return {"model": place["embedder"], "input": EMBEDDED}


_OF_ONE_ANSWER = {"id", "created", "_request_id"}


def comparable(heard: object) -> object:
    """Return what was heard without what differs from one answer to the next, and without nulls.

    A stream that is asked for its usage says `"usage": null` in every chunk before it.
    """
    if isinstance(heard, list):
        return [comparable(one) for one in heard]
    if isinstance(heard, dict):
        kept = {k: comparable(v) for k, v in heard.items() if k not in _OF_ONE_ANSWER}
        return {name: value for name, value in kept.items() if value is not None}
    return heard
