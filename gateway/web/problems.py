"""What goes wrong on the management API, in the one shape that its clients know.

`{"error": {"message", "type", "code", "param"}}`, as OpenAI writes errors. A refusal keeps the code
that it has on the data plane; what only a management API knows has a code of its own here. An answer
never has a stack, a path of ours, a statement, or a parser's words, which may quote what was sent.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from gateway.core.refusal import Code, Refused
from gateway.errors import LedgerUnavailable
from gateway.providers.adapter import STATUS
from gateway.web.pages import pages_of, wants_page

NOT_FOUND: Final = "not_found"
CONFLICT: Final = "conflict"
INTERNAL: Final = "internal_error"

_OWN_STATUS: Final[Mapping[str, int]] = {NOT_FOUND: 404, CONFLICT: 409, INTERNAL: 500}
_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_UNFIT: Final[Mapping[int, tuple[str, str]]] = {
    404: (NOT_FOUND, "There is nothing at this address."),
    405: (Code.METHOD_NOT_ALLOWED, "This address does not take that method."),
    413: (Code.BODY_TOO_LARGE, "The request's body is larger than 1 MiB. Send less."),
}
"""What the router refuses by itself."""

Unhandled = Callable[[BaseException, str], None]


class Problem(Exception):
    """Ends a request with an error answer; raised by whoever finds out, and handled here alone."""

    def __init__(
        self, code: str, message: str, *, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        """Say what is wrong and what to do; `param` names the field or the query's member at fault."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def status(self) -> int:
        """The HTTP status of its code."""
        return _OWN_STATUS.get(self.code) or STATUS[Code(self.code)]


def refusal(refused: Refused) -> Problem:
    """Return the problem that a refusal is."""
    return Problem(
        refused.code.value,
        refused.message,
        param=refused.param,
        retry_after_s=refused.retry_after_s,
    )


def invalid(message: str, param: str | None = None) -> Problem:
    """Return the problem of a request that can't be understood."""
    return Problem(Code.INVALID_REQUEST.value, message, param=param)


def not_found(what: str) -> Problem:
    """Return the problem of a thing that is not there, or that the caller may not see."""
    return Problem(NOT_FOUND, f"There is no such {what}.")


class Error(msgspec.Struct, frozen=True):
    """What an error says."""

    message: str
    type: str
    code: str
    param: str | None


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of every error answer."""

    error: Error


Handler = Callable[[Request[Any, Any, Any], Exception], Response[bytes]]


def handlers(unhandled: Unhandled) -> Mapping[int | type[Exception], Handler]:
    """Return what turns exceptions into answers; `unhandled` is told of those that nobody expected."""

    def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        unhandled(error, request.scope.get("path_template", "?"))
        return _answer(Problem(INTERNAL, "Something went wrong here. It was logged."))

    return {
        Problem: _problem,
        LedgerUnavailable: _unavailable,
        HTTPException: _unfit,
        Exception: unexpected,
    }


def _problem(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    if not isinstance(error, Problem):
        raise TypeError(type(error).__name__)
    return _answer(error)


def _unavailable(_: Request[Any, Any, Any], __: Exception) -> Response[bytes]:
    message = "The database can't be reached, so nothing can be told or changed. Try again soon."
    return _answer(Problem(Code.LEDGER_UNAVAILABLE.value, message, retry_after_s=1))


def _unfit(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer for the router. Its own words may quote the request, so they are not used."""
    status = error.status_code if isinstance(error, HTTPException) else 400
    if status == 404 and wants_page(request.headers.get("accept", "")):
        text = "The console is at /console/, and clients are given the address that ends in /v1."
        return pages_of(request).message("There is nothing here", text, 404)
    code, message = _UNFIT.get(
        status,
        (Code.INVALID_REQUEST, "This request can't be understood. See the API's description."),
    )
    return _answer(Problem(code, message))


def _answer(problem: Problem) -> Response[bytes]:
    kind = _TYPES.get(
        problem.status, "api_error" if problem.status >= 500 else "invalid_request_error"
    )
    body = ErrorAnswer(Error(problem.message, kind, str(problem.code), problem.param))
    headers = {}
    if problem.retry_after_s is not None:
        headers["retry-after"] = str(problem.retry_after_s)
    if problem.status == 401:
        headers["www-authenticate"] = "Bearer"
    if problem.status == 413:
        headers["connection"] = "close"  # the rest of the body is not read
    return Response(
        msgspec.json.encode(body),
        status_code=problem.status,
        media_type="application/json",
        headers=headers,
    )
