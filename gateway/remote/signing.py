"""AWS's signatures (Signature Version 4), made with the gateway's own credentials as a request leaves.

The signature is arithmetic, and made here: a few tens of microseconds, on every call. Where credentials
come from is botocore's to know: the environment, a profile, a web identity, a container's or an
instance's role. Asking those may take seconds, so it is done in a thread, by one caller for all, and what
was found is used for a minute before botocore is asked again, which knows when it expires.

Source of the format: docs.aws.amazon.com/IAM, "Create a signed AWS API request". botocore is imported
only where requests are to be signed, for it takes a tenth of a second.
"""

import hmac
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from math import inf
from threading import Lock
from typing import Any, Final
from urllib.parse import quote

import anyio
import msgspec
from anyio import to_thread
from msgspec import structs

from gateway.core.secret import Secret
from gateway.errors import ConfigurationInvalid, UpstreamUnreachable
from gateway.providers.adapter import Headers, PreparedRequest, Signing
from gateway.remote.request import Origin

FRESH_S: Final = 60.0
USABLE_S: Final = 300.0
"""How long credentials are used while no others can be had. botocore hands out none that end in less
than ten minutes, unless their source gives such (botocore 1.44, `RefreshableCredentials`)."""
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_SIGNED: Final = b"content-type"
"""Of the request's own headers: the others may be changed on the way."""
_UNEXPECTED: Final = (OSError, ValueError, LookupError, RuntimeError)
"""What botocore's sources let through, or raise for credentials that have ended already."""
_MOST_AT_ONCE: Final = 512 * 1024
"""Bytes of a body whose digest is made on the event loop, in 1 to 2 ms."""


class Credentials(msgspec.Struct, frozen=True):
    """What signs. `token` is there where the credentials are temporary."""

    access_key: str
    secret: Secret
    token: Secret | None = None


def require() -> None:
    """Let a start go on that can sign, and import what that takes: some tenths of a second, once.

    Raises:
        ConfigurationInvalid: botocore is not installed.
    """
    try:
        import botocore.session  # type: ignore[import-untyped]  # noqa: F401, PLC0415  # as the module says
    except ImportError:
        raise ConfigurationInvalid(
            "Signing for AWS needs botocore, which is not installed; install reasonrank-gateway[bedrock], "
            "or give the provider a Bedrock API key as its key."
        ) from None


