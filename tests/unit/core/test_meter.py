"""What a call owes, however it ended, and when its stream must be cut."""

from typing import get_args

import pytest
from hypothesis import given, strategies as st
from msgspec import structs

from gateway.core.calls import Asked
from gateway.core.events import (
    Broken,
    Delta,
    Event,
    Finished,
    Prompted,
    Served,
    Thinking,
    Usage,
)
from gateway.core.ids import ModelName, Provider
from gateway.core.meter import Bound, CountTokens, Meter
from gateway.core.money import NanoDollars
from gateway.core.outcome import (
    CapReached,
    ClientGone,
    Completed,
    Ending,
    Killed,
    ProviderBroken,
    ProviderError,
    ProviderLost,
    ProviderUnreachable,
    ShutDown,
    TimedOut,
)
from gateway.core.pricing import DEFAULT_TIER, Model, Rates, Schedule, Vocabulary, cost, upper_bound
from gateway.core.refusal import Code, Refused
from gateway.core.traces import Basis

RATES = Rates(
    input=1_000_000_000,
    output=2_000_000_000,
    cached_input=500_000_000,
    cache_write=1_000_000_000,
    cache_write_1h=1_000_000_000,
    audio_input=1_000_000_000,
    audio_output=2_000_000_000,
    image_output=2_000_000_000,
)
DEARER = structs.replace(RATES, input=2_000_000_000, output=4_000_000_000)
MODEL = Model(
    name=ModelName("openai/gpt-4o"),
    provider=Provider("openai"),
    upstream_name="gpt-4o",
    tiers={DEFAULT_TIER: Schedule(RATES), "priority": Schedule(DEARER)},
    max_output_tokens=None,
    context_tokens=128_000,
    vocabulary=Vocabulary.O200K,
    hidden_reasoning=False,
)
THINKER = structs.replace(MODEL, hidden_reasoning=True)
ASKED = Asked(model="gpt-4o", stream=True, output_tokens=100)
USAGE = Usage(input=10, output=20)
KILLED = Killed(Refused(Code.KILL_SWITCH, "Stopped."))
CUTS: tuple[Ending, ...] = (
    ClientGone(),
    KILLED,
    ProviderBroken(),
    ProviderLost(),
    TimedOut(),
    ShutDown(),
)


def words(text: str, vocabulary: Vocabulary) -> int | None:
    return len(text.split())


def blind(text: str, vocabulary: Vocabulary) -> int | None:
    return None


def meter(
    model: Model = MODEL, asked: Asked = ASKED, *, tokens: int = 100, count: CountTokens = words
) -> Meter:
    amount = upper_bound(model, structs.replace(asked, choices=1), 50, tokens)
    one = Meter(model, asked, Bound(50, tokens, amount), count)
    one.sent()
    return one


def bound(tokens: int = 100) -> NanoDollars:
    return upper_bound(MODEL, ASKED, 50, tokens)


def test_a_complete_answer_owes_what_its_provider_reported():
    one = meter()
    one.answered(streams=True)
    for event in (Delta("hello world"), USAGE, Finished()):
        assert one.feed(event)
    owed = one.owed(Completed())
    assert (owed.amount, owed.basis) == (cost(MODEL, USAGE, None), Basis.REPORTED)
    assert (owed.input_tokens, owed.output_tokens) == (10, 20)


def test_the_tier_that_served_the_call_prices_it():
    one = meter()
    one.answered(streams=True)
    for event in (Served("gpt-4o", "priority"), Delta("x"), USAGE, Finished()):
        one.feed(event)
    assert one.owed(Completed()).amount == cost(MODEL, USAGE, "priority")


def test_a_dearer_model_that_served_the_call_prices_it_and_a_cheaper_one_does_not():
    for rates, expected in ((DEARER, 2), (structs.replace(RATES, input=1, output=1), 1)):
        other = structs.replace(MODEL, tiers={DEFAULT_TIER: Schedule(rates)})
        amount = upper_bound(MODEL, ASKED, 50, 100)
        one = Meter(MODEL, ASKED, Bound(50, 100, amount), words, {"other": other}.get)
        one.sent()
        one.answered(streams=True)
        for event in (Served("other", None), Delta("x"), USAGE, Finished()):
            one.feed(event)
        assert one.owed(Completed()).amount == expected * cost(MODEL, USAGE, None)


