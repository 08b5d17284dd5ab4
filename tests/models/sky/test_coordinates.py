import pytest
from hypothesis import given
from hypothesis import strategies as st

from skytool.errors import InputError
from skytool.models.sky.coordinates import parse_angle, parse_position


@pytest.mark.parametrize(
    "text",
    [
        "150.1,2.2",
        "150.1 2.2",
        " 150.1d, +2.2d ",
        "10:00:24,+02:12:00",
        "10:00:24 +02:12:00",
        "10h00m24s +02d12m00s",
        "10:00:24,2.2",
        "10 00 24 +02 12 00",
        "10 00 24, +02 12 00",
        "-209.9,2.2",
    ],
)
def test_all_ways_to_write_a_position_mean_the_same(text):
    assert parse_position(text) == pytest.approx((150.1, 2.2), abs=1e-12)


def test_minus_zero_degrees_is_south():
    assert parse_position("00:00:00,-00:30:00") == (0.0, -0.5)
    assert parse_angle("-00d00m36.0s", hours=False) == pytest.approx(-0.01, abs=1e-15)


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59999))
def test_hours_become_degrees(hour, minute, millisecond):
    text = f"{hour:02d}:{minute:02d}:{millisecond / 1000:06.3f}"
    exact = 15 * (hour + minute / 60 + millisecond / 3.6e6)
    assert parse_angle(text, hours=True) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "150.1",
        "150.1,2.2,3",
        "10:60:00,0",
        "10:00:61,0",
        "nan,0",
        "inf,0",
        "1e999,0",
        "0,91",
        "0,-90:00:01",
        "400,0",
        "24:00:01,+00:00:00x",
        "ten,0",
    ],
)
def test_what_is_no_position_is_refused_by_name(text):
    with pytest.raises(InputError):
        parse_position(text)
