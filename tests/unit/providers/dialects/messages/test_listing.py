"""The models, as Anthropic lists them."""

import json

from gateway.core.ids import ModelName, Provider
from gateway.core.pricing import Model, Vocabulary
from gateway.providers.dialects.messages import Messages

MODEL = Model(
    name=ModelName("anthropic/claude-opus-5"),
    provider=Provider("anthropic"),
    upstream_name="claude-opus-5",
    tiers={},
    max_output_tokens=64_000,
    context_tokens=None,
    vocabulary=Vocabulary.UNKNOWN,
    hidden_reasoning=True,
)
LISTED = {
    "type": "model",
    "id": "anthropic/claude-opus-5",
    "display_name": "claude-opus-5",
    "created_at": "1970-01-01T00:00:00Z",
    "lifecycle": "active",
    "max_tokens": 64_000,
}
NAMED = LISTED | {"id": "fast", "display_name": "fast", "max_tokens": None}


def test_names_come_first_and_all_is_one_page():
    assert json.loads(Messages().models([MODEL], ["fast"])) == {
        "data": [NAMED, LISTED],
        "has_more": False,
        "first_id": "fast",
        "last_id": "anthropic/claude-opus-5",
    }


def test_no_models_are_a_listing_too():
    empty = {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert json.loads(Messages().models([], [])) == empty


def test_one_is_its_entry():
    assert json.loads(Messages().model(MODEL)) == LISTED
    assert json.loads(Messages().model("fast")) == NAMED
