"""AWS's signatures: botocore's own are the truth, and a slow source of credentials keeps nobody else."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import quote

import anyio
import botocore.auth
import botocore.credentials
import pytest
from botocore.awsrequest import AWSRequest
from hypothesis import given, strategies as st
from msgspec import structs

from gateway.core.secret import Secret
from gateway.errors import ConfigurationInvalid, UpstreamUnreachable
from gateway.providers.adapter import PreparedRequest, Signing
from gateway.remote import signing
from gateway.remote.signing import CredentialChain, Credentials, Signer, signature
from tests.waiting import eventually

NOW = datetime(2026, 11, 25, 9, 5, 1, tzinfo=UTC)
FOR = Signing("bedrock", "us-east-1")
OURS = Credentials("AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
MODELS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40)


def prepared(
    target: bytes = b"/model/us.anthropic.claude-v1%3A0/converse",
    *,
    scheme: str = "https",
    port: int = 443,
    body: bytes = b"{}",
) -> PreparedRequest:
    return PreparedRequest(
        method=b"POST",
        scheme=scheme,
        host="bedrock-runtime.us-east-1.amazonaws.com",
        port=port,
        target=target,
        headers=[
            (b"content-type", b"application/json"),
            (b"accept", b"application/json"),
            (b"user-agent", b"anything"),
        ],
        body=body,
        signing=FOR,
    )


def theirs(
    request: PreparedRequest, credentials: Credentials, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The headers that botocore adds to the same request at the same moment."""
    port = "" if (request.scheme, request.port) in {("https", 443), ("http", 80)} else request.port
    host = f"{request.host}:{port}" if port else request.host
    made = AWSRequest(
        method="POST",
        url=f"{request.scheme}://{host}{request.target.decode()}",
        headers={"content-type": "application/json", "host": host},
        data=request.body,
    )
    token = None if credentials.token is None else credentials.token.reveal()
    known = botocore.credentials.Credentials(
        credentials.access_key, credentials.secret.reveal(), token
    )
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOW, raising=False)
    botocore.auth.SigV4Auth(known, FOR.service, FOR.region).add_auth(made)
    return {
        name.lower(): value
        for name, value in made.headers.items()
        if name.lower() in {"authorization", "x-amz-date", "x-amz-security-token"}
    }


def ours(request: PreparedRequest, credentials: Credentials) -> dict[str, str]:
    added = signature(request, FOR, credentials, sha256(request.body).hexdigest(), NOW)
    return {name.decode(): value.decode() for name, value in added}


@pytest.mark.parametrize("token", [None, Secret("a-session-token")])
@pytest.mark.parametrize(
    "request_",
    [
        prepared(),
        prepared(b"/proxy/model/arn%3Aaws%3Abedrock%3A%3Aa%2Fb/invoke"),
        prepared(scheme="http", port=8080, body=b"x" * 1000),
        prepared(port=8443, body=b""),
    ],
    ids=["plain", "arn", "http", "empty"],
)
def test_a_signature_is_the_one_that_botocore_makes(
    request_: PreparedRequest, token: Secret | None, monkeypatch: pytest.MonkeyPatch
):
    credentials = structs.replace(OURS, token=token)
    assert ours(request_, credentials) == theirs(request_, credentials, monkeypatch)


@given(MODELS, st.binary(max_size=200))
def test_whatever_the_model_is_called_botocore_signs_it_alike(model: str, body: bytes):
    request = prepared(f"/model/{quote(model, safe='')}/converse".encode(), body=body)
    with pytest.MonkeyPatch.context() as patched:
        assert ours(request, OURS) == theirs(request, OURS, patched)