@pytest.mark.parametrize("ending", [ProviderError(500), ProviderError(429), ProviderUnreachable()])
def test_what_is_certainly_not_billed_owes_nothing(ending: Ending):
    owed = meter().owed(ending)
    assert (owed.amount, owed.basis) == (0, Basis.NONE)


@pytest.mark.parametrize("ending", CUTS)
def test_a_call_that_was_never_sent_owes_nothing(ending: Ending):
    amount = upper_bound(MODEL, ASKED, 50, 100)
    assert Meter(MODEL, ASKED, Bound(50, 100, amount), words).owed(ending).amount == 0


def test_an_error_in_the_place_of_an_answer_owes_nothing():
    one = meter()
    one.answered(streams=True)
    one.feed(Broken())
    assert one.owed(ProviderBroken()).amount == 0


@pytest.mark.parametrize("ending", [cut for cut in CUTS if cut != ProviderBroken()])
def test_a_call_that_was_never_answered_owes_its_bound(ending: Ending):
    owed = meter().owed(ending)
    assert (owed.amount, owed.basis) == (bound(), Basis.BOUND)


@pytest.mark.parametrize("ending", CUTS)
def test_a_cut_stream_owes_what_was_seen_with_a_margin(ending: Ending):
    one = meter()
    one.answered(streams=True)
    one.feed(Delta(" ".join(["word"] * 20)))
    owed = one.owed(ending)
    assert owed.basis is Basis.METERED
    assert owed.output_tokens == 22
    assert owed.amount == upper_bound(MODEL, ASKED, 50, 22)


@pytest.mark.parametrize("ending", CUTS)
def test_a_model_that_may_think_unseen_owes_its_bound_when_cut(ending: Ending):
    one = meter(THINKER)
    one.answered(streams=True)
    one.feed(Delta("shown"))
    assert one.owed(ending).basis is Basis.BOUND
    assert one.owed(ending).amount == bound()


def test_where_nothing_counts_the_bytes_do():
    one = meter(structs.replace(MODEL, vocabulary=Vocabulary.UNKNOWN))
    one.answered(streams=True)
    one.feed(Delta("abcde"))
    assert one.owed(ClientGone()).output_tokens == 3
    other = meter(count=blind)
    other.answered(streams=True)
    other.feed(Delta("abcde"))
    assert other.owed(ClientGone()).output_tokens == 3


@pytest.mark.parametrize("count", [words, blind])
@pytest.mark.parametrize("vocabulary", [Vocabulary.UNKNOWN, Vocabulary.O200K])
def test_an_estimate_is_never_above_what_was_held(vocabulary: Vocabulary, count: CountTokens):
    """A provider that keeps its limit must not be taken for one that breaks it."""
    one = meter(structs.replace(MODEL, vocabulary=vocabulary), count=count)
    one.answered(streams=True)
    for _ in range(100):
        assert one.feed(Delta(" running"))
    owed = one.owed(ClientGone())
    assert (owed.output_tokens, owed.amount) == (100, bound())


def test_what_was_certainly_more_than_was_held_is_owed():
    one = meter(structs.replace(MODEL, vocabulary=Vocabulary.UNKNOWN), tokens=10)
    one.answered(streams=True)
    while one.feed(Delta("word ")):
        pass
    assert one.owed(CapReached()).output_tokens > 10


@pytest.mark.parametrize("ending", [CapReached(), *CUTS])
def test_a_model_that_may_think_owes_its_bound_or_what_it_certainly_showed(ending: Ending):
    one = meter(THINKER, tokens=10)
    one.answered(streams=True)
    assert one.feed(Delta("word " * 3))
    assert one.owed(ClientGone()).amount == bound(10)
    assert not one.feed(Delta("word " * 37))
    assert one.owed(ending).amount == bound(40)


def test_no_event_of_a_cut_stream_has_less_than_a_token():
    """Digits, say, of which many vocabularies make a token each."""
    one = meter(structs.replace(MODEL, vocabulary=Vocabulary.UNKNOWN))
    one.answered(streams=True)
    for _ in range(60):
        one.feed(Delta("7"))
    assert one.owed(ClientGone()).output_tokens == 60


