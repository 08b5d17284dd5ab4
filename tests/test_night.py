"""The simulated night through the command line, against its truth."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from tests.simulate.night import TARGET_ORIGIN, TARGET_SHAPE, TRANSIENT_VISIT, VISITS

FIXTURES = Path(__file__).parent.parent / "data" / "fixtures"
REACH = 14  # half side of the box of a star, and of the ring of sky around it [pixel]


@pytest.fixture(scope="module")
def warps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("warps")
    command = [
        sys.executable,
        "-m",
        "skytool",
        "warp",
        *sorted((FIXTURES / "night").glob("*.fits")),
    ]
    command += ["--like", FIXTURES / "target.hdr", "-d", folder, "-q"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return {visit.number: folder / f"warp-{visit.number}.fits" for visit in VISITS}


def stars_in(warp):
    """Return positions and true fluxes of stars with a clean box and no bright neighbour."""
    sources = Table.read(FIXTURES / "truth.fits", hdu="SOURCES")
    sources = sources[(sources["VISIT"] == 0) | (sources["VISIT"] == warp[0].header["VISIT"])]
    x, y = WCS(warp["IMAGE"].header).all_world2pix(sources["RA"], sources["DEC"], 0)
    flux = np.asarray(sources["FLUX"])
    bits = warp["MASK"].header
    bad = warp["MASK"].data & sum(1 << bits[f"MP_{name}"] for name in ("NO_DATA", "SAT")) != 0
    for i in np.flatnonzero((sources["KIND"] == "star") & (flux > 4e4)):
        row, column = round(float(y[i])), round(float(x[i]))
        box = slice(row - REACH, row + REACH + 1), slice(column - REACH, column + REACH + 1)
        distance = np.hypot(x - x[i], y - y[i])
        rivals = flux[(distance > 0) & (distance < 2 * REACH)].sum() / flux[i]
        inside = all(
            REACH < p < n - REACH - 1 for p, n in zip((row, column), TARGET_SHAPE, strict=True)
        )
        if inside and not bad[box].any() and rivals < 0.05:
            yield float(y[i]), float(x[i]), float(flux[i]), float(rivals), box


@pytest.mark.slow
def test_stars_keep_their_fluxes_and_places(warps):
    pulls, shifts = [], []
    for path in warps.values():
        with fits.open(path) as warp:
            assert warp["IMAGE"].header["BUNIT"] == "nJy"
            image, variance = warp["IMAGE"].data, warp["VARIANCE"].data
            airmass = warp[0].header["AIRMASS"]
            for y, x, flux, rivals, box in stars_in(warp):
                rows, columns = np.mgrid[box]
                ring = np.hypot(rows - y, columns - x) > REACH - 2
                light = image[box] - np.median(image[box][ring])
                star = ~ring
                noise = np.sqrt(variance[box][star].sum() * (1 + star.sum() / ring.sum() * 1.6))
                pulls.append((light[star].sum() - flux) / (noise + (0.01 + rivals) * flux))
                if airmass < 1.1:
                    total = light[star].sum()
                    errors = [
                        np.sqrt(np.sum(variance[box][star] * (place[star] - at) ** 2)) / total
                        for place, at in ((rows, y), (columns, x))
                    ]
                    shift = np.hypot(
                        np.sum(light[star] * rows[star]) / total - y,
                        np.sum(light[star] * columns[star]) / total - x,
                    )
                    shifts.append(shift / (np.hypot(*errors) + 0.05 + REACH * rivals))

    assert len(pulls) >= 20
    assert len(shifts) >= 5
    assert np.abs(np.median(pulls)) < 4 * 1.25 / np.sqrt(len(pulls))
    assert np.max(np.abs(pulls)) < 4
    assert np.max(shifts) < 4


@pytest.mark.slow
def test_transient_is_the_change_between_warps(warps):
    sources = Table.read(FIXTURES / "truth.fits", hdu="SOURCES")
    transient = sources[sources["KIND"] == "transient"][0]
    peaks = {}
    for number, path in warps.items():
        with fits.open(path) as warp:
            header = warp["IMAGE"].header
            assert (-header["LTV2"], -header["LTV1"]) == TARGET_ORIGIN
            x, y = WCS(header).all_world2pix(transient["RA"], transient["DEC"], 0)
            box = slice(round(float(y)) - 2, round(float(y)) + 3)
            box = box, slice(round(float(x)) - 2, round(float(x)) + 3)
            sky = np.nanmedian(warp["IMAGE"].data)
            peaks[number] = float(np.sum(warp["IMAGE"].data[box] - sky))

    new = peaks.pop(TRANSIENT_VISIT)
    # a star of these widths has half to three quarters of its light in 5x5 pixels
    assert 0.4 * transient["FLUX"] < new - np.median(list(peaks.values())) < 0.9 * transient["FLUX"]
    assert np.ptp(list(peaks.values())) < 0.2 * transient["FLUX"]