def test_the_example_of_aws_documentation_gives_its_signing_key():
    """From "Create a signed AWS API request": the key of 2012-02-15, us-east-1, iam."""
    credentials = structs.replace(OURS, secret=Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
    key = signing._key(credentials, "20120215/us-east-1/iam/aws4_request")
    assert key.hex() == "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"


def test_signing_takes_microseconds():
    request = prepared(body=b"x" * 4096)
    digest = sha256(request.body).hexdigest()
    begun = time.perf_counter()
    for _ in range(1000):
        signature(request, FOR, OURS, digest, NOW)
    assert time.perf_counter() - begun < 1.0  # some 30 ms: a millisecond each would be a mistake


class Source:
    """Where credentials come from: counts, and waits or fails as it is told to."""

    def __init__(self) -> None:
        self.loads = 0
        self.failure: UpstreamUnreachable | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def load(self) -> Credentials:
        self.loads += 1
        count = self.loads
        self.go_on.wait(10)
        if self.failure is not None:
            raise self.failure
        return structs.replace(OURS, access_key=f"AKID{count}")


class Hands:
    """A signer whose clock is moved by hand."""

    def __init__(self, source: Source) -> None:
        self.now_s = 0.0
        self.signer = Signer(source.load, utc=lambda: NOW, monotonic=lambda: self.now_s)

    async def sign(self, within_s: float = 5.0, body: bytes = b"{}") -> str:
        request = await self.signer.signed(prepared(body=body), FOR, within_s)
        return dict(request.headers)[b"authorization"].decode()


async def test_credentials_are_asked_for_once_a_minute():
    source = Source()
    hands = Hands(source)
    for _ in range(3):
        assert "Credential=AKID1/20261125/us-east-1/bedrock/" in await hands.sign()
    hands.now_s = signing.FRESH_S
    assert "Credential=AKID2/" in await hands.sign()
    assert source.loads == 2


async def test_of_many_callers_one_asks_and_the_loop_goes_on_meanwhile():
    source = Source()
    source.go_on.clear()
    hands = Hands(source)
    signed: list[str] = []

    async def sign() -> None:
        signed.append(await hands.sign())

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(sign)
        await eventually(lambda: source.loads == 1)
        assert signed == []
        source.go_on.set()
    assert len(signed) == 20
    assert source.loads == 1


async def test_a_failure_is_told_to_all_who_waited_and_tried_again_by_the_next():
    source = Source()
    source.go_on.clear()
    source.failure = UpstreamUnreachable("no AWS credentials are found")
    hands = Hands(source)
    failed: list[str] = []

    async def sign() -> None:
        try:
            await hands.sign()
        except UpstreamUnreachable as failure:
            failed.append(str(failure))

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(sign)
        await eventually(lambda: source.loads == 1)
        source.go_on.set()
    assert failed == ["no AWS credentials are found"] * 5
    source.failure = None
    assert "AKID2" in await hands.sign()


async def test_a_source_that_does_not_answer_ends_the_call_in_time_and_not_the_next():
    source = Source()
    source.go_on.clear()
    hands = Hands(source)
    with pytest.raises(UpstreamUnreachable, match=r"within 0\.02 s"):
        await hands.sign(within_s=0.02)
    source.go_on.set()
    assert "AKID" in await hands.sign()


async def test_while_no_others_can_be_had_the_old_ones_are_used_for_some_minutes():
    source = Source()
    hands = Hands(source)
    await hands.sign()
    source.failure = UpstreamUnreachable("the source is away")
    hands.now_s = signing.FRESH_S
    assert "AKID1" in await hands.sign()
    assert "AKID1" in await hands.sign()
    assert source.loads == 2, "asked once more, and not by every call"
    hands.now_s = signing.USABLE_S
    with pytest.raises(UpstreamUnreachable, match="is away"):
        await hands.sign()
    source.failure = None
    assert "AKID4" in await hands.sign()


async def test_a_source_that_hangs_keeps_only_the_caller_who_asks():
    source = Source()
    hands = Hands(source)
    await hands.sign()
    source.go_on.clear()
    hands.now_s = signing.FRESH_S
    signed: list[str] = []

    async def sign() -> None:
        signed.append(await hands.sign(within_s=0.05))

    async with anyio.create_task_group() as group:
        group.start_soon(sign)
        await eventually(lambda: source.loads == 2)
        assert "AKID1" in await hands.sign()
        assert signed == []
    assert "AKID1" in signed[0], "and it has the old ones after its time"
    source.go_on.set()


async def test_a_large_body_is_digested_elsewhere_and_signed_alike():
    hands = Hands(Source())
    large = b"y" * (signing._MOST_AT_ONCE + 1)
    first = await hands.sign(body=large)
    expected = ours(prepared(body=large), structs.replace(OURS, access_key="AKID1"))
    assert first == expected["authorization"]


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment without any AWS credentials, whose files would be in this folder."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return tmp_path


def test_credentials_of_the_environment_are_found(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a token")
    found = CredentialChain().load()
    assert found == Credentials("AKIDENV", Secret("a secret"), Secret("a token"))
    assert "a secret" not in repr(found)


def test_credentials_of_a_profile_are_found(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    said = "[team]\naws_access_key_id = AKIDFILE\naws_secret_access_key = s\n"
    (nowhere / "credentials").write_text(said)
    monkeypatch.setenv("AWS_PROFILE", "team")
    assert CredentialChain().load() == Credentials("AKIDFILE", Secret("s"))


@pytest.fixture
def container() -> Iterator[tuple[str, list[str]]]:
    """The URL of a container's credentials, each good for minutes alone, and the keys it gave."""
    given_: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given_.append(f"ASIA{len(given_)}")
            ends_at = datetime.now(UTC) + timedelta(minutes=5)  # noqa: TID251  # botocore has a clock
            said = {
                "AccessKeyId": given_[-1],
                "SecretAccessKey": "s",
                "Token": f"token of {given_[-1]}",
                "Expiration": ends_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/credentials", given_
    server.shutdown()
    server.server_close()
    thread.join()


def test_credentials_that_end_are_renewed(
    nowhere: Path, container: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
):
    url, given_ = container
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
    chain = CredentialChain()
    first, second = chain.load(), chain.load()
    assert first == Credentials(
        first.access_key, Secret("s"), Secret(f"token of {first.access_key}")
    )
    assert (first.access_key, second.access_key) == tuple(given_[-2:])


def test_where_there_are_none_it_says_so(nowhere: Path):
    with pytest.raises(UpstreamUnreachable, match="no AWS credentials are found"):
        CredentialChain().load()


def test_a_source_that_fails_is_a_failure_of_ours(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    with pytest.raises(UpstreamUnreachable, match="ProfileNotFound"):
        CredentialChain().load()


def test_a_start_without_botocore_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(ConfigurationInvalid, match=r"install reasonrank-gateway\[bedrock\]"):
        signing.require()
    monkeypatch.undo()
    signing.require()


def test_who_signs_nothing_does_not_wait_for_botocore():
    said = "import sys, gateway.app.wiring; print('botocore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
