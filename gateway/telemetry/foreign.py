"""What libraries and the interpreter itself would print, brought into our own lines.

A library's message may quote anything: a request, a row, an address. So only its template is kept,
never its arguments, and that only of libraries whose templates are literals; an exception is its type
and where it was raised, never its words. What a template would have said is lost, and meant to be.
"""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from traceback import extract_tb
from types import TracebackType
from typing import Final

from gateway.telemetry.journal import Journal

Unhandled = Callable[[BaseException, str], None]
"""Reports an exception that nobody caught, and what was running."""

_TEMPLATES_ARE_LITERALS: Final = ("asyncio", "litestar", "uvicorn")
_ERRORS_ONLY: Final = "uvicorn.error"
"""Its warnings are about malformed requests, which anyone can send by the million."""
_MOST_FRAMES: Final = 24
_MOST_TYPES: Final = 8


def described(error: BaseException) -> dict[str, object]:
    """Return what may be logged of an exception: types, places, PostgreSQL's code and constraint."""
    fields: dict[str, object] = {"error": type(error).__name__}
    others = list(dict.fromkeys(type(one).__name__ for one in _related(error)))[:_MOST_TYPES]
    if others:
        fields["because_of"] = others
    for name in ("sqlstate", "constraint_name"):
        value = getattr(error, name, None)
        if isinstance(value, str):
            fields[name] = value
    if error.__traceback__ is not None:
        fields["at"] = _places(error.__traceback__)
    return fields


def _related(error: BaseException) -> list[BaseException]:
    """Return what an exception was raised from, or is a group of, at any depth and each once."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        group = list(one.exceptions) if isinstance(one, BaseExceptionGroup) else []
        cause = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        direct = [*group, *([cause] if cause is not None else [])]
        new = [other for other in direct if other is not error and other not in found]
        found += new
        waiting += new
    return found


def _places(traceback: TracebackType) -> list[str]:
    frames = extract_tb(traceback)[-_MOST_FRAMES:]
    return [f"{_module(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]


def _module(filename: str) -> str:
    """Return the last parts of a path, which say enough and tell nothing of the machine."""
    return "/".join(filename.split("/")[-3:])


class LibraryLines(logging.Handler):
    """Writes the records of the standard library's logging as lines of ours."""

    def __init__(self, journal: Journal) -> None:
        """Write to `journal`."""
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write what may be kept of a record."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, asyncio.CancelledError):
            return  # a call that was cut, which its own line tells
        fields = described(error) if error is not None else {}
        write = (
            self._journal.log.error
            if record.levelno >= logging.ERROR
            else self._journal.log.warning
        )
        write("library_message", logger=record.name, message=_template(record), **fields)


def _template(record: logging.LogRecord) -> str:
    """Return the first line of a record's template, or where it was logged if that may say too much.

    asyncio puts the representation of tasks and their exceptions on the lines after the first.
    """
    if record.name.partition(".")[0] in _TEMPLATES_ARE_LITERALS and isinstance(record.msg, str):
        return record.msg.strip().partition("\n")[0]
    return f"{_module(record.pathname)}:{record.lineno}"


@contextmanager
def captured(journal: Journal, unhandled: Unhandled) -> Iterator[None]:
    """Keep libraries, warnings and uncaught exceptions from writing to standard error themselves.

    This belongs to the whole process, so it is undone at the end.
    """
    root = logging.getLogger()
    uvicorn = logging.getLogger(_ERRORS_ONLY)
    handlers, level, uvicorn_level = root.handlers, root.level, uvicorn.level
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    root.handlers = [LibraryLines(journal)]
    root.setLevel(logging.WARNING)
    uvicorn.setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)
    _hook(unhandled)
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
        logging.captureWarnings(capture=False)
        root.handlers = handlers
        root.setLevel(level)
        uvicorn.setLevel(uvicorn_level)


def _hook(unhandled: Unhandled) -> None:
    def excepthook(_kind: type[BaseException], error: BaseException, _tb: object) -> None:
        unhandled(error, "main")

    def unraisablehook(unraisable: "sys.UnraisableHookArgs") -> None:
        if unraisable.exc_value is not None:
            unhandled(unraisable.exc_value, "finalizer")

    def threadhook(args: "threading.ExceptHookArgs") -> None:
        if args.exc_value is not None:
            unhandled(args.exc_value, "thread")

    sys.excepthook = excepthook
    sys.unraisablehook = unraisablehook
    threading.excepthook = threadhook
