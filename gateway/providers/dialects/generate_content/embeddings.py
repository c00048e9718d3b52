"""What a request for embeddings or for a count of tokens asks for: only input, once or in a batch."""

from typing import Any, Final

from gateway.core.calls import Asked
from gateway.core.refusal import Refused
from gateway.providers.adapter import Endpoint, Path, Wanted
from gateway.providers.dialects.generate_content.contents import are_text, is_ambiguous
from gateway.providers.dialects.generate_content.request import TWICE, check_model
from gateway.providers.dialects.generate_content.spelling import repeated, spelled
from gateway.providers.fields import check_overrides, invalid
from gateway.providers.strict_json import Body

COUNTED: Final = "generateContentRequest"
_KNOWN: Final = frozenset(
    {"content", "embedContentConfig", "model", "outputDimensionality", "taskType", "title"}
)


def read(path: Path, body: Body) -> Wanted | Refused:
    """Return what an embedding, or a batch of them, asks for, or what is wrong with it."""
    values = spelled(body.values)
    if values is None:
        return TWICE
    is_batch = path.endpoint is Endpoint.BATCH_EMBED_CONTENTS
    requests = list(repeated(values.get("requests") if is_batch else values))
    refused = check_overrides(body.values)
    if refused is None and not requests:
        refused = invalid("requests", "requests must be an array of objects.")
    for request in requests:
        refused = refused or _wrong(path, request)
    if refused is not None:
        return refused
    return Wanted(
        path=path,
        asked=Asked(
            model=path.model or "",
            prompts=len(requests),
            text_bytes=body.text_bytes,
            messages=len(requests),
            hides_input=_hides_input(values, is_batch=is_batch)
            or any(map(_hides_content, requests)),
            makes_output=False,
        ),
        fields=body.members,
    )


def read_count(path: Path, body: Body) -> Wanted | Refused:
    """Return a count of tokens, which is free, or what is wrong with it."""
    values = spelled(body.values)
    if values is None:
        return TWICE
    whole = values.get(COUNTED)
    refused = check_model(path, values)
    if isinstance(whole, dict):
        refused = refused or check_model(path, whole, f"{COUNTED}.model")
    elif whole is not None:
        refused = invalid(COUNTED, f"{COUNTED} must be an object.")
    if refused is not None:
        return refused
    asked = Asked(model=path.model or "", is_free=True, makes_output=False)
    return Wanted(path=path, asked=asked, fields=body.members)


def _wrong(path: Path, request: object) -> Refused | None:
    """Return what is wrong with one request."""
    if not isinstance(request, dict):
        return invalid("requests", "requests must be an array of objects.")
    named = spelled(request)
    content = request.get("content")
    if named is None or is_ambiguous(content):
        return TWICE
    if not isinstance(content, dict):
        return invalid("content", "content must be an object.")
    return check_model(path, request)


def _hides_input(values: dict[str, Any], *, is_batch: bool) -> bool:
    known = {"requests", "model"} if is_batch else _KNOWN
    return any(values[name] is not None for name in values.keys() - known)


def _hides_content(request: object) -> bool:
    named = (spelled(request) if isinstance(request, dict) else None) or {}
    return _hides_input(named, is_batch=False) or not are_text(named.get("content"))
