import pytest

from skytool.io.units import fits_unit, is_per_second


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("ELECTRONS", "electron"),
        ("electrons", "electron"),
        ("e-", "electron"),
        ("e-/s", "electron/s"),
        ("ELECTRONS/S", "electron/s"),
        ("electron s-1", "electron/s"),
        ("electron / s", "electron/s"),
        ("COUNTS", "adu"),
        ("DN", "adu"),
        ("DN/s", "adu/s"),
        ("cps", "adu/s"),
        ("ADU", "adu"),
        ("adu", "adu"),
        ("nmgy", "nmgy"),
        ("nanomaggies", "nmgy"),
        ("nJy", "nJy"),
        ("NJY", "nJy"),
        ("MJy/sr", "MJy/sr"),
        ("MJY/SR", "MJy/sr"),
        ("mJy", "mJy"),
        ("Jy/beam", "Jy/beam"),
        ("erg/s/cm2", "erg/s/cm2"),
        ("  ", ""),
        ("UNKNOWN", ""),
        (None, ""),
        (3, ""),
    ],
)
def test_units_of_other_programs_become_fits_units(text, unit):
    assert fits_unit(text) == unit
    assert fits_unit(unit) == unit


def test_rates_are_told_from_totals():
    assert is_per_second("electron/s")
    assert is_per_second("adu s-1")
    assert not is_per_second("electron")
    assert not is_per_second("MJy/sr")
