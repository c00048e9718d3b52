"""What AWS's SDKs are told: botocore itself says what they would raise."""

import msgspec
import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.parsers import RestJSONParser
from botocore.session import Session

from gateway.core.refusal import Code, Refused
from gateway.providers.adapter import STATUS
from tests.unit.providers.dialects.bedrock.asking import DIALECT, converse

KINDS = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    402: "BudgetExceededException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    405: "ValidationException",
    413: "ValidationException",
    415: "ValidationException",
    429: "ThrottlingException",
    502: "ModelErrorException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
}


@pytest.mark.parametrize("code", Code)
def test_botocore_reads_each_refusal_by_its_name(code: Code):
    answer = DIALECT.refusal(Refused(code, "Because.", retry_after_s=7))
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    model = Session().get_service_model("bedrock-runtime").operation_model("Converse")
    seen = {"status_code": answer.status, "headers": headers, "body": answer.body}
    error = RestJSONParser().parse(seen, model.output_shape)["Error"]
    assert answer.status == STATUS[code]
    assert error["Code"] == KINDS[answer.status]
    assert error["Message"].startswith("Because.")
    assert ("x-amzn-errortype" in headers) == (answer.status != 402)
    assert msgspec.json.decode(answer.body)["__type"] == KINDS[answer.status]


def test_who_has_no_token_is_told_how_to_send_one():
    body = DIALECT.refusal(Refused(Code.TOKEN_INVALID, "Unknown key.")).body.decode()
    assert "AWS_BEARER_TOKEN_BEDROCK" in body
    assert "signatures are not accepted" in body


def test_a_cut_is_an_exception_that_botocore_raises():
    buffer = EventStreamBuffer()
    buffer.add_data(
        DIALECT.stream(converse(), hides_usage=False).cut(Refused(Code.KILL_SWITCH, "No."))
    )
    (message,) = list(buffer)
    seen = message.to_response_dict()
    assert seen["status_code"] == 400
    assert message.headers[":exception-type"] == "validationException"
    assert msgspec.json.decode(message.payload) == {"message": "No."}
