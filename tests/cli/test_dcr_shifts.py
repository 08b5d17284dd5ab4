"""``skytool dcr-shifts``."""

import json
import logging

import numpy as np
import pytest
from astropy.io import fits

from skytool.cli.dcr.options import _WAVELENGTHS
from skytool.core.refraction.atmosphere import LONGEST, SHORTEST
from tests.cli.warping import run
from tests.models.headers import DECAM, HSC, SAAO

SHAPE = (40, 30)
COLUMNS = 9
RA, DEC = 187.3235, 25.4793


def write(name, cards, *left_out, mirrored=False, at=(RA, DEC), **changed):
    """Write an image with north up and a place of the sky in the middle."""
    header = fits.Header()
    for key, value in {**cards, **changed}.items():
        if key not in left_out:
            header[key] = value
    if "WCS" not in left_out:
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
        header["CRVAL1"], header["CRVAL2"] = at
        header["CRPIX1"], header["CRPIX2"] = SHAPE[1] / 2 + 0.5, SHAPE[0] / 2 + 0.5
        header["CD1_1"], header["CD2_2"] = (1 if mirrored else -1) * 0.27 / 3600, 0.27 / 3600
    fits.PrimaryHDU(np.zeros(SHAPE, np.float32), header).writeto(name)
    return name


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("decam.fits", DECAM)
    return tmp_path


def told(*args):
    """Run the command with --json and return what its lines say."""
    result = run("dcr-shifts", *args, "--json")
    assert result.exit_code == 0, result.stderr
    lines = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]
    return [
        {"path": line["path"], **line["metrics"], "warnings": line["warnings"]} for line in lines
    ]


def refused(*args):
    result = run("dcr-shifts", *args)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("skytool: error")]
    return result.exit_code, line


def test_a_row_of_every_subfilter_says_where_it_is():
    result = run("dcr-shifts", "decam.fits")
    rows = [line.split("\t") for line in result.stdout.splitlines()]

    assert result.exit_code == 0
    assert [len(row) for row in rows] == [COLUMNS] * 3
    assert [row[0] for row in rows] == ["decam.fits"] * 3
    numbers = np.array([row[1:] for row in rows], dtype=float)
    assert numbers[:, 0].tolist() == [0, 1, 2]
    assert numbers[:, 1] == pytest.approx([850.0, 900.667, 951.333], abs=0.01)
    assert numbers[:, 2] == pytest.approx([900.667, 951.333, 1002.0], abs=0.01)
    # blue light to the zenith, which is in the south and, for a target in the west, to the
    # east, the left of the image
    dy, dx, shift = numbers[:, 3:6].T
    assert shift[0] > 0 > shift[2]
    assert dy[0] < 0
    assert dx[0] < 0
    assert np.hypot(dy, dx) * 0.27 == pytest.approx(np.abs(shift), rel=1e-4)
    assert numbers[:, 6] == pytest.approx(169.1, abs=0.3)
    assert numbers[:, 7] == pytest.approx(1.808, abs=0.01)


def test_lines_say_where_every_number_is_from():
    first = told("decam.fits")[0]

    assert first["sources"] == {
        "direction": "time and site, as ZD, AZ",
        "site": "OBS-LAT, OBS-LONG, west positive",
        "temperature": "OUTTEMP",
        "pressure": "PRESSURE",
        "humidity": "HUMIDITY",
    }
    assert (first["temperature"], first["pressure"], first["humidity"]) == (13.8, 779.0, 40.0)
    assert (first["band"], first["band_source"]) == ("decam-z", "FILTER")
    assert (first["latitude"], first["height"]) == (-30.16606, 2215.0)
    assert first["reference_wavelength"] == 926.0
    assert np.mean(first["dy_split"]) == pytest.approx(first["dy"])
    assert first["dx_split"][0] < first["dx"] < first["dx_split"][1]


def test_mirrored_image_moves_the_other_way_along_x():
    write("mirrored.fits", DECAM, mirrored=True)
    plain, mirrored = told("decam.fits"), told("mirrored.fits")

    assert [row["dx"] for row in mirrored] == pytest.approx([-row["dx"] for row in plain], rel=1e-3)
    assert [row["dy"] for row in mirrored] == pytest.approx([row["dy"] for row in plain], rel=1e-3)


