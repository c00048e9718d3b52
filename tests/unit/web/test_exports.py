import csv
import io

import pytest
from hypothesis import given, strategies as st

from gateway.web import tokens
from gateway.web.problems import Problem
from gateway.web.traces import csv_lines, json_lines


def read(lines: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(lines.decode(), newline="")))


@pytest.mark.parametrize("cell", ["=cmd()", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_cell_that_a_spreadsheet_would_run_is_text(cell: str):
    assert read(csv_lines([[cell]])) == [[f"'{cell}"]]


@given(
    st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
)
def test_any_cells_come_back_and_none_would_be_run(rows: list[list[str]]):
    found = read(csv_lines(rows))
    assert [[cell.removeprefix("'") for cell in row] for row in found] == [
        [cell.removeprefix("'") for cell in row] for row in rows
    ]
    assert not any(
        cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in found for cell in row
    )


def test_json_lines_are_one_a_line():
    assert json_lines([{"a": "x\ny"}, {"a": 1}]) == b'{"a":"x\\ny"}\n{"a":1}\n'


def test_a_token_is_good_for_as_long_as_was_asked_and_a_year_at_most():
    assert tokens.life("90m").total_seconds() == 5400
    assert tokens.life("12h").total_seconds() == 43_200
    assert tokens.life("30d").days == 30
    assert tokens.life(None) == tokens.life("365d")
    for wrong in ("366d", "0d", "30", "1w", "-1d", "", "\uff19d"):
        with pytest.raises(Problem):
            tokens.life(wrong)
