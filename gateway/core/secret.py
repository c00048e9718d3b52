"""A secret's type: it will not print, format, pickle or encode itself, and is opened where it is sent."""

from hmac import compare_digest
from typing import NoReturn, final

MASK = "******"


@final
class Secret:
    """A credential in memory. Everything that shows it shows a mask, but for `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Hold a value, which is never looked at here."""
        self._value = value

    def reveal(self) -> str:
        """Return the value. Only the line that sends it may call this."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(_bytes(self._value), _bytes(other._value))

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        message = "a secret is not pickled or copied into a file"
        raise TypeError(message)


def _bytes(value: str) -> bytes:
    """Return a value for comparison; the environment may hold what is not Unicode."""
    return value.encode(errors="surrogatepass")