def test_an_account_that_calls_cached_what_an_earlier_one_did_not_counts_it_once():
    one = meter()
    one.answered(streams=True)
    last = Usage(input=10, cached=40, output=9)
    for event in (Usage(input=50, output=1), Delta("x"), last, Finished()):
        one.feed(event)
    owed = one.owed(Completed())
    assert (owed.input_tokens, owed.amount) == (50, cost(MODEL, last, None))


def test_an_account_that_counts_less_than_an_earlier_one_takes_nothing_back():
    one = meter()
    one.answered(streams=True)
    first = Usage(input=50, output=20)
    for event in (first, Usage(input=3, cached=1, output=2), Finished()):
        one.feed(event)
    assert one.owed(Completed()).amount == cost(MODEL, first, None)


def test_usage_that_is_not_the_last_word_is_no_final_account():
    one = meter()
    one.answered(streams=True)
    one.feed(Usage(input=10, output=1))
    one.feed(Delta(" ".join(["word"] * 40)))
    owed = one.owed(Completed())
    assert owed.basis is Basis.METERED
    assert owed.output_tokens == 44


def test_a_cut_stream_that_reported_more_than_it_showed_owes_the_larger():
    one = meter()
    one.answered(streams=True)
    one.feed(Delta("one"))
    one.feed(Usage(input=50, output=90))
    assert one.owed(KILLED).amount == cost(MODEL, Usage(input=50, output=90), None)


def test_a_stream_whose_end_was_seen_owes_its_report_even_if_its_client_left_then():
    one = meter()
    one.answered(streams=True)
    for event in (Delta("x"), USAGE, Finished()):
        one.feed(event)
    assert one.owed(ClientGone()).basis is Basis.REPORTED


def test_a_stream_is_cut_when_more_was_counted_than_was_held():
    one = meter(tokens=10)
    one.answered(streams=True)
    fed = 0
    while one.feed(Delta(f"word{fed} ")):
        fed += 1
        assert fed < 40
    assert fed >= 10
    assert one.owed(CapReached()).amount >= bound(10)


def test_a_stream_within_its_ceiling_is_never_cut_however_it_is_split():
    text = " ".join(["word"] * 100)
    for size in (1, 2, 3, 7, 50):
        one = meter(tokens=100)
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert all(one.feed(Delta(piece)) for piece in pieces), size


def test_a_stream_of_an_unknown_vocabulary_gets_the_benefit_of_the_doubt():
    one = meter(structs.replace(MODEL, vocabulary=Vocabulary.UNKNOWN), tokens=10)
    assert all(one.feed(Delta("word ")) for _ in range(19))


def test_an_answer_that_is_not_streamed_is_never_cut():
    one = meter(asked=structs.replace(ASKED, stream=False), tokens=1)
    assert one.feed(Delta("a b c d e f g h"))


def test_an_answer_that_is_not_streamed_and_broke_off_owes_its_bound():
    one = meter(asked=structs.replace(ASKED, stream=False))
    one.answered(streams=True)
    assert one.owed(ProviderLost()).basis is Basis.BOUND


def test_a_stream_that_was_answered_in_one_unreadable_piece_owes_its_bound():
    one = meter()
    one.answered(streams=False)
    assert one.owed(ProviderLost()).basis is Basis.BOUND


def test_embeddings_owe_their_input_alone():
    asked = Asked(model="e", makes_output=False)
    one = meter(asked=asked, tokens=0)
    one.answered(streams=True)
    one.feed(Usage(input=7, output=0))
    assert one.owed(Completed()).amount == cost(MODEL, Usage(input=7, output=0), None)


@given(
    st.lists(
        st.one_of(
            st.builds(Delta, st.text(max_size=50)),
            st.builds(
                Usage, input=st.integers(0, 50), output=st.integers(0, 100), cached=st.just(0)
            ),
            st.just(Finished()),
            st.just(Broken()),
        ),
        max_size=30,
    ),
    st.sampled_from([kind for kind in get_args(Ending) if kind not in {Killed, ProviderError}]),
    st.booleans(),
)
def test_no_ending_owes_less_than_what_was_reported_or_shown(
    events: list[Event], kind: type[Ending], answers: bool
):
    one = meter()
    if answers:
        one.answered(streams=True)
    for event in events:
        one.feed(event)
    owed = one.owed(kind())
    assert owed.amount >= 0
    if owed.basis is Basis.METERED:
        assert owed.amount >= upper_bound(MODEL, ASKED, 50, 0)
    if owed.basis is Basis.BOUND:
        assert owed.amount == bound()


