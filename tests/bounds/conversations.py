"""Conversations by chance, written as each dialect has them, and read as a model gets them."""

import json
from random import Random
from typing import Any, Final

import msgspec

from gateway.providers.adapter import Dialect, Endpoint, Path
from gateway.providers.dialects.bedrock import Bedrock
from gateway.providers.dialects.chat_completions import ChatCompletions
from gateway.providers.dialects.generate_content import GenerateContent
from gateway.providers.dialects.messages import Messages
from gateway.providers.dialects.responses import Responses
from tests.bounds import texts

MOST_OUTPUT: Final = 500
PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE_TOKENS: Final = 1_600
"""More than any vendor counts for one picture of a size that it does not scale down."""


class Turn(msgspec.Struct, frozen=True):
    """What a user, or the model before, said; and whether a picture is with it."""

    is_user: bool
    text: str
    has_image: bool = False


class Tool(msgspec.Struct, frozen=True):
    """A tool that the model may call."""

    name: str
    description: str
    parameters: dict[str, Any]


class Conversation(msgspec.Struct, frozen=True):
    """A request before it has a form. `called` is a call of a tool and what it answered."""

    system: str | None
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...]
    called: tuple[str, str] | None
    schema: dict[str, Any] | None
    is_ascii: bool
    """Whether its JSON escapes all but ASCII and has blanks, as Python's; JavaScript's has neither."""

    @property
    def images(self) -> int:
        """How many pictures it has."""
        return sum(turn.has_image and turn.is_user for turn in self.turns)


class Request(msgspec.Struct, frozen=True):
    """A request as it is sent, and the texts that a model is given of it, each apart."""

    dialect: Dialect
    path: Path
    body: bytes
    parts: tuple[str, ...]
    """One for each message: its role and everything in it."""
    rendered_tools: tuple[str, ...] = ()
    images: int = 0
    ids: int = 0
    is_framed: bool = True
    """Whether messages have marks around them; a text to embed or to complete has none."""


