"""Numbers as spreadsheets and vendors write them."""

import numpy as np
import pandas as pd
import pytest

from eigen2.errors import DataError
from eigen2.market.cells import Table, is_text, numbers_of


def numbers(*cells, field="close", comma=False):
    table = Table("m.csv", "m", ("date", "A"), None, pd.DataFrame({1: pd.Series(cells, dtype=str)}), comma=comma)
    return numbers_of(table, 1, lambda row: f"row {row}", field).tolist()


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1.5", "2"], [1.5, 2]),
        (["$100.18", "-$5", "$1,234.50"], [100.18, -5, 1234.5]),
        (["€ 5.50", "5.50 €", "£7"], [5.5, 5.5, 7]),
        (["1,234", "2"], [1234, 2]),
        (["1,234,567.8"], [1234567.8]),
        (["1,5", "1.234,25"], [1.5, 1234.25]),
        (["0,123", "1,5"], [0.123, 1.5]),
        (["1'234.5", "1 234.5"], [1234.5, 1234.5]),
        (["1e3", "1.5E-3"], [1000, 0.0015]),
    ],
)
def test_numbers(cells, values):
    assert numbers(*cells) == values


@pytest.mark.parametrize("cell", ["", "-", "N/A", ".", "#N/A", "null"])
def test_missing(cell):
    assert np.isnan(numbers(cell, "$1")[0])


def test_a_semicolons_file_has_decimal_commas():
    assert numbers("1,234", "2", "1.234", comma=True) == [1.234, 2, 1234]


def test_volumes_may_have_a_unit_and_prices_may_not():
    assert numbers("1.25M", "3K", "2B", "7", field="volume") == [1.25e6, 3e3, 2e9, 7]
    with pytest.raises(DataError, match="close is '3K', not a number"):
        numbers("3K")


def test_splits_may_be_ratios():
    assert numbers("4:1", "3-for-2", "1/10", "7 for 1", "0", "2", field="splits") == [4, 1.5, 0.1, 7, 0, 2]
    for text in ("4:0", "4:1:1"):
        with pytest.raises(DataError, match=f"splits is '{text}', not a number"):
            numbers(text, field="splits")


@pytest.mark.parametrize("cells", [["1,2,3"], ["12,34.5"], ["1,5", "1.5"], ["True"], ["0x10"], ["1_000"], ["12 5"]])
def test_what_is_no_number_is_refused(cells):
    with pytest.raises(DataError, match=f"m.csv: row 0: close is '{cells[0]}', not a number"):
        numbers(*cells)


def test_columns_of_text():
    assert is_text(pd.Series(["USD", "", "EUR"]))
    assert not is_text(pd.Series(["USD", "1.5"]))
    assert not is_text(pd.Series(["", "-"]))
    assert not is_text(pd.Series([1.5, np.nan]))
