"""The JSON Schema of the configuration file, for editors; the decoder stays the judge."""

from typing import Any

import msgspec

from gateway.config.forms import FORMS, MARK, Form
from gateway.config.sections import Config
from gateway.core.secret import Secret

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, object]:
    """Return the schema (JSON Schema 2020-12), made from the structs and their forms."""
    generated: dict[str, object] = msgspec.json.schema(Config, schema_hook=_custom)
    return {"$schema": DIALECT, **_finished(generated)}


def schema_text() -> str:
    """Return the schema as the file `configs/gateway.schema.json` holds it."""
    text = msgspec.json.format(msgspec.json.encode(schema()), indent=2)
    return f"{text.decode()}\n"


def _custom(kind: type) -> dict[str, object]:
    if kind is Secret:
        return {"type": "string"}
    raise NotImplementedError


def _finished(node: Any) -> Any:  # noqa: ANN401  # any JSON
    """Return a node with forms in place of the types that they write, down to its leaves."""
    match node:
        case dict():
            return _finished_object(node)
        case list():
            return [_finished(item) for item in node]
        case _:
            return node


def _finished_object(node: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in node.items() if key != MARK}
    if MARK in node:
        kept = {key: kept[key] for key in ("description", "default") if key in kept}
        kept |= FORMS[node[MARK]].schema()
    # A null that stands for something (the embedded database) is written; else it is just null.
    has_default = kept.get("default") is not None or (MARK in node and "default" in kept)
    if has_default and (form := _form(node)):
        kept["default"] = form.write(kept["default"])
    if "propertyNames" in kept:
        kept["propertyNames"] = FORMS[kept["propertyNames"][MARK]].key_schema()
    return {key: _finished(value) for key, value in kept.items()}


def _form(node: dict[str, Any]) -> Form | None:
    """Return the form of a node, or of its one alternative to null."""
    marks = [
        alternative[MARK] for alternative in (node, *node.get("anyOf", ())) if MARK in alternative
    ]
    return FORMS[marks[0]] if marks else None
