"""What new rows need from outside: ids in order of time, and secrets nobody can guess."""

from collections.abc import Callable

from gateway.core import credentials
from gateway.core.ids import UUID7_ENTROPY_BYTES, uuid7


class Mint:
    """Makes ids and secrets of a clock (Unix milliseconds) and a source of random bytes."""

    def __init__(self, unix_ms: Callable[[], int], entropy: Callable[[int], bytes]) -> None:
        self._unix_ms = unix_ms
        self._entropy = entropy

    def id(self) -> str:
        """Return a new UUIDv7."""
        return uuid7(self._unix_ms(), self._entropy(UUID7_ENTROPY_BYTES))

    def token(self) -> str:
        """Return a new token."""
        return credentials.token(self._entropy(credentials.ENTROPY_BYTES))

    def secret(self) -> str:
        """Return the secret of a new link or session."""
        return credentials.secret(self._entropy(credentials.ENTROPY_BYTES))
