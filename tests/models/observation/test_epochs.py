import datetime as dt

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from skytool.models.observation.epochs import exposure_dates, mjd_of_date, start_text, utc_of

SECOND = 1 / 86400


@given(st.dates(dt.date(1960, 1, 1)), st.times())
def test_dates_are_those_of_astropy(day, time):
    text = f"{day.isoformat()}T{time.isoformat()}"
    # a float64 of 60000 days holds 0.6 microseconds
    assert mjd_of_date(text) == pytest.approx(Time(text, scale="tai").mjd, abs=1e-6 * SECOND * 5)


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("2017-03-16T06:18:30.75", ""),
        ("2017-03-16 06:18:30.75Z", ""),
        ("2017-03-16", "06:18:30.75"),
        (" 2017-03-16T06:18:30.75 ", "23:00:00"),
    ],
)
def test_all_spellings_of_a_date_are_one(text, clock):
    assert mjd_of_date(text, clock) == pytest.approx(57828.262855903, abs=1e-9)


def test_dates_with_two_digits_are_of_the_last_century():
    assert mjd_of_date("16/03/97", "12:00:00") == Time("1997-03-16T12:00:00").mjd


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2017-03-16",
        "2017-13-16T00:00:00",
        "2017-02-30T00:00:00",
        "yesterday",
        "57828",
        "2017-03-16T25:00:00",
        "2017-03-16T12:61:00",
    ],
)
def test_what_is_no_instant_is_none(text):
    assert mjd_of_date(text) is None


@pytest.mark.parametrize("scale", ["TAI", "TT", "TDB", "GPS", "UTC", "UT1", "UTC(NIST)", "LOCAL"])
@pytest.mark.parametrize(
    "when", ["1995-05-05", "2009-01-01T00:00:05", "2016-12-30T23:59:30", "2024-02-02"]
)
def test_time_scales_become_utc(scale, when):
    utc = Time(when, scale="utc")
    shift = 19.0 * SECOND if scale == "GPS" else 0.0
    known = {"TAI": utc.tai, "TT": utc.tt, "TDB": utc.tdb, "GPS": utc.tai}.get(scale, utc)
    # TDB is taken for TT, from which it differs by up to 1.7 ms
    assert utc_of(known.mjd - shift, scale) == pytest.approx(utc.mjd, abs=2e-3 * SECOND)


def test_leap_seconds_are_all_known():
    days = np.arange(41317.5, 59000.0, 7.0)
    tai, next_tai = (Time(d, format="mjd", scale="utc").tai.mjd for d in (days, days + 1.0))
    # astropy stretches the fraction of the days that end in a leap second
    plain = np.abs(next_tai - tai - 1.0) < 0.4 * SECOND
    assert plain.sum() > 2500
    days, tai = days[plain], tai[plain]
    got = [utc_of(t, "TAI") for t in tai]
    np.testing.assert_allclose(got, days, rtol=0, atol=1e-5 * SECOND)


def header(**cards):
    result = fits.Header()
    for key, value in cards.items():
        result[key.replace("_", "-")] = value
    return result


def test_the_middle_is_half_the_exposure_after_the_start():
    start, middle = exposure_dates(header(DATE_OBS="2017-03-16T06:18:30.75"), 107.0)
    assert start == pytest.approx(57828.262855903, abs=1e-9)
    assert (middle - start) / SECOND == pytest.approx(53.5, abs=1e-5)


def test_a_date_without_a_time_of_day_leaves_it_to_the_number():
    start, _ = exposure_dates(header(DATE_OBS="2013-07-07", MJD_OBS=56480.76553), 300.0)
    assert start == 56480.76553


def test_a_date_and_a_clock_belong_together():
    start, _ = exposure_dates(header(DATE_OBS="2017-03-16", TIME_OBS="06:18:30.75"), None)
    assert start == pytest.approx(57828.262855903, abs=1e-9)


@pytest.mark.parametrize(
    "cards",
    [
        {"DATE_AVG": "2017-03-16T06:20:00"},
        {"MJD_AVG": 57828.263888888888},
        {"MJD_MID": 57828.263888888888, "MJD_END": 57828.9},
        {"DATE_END": "2017-03-16T06:21:29.25"},
        {"MJD_END": 57828.264921875},
    ],
)
def test_a_middle_or_an_end_in_the_header_decides(cards):
    _, middle = exposure_dates(header(DATE_OBS="2017-03-16T06:18:30.75", **cards), 11.0)
    assert middle == pytest.approx(57828.263888888888, abs=1e-7)


def test_dates_in_atomic_time_are_converted():
    start, middle = exposure_dates(
        header(DATE_OBS="2024-02-02T00:00:37", DATE_AVG="2024-02-02T00:01:37", TIMESYS="TAI"), None
    )
    assert start == pytest.approx(60342.0, abs=1e-9)
    assert middle == pytest.approx(60342.0 + 60 * SECOND, abs=1e-9)


def test_the_start_follows_from_the_middle():
    start, middle = exposure_dates(header(MJD_MID=57828.5), 86.4)
    assert (start, middle) == pytest.approx((57828.4995, 57828.5), abs=1e-10)


@pytest.mark.parametrize(
    "cards", [{}, {"DATE_OBS": "soon"}, {"MJD_OBS": "x"}, {"MJD_OBS": 2457828.5}]
)
def test_without_a_date_there_is_none(cards):
    assert exposure_dates(header(**cards), 30.0) == (None, None)


@pytest.mark.parametrize(
    ("cards", "text"),
    [
        ({"DATE_OBS": "2017-03-16T06:18:30.75"}, "2017-03-16T06:18:30.75"),
        ({"DATE_OBS": "2017-03-16", "UT": "06:18:30"}, "2017-03-16T06:18:30"),
        ({"DATE_OBS": "2017-03-16", "MJD_OBS": 57828.25}, "57828.25"),
        ({"DATE_OBS": "2017-03-16"}, ""),
        ({}, ""),
    ],
)
def test_the_text_of_the_start_has_a_time_of_day(cards, text):
    assert start_text(header(**cards)) == text
