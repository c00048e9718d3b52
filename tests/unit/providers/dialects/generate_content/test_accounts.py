"""Usage as Gemini reports it, in the terms of the price book."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from gateway.core.calls import Asked
from gateway.core.events import Usage
from gateway.providers.dialects.generate_content import accounts

ASKED = Asked(model="m")
MEDIA = Asked(model="m", hides_input=True)
SPEECH = Asked(model="m", audio_output=True)
EMBEDDING = Asked(model="m", makes_output=False)


def usage(
    prompt: object = 100, candidates: object = 20, total: object = None, **more: object
) -> dict[str, Any]:
    values = {"promptTokenCount": prompt, "candidatesTokenCount": candidates} | more
    return {
        name: value for name, value in {**values, "totalTokenCount": total}.items() if value != ()
    }


def details(**tokens: int) -> list[dict[str, object]]:
    return [{"modality": kind, "tokenCount": count} for kind, count in tokens.items()]


def read(values: dict[str, Any], asked: Asked = ASKED) -> Usage | None:
    return accounts.read(values, asked)


def test_the_usual_account():
    values = usage(total=120, promptTokensDetails=details(TEXT=100))
    assert read(values) == Usage(input=100, output=20)


def test_thoughts_are_output_beside_the_candidates():
    values = usage(thoughtsTokenCount=300, total=420)
    assert read(values) == Usage(input=100, output=320, reasoning=300)
    only = usage(candidates=(), thoughtsTokenCount=300, total=400)
    assert read(only) == Usage(input=100, output=300, reasoning=300)


def test_what_is_cached_is_within_the_prompt():
    values = usage(cachedContentTokenCount=60, cacheTokensDetails=details(TEXT=60), total=120)
    assert read(values) == Usage(input=40, cached=60, output=20)


def test_a_tools_results_are_input_beside_the_prompt():
    values = usage(toolUsePromptTokenCount=50, thoughtsTokenCount=5, total=175)
    assert read(values) == Usage(input=150, output=25, reasoning=5)


def test_the_output_is_never_less_than_the_total_leaves_for_it():
    assert read(usage(total=150)) == Usage(input=100, output=50)
    assert read(usage(total=170, toolUsePromptTokenCount=10)) == Usage(input=110, output=60)
    assert read(usage(total=100)) == Usage(input=100, output=20)
    assert read(usage(candidates=(), total=150)) == Usage(input=100, output=50)


def test_audio_that_was_heard_has_its_own_line():
    values = usage(promptTokensDetails=details(TEXT=40, AUDIO=60), total=120)
    assert read(values, MEDIA) == Usage(input=40, audio_input=60, output=20)
    cached = values | {
        "cachedContentTokenCount": 30,
        "cacheTokensDetails": details(AUDIO=20, TEXT=10),
    }
    apart = Usage(input=30, cached=10, cached_audio=20, audio_input=40, output=20)
    assert read(cached, MEDIA) == apart
    tools = values | {
        "toolUsePromptTokenCount": 5,
        "toolUsePromptTokensDetails": details(AUDIO=5),
        "totalTokenCount": 125,
    }
    assert read(tools, MEDIA) == Usage(input=40, audio_input=65, output=20)


def test_what_is_cached_and_not_told_apart_is_audio_as_far_as_there_is_any():
    values = usage(promptTokensDetails=details(TEXT=40, AUDIO=60), cachedContentTokenCount=50)
    assert read(values, MEDIA) == Usage(input=0, cached_audio=50, audio_input=50, output=20)
    text = usage(promptTokensDetails=details(TEXT=90, AUDIO=10), cachedContentTokenCount=50)
    heard = Usage(input=40, cached=40, cached_audio=10, audio_input=10, output=20)
    assert read(text, MEDIA) == heard


def test_images_that_are_read_are_input():
    values = usage(promptTokensDetails=details(TEXT=40, IMAGE=50, VIDEO=5, DOCUMENT=5))
    assert read(values, MEDIA) == Usage(input=100, output=20)


def test_input_that_details_leave_unsaid_is_the_dearest_where_it_may_be():
    some = usage(promptTokensDetails=details(TEXT=40))
    none = usage()
    for values in (some, none):
        assert read(values) == Usage(input=100, output=20)
        found = read(values, MEDIA)
        assert found is not None
        assert (found.heard, found.audio_input, found.certain) == (100, 100, False)


def test_images_that_are_made_have_their_own_line_and_thoughts_are_text():
    values = usage(
        candidates=1300, thoughtsTokenCount=70, candidatesTokensDetails=details(IMAGE=1290, TEXT=10)
    )
    assert read(values) == Usage(input=100, output=80, image_output=1290, reasoning=70)


def test_output_that_details_leave_unsaid_is_the_dearest():
    values = usage(candidates=1300, candidatesTokensDetails=details(IMAGE=1290))
    assert read(values) == Usage(input=100, output=0, image_output=1300)
    assert read(usage(candidates=30)) == Usage(input=100, output=30, image_output=None)


def test_speech_that_is_made_has_its_own_line():
    values = usage(candidatesTokensDetails=details(AUDIO=15, TEXT=5))
    assert read(values) == Usage(input=100, output=5, audio_output=15, image_output=0)
    assert read(usage(candidatesTokensDetails=details(AUDIO=15)), SPEECH) == Usage(
        input=100, output=0, audio_output=20, image_output=0
    )
    assert read(usage(), SPEECH) == Usage(input=100, output=0, audio_output=20, image_output=0)


@pytest.mark.parametrize(
    "more",
    [
        {"cachedContentTokenCount": 101},
        {"promptTokensDetails": details(TEXT=101)},
        {"cachedContentTokenCount": 5, "cacheTokensDetails": details(TEXT=6)},
        {"toolUsePromptTokensDetails": details(TEXT=1)},
        {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": "100"}]},
        {"promptTokensDetails": [7]},
        {"promptTokensDetails": {"TEXT": 100}},
    ],
)
def test_parts_of_the_input_that_contradict_their_whole_are_not_credited(more: dict[str, Any]):
    found = read(usage(**more))
    assert found is not None
    assert (found.certain, found.cached, found.output) == (False, 0, 20)
    assert found.heard >= 100


@pytest.mark.parametrize(
    "more", [details(IMAGE=21), [{"modality": "IMAGE", "tokenCount": -1}], "x"]
)
def test_parts_of_the_output_that_contradict_their_whole_are_not_credited(more: object):
    found = read(usage(candidatesTokensDetails=more))
    assert found is not None
    assert (found.certain, found.spoken) == (False, 20)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"trafficType": "ON_DEMAND"},
        {"promptTokenCount": 5},
        {"candidatesTokenCount": 5, "totalTokenCount": 5},
        usage(prompt="100"),
        usage(prompt=-1),
        usage(prompt=1.5),
        usage(prompt=True),
        usage(candidates="20"),
        usage(candidates=10**30),
        usage(total="120"),
        usage(thoughtsTokenCount=[]),
        usage(cachedContentTokenCount=10**9),
        usage(toolUsePromptTokenCount=-5),
    ],
)
def test_figures_that_are_not_sound_are_no_account(values: dict[str, Any]):
    assert read(values) is None


def test_integral_floats_are_counts():
    assert read(usage(prompt=100.0, candidates=20.0, total=120.0)) == Usage(input=100, output=20)


def test_an_embedding_has_only_a_prompt():
    assert read({"promptTokenCount": 9}, EMBEDDING) == Usage(input=9, output=0)


COUNTS = st.integers(0, 50)
FIGURES = st.fixed_dictionaries(
    {"promptTokenCount": COUNTS, "totalTokenCount": st.integers(0, 200)},
    optional={
        **dict.fromkeys(
            [
                *("candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount"),
                "toolUsePromptTokenCount",
            ],
            COUNTS,
        ),
        **dict.fromkeys(
            [
                *("promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails"),
                "toolUsePromptTokensDetails",
            ],
            st.builds(details, TEXT=COUNTS, AUDIO=COUNTS, IMAGE=COUNTS),
        ),
    },
)


OUTPUTS = ("candidatesTokenCount", "thoughtsTokenCount")


@given(FIGURES, st.booleans(), st.booleans())
def test_every_token_is_on_one_line(values: dict[str, Any], hides: bool, speaks: bool):
    found = read(values, Asked(model="m", hides_input=hides, audio_output=speaks))
    if not values["promptTokenCount"] and any(map(values.get, OUTPUTS)):
        assert found is None, "no output is made of no input"
        return
    assert found is not None
    heard = values["promptTokenCount"] + values.get("toolUsePromptTokenCount", 0)
    produced = values.get("candidatesTokenCount", 0) + values.get("thoughtsTokenCount", 0)
    assert found.heard == heard
    assert found.spoken == max(produced, values["totalTokenCount"] - heard)
    figures = msgspec.structs.asdict(found)
    assert all(figure is None or figure >= 0 for figure in figures.values())
    assert found.reasoning <= found.output
