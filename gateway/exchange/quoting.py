"""Does an error answer quote what nobody but its sender may see: our key, or the request's own text?"""

import re
from collections.abc import Sequence
from typing import Final

_LEAST_BYTES: Final = 24
"""An answer that shares so many bytes in a row with the request is taken to quote its text."""
_MOST_SENT: Final = 256 * 1024
_MOST_COMPARED: Final = 1 << 28
"""Bytes of the answer times bytes of the request: 70 ms of the event loop for the worst of texts."""


def names_any(answer: bytes, secrets: Sequence[bytes]) -> bool:
    """Return whether an answer has one of some secrets in it, with or without JSON's escapes.

    Some write `/` as two characters and `=` as six, and a Bedrock API key may have both.
    """
    plain = _ESCAPE.sub(_unescaped, answer) if b"\\" in answer else answer
    return any(secret in answer or secret in plain for secret in secrets)


def quotes(answer: bytes, sent: Sequence[bytes]) -> bool:
    """Return whether an answer has a long piece of what was sent in it.

    Where there is too much to look through it may have, which is the safe answer.
    """
    text = b"".join(sent)
    if len(text) > _MOST_SENT or len(text) * len(answer) > _MOST_COMPARED:
        return True
    starts = range(0, len(answer) - _LEAST_BYTES, _LEAST_BYTES // 3)
    return any(answer[at : at + _LEAST_BYTES] in text for at in starts)


def _unescaped(found: re.Match[bytes]) -> bytes:
    """Return the ASCII character that an escape stands for."""
    return bytes([int(found[1], 16)]) if found[1] else found[2]


_ESCAPE: Final = re.compile(rb'\\(?:u00([0-7][0-9a-fA-F])|([/"\\]))')
