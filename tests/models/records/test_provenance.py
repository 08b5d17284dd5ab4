import io
import math
import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits

from skytool import __version__
from skytool.errors import InputError
from skytool.models.records.provenance import (
    InputRecord,
    SettingRecord,
    config_table,
    earlier_settings,
    fingerprint,
    history_line,
    inputs_table,
    merged_settings,
    read_config,
    read_inputs,
    without_provenance,
)

INPUTS = [
    InputRecord("warp-input", "a.fits", "SCI", 2, "123456", "v1", "N4", 0.5, 1.25),
    InputRecord("sky", "sky frame.fits", scale=math.nan, status="skipped", reason="no overlap"),
]
SETTINGS = [
    SettingRecord("warp", "kernel", '"lanczos3"', "default"),
    SettingRecord("warp", "bad-planes", '["BAD", "SAT"]', "command line"),
    SettingRecord("skyframe build", "seed", "", "file"),
]


def reread(hdu):
    whole = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(whole)
    whole.seek(0)
    return fits.open(whole, memmap=False)[1]


def as_text(records):
    """Return records so that NaN equals NaN."""
    return [repr(record) for record in records]


def test_inputs_come_back():
    read = read_inputs(reread(inputs_table(INPUTS)), name="x.fits")

    assert as_text(read) == as_text(INPUTS)


def test_further_columns_come_back_with_units():
    first = {"RA": 150.25, "NPIX": 7, "BAND": "r", "OK": True, "POLYGON": (1.0, 2.0, 3.5)}
    second = {"NPIX": 8, "OK": False}
    records = [
        InputRecord("warp-input", "a.fits", extra=first),
        InputRecord("warp-input", "b.fits", extra=second),
    ]

    hdu = reread(inputs_table(records, units={"RA": "deg", "POLYGON": "pixel"}))
    read = [record.extra for record in read_inputs(hdu, name="x.fits")]

    assert read[0] == first
    assert (read[1]["NPIX"], read[1]["OK"], read[1]["BAND"]) == (8, False, "")
    assert math.isnan(read[1]["RA"])
    assert np.isnan(read[1]["POLYGON"]).all()
    assert len(read[1]["POLYGON"]) == 3
    assert hdu.columns["RA"].unit == "deg"
    assert hdu.columns["POLYGON"].unit == "pixel"


@pytest.mark.parametrize("values", [(1, None), (1.0, "text"), (True, "text"), ((1.0,), 2.0)])
def test_further_columns_that_cannot_be_filled_are_refused(values):
    records = [
        InputRecord("sky", "a.fits", extra={} if value is None else {"X": value})
        for value in values
    ]

    with pytest.raises(ValueError, match="column X"):
        inputs_table(records)


def test_no_inputs_are_a_table_without_rows():
    assert read_inputs(reread(inputs_table([])), name="x.fits") == []


def test_settings_come_back():
    assert read_config(reread(config_table(SETTINGS)), name="x.fits") == SETTINGS
    assert read_config(reread(config_table([])), name="x.fits") == []


def test_a_table_of_something_else_is_refused():
    with pytest.raises(InputError, match="has no column ROLE"):
        read_inputs(reread(config_table(SETTINGS)), name="x.fits")
    with pytest.raises(InputError, match="has no column STAGE"):
        read_config(reread(inputs_table(INPUTS)), name="x.fits")


def test_settings_of_other_letters_stay_valid_toml():
    import tomllib

    read = read_config(
        reread(config_table([SettingRecord("warp", "title", '"Ørsted 🔭"', "file")])), name="x"
    )

    assert tomllib.loads(f"title = {read[0].value}") == {"title": "Ørsted 🔭"}


def test_equal_settings_of_several_inputs_are_kept_once():
    other = SettingRecord("warp", "kernel", '"lanczos5"', "default")

    merged = merged_settings([SETTINGS, SETTINGS[::-1], [other, SETTINGS[0]]])

    assert merged == [*SETTINGS, other]


def test_earlier_settings_are_found_and_replaced():
    image = fits.ImageHDU(np.zeros((2, 3)), name="BKG")
    hdus = [image, inputs_table(INPUTS), config_table(SETTINGS)]

    assert earlier_settings(hdus, name="x.fits") == SETTINGS
    assert without_provenance(hdus) == [image]


def test_a_fingerprint_is_that_of_sums_values_and_version():
    key = fingerprint(["1", "2"], SETTINGS)

    assert len(key) == 64
    assert int(key, 16) > 0
    assert fingerprint(iter(["1", "2"]), reversed(SETTINGS)) == key
    elsewhere = [SettingRecord(s.stage, s.name, s.value, "environment") for s in SETTINGS]
    assert fingerprint(["1", "2"], elsewhere) == key


@pytest.mark.parametrize(
    ("sums", "settings", "version"),
    [
        (["1"], SETTINGS, __version__),
        (["2", "1"], SETTINGS, __version__),
        (["12"], SETTINGS, __version__),
        (["1", "2"], SETTINGS[:2], __version__),
        (
            ["1", "2"],
            [*SETTINGS[:2], SettingRecord("skyframe build", "seed", "1", "file")],
            __version__,
        ),
        (["1", "2"], SETTINGS, "9.9.9"),
    ],
)
def test_a_fingerprint_changes_with_what_it_is_of(sums, settings, version):
    assert fingerprint(sums, settings, version=version) != fingerprint(["1", "2"], SETTINGS)


def test_a_fingerprint_fits_into_a_card():
    header = fits.Header([("SKYPRINT", fingerprint([], []))])

    assert len(header.tostring(padding=False, endcard=False)) == 80


def test_the_history_says_program_and_stage():
    assert history_line("warp", "3 inputs") == f"skytool {__version__} warp: 3 inputs"


def test_a_history_line_fits_a_header_card_whatever_a_file_is_called():
    header = fits.Header()
    header.add_history(history_line("warp", "1 inputs, gríd.hdr"))
    assert header["HISTORY"][0] == f"skytool {__version__} warp: 1 inputs, gr\\u00edd.hdr"


def test_fitsverify_finds_no_fault(tmp_path):
    if shutil.which("fitsverify") is None:
        pytest.skip("fitsverify is not installed")
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), inputs_table(INPUTS), config_table(SETTINGS)]).writeto(path)

    done = subprocess.run(["fitsverify", "-q", path], check=False, capture_output=True, text=True)

    assert done.stdout.startswith("verification OK"), done.stdout