def billed(nusd: int | None, *, believes: bool, usage: Usage = USAGE) -> NanoDollars:
    meter = Meter(MODEL, ASKED, Bound(10, 100, bound()), words, believes_bill=believes)
    meter.sent()
    meter.answered(streams=True)
    meter.feed(structs.replace(usage, billed_nusd=nusd))
    meter.feed(Finished())
    return meter.owed(Completed()).amount


def test_a_bill_is_the_least_that_a_call_costs_and_the_cost_where_it_is_believed():
    ours = cost(MODEL, USAGE, None)
    assert billed(None, believes=False) == billed(None, believes=True) == ours
    for nusd in (0, 1, ours - 1, ours, ours + 1, 10**9):
        assert billed(nusd, believes=False) == max(ours, nusd)
        assert billed(nusd, believes=True) == nusd


def test_a_bill_that_comes_in_parts_is_the_largest_of_them():
    meter = Meter(MODEL, ASKED, Bound(10, 100, bound()), words, believes_bill=True)
    meter.sent()
    meter.answered(streams=True)
    for nusd in (50, 70, None):
        meter.feed(structs.replace(USAGE, billed_nusd=nusd))
    meter.feed(Finished())
    assert meter.owed(Completed()).amount == 70


def test_a_stream_that_is_cut_after_its_bill_owes_what_was_seen_if_that_is_more():
    meter = Meter(MODEL, ASKED, Bound(10, 100, bound()), words, believes_bill=True)
    meter.sent()
    meter.answered(streams=True)
    meter.feed(structs.replace(USAGE, billed_nusd=0))
    meter.feed(Delta("one more word"))
    assert meter.owed(KILLED).amount > 0


def test_fees_are_owed_beside_the_tokens():
    ours = cost(MODEL, USAGE, None)
    assert cost(MODEL, structs.replace(USAGE, fees_nusd=7), None) == ours + 7
    assert billed(None, believes=False, usage=structs.replace(USAGE, fees_nusd=7)) == ours + 7
    unsure = structs.replace(USAGE, certain=False)
    assert cost(MODEL, structs.replace(unsure, fees_nusd=7), None) == 7 + cost(MODEL, unsure, None)


OPENED = Usage(input=7, output=0, cached=3)


@pytest.mark.parametrize("ending", CUTS)
def test_a_stream_whose_input_is_known_owes_it_exactly_and_what_it_showed(ending: Ending):
    metered = meter(model=THINKER)
    metered.sent()
    metered.answered(streams=True)
    for event in (Prompted(OPENED), Thinking(begins=False), Delta("one two three")):
        metered.feed(event)
    owed = metered.owed(ending)
    assert (owed.basis, owed.input_tokens, owed.cached_tokens) == (Basis.METERED, 10, 3)
    assert owed.amount == cost(MODEL, structs.replace(OPENED, output=owed.output_tokens), None)
    assert owed.output_tokens == 4


@pytest.mark.parametrize(
    "events",
    [
        [Prompted(OPENED)],
        [Prompted(OPENED), Thinking()],
        [Prompted(OPENED), Thinking(begins=False), Delta("one"), Thinking()],
    ],
)
def test_a_thinker_owes_its_bound_where_it_may_have_thought_unseen(events: list[Event]):
    metered = meter(model=THINKER)
    metered.sent()
    metered.answered(streams=True)
    for event in events:
        metered.feed(event)
    owed = metered.owed(ClientGone())
    assert (owed.basis, owed.amount) == (Basis.BOUND, bound())


def test_a_request_that_rules_thinking_out_owes_what_was_shown():
    metered = meter(model=THINKER, asked=structs.replace(ASKED, thinks=False))
    metered.sent()
    metered.answered(streams=True)
    metered.feed(Delta("one two three"))
    assert metered.owed(ClientGone()).basis is Basis.METERED


def test_a_free_call_owes_nothing_however_it_ends():
    metered = meter(asked=structs.replace(ASKED, is_free=True))
    metered.sent()
    assert all(metered.owed(ending).amount == 0 for ending in (*CUTS, Completed()))