class CredentialChain:
    """AWS credentials by botocore's default chain. `load` may take seconds: call it in a thread."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._session: Any = None

    def load(self) -> Credentials:
        """Return credentials that are valid now.

        Raises:
            UpstreamUnreachable: there are none, or their source did not answer.
        """
        # Imported here for the reason that the module gives.
        from botocore.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415
            BotoCoreError,
            ClientError,
        )
        from botocore.session import Session  # noqa: PLC0415

        with self._turn:
            try:
                session = self._session = self._session or Session()
                found = session.get_credentials()
                frozen = None if found is None else found.get_frozen_credentials()
            except (BotoCoreError, ClientError, *_UNEXPECTED) as error:
                kind = type(error).__name__
                raise UpstreamUnreachable(f"AWS credentials can't be had: {kind}") from error
        if frozen is None or not frozen.access_key or not frozen.secret_key:
            raise UpstreamUnreachable("no AWS credentials are found where this gateway runs")
        token = None if frozen.token is None else Secret(frozen.token)
        return Credentials(frozen.access_key, Secret(frozen.secret_key), token)


class Signer:
    """Signs requests. Of many that need new credentials at once, one asks for them."""

    def __init__(
        self,
        load: Callable[[], Credentials],
        *,
        utc: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        """Take credentials from `load`, which is called in a thread and raises UpstreamUnreachable."""
        self._load = load
        self._utc = utc
        self._monotonic = monotonic
        self._turn = anyio.Lock()
        self._asked = 0
        self._asked_at: float | None = None
        self._loaded_at: float | None = None
        self._credentials: Credentials | None = None
        self._failure = UpstreamUnreachable("no AWS credentials were asked for yet")

    async def signed(
        self, request: PreparedRequest, signing: Signing, within_s: float
    ) -> PreparedRequest:
        """Return a request with its signature.

        Raises:
            UpstreamUnreachable: no credentials could be had, or not within so many seconds.
        """
        try:
            with anyio.fail_after(within_s):
                await self._renew_if_due()
        except TimeoutError:
            message = f"no AWS credentials were had within {within_s:g} s"
            self._failure = UpstreamUnreachable(message)
        credentials = self._usable()
        digest = await _digest(request.body)
        added = signature(request, signing, credentials, digest, self._utc())
        return structs.replace(request, headers=[*request.headers, *added])

    async def _renew_if_due(self) -> None:
        """Ask for credentials where it is time to. Only who asks waits, unless there are none to use."""
        if _age(self._asked_at, self._monotonic()) < FRESH_S and self._is_usable():
            return
        before = self._asked
        async with self._turn:
            if self._asked == before:  # nobody has asked while this one waited
                await self._renew()

    async def _renew(self) -> None:
        self._asked_at = self._monotonic()
        try:
            found = await to_thread.run_sync(self._load, abandon_on_cancel=True)
        except UpstreamUnreachable as failure:
            self._failure = failure
        else:
            self._credentials, self._loaded_at = found, self._monotonic()
        self._asked += 1

    def _usable(self) -> Credentials:
        if self._credentials is None or not self._is_usable():
            raise UpstreamUnreachable(*self._failure.args) from self._failure
        return self._credentials

    def _is_usable(self) -> bool:
        return _age(self._loaded_at, self._monotonic()) < USABLE_S


def _age(since: float | None, now: float) -> float:
    return inf if since is None else now - since


def signature(
    request: PreparedRequest,
    signing: Signing,
    credentials: Credentials,
    digest: str,
    now: datetime,
) -> Headers:
    """Return the headers that sign a request, which has no query, and whose body has that SHA-256."""
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    added = [(b"x-amz-date", moment.encode())]
    if credentials.token is not None:
        added.append((b"x-amz-security-token", credentials.token.reveal().encode()))
    fields = sorted([*_fields(request), *added])
    names = b";".join(name for name, _ in fields).decode()
    scope = f"{moment[:8]}/{signing.region}/{signing.service}/aws4_request"
    canonical = b"\n".join(
        [
            request.method,
            quote(request.target, safe="/~").encode(),  # once more: only S3's paths are not
            b"",
            *(name + b":" + b" ".join(value.split()) for name, value in fields),
            b"",
            names.encode(),
            digest.encode(),
        ]
    )
    said = f"{_ALGORITHM}\n{moment}\n{scope}\n{sha256(canonical).hexdigest()}"
    signed = hmac.digest(_key(credentials, scope), said.encode(), "sha256").hex()
    credential = f"Credential={credentials.access_key}/{scope}"
    authorization = f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signed}"
    return [*added, (b"authorization", authorization.encode())]


def _fields(request: PreparedRequest) -> list[tuple[bytes, bytes]]:
    """Return the headers to sign; `host` is the HTTP client's to send."""
    scheme: Final = "https" if request.scheme == "https" else "http"
    authority = Origin(scheme, request.host, request.port).authority
    return [
        (b"host", authority.encode()),
        *((name, value) for name, value in request.headers if name == _SIGNED),
    ]


def _key(credentials: Credentials, scope: str) -> bytes:
    key = b"AWS4" + credentials.secret.reveal().encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


async def _digest(body: bytes) -> str:
    if len(body) <= _MOST_AT_ONCE:
        return sha256(body).hexdigest()
    return await to_thread.run_sync(lambda: sha256(body).hexdigest(), abandon_on_cancel=True)
