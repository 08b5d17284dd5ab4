"""Refraction, shifts of subfilters and shifted images, compared with LSST golden data."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skytool.core.dcr.shift import shifted, shifted_split
from skytool.core.refraction.atmosphere import (
    Conditions,
    default_conditions,
    differential_refraction,
    refraction,
)
from skytool.models.dcr.bands import Band
from skytool.models.dcr.refraction_shifts import (
    LocalRefraction,
    shifts_of_subfilters,
    subfilter_shifts,
)
from skytool.models.observation.observation import observation_from_header
from skytool.models.observation.pointing import resolve_pointing
from skytool.models.sky.celestial import celestial_wcs
from skytool.models.sky.orientation import sky_orientation

ORDERS = [0, 1, 3, 5]


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden" / "07-dcr"
    return folder, json.loads((folder / "params.json").read_text())["params"]


@pytest.fixture(scope="module")
def methods(golden):
    with np.load(golden[0] / "model_methods.npz") as data:
        return dict(data)


def north_up(matrix, row):
    """Coordinates with the target of a visit in the middle."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = row["visit"]["ra"], row["visit"]["dec"]
    wcs.wcs.crpix = 51, 46
    wcs.wcs.cd = matrix
    return wcs


def local(row, matrix, weather, site, angle="parAngle"):
    visit = row["visit"]
    air = Conditions(site["lat"], site["alt"], weather["T"], weather["P"], weather["RH"])
    orientation = sky_orientation(north_up(matrix, row), y=45.0, x=50.0)
    return LocalRefraction(visit["alt"], visit[angle], orientation.matrix, air, 476.31, "lsst")


def test_refraction_is_theirs(golden):
    site = golden[1]["refraction"]["observatory"]
    rows = golden[1]["refraction"]["rows"]

    assert len(rows) == 126
    for elevation, wave, temperature, pressure, humidity, total, difference in rows:
        air = default_conditions(site["lat"], site["alt"])
        if temperature is not None:
            air = Conditions(site["lat"], site["alt"], temperature, pressure, humidity)

        assert refraction(wave, elevation, air, "lsst") == pytest.approx(total, rel=1e-12)
        ours = differential_refraction(wave, 476.31, elevation, air, "lsst")
        assert ours == pytest.approx(difference, abs=1e-12 * total)


def test_shifts_are_theirs_in_every_orientation(golden):
    seeds = json.loads((golden[0] / "seed_era_shifts.json").read_text())
    band = Band(seeds["lam"], seeds["bw"])

    assert len(seeds["rows"]) == 128
    for row in seeds["rows"]:
        place = local(row, row["cd"], seeds["weather"], seeds["observatory"])
        theirs, split = np.array(row["shifts_yx_2024"]), np.array(row["shifts_yx_2024_split"])

        ours = shifts_of_subfilters(place, band.subfilters(len(theirs)))

        # their pixel scale is that of a pixel 0.5 pixels long, ours of a whole one: 1e-7 and less
        assert np.stack([ours.mean_dy, ours.mean_dx], axis=1) == pytest.approx(theirs, abs=1e-6)
        assert np.stack([ours.dy, ours.dx], axis=2) == pytest.approx(split, abs=1e-6)


def test_shifts_of_any_number_of_subfilters_are_theirs(golden):
    case = golden[1]["calculateDcr"]
    band = Band(case["lam"], case["bw"])
    site = golden[1]["refraction"]["observatory"]
    scale = case["pixel_scale"] / 3600

    assert len(case["rows"]) == 54
    for row in case["rows"]:
        # the code of these rows takes the rotator for the orientation of the image
        place = local(row, [[scale, 0], [0, scale]], case["weather"], site, "imageParAngle")

        ours = shifts_of_subfilters(place, band.subfilters(row["n"]))

        stacked = np.stack([ours.dy, ours.dx], axis=2)
        found = stacked if row["split"] else stacked.mean(axis=1)
        assert found == pytest.approx(np.array(row["shifts_yx"]), abs=1e-6)
        limits = np.array(case["wavelengths"][str(row["n"])])
        assert band.subfilters(row["n"]).limits == pytest.approx(limits, abs=1e-9)


@pytest.mark.parametrize("run", ["assemble_default", "assemble_order3_2sub"])
def test_shifts_by_the_cards_of_a_visit_are_theirs(golden, run):
    folder = golden[0] / run
    told = json.loads((folder / "run.json").read_text())
    site = golden[1]["refraction"]["observatory"]
    number = len(told["shifts_yx"][0])
    for index, visit in enumerate(told["visits"]):
        header = fits.getheader(folder / f"warp_{index:02d}.fits.gz", 1)
        header["BORE-RA"], header["BORE-DEC"] = visit["ra"], visit["dec"]
        header["BORE-ALT"], header["BORE-AZ"] = visit["alt"], visit["az"]
        header["OBS-LAT"], header["OBS-LONG"] = site["lat"], site["lon"]
        header["OBS-ELEV"], header["AIRTEMP"] = site["alt"], 20.0
        header["AIRPRESS"], header["HUMIDITY"] = 73892.0, 40.0
        pointing = resolve_pointing(observation_from_header(header))
        wcs = celestial_wcs(header, name="a warp")
        middle = {"y": (header["NAXIS2"] - 1) / 2, "x": (header["NAXIS1"] - 1) / 2}

        ours = subfilter_shifts(
            pointing, wcs, Band(476.31, 147.0).subfilters(number), **middle, variant="lsst"
        )

        found = np.stack([ours.mean_dy, ours.mean_dx], axis=1)
        assert found == pytest.approx(np.array(told["shifts_yx"][index]), abs=1e-8)


@pytest.mark.parametrize("order", ORDERS)
def test_moved_images_are_theirs(methods, order):
    image, dy, dx = methods["apply_in"], 0.63, -1.27
    moved = {
        "plain": shifted(image, dy, dx, order=order),
        "inverse": shifted(image, -dy, -dx, order=order),
        "noprefilter": shifted(image, dy, dx, order=order, prefilter=False),
        "split": shifted_split(image, (0.5, 0.9), (-1.0, -1.6), order=order),
        "split_inverse": shifted_split(image, (-0.5, -0.9), (1.0, 1.6), order=order),
    }

    for kind, ours in moved.items():
        assert np.abs(ours - methods[f"apply_{kind}_o{order}"]).max() < 1e-11, kind


@pytest.mark.parametrize("visit", [1, 2, 3, 4])
def test_sum_of_moved_subfilters_is_their_template(methods, visit):
    shifts = methods[f"template_shift_v{visit}"]  # subfilter, half, (y, x)
    model = methods["model_in"]
    split = sum(shifted_split(m, *s.T) for m, s in zip(model, shifts, strict=True))
    whole = sum(shifted(m, *s.mean(axis=0)) for m, s in zip(model, shifts, strict=True))
    theirs = methods[f"template_v{visit}_split1_thr0.0_o3_amp1.0"]

    tolerance = 4 * np.finfo(np.float32).eps * np.abs(theirs).max()
    assert np.abs(split - theirs).max() < tolerance
    theirs = methods[f"template_v{visit}_split0_thr0.0_o3_amp1.0"]
    assert np.abs(whole - theirs).max() < tolerance
