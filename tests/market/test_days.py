"""The forms of dates, and the day of the exchange to which a bar belongs."""

import numpy as np
import pandas as pd
import pytest

from eigen2.errors import DataError
from eigen2.market.days import stamps_of, weekend


def days_of(*texts, date_format=None):
    return stamps_of(pd.Series(texts), "m.csv", date_format).days.astype(str).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "2004-01-31", "2004/01/31", "2004.01.31", "2004/1/31", "20040131", "31.01.2004", "31/01/2004", "01/31/2004",
        "1/31/2004", "31-01-2004", "Jan 31, 2004", "January 31, 2004", "Jan. 31, 2004", "31-Jan-2004", "31-Jan-04",
        "31 January 2004", "2004-01-31 00:00:00", "2004-01-31T00:00:00Z", "2004-01-31 00:00:00-05:00",
        "2004-01-31 00:00:00+00", "31.01.2004 00:00:00.000", "01/31/2004 12:00 AM", "2004-01-31 12-AM",
        "20040131 15:30", "1075507200", "1075507200000", "1075507200000000", "1075507200000000000",
    ],
)  # fmt: skip
def test_forms_that_are_read(text):
    assert days_of(text) == ["2004-01-31"]


def test_numbers_are_read_as_their_text():
    assert stamps_of(pd.Series([1075507200.0]), "m", None).days[0] == np.datetime64("2004-01-31")
    assert stamps_of(pd.Series([20040131]), "m", None).days[0] == np.datetime64("2004-01-31")


@pytest.mark.parametrize(
    "text",
    ["2004-02-30", "2004-13-01", "31/31/2004", "2004-0102", "31 Jan 31, 2004", "2004-13", "99999999999999", "Jan 04"],
)
def test_other_forms_are_refused_with_the_remedy(text):
    with pytest.raises(DataError, match=r"m.csv: .* in data row 2 is not a date; name its form with --date-format"):
        days_of("2004-01-30", text)


@pytest.mark.parametrize(
    "text", ["Source: Yahoo", "Total", "", "nan", "as of 2024-01-05", "2004-01-31x", "Foo 31, 2004"]
)
def test_a_row_without_a_date_after_dates_is_to_be_removed(text):
    with pytest.raises(
        DataError, match="in data row 2 is not a date, and the rows before it have one: remove this row"
    ):
        days_of("2004-01-30", text)
    with pytest.raises(DataError, match="in data row 1 is not a date; name its form"):
        days_of(text)


@pytest.mark.parametrize("text", ["41641", "41641.0", "41641.5"])
def test_a_serial_number_of_excel_is_refused_with_the_remedy(text):
    with pytest.raises(DataError, match="is the serial number that Excel gives to a day, not a date: save the dates"):
        days_of(text)


@pytest.mark.parametrize("text", ["1990-01", "1990/1", "Jan 1990", "January-1990"])
def test_a_month_is_its_first_day(text):
    assert days_of(text) == ["1990-01-01"]
    assert days_of("1990-01", date_format="%Y-%m") == ["1990-01-01"]


def test_days_that_pandas_wrote_as_decimals():
    assert days_of("20140102.0", "1388620800.0") == ["2014-01-02", "2014-01-02"]


def test_a_number_beyond_12_tells_day_from_month():
    assert days_of("01/02/2004", "13/02/2004") == ["2004-02-01", "2004-02-13"]
    assert days_of("01/02/2004", "01/13/2004") == ["2004-01-02", "2004-01-13"]
    assert days_of("01.02.2004") == ["2004-02-01"], "with dots the day comes first"


def test_day_and_month_that_cannot_be_told_apart_are_refused():
    with pytest.raises(
        DataError, match=r"'01/02/2004' may begin with the day or with the month.*--date-format %d/%m/%Y"
    ):
        days_of("01/02/2004", "01/03/2004")
    assert days_of("01/02/2004", date_format="%d/%m/%Y") == ["2004-02-01"]
    assert days_of("01/02/2004", date_format="%m/%d/%Y") == ["2004-01-02"]
    with pytest.raises(DataError, match="'13/02/2004' begins with the day and '02/14/2004' with the month"):
        days_of("13/02/2004", "02/14/2004")


def test_a_date_beside_the_named_form_is_refused():
    with pytest.raises(DataError, match=r"'2004-01-31' in data row 2 does not fit data.date_format '%d/%m/%Y'"):
        days_of("01/02/2004", "2004-01-31", date_format="%d/%m/%Y")


def exchange_days(texts):
    stamps, notes = stamps_of(pd.Series(texts), "m", None).on_exchange_days()
    return stamps.days, notes


def written(days, suffix):
    return [f"{day:%Y-%m-%d}{suffix}" for day in days]


WORKDAYS = pd.bdate_range("2018-01-01", periods=30)


def test_midnights_of_an_exchange_in_utc_are_its_own_days():
    evenings = written(WORKDAYS - pd.Timedelta(days=1), " 15:00:00+00:00")  # Tokyo
    days, notes = exchange_days(evenings)
    np.testing.assert_array_equal(days, WORKDAYS.to_numpy(dtype="datetime64[D]"))
    assert not weekend(days).any()
    assert "(15:00)" in notes[0]
    assert "6 bars at weekends" in notes[0]
    epochs = [str(int(pd.Timestamp(text).timestamp())) for text in evenings]
    np.testing.assert_array_equal(exchange_days(epochs)[0], days)
    york = written(WORKDAYS - pd.Timedelta(days=1), " 19:00:00-05:00")  # midnights of UTC in New York's time
    np.testing.assert_array_equal(exchange_days(york)[0], days)
    summer = written(WORKDAYS - pd.Timedelta(days=1), " 23:00:00+00:00")[15:]  # London
    mixed = written(WORKDAYS[:15], " 00:00:00+00:00") + summer
    np.testing.assert_array_equal(exchange_days(mixed)[0], days)


@pytest.mark.parametrize("time", [" 05:00:00+00:00", " 14:30:00Z", " 16:00", " 00:00:00-05:00", ""])
def test_other_times_leave_the_day_as_written(time):
    days, notes = exchange_days(written(WORKDAYS, time))
    np.testing.assert_array_equal(days, WORKDAYS.to_numpy(dtype="datetime64[D]"))
    assert bool(notes) == (time.strip() not in ("", "00:00:00-05:00"))


def test_weekend_bars_without_a_time_zone_stay_where_they_are():
    sundays = written(WORKDAYS - pd.Timedelta(days=1), " 15:00")
    days, notes = exchange_days(sundays)
    assert weekend(days).sum() == 6
    assert notes == ("times of day (15:00) were dropped: a bar belongs to the day as written",)


def test_assets_that_trade_every_day_are_not_shifted():
    every = pd.date_range("2018-01-01", periods=30)
    days, notes = exchange_days(written(every, " 15:00:00+00:00"))
    np.testing.assert_array_equal(days, every.to_numpy(dtype="datetime64[D]"))
    assert notes == ("times of day (15:00) were dropped: a bar belongs to the day as written",)
