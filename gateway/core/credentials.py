"""What the gateway itself hands out: tokens, one-time links, sessions; and how they are kept.

A token is `gwk_<environment>_<43 base62: 256 random bits><6 base62: CRC-32 of all before>`. The
checksum only spares a look-up and helps secret scanners. What is kept of a token is a keyed hash,
so that a stolen database alone doesn't even tell whether a guess is right; links and sessions live
shortly and are kept as plain SHA-256. No hash here is slow, for all of them hide 256 random bits.
"""

import hashlib
import hmac
import re
import zlib
from datetime import timedelta
from typing import Final

ENTROPY_BYTES: Final = 32
PEPPER_BYTES: Final = 32
ENVIRONMENT: Final = "live"
PREFIX_CHARACTERS: Final = 12
"""How much of a token may be shown and kept: its first 12 characters, 3 of them random."""
TOKEN_LIFE: Final = timedelta(days=365)
LINK_LIFE: Final = timedelta(minutes=30)
SESSION_IDLE: Final = timedelta(hours=24)
SESSION_LIFE: Final = timedelta(days=7)

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_CHARACTERS: Final = 43
_CHECKSUM_CHARACTERS: Final = 6
_TOKEN: Final = re.compile(r"gwk_[a-z]{1,16}_[0-9A-Za-z]{49}")
_PEPPER_CHECK: Final = b"gateway pepper check"


def token(entropy: bytes, environment: str = ENVIRONMENT) -> str:
    """Return a new token of 32 random bytes; an environment is 1 to 16 of `a-z`."""
    body = f"gwk_{environment}_{secret(entropy)}"
    return body + _checksum(body)


def is_token(text: str) -> bool:
    """Return whether a text has the form and the checksum of a token."""
    if _TOKEN.fullmatch(text) is None:
        return False
    return _checksum(text[:-_CHECKSUM_CHARACTERS]) == text[-_CHECKSUM_CHARACTERS:]


def prefix(token: str) -> str:
    """Return what of a token may be shown."""
    return token[:PREFIX_CHARACTERS]


def secret(entropy: bytes) -> str:
    """Return the secret of a link or a session, 43 base62 digits of 32 random bytes."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"a secret takes {ENTROPY_BYTES} random bytes, not {len(entropy)}")
    return _base62(int.from_bytes(entropy), _SECRET_CHARACTERS)


def keyed_hash(pepper: bytes, token: str) -> bytes:
    """Return what is kept of a token: HMAC-SHA256 of the whole of it, keyed with the pepper."""
    return hmac.digest(pepper, token.encode(errors="replace"), "sha256")


def plain_hash(secret: str) -> bytes:
    """Return what is kept of a link or a session: SHA-256."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def pepper_check(pepper: bytes) -> bytes:
    """Return what a database keeps to know its pepper again, from which it can't be found."""
    if len(pepper) < PEPPER_BYTES:
        raise ValueError(f"a token pepper has at least {PEPPER_BYTES} bytes, not {len(pepper)}")
    return hmac.digest(pepper, _PEPPER_CHECK, "sha256")


def are_same(one: bytes, other: bytes) -> bool:
    """Return whether two hashes are the same, in a time that doesn't tell where they differ."""
    return hmac.compare_digest(one, other)


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), _CHECKSUM_CHARACTERS)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
