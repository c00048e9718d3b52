"""What a command says when no gateway could be asked."""

import ssl

import httpx

from gateway.core.secret import Secret
from gateway.remote.management import Unreachable, connect

URL = "https://127.0.0.1:9"


def said(failure: Exception) -> str:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("", request=request) from failure

    with connect(URL, Secret("t"), transport=httpx.MockTransport(fail)) as gateway:
        answer = gateway.call("GET", "status")
    assert isinstance(answer, Unreachable)
    return answer.reason


def test_a_certificate_that_is_not_trusted_is_no_gateway_that_is_away():
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_message = "IP address mismatch."
    between = OSError()
    between.__context__ = refused  # as httpcore has it
    for failure in (refused, between):
        reason = said(failure)
        assert "not trusted here (IP address mismatch)" in reason
        assert "SSL_CERT_FILE" in reason


def test_an_address_where_nobody_listens_says_what_to_look_at():
    assert said(OSError()) == f"no gateway answers at {URL}: see that it runs, or set GATEWAY_URL"
