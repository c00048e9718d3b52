"""The cases of the traps, and what came of asking each: as bytes and by an SDK, with and without us."""

import contextlib
import gc
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import httpx2

from tests.process import callers
from tests.process.callers import Api, Asking, Lines, Place
from tests.process.gateway_process import Gateway
from tests.process.observing import PRICE
from tests.process.standins import Scripted, wait_until
from tests.process.traps import OPENAI, PROVIDER_KEY, TEXT, Trap, traps

AT_ONCE = 6
"""So many cases are asked at a time: some of them wait."""
PATIENCE = {"first_byte": "500ms", "idle": "500ms"}
"""Of the providers that are meant to be too slow."""
APIS: dict[str, Api] = {
    api.name: api
    for api in (
        callers.CHAT,
        callers.COMPLETIONS,
        callers.RESPONSES,
        callers.MESSAGES,
        callers.GEMINI,
        callers.GEMINI_ARRAY,
    )
}


@dataclass(frozen=True, slots=True)
class Case:
    trap: Trap
    api: Api
    is_stream: bool

    def __str__(self) -> str:
        return f"{self.api.name}-{'stream' if self.is_stream else 'whole'}-{self.trap.name}"

    @property
    def model(self) -> str:
        return str(self)

    @property
    def is_slow(self) -> bool:
        return self.trap.script.get("ending") == "hang"

    @property
    def provider(self) -> str:
        """Return the name of its provider in the configuration."""
        return f"{'slow' if self.is_slow else 'of'}-{self.api.provider_dialect}"

    @property
    def script(self) -> dict[str, Any]:
        return {"text": TEXT, "answer_id": "answer-1", **self.trap.script}

    @property
    def asking(self) -> Asking:
        counted = self.is_stream and self.trap.is_counted and self.api.name in OPENAI
        more = {"stream_options": {"include_usage": True}} if counted else {}
        return Asking(self.model, self.is_stream, more | self.trap.asks)


CASES = [
    Case(trap, APIS[name], is_stream)
    for trap in traps()
    for name in trap.apis
    if name in APIS
    for is_stream in trap.streams
    # An answer that is no stream is the same for whatever stream is not asked for.
    if is_stream or APIS[name] is not callers.GEMINI_ARRAY
]


@dataclass(frozen=True, slots=True)
class Got:
    """What a client got, as bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    broke: str = ""
    """The failure that ended it."""


@dataclass(frozen=True, slots=True)
class Seen:
    direct: Got
    through: Got
    sdk_direct: object
    sdk_through: object


class Rounds:
    """Asks the cases. An API's are all asked at once, when the first of them is wanted."""

    def __init__(self, gateway: Gateway, stand_in: Scripted, stack: contextlib.ExitStack) -> None:
        self._gateway, self._stand_in = gateway, stand_in
        self._itself = Place(stand_in.base_url, stand_in.url, stand_in.url, PROVIDER_KEY, "")
        # Some answers leave a connection in a state that only a fresh one is safe from.
        self._lone = lines(stack, is_fresh=True, timeout=20)
        self._hasty = lines(stack, is_fresh=True, timeout=0.4)
        self._client = lines(stack, is_fresh=False, timeout=20)
        self._seen: dict[str, Seen] = {}
        self._accounts: dict[str, dict[str, Any]] = {}
        self._traces: dict[str, dict[str, Any]] = {}

    def seen(self, case: Case) -> Seen:
        if str(case) not in self._seen:
            cases = [one for one in CASES if one.api is case.api]
            with ThreadPoolExecutor(AT_ONCE) as threads, without_collector():
                self._seen.update(zip(map(str, cases), threads.map(self._ask, cases), strict=True))
        return self._seen[str(case)]

    def account(self, case: Case) -> dict[str, Any]:
        """Return what the provider says of one of the case's requests; they are all alike."""
        if case.model not in self._accounts:
            self._accounts = {one["model"]: one for one in self._stand_in.seen()}
        return self._accounts[case.model]

    def trace(self, case: Case) -> dict[str, Any]:
        ident = self.seen(case).through.headers["x-gateway-trace"]
        if ident not in self._traces:
            self._traces = {one["id"]: one for one in self.traces()}
        return self._traces[ident]

    def traces(self) -> list[dict[str, Any]]:
        """Return all traces, once each case's calls are among them."""
        found: list[dict[str, Any]] = []

        def are_written() -> bool:
            found[:] = all_traces(self._gateway)
            return len(found) >= self._calls()

        wait_until(are_written, "all traces are written", every=0.2)
        return found

    def _calls(self) -> int:
        return sum(1 if seen.sdk_through is None else 2 for seen in self._seen.values())

    def _ask(self, case: Case) -> Seen:
        lone = self._hasty if case.is_slow else self._lone
        gateway = through(case, self._gateway)
        return Seen(
            direct=got(case, self._itself, lone.httpx),
            through=got(case, gateway, self._client.httpx),
            sdk_direct=heard(case, self._itself, lone),
            sdk_through=heard(case, gateway, self._client),
        )


