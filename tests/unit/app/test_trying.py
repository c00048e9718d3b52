"""What a first start says of where to call, and the call that it proposes."""

import shlex
from datetime import date

import msgspec
import pytest

from gateway.app import banner, standing, trying
from gateway.config import Config, parse
from gateway.providers.paths import Metered
from gateway.providers.routes import route
from tests.unit.config.test_offered import ENVIRONMENTS

TODAY = date(2026, 11, 25)
SITE = "http://127.0.0.1:9"


def lines(config: Config) -> list[str]:
    return trying.lines(SITE, "gwk", config, standing.standing(config, TODAY).spoken)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("openai", ("openai", "openai/gpt-5-nano")),
        ("anthropic", ("anthropic", "anthropic/claude-haiku-4-5")),
        ("gemini", ("gemini", "gemini/gemini-2.5-flash-lite")),
        ("azure", ("openai", "azure/o4-mini")),
        ("bedrock", ("bedrock", "bedrock/global.amazon.nova-2-lite-v1:0")),
    ],
)
def test_a_cheap_model_of_the_provider_is_tried_in_an_api_that_it_speaks(
    name: str, asked: tuple[str, str]
):
    config = parse(b"", ENVIRONMENTS[name])
    assert trying.to_try(config, standing.standing(config, TODAY).spoken) == asked


@pytest.mark.parametrize("name", [*ENVIRONMENTS, "sandbox"])
def test_the_command_is_one_call_that_is_metered_with_a_body_that_can_be_read(name: str):
    heading, command = lines(parse(b"", ENVIRONMENTS.get(name, {})))
    words = shlex.split(command)
    assert words[0] == "curl"
    path = words[1].removeprefix(SITE).encode()
    found = route("POST", path, b"")
    assert isinstance(found, Metered)
    assert words[words.index("-H") + 1] == "Authorization: Bearer gwk"
    body = words[words.index("-d") + 1].encode()
    assert msgspec.json.decode(body)
    assert type(found.dialect.read(found.path, body)).__name__ == "Wanted"
    assert heading.startswith("Try it")


def test_the_only_region_with_prices_of_its_own_has_a_cheaper_model():
    config = parse(b"", ENVIRONMENTS["bedrock"] | {"AWS_REGION": "us-east-1"})
    assert "nova-micro" in lines(config)[1]


def test_a_deployment_is_said_to_be_the_callers_own_unless_the_operator_named_it():
    (guessed, _) = lines(parse(b"", ENVIRONMENTS["azure"]))
    assert "a deployment of yours" in guessed
    file = b"prices: {azure/mine: {input: 1, output: 2}}"
    heading, command = lines(parse(file, ENVIRONMENTS["azure"]))
    assert heading == "Try it:"
    assert "azure/mine" in command


def test_where_nothing_has_a_price_the_line_says_so():
    config = parse(b'providers: {own: {dialect: openai, base_url: "http://127.0.0.1/v1"}}', {})
    heading, command = lines(config)
    assert "in the place of MODEL" in heading
    assert "MODEL" in command


def test_a_name_of_the_operators_is_tried_first():
    file = b"models: {fast: {targets: [{model: azure/o4-mini}]}}"
    assert lines(parse(file, ENVIRONMENTS["azure"]))[0] == "Try it:"


def test_every_api_that_a_provider_speaks_has_its_base_url():
    whole = {key: value for each in ENVIRONMENTS.values() for key, value in each.items()}
    said = banner.again(f"{SITE}/v1", parse(b"", whole))
    assert f"Base URL: {SITE}/v1" in said
    for name in ("azure", "anthropic", "gemini", "bedrock"):
        assert f"Base URL for {name}: {SITE}/{name}" in said
    assert len([one for one in said if one.startswith("Base URL")]) == 5
    alone = banner.again(f"{SITE}/v1", parse(b"", ENVIRONMENTS["openai"]))
    assert not [one for one in alone if one.startswith("Base URL for")]