def test_exposures_of_any_filters_and_detectors_are_listed():
    write("hsc.fits", HSC, at=(320.75, 0.5))
    found = told("decam.fits", "hsc.fits", "--num-subfilters", 2)

    assert [row["path"] for row in found] == ["decam.fits"] * 2 + ["hsc.fits"] * 2
    assert {row["band"] for row in found} == {"decam-z", "hsc-i"}


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        (("--band", "g"), (396.0, 548.0)),
        (("--band", "ps1-g"), (414.0, 551.0)),
        (("--effective-wavelength", 476.31, "--bandwidth", 147), (402.81, 549.81)),
    ],
    ids=["of the camera", "of another", "numbers"],
)
def test_band_may_be_given(options, limits):
    found = told("decam.fits", *options)

    assert (found[0]["wavelength_min"], found[-1]["wavelength_max"]) == pytest.approx(limits)


def test_reference_wavelength_stays_in_place():
    red, blue = (
        told("decam.fits", "--band", "g", "--num-subfilters", 1, "--reference-wavelength", wave)
        for wave in (548, 396)
    )

    assert red[0]["shift"] > 0 > blue[0]["shift"]


def test_formula_can_be_chosen():
    ours, theirs, third = (
        told("decam.fits", "--band", "g", "--refraction", name)[0]["shift"]
        for name in ("stone", "lsst", "filippenko")
    )

    # twice (beta - gamma / 2) tan^2 z, of 1.5 squared
    assert theirs / ours - 1 == pytest.approx(0.0049, abs=0.0005)
    assert 0 < third / ours - 1 < 0.015
    assert told("decam.fits", "--config", "lsst")[0]["refraction"] == "lsst"


def test_weather_and_site_may_be_given():
    standard = told("decam.fits")[0]
    hot = told("decam.fits", "--temperature", 30, "--pressure", 700, "--humidity", 5)[0]
    elsewhere = told("decam.fits", "--site", "-30.16606,-70.81489,2215")[0]

    assert (hot["temperature"], hot["pressure"], hot["humidity"]) == (30.0, 700.0, 5.0)
    assert hot["shift"] / standard["shift"] == pytest.approx(700 / 779 * 286.95 / 303.15, rel=0.01)
    assert elsewhere["shift"] == standard["shift"]
    assert elsewhere["sources"]["site"] == "--site"


def test_missing_weather_is_said(caplog):
    write("bare.fits", DECAM, "OUTTEMP", "PRESSURE")
    with caplog.at_level(logging.INFO, logger="skytool"):
        row = told("bare.fits")[0]

    assert row["sources"]["pressure"] == row["sources"]["temperature"] == "default"
    assert row["sources"]["humidity"] == "HUMIDITY"
    assert row["pressure"] == pytest.approx(775, abs=10)
    assert "standard air, for the header has no temperature, pressure" in caplog.text


def test_elevation_is_that_of_the_position():
    middle, higher = (
        told("decam.fits", *options)[0] for options in ((), ("--position", f"{RA},{DEC - 0.5}"))
    )

    assert (middle["y"], middle["x"]) == (19.5, 14.5)
    assert higher["y"] == pytest.approx(19.5 - 1800 / 0.27, rel=1e-3)
    assert higher["elevation"] - middle["elevation"] == pytest.approx(0.49, abs=0.01)
    assert higher["shift"] < middle["shift"]


def test_small_contradiction_is_warned_of():
    write("odd.fits", DECAM, AIRMASS=1.7)
    result = run("dcr-shifts", "odd.fits")

    assert result.exit_code == 0
    assert "AIRMASS = 1.7, but" in result.stderr
    assert "AIRMASS = 1.7, but" in told("odd.fits")[0]["warnings"][0]
    assert run("dcr-shifts", "odd.fits", "--strict").exit_code == 5


def test_airmass_that_contradicts_the_altitude_is_refused():
    write("odd.fits", DECAM, AIRMASS=1.2)
    status, line = refused("odd.fits")

    assert status == 4
    assert "odd.fits: AIRMASS = 1.2" in line
    assert "--force" in line
    assert told("odd.fits", "--force")[0]["airmass"] == pytest.approx(1.81, abs=0.01)