def through(case: Case, gateway: Gateway) -> Place:
    prefix = f"{case.provider}/"
    urls = (gateway.base_url, f"{gateway.url}/anthropic", f"{gateway.url}/gemini")
    return Place(*urls, gateway.client_token, prefix)


def heard(case: Case, place: Place, over: Lines) -> object:
    return None if case.api.sdk is None else case.api.heard(place, case.asking, over)


def got(case: Case, place: Place, client: httpx.Client) -> Got:
    url, body, headers = case.api.request(place, case.asking)
    received = bytearray()
    try:
        with client.stream("POST", url, json=body, headers=headers) as answer:
            try:
                for piece in answer.iter_bytes():
                    received += piece
            except httpx.HTTPError as error:
                return Got(answer.status_code, answer.headers, bytes(received), repr(error))
            return Got(answer.status_code, answer.headers, bytes(received))
    except httpx.HTTPError as error:
        return Got(0, {}, bytes(received), repr(error))


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Collect no cycles meanwhile.

    An SDK's stream that failed is closed by the collector. If that strikes while httpcore's pool is
    at work in the same thread, both want the pool's one lock (httpcore 1.0, `connection_pool.py`).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def all_traces(gateway: Gateway) -> Iterator[dict[str, Any]]:
    cursor: str | None = ""
    while cursor is not None:
        params = {"limit": "1000"} | ({"cursor": cursor} if cursor else {})
        page = gateway.admin("GET", "/traces", params=params).raise_for_status().json()
        yield from page["data"]
        cursor = page.get("next_cursor")


def lines(stack: contextlib.ExitStack, *, is_fresh: bool, timeout: float) -> Lines:
    """Return clients that make a connection for each request, or keep them."""
    kept = 0 if is_fresh else None
    return Lines(
        stack.enter_context(
            httpx.Client(limits=httpx.Limits(max_keepalive_connections=kept), timeout=timeout)
        ),
        stack.enter_context(
            httpx2.Client(limits=httpx2.Limits(max_keepalive_connections=kept), timeout=timeout)
        ),
        timeout,
    )


def scripts() -> dict[str, Any]:
    """Return what the scripted provider does with each case's model."""
    return {case.model: case.script for case in CASES}


def configuration(stand_in: Scripted) -> dict[str, Any]:
    """Return a configuration in which the stand-in is a provider of each dialect."""
    places = {"openai": stand_in.base_url, "anthropic": stand_in.url, "gemini": stand_in.url}
    return {
        "providers": {
            case.provider: {
                "dialect": case.api.provider_dialect,
                "base_url": places[case.api.provider_dialect],
                "key": PROVIDER_KEY,
                "timeouts": PATIENCE if case.is_slow else {},
                # Most cases are failures, one after the other.
                "circuit": None,
            }
            for case in CASES
        },
        "prices": {f"{case.provider}/{case.model}": PRICE for case in CASES},
        "limits": {"month_usd": "1000", "run_usd": "1000", "request_usd": "1000"},
    }
