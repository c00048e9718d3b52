"""The gateway's own request headers."""

import pytest
from hypothesis import given, strategies as st

from gateway.core.refusal import Code, Refused
from gateway.exchange.controls import Controls, read


def header(name: str, value: str) -> tuple[bytes, bytes]:
    return (f"x-gateway-{name}".encode(), value.encode("latin-1"))


def test_a_request_without_them_asks_for_nothing():
    assert read([(b"content-type", b"application/json")]) == Controls()


def test_they_are_read_each_into_its_place():
    asked = read(
        [
            header("run", "nightly:42"),
            header("run-cap-usd", "2.50"),
            header("max-output-tokens", "512"),
            header("dry-run", "true"),
            header("store-content", "false"),
            header("label", "team=search"),
            header("label", "kind=rerank=v2"),
        ]
    )
    assert asked == Controls(
        run="nightly:42",
        run_cap=2_500_000_000,
        output_ceiling=512,
        is_dry_run=True,
        labels={"team": "search", "kind": "rerank=v2"},
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run", ""),
        ("run", "a b"),
        ("run", "x" * 129),
        ("run-cap-usd", "-1"),
        ("run-cap-usd", "1e3"),
        ("run-cap-usd", "NaN"),
        ("run-cap-usd", "1.0000000001"),
        ("max-output-tokens", "0"),
        ("max-output-tokens", "1.5"),
        ("max-output-tokens", "+5"),
        ("max-output-tokens", "99999999"),
        ("dry-run", "yes"),
        ("store-content", "1"),
        ("label", "novalue"),
        ("label", "=x"),
        ("label", "a=" + "x" * 65),
        ("runs", "r1"),
    ],
)
def test_a_wrong_one_is_refused_by_its_name(name: str, value: str):
    refused = read([header(name, value)])
    assert isinstance(refused, Refused)
    assert refused.code is Code.INVALID_REQUEST
    assert refused.param == f"x-gateway-{name}"
    assert len(value) < 4 or value not in refused.message


def test_a_cap_without_its_run_is_refused():
    refused = read([header("run-cap-usd", "1")])
    assert isinstance(refused, Refused)
    assert "x-gateway-run" in refused.message


def test_text_is_kept_nowhere_so_asking_for_it_is_refused():
    refused = read([header("store-content", "true")])
    assert isinstance(refused, Refused)
    assert refused.code is Code.CONTENT_NOT_ALLOWED


def test_one_sent_twice_is_refused():
    refused = read([header("run", "a"), header("run", "b")])
    assert isinstance(refused, Refused)
    assert refused.param == "x-gateway-run"


def test_more_than_four_labels_are_refused():
    assert isinstance(read([header("label", f"n{i}=v") for i in range(5)]), Refused)
    assert isinstance(read([header("label", "n=1"), header("label", "n=2")]), Refused)


@given(
    st.lists(
        st.tuples(st.sampled_from(["run", "label", "dry-run", "max-output-tokens"]), st.binary())
    )
)
def test_no_bytes_make_it_raise(pairs: list[tuple[str, bytes]]):
    read([(f"x-gateway-{name}".encode(), value) for name, value in pairs])
