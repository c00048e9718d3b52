"""What complete answers say: a message, or a count of tokens."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from gateway.core.events import Broken, Delta, Event, Opaque, Thinking
from gateway.providers.dialects.messages import accounts, answers
from gateway.providers.dialects.messages.answers import Message


def message(document: bytes, fields: Mapping[str, msgspec.Raw]) -> Sequence[Event]:
    """Return what a complete message says, its usage last; nothing where it is no message at all."""
    found = answers.message(document)
    if found is None or (found.content is None and not _is_broken(found)):
        return ()
    return tuple(_events(found, document, fields)) or (Opaque(),)


def count(document: bytes) -> Sequence[Event]:
    """Return what a count of tokens says, which is nothing of use."""
    found = answers.message(document)
    if found is None or (found.input_tokens is None and not _is_broken(found)):
        return ()
    return (Broken(),) if _is_broken(found) else (Opaque(),)


def _events(found: Message, document: bytes, fields: Mapping[str, msgspec.Raw]) -> Iterator[Event]:
    served = answers.served(found, fields)
    if served is not None:
        yield served
    content = found.content or []
    if any(map(answers.thinks, content)):
        yield Thinking()
    produced = "".join(map(answers.text, content))
    if produced:
        yield Delta(produced)
    if _is_broken(found):
        yield Broken()
    counts = answers.counts(found.usage, document)
    reported = None if counts is None else accounts.usage(counts)
    if reported is not None:
        yield reported


def _is_broken(found: Message) -> bool:
    return found.type == "error" or bool(found.error)