def test_one_line_names_all_exposures_without_a_zenith():
    write("timeless.fits", DECAM, "DATE-OBS", "HA", "AZ")
    write("odd.fits", DECAM, AIRMASS=1.2)
    status, line = refused("decam.fits", "timeless.fits", "odd.fits")

    assert status == 4
    assert "2 of 3 exposures cannot be used" in line
    assert "timeless.fits does not say" in line
    assert "odd.fits: AIRMASS" in line


def test_exposures_without_a_zenith_can_be_left_out():
    write("timeless.fits", DECAM, "DATE-OBS", "HA", "AZ")
    found = told("timeless.fits", "decam.fits", "--drop-incomplete")

    assert {row["path"] for row in found} == {"decam.fits"}
    assert refused("timeless.fits", "--drop-incomplete")[0] == 4


def test_the_rest_goes_on_if_asked():
    write("timeless.fits", DECAM, "DATE-OBS", "HA", "AZ")
    result = run("dcr-shifts", "timeless.fits", "decam.fits", "-k")

    assert result.exit_code == 4
    assert len(result.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("left_out", "changed", "words"),
    [
        (("FILTER",), {}, "names no filter"),
        ((), {"FILTER": "NB387"}, "'NB387'"),
        (("WCS",), {}, "no celestial WCS"),
        (("TELESCOP", "OBSERVAT", "INSTRUME", "OBS-LAT"), {"FILTER": "g"}, "--site"),
    ],
    ids=["filter", "band", "wcs", "site"],
)
def test_what_is_missing_is_said(left_out, changed, words):
    write("bad.fits", DECAM, *left_out, **changed)
    status, line = refused("bad.fits")

    assert status == 4
    assert words in line
    assert "bad.fits" in line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--effective-wavelength", 500), "--effective-wavelength needs --bandwidth"),
        (("--bandwidth", 100), "--bandwidth needs --effective-wavelength"),
        (("--band", "g", "--effective-wavelength", 5, "--bandwidth", 1), "both give the band"),
        (("--effective-wavelength", 300, "--bandwidth", 600), "600 nm wide (--bandwidth)"),
        (("--band", "K"), "none of the infrared"),
        (("--band", "decam-q"), "'decam-q' are not known"),
        (("--site", "nowhere"), "no site 'nowhere'"),
        (("--num-subfilters", 0), "--num-subfilters"),
        (("--pressure", 77900), "--pressure"),
        (("--refraction", "edlen"), "--refraction"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_wrong_usage_is_refused(options, words):
    result = run("dcr-shifts", "decam.fits", *options)

    assert result.exit_code == 2
    assert words in result.stderr


def test_wavelength_without_known_refraction_is_refused():
    options = ("--effective-wavelength", 2000, "--bandwidth", 300)
    status, line = refused("decam.fits", *options)

    assert status == 5
    assert "2150 nm" in line


def test_image_of_another_place_than_the_target_is_warned_of():
    write("near.fits", DECAM, at=(RA, DEC - 7))
    write("far.fits", HSC)

    assert "7.0 degrees from the middle of the image" in told("near.fits")[0]["warnings"][0]
    status, line = refused("far.fits")
    assert status == 4
    assert "far.fits" in line
    assert "37.6 degrees below the horizon" in line


def test_sidereal_time_of_a_minimal_header_is_enough():
    write(
        "saao.fits",
        {**SAAO, "RA": "12:29:17.64", "DEC": "-25:28:45.5", "FILTER": "V"},
        "MJD-OBS",
        "UT",
    )

    assert told("saao.fits")[0]["sources"]["direction"] == "ST - RA"


def test_report_is_written(folder):
    result = run("dcr-shifts", "decam.fits", "--report", "shifts.jsonl")

    assert result.exit_code == 0
    lines = (folder / "shifts.jsonl").read_text().splitlines()
    assert [json.loads(line)["metrics"]["subfilter"] for line in lines] == [0, 1, 2]


def test_reference_wavelengths_are_those_of_known_refraction():
    assert (SHORTEST, LONGEST) == _WAVELENGTHS