def conversation(
    chance: Random, most: int = 3000, kinds: tuple[texts.Kind, ...] = texts.KINDS
) -> Conversation:
    """Return a conversation of up to some twenty turns."""
    count = chance.choice([1, 1, 1, 2, 3, 5, 21])
    turns = tuple(
        Turn(index % 2 == 0, texts.text(chance, most // count + 9, kinds), _is(chance, 0.05))
        for index in range(count if count % 2 else count + 1)
    )
    tools = tuple(_tool(chance, number, kinds) for number in range(chance.choice([0, 0, 0, 1, 4])))
    return Conversation(
        system=texts.text(chance, 400, kinds) if _is(chance, 0.5) else None,
        turns=turns,
        tools=tools,
        called=("call_1", texts.text(chance, 300, kinds)) if tools and _is(chance, 0.5) else None,
        schema=_schema(chance, kinds) if _is(chance, 0.1) else None,
        is_ascii=_is(chance, 0.5),
    )


def _is(chance: Random, share: float) -> bool:
    return chance.random() < share


def _tool(chance: Random, number: int, kinds: tuple[texts.Kind, ...]) -> Tool:
    words = texts.text(chance, 200, kinds) or "x"
    return Tool(f"tool_{number}", words, _schema(chance, kinds))


def _schema(chance: Random, kinds: tuple[texts.Kind, ...]) -> dict[str, Any]:
    names = ["city", "unit", "größe", "日付", "when"][: chance.randrange(1, 6)]
    properties = {
        name: {"type": "string", "description": texts.text(chance, 60, kinds)} for name in names
    }
    return {"type": "object", "properties": properties, "required": names[:1]}


def _body(one: Conversation, fields: dict[str, Any]) -> bytes:
    given = {name: value for name, value in fields.items() if value is not None}
    between = (", ", ": ") if one.is_ascii else (",", ":")
    written = json.dumps(given, ensure_ascii=one.is_ascii, separators=between)
    return written.encode("utf-8", "surrogatepass")


def _parts(one: Conversation) -> tuple[str, ...]:
    """Return what every vendor's template puts together: a role and a text, message by message."""
    said = [f"{'user' if turn.is_user else 'assistant'}{turn.text}" for turn in one.turns]
    system = [] if one.system is None else [f"system{one.system}"]
    called = []
    if one.called is not None:
        arguments = json.dumps({"city": "Rome"})
        called = [f"assistant{one.tools[0].name}{arguments}", f"tool{one.called[1]}"]
    schema = [] if one.schema is None else [json.dumps(one.schema, ensure_ascii=False)]
    return (*system, *said, *called, *schema)


def _rendered(one: Conversation) -> tuple[str, ...]:
    """Return tools as models see them: JSON, or a namespace of types, which is shorter."""
    return tuple(
        json.dumps(
            {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
            ensure_ascii=False,
        )
        for tool in one.tools
    )


def _request(one: Conversation, dialect: Dialect, path: Path, fields: dict[str, Any]) -> Request:
    return Request(dialect, path, _body(one, fields), _parts(one), _rendered(one), one.images)


def chat(one: Conversation, model: str = "m") -> Request:
    """Return it as OpenAI's chat completions."""
    messages: list[dict[str, Any]] = [
        {"role": "user" if turn.is_user else "assistant", "content": _chat_content(turn)}
        for turn in one.turns
    ]
    if one.system is not None:
        messages.insert(0, {"role": "system", "content": one.system})
    if one.called is not None:
        call = {"name": one.tools[0].name, "arguments": json.dumps({"city": "Rome"})}
        calls = [{"id": one.called[0], "type": "function", "function": call}]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        answer = {"role": "tool", "tool_call_id": one.called[0], "content": one.called[1]}
        messages.append(answer)
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": one.schema}}
    fields = {
        "model": model,
        "messages": messages,
        "max_completion_tokens": MOST_OUTPUT,
        "tools": [_chat_tool(tool) for tool in one.tools] or None,
        "response_format": None if one.schema is None else schema,
    }
    path = Path(endpoint=Endpoint.CHAT_COMPLETIONS)
    return _request(one, ChatCompletions("openai"), path, fields)


def _chat_content(turn: Turn) -> object:
    if not (turn.has_image and turn.is_user):
        return turn.text
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    return [{"type": "text", "text": turn.text}, image]


def _chat_tool(tool: Tool) -> dict[str, Any]:
    return {"type": "function", "function": msgspec.to_builtins(tool)}


def responses(one: Conversation, model: str = "m") -> Request:
    """Return it as OpenAI's Responses."""
    items: list[dict[str, Any]] = []
    for turn in one.turns:
        kind = "input_text" if turn.is_user else "output_text"
        content: list[dict[str, Any]] = [{"type": kind, "text": turn.text}]
        if turn.has_image and turn.is_user:
            url = f"data:image/png;base64,{PIXEL}"
            content.append({"type": "input_image", "image_url": url})
        items.append({"role": "user" if turn.is_user else "assistant", "content": content})
    if one.called is not None:
        name, arguments = one.tools[0].name, json.dumps({"city": "Rome"})
        call = {"type": "function_call", "call_id": one.called[0], "name": name}
        output = {"type": "function_call_output", "call_id": one.called[0]}
        items += [{**call, "arguments": arguments}, {**output, "output": one.called[1]}]
    schema = {"type": "json_schema", "name": "s", "schema": one.schema}
    fields = {
        "model": model,
        "instructions": one.system,
        "input": items,
        "max_output_tokens": MOST_OUTPUT,
        "tools": [{"type": "function", **msgspec.to_builtins(tool)} for tool in one.tools] or None,
        "text": None if one.schema is None else {"format": schema},
    }
    return _request(one, Responses("openai"), Path(endpoint=Endpoint.RESPONSES), fields)


def messages(one: Conversation, model: str = "m") -> Request:
    """Return it as Anthropic's messages."""
    turns: list[dict[str, Any]] = []
    for turn in one.turns:
        content: list[dict[str, Any]] = [{"type": "text", "text": turn.text}]
        if turn.has_image and turn.is_user:
            source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
            content.append({"type": "image", "source": source})
        turns.append({"role": "user" if turn.is_user else "assistant", "content": content})
    if one.called is not None:
        use = {"type": "tool_use", "id": one.called[0], "name": one.tools[0].name}
        turns.append({"role": "assistant", "content": [{**use, "input": {"city": "Rome"}}]})
        result = {"type": "tool_result", "tool_use_id": one.called[0], "content": one.called[1]}
        turns.append({"role": "user", "content": [result]})
    schema = {"format": {"type": "json_schema", "schema": one.schema}}
    fields = {
        "model": model,
        "system": one.system,
        "messages": turns,
        "max_tokens": MOST_OUTPUT,
        "tools": [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in one.tools
        ]
        or None,
        "output_config": None if one.schema is None else schema,
    }
    return _request(one, Messages(), Path(endpoint=Endpoint.MESSAGES), fields)


def gemini(one: Conversation, model: str = "m") -> Request:
    """Return it as Gemini's contents."""
    contents: list[dict[str, Any]] = []
    for turn in one.turns:
        parts: list[dict[str, Any]] = [{"text": turn.text}]
        if turn.has_image and turn.is_user:
            parts.append({"inlineData": {"mimeType": "image/png", "data": PIXEL}})
        contents.append({"role": "user" if turn.is_user else "model", "parts": parts})
    if one.called is not None:
        call = {"name": one.tools[0].name, "args": {"city": "Rome"}}
        answer = {"name": one.tools[0].name, "response": {"result": one.called[1]}}
        contents.append({"role": "model", "parts": [{"functionCall": call}]})
        contents.append({"role": "user", "parts": [{"functionResponse": answer}]})
    limits: dict[str, Any] = {"maxOutputTokens": MOST_OUTPUT}
    if one.schema is not None:
        limits |= {"responseMimeType": "application/json", "responseJsonSchema": one.schema}
    declared = [msgspec.to_builtins(tool) for tool in one.tools]
    system = None if one.system is None else {"parts": [{"text": one.system}]}
    fields = {
        "contents": contents,
        "systemInstruction": system,
        "generationConfig": limits,
        "tools": [{"functionDeclarations": declared}] if declared else None,
    }
    path = Path(endpoint=Endpoint.GENERATE_CONTENT, model=model, version="v1beta")
    return _request(one, GenerateContent(), path, fields)


def converse(one: Conversation, model: str = "m") -> Request:
    """Return it as Bedrock's Converse, which has no schema of answers."""
    turns: list[dict[str, Any]] = []
    for turn in one.turns:
        content: list[dict[str, Any]] = [{"text": turn.text}]
        if turn.has_image and turn.is_user:
            content.append({"image": {"format": "png", "source": {"bytes": PIXEL}}})
        turns.append({"role": "user" if turn.is_user else "assistant", "content": content})
    if one.called is not None:
        use = {"toolUseId": one.called[0], "name": one.tools[0].name, "input": {"city": "Rome"}}
        result = {"toolUseId": one.called[0], "content": [{"text": one.called[1]}]}
        turns.append({"role": "assistant", "content": [{"toolUse": use}]})
        turns.append({"role": "user", "content": [{"toolResult": result}]})
    specs = [
        {
            "toolSpec": {
                "name": tool.name,
                "description": tool.description,
                "inputSchema": {"json": tool.parameters},
            }
        }
        for tool in one.tools
    ]
    fields = {
        "messages": turns,
        "system": None if one.system is None else [{"text": one.system}],
        "inferenceConfig": {"maxTokens": MOST_OUTPUT},
        "toolConfig": {"tools": specs} if specs else None,
    }
    plain = msgspec.structs.replace(one, schema=None)
    return _request(plain, Bedrock(), Path(endpoint=Endpoint.CONVERSE, model=model), fields)


def embeddings(one: Conversation, model: str = "m") -> Request:
    """Return its texts as OpenAI's embeddings."""
    inputs = [turn.text or "x" for turn in one.turns]
    fields = {"model": model, "input": inputs}
    path = Path(endpoint=Endpoint.EMBEDDINGS)
    return Request(
        ChatCompletions("openai"), path, _body(one, fields), tuple(inputs), is_framed=False
    )


def completions(one: Conversation, model: str = "m") -> Request:
    """Return its texts as prompts of OpenAI's legacy completions; or ids of tokens."""
    path, dialect = Path(endpoint=Endpoint.COMPLETIONS), ChatCompletions("openai")
    if len(one.turns) > 3:
        ids = [len(turn.text) for turn in one.turns]
        fields = {"model": model, "prompt": ids, "max_tokens": MOST_OUTPUT}
        return Request(dialect, path, _body(one, fields), (), ids=len(ids), is_framed=False)
    prompts = [turn.text for turn in one.turns]
    fields = {"model": model, "prompt": prompts, "max_tokens": MOST_OUTPUT}
    return Request(dialect, path, _body(one, fields), tuple(prompts), is_framed=False)


FORMS: Final = (chat, responses, messages, gemini, converse, embeddings, completions)
