"""Whose model a name means."""

import pytest

from gateway.core.refusal import Code
from gateway.providers.dialects.bedrock.families import (
    Family,
    check_name,
    family,
    thinks_unasked,
)


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", Family.CLAUDE),
        ("us.anthropic.claude-sonnet-5", Family.CLAUDE),
        ("aws/eu.anthropic.claude-sonnet-5", Family.CLAUDE),
        ("global.anthropic.claude-opus-5", Family.CLAUDE),
        ("us-gov.anthropic.claude-3-5-sonnet-20240620-v1:0", Family.CLAUDE),
        ("anthropic.fast", Family.CLAUDE),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2", Family.CLAUDE),
        ("amazon.nova-lite-v1:0", Family.NOVA),
        ("apac.amazon.nova-2-lite-v1:0", Family.NOVA),
        ("meta.llama3-70b-instruct-v1:0", Family.LLAMA),
        ("mistral.mixtral-8x7b-instruct-v0:1", Family.MISTRAL),
        ("cohere.command-r-plus-v1:0", Family.COMMAND),
        ("amazon.titan-text-premier-v1:0", Family.TITAN),
        ("amazon.titan-embed-text-v2:0", Family.TITAN_EMBED),
        ("cohere.embed-multilingual-v3", Family.COHERE_EMBED),
        ("fast", None),
        ("amazon.nova-canvas-v1:0", None),
        ("amazon.nova-sonic-v1:0", None),
        ("amazon.nova-reel-v1:0", None),
        ("amazon.titan-image-generator-v2:0", None),
        ("amazon.titan-embed-image-v1", None),
        ("stability.sd3-5-large-v1:0", None),
        ("deepseek.r1-v1:0", None),
        ("openai.gpt-oss-120b-1:0", None),
        ("notanthropic.claude", None),
        ("ANTHROPIC.claude", None),
        ("", None),
    ],
)
def test_a_name_says_whose_body_its_model_takes(name: str, whose: Family | None):
    assert family(name) is whose


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:bedrock:us-east-1:1:application-inference-profile/x",
        "arn:aws:bedrock:us-east-1:1:prompt/P1:1",
        "arn:aws:bedrock:us-east-1:1:prompt-router/r",
        "arn:aws:bedrock:us-east-1:1:default-prompt-router/anthropic.claude:1",
        "arn:aws:bedrock:us-east-1:1:provisioned-model/x",
        "arn:aws:bedrock:us-east-1:1:imported-model/x",
        "arn:aws:sagemaker:us-east-1:1:endpoint/x",
        "aws/arn:aws-us-gov:bedrock:us-gov-west-1:1:custom-model-deployment/x",
    ],
)
def test_an_arn_that_stands_for_another_model_is_refused(arn: str):
    refused = check_name(arn)
    assert refused is not None
    assert refused.code is Code.BOUND_UNKNOWN


@pytest.mark.parametrize(
    "name",
    [
        "us.anthropic.claude-v2",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-v2",
        "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-v2",
    ],
)
def test_a_models_own_arn_passes(name: str):
    assert check_name(name) is None


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("us.anthropic.claude-3-5-haiku-20241022-v1:0", False),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", False),
        ("anthropic.claude-opus-4-5-20251101-v1:0", False),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", False),
        ("anthropic.claude-sonnet-5", True),
        ("anthropic.claude-fable-5-2", True),
        ("amazon.nova-pro-v1:0", False),
        ("amazon.nova-2-lite-v1:0", True),
        ("meta.llama3-70b-instruct-v1:0", False),
        ("mistral.mistral-large-2402-v1:0", False),
        ("mistral.magistral-small-2509", True),
        ("deepseek.r1-v1:0", True),
        ("fast", True),
    ],
)
def test_who_may_think_unasked(name: str, may: bool):
    assert thinks_unasked(name) is may
