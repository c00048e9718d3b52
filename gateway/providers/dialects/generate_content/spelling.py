"""Members of protobuf messages in JSON, which go by two names each: `maxOutputTokens`, `max_output_tokens`.

Source: protobuf.dev, "ProtoJSON Format" (2026): parsers accept the lowerCamelCase name and the
field's own. Any other spelling is another member, which Google refuses.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

Members = Mapping[str, Any]

_UNDERSCORE: Final = re.compile("_([a-z0-9])")


def camel(name: str) -> str:
    """Return the lowerCamelCase spelling of a member's name."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name) if "_" in name else name


def spelled(message: Members) -> dict[str, Any] | None:
    """Return a message's members by their lowerCamelCase names; None where one is there in both."""
    named = {camel(name): value for name, value in message.items()}
    return named if len(named) == len(message) else None


def name_of(members: Mapping[str, object], field: str) -> str:
    """Return how a message spells a field of it: as it does where it has it, else in lowerCamelCase."""
    return next((name for name in members if camel(name) == field), field)


def snake(field: str) -> str:
    """Return the underscored spelling of a lowerCamelCase name."""
    return _CAPITAL.sub(lambda found: f"_{found[0].lower()}", field)


def repeated(value: object) -> Iterator[object]:
    """Yield the items of a repeated field, of which a single one may be written without its array.

    Google's own examples write `"parts": {"text": …}` (ai.google.dev/gemini-api/docs, 2026).
    """
    if isinstance(value, list):
        yield from value
    elif value is not None:
        yield value


_CAPITAL: Final = re.compile("[A-Z]")
