"""The night in data/fixtures: its bytes, its layout and its truth."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from tests.simulate.draw import draw_sources
from tests.simulate.night import (
    CAMERAS,
    SHAPE,
    TARGET_ORIGIN,
    TARGET_SHAPE,
    TRANSIENT_VISIT,
    VISITS,
    night_exposure,
    night_hdus,
    night_wcs,
    write_night,
)

FIXTURES = Path(__file__).parent.parent / "data" / "fixtures"
NIGHT = sorted((FIXTURES / "night").glob("*.fits"))
MASK_BITS = {"BAD": 0, "SAT": 1, "CR": 3, "DETECTED": 5, "NO_DATA": 8}


def flagged(hdus, *planes):
    return (hdus["MASK"].data & sum(1 << MASK_BITS[plane] for plane in planes)) != 0


@pytest.fixture(params=NIGHT, ids=lambda path: path.stem)
def exposure(request):
    with fits.open(request.param, checksum=True) as hdus:
        yield hdus


@pytest.mark.slow
def test_files_are_made_anew_to_the_same_bytes(tmp_path):
    written = write_night(tmp_path)

    assert {path.relative_to(tmp_path) for path in written} == {
        path.relative_to(FIXTURES) for path in FIXTURES.rglob("*.*") if path.suffix != ".md"
    }
    for path in written:
        assert path.read_bytes() == (FIXTURES / path.relative_to(tmp_path)).read_bytes(), path.name


def test_files_are_small_and_complete():
    assert sum(path.stat().st_size for path in FIXTURES.rglob("*") if path.is_file()) < 3_000_000
    assert [path.name for path in NIGHT] == [
        f"v{visit.number}_d{detector}.fits" for visit in VISITS for detector in CAMERAS
    ]


def test_layout_is_the_documented_one(exposure):
    assert [hdu.name for hdu in exposure[:5]] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE", "PSF"]
    assert exposure[0].data is None
    assert [exposure[i].data.dtype for i in (1, 2, 3)] == [np.float32, np.int32, np.float32]
    assert {hdu.data.shape for hdu in exposure[1:4]} == {SHAPE}
    for hdu in exposure[1:4]:
        assert hdu.header["EXTTYPE"] == hdu.name
        assert (hdu.header["LTV1"], hdu.header["CRVAL1A"]) == (0.0, 0.0)
    assert (exposure[1].header["BUNIT"], exposure[3].header["BUNIT"]) == ("adu", "adu2")
    cards = exposure["MASK"].header
    assert {name: cards[f"MP_{name}"] for name in MASK_BITS} == MASK_BITS


def test_no_value_means_nan_infinite_variance_and_no_data_at_once(exposure):
    nothing = flagged(exposure, "NO_DATA")

    np.testing.assert_array_equal(np.isnan(exposure["IMAGE"].data), nothing)
    np.testing.assert_array_equal(np.isinf(exposure["VARIANCE"].data), nothing)
    assert np.all(exposure["VARIANCE"].data > 0)
    assert nothing.any() == (exposure[0].header["DETECTOR"] == 2)


def test_every_kind_of_flaw_is_in_every_exposure(exposure):
    for plane in ("BAD", "SAT", "CR", "DETECTED"):
        assert flagged(exposure, plane).sum() >= 10, plane
    assert np.nanmax(exposure["IMAGE"].data[flagged(exposure, "SAT")]) > 20000


def test_psf_images_have_sum_one_and_their_peak_in_the_middle(exposure):
    psf = exposure["PSF"]
    stamps = psf.data if psf.data.ndim == 3 else psf.data[None]
    middle = stamps.shape[1] // 2, stamps.shape[2] // 2

    assert psf.header["PSFKIND"] == ("GRID" if psf.data.ndim == 3 else "CONSTANT")
    for stamp in stamps:
        assert stamp.sum() == pytest.approx(1, abs=1e-12)
        assert np.unravel_index(stamp.argmax(), stamp.shape) == middle
    if psf.data.ndim == 3:
        assert len(exposure["PSFGRID"].data) == len(stamps)


def test_background_extension_is_the_plane_that_was_subtracted(exposure):
    header = exposure[0].header
    visit = next(visit for visit in VISITS if visit.number == header["VISIT"])
    bkg = exposure["BKG"]
    ny, nx = SHAPE
    v, u = (2 * np.arange(ny) + 1) / ny - 1, (2 * np.arange(nx) + 1) / nx - 1

    sky = np.polynomial.chebyshev.chebgrid2d(v, u, bkg.data)

    assert (bkg.header["BKGOP"], bkg.header["SKYMODEL"]) == ("SUBTRACT", "CHEBYSHEV2D")
    assert (bkg.header["DOMAINX"], bkg.header["DOMAINY"]) == (nx, ny)
    np.testing.assert_allclose(sky, night_exposure(visit, header["DETECTOR"]).sky, atol=1e-4)


def test_airmass_is_the_secant_of_the_zenith_distance(exposure):
    header = exposure[0].header

    secant = 1 / np.sin(np.radians(header["BORE-ALT"]))

    assert header["AIRMASS"] == header["BORE-AIRMASS"] == pytest.approx(secant, abs=1e-5)
    assert header["FLUXMAG0"] == pytest.approx(10 ** (0.4 * header["MAGZERO"]), rel=1e-8)


def test_night_spans_airmasses_angles_and_projections():
    headers = [fits.getheader(path, "IMAGE") for path in NIGHT]
    primaries = [fits.getheader(path) for path in NIGHT]

    airmasses = {header["AIRMASS"] for header in primaries}
    assert min(airmasses) < 1.01
    assert 1.8 < max(airmasses) < 2.0
    assert {header["CTYPE1"] for header in headers} == {"RA---TAN", "RA---TAN-SIP"}
    assert len({header["BORE-ROTANG"] for header in primaries}) == len(VISITS)
    assert len({header["MAGZERO"] for header in primaries}) == len(NIGHT)


def test_pixels_differ_from_the_truth_by_their_noise_alone(exposure):
    header = exposure[0].header
    visit = next(visit for visit in VISITS if visit.number == header["VISIT"])
    truth = night_exposure(visit, header["DETECTOR"]).truth
    good = ~flagged(exposure, "BAD", "SAT", "CR", "NO_DATA")

    residual = exposure["IMAGE"].data - truth.sources - truth.background
    pull = (residual / np.sqrt(exposure["VARIANCE"].data))[good]

    assert pull.mean() == pytest.approx(0, abs=4 / np.sqrt(pull.size))
    assert pull.std() == pytest.approx(1, abs=4 / np.sqrt(2 * pull.size))


def test_isolated_stars_are_where_truth_and_header_put_them():
    stars = Table.read(FIXTURES / "truth.fits", hdu="SOURCES")
    flux = np.asarray(stars["FLUX"])
    checked = 0
    for path in NIGHT:
        with fits.open(path) as hdus:
            header, wcs = hdus[0].header, WCS(hdus["IMAGE"].header)
            image, variance = hdus["IMAGE"].data, hdus["VARIANCE"].data
            bad = flagged(hdus, "BAD", "SAT", "CR", "NO_DATA")
        visit = next(visit for visit in VISITS if visit.number == header["VISIT"])
        image = image - night_exposure(visit, header["DETECTOR"]).truth.background
        per_adu = 10 ** (0.4 * (31.4 - header["MAGZERO"]))
        x, y = wcs.all_world2pix(stars["RA"], stars["DEC"], 0, quiet=True)
        for i in np.flatnonzero((flux > 4e4) & (stars["KIND"] == "star")):
            row, column = round(float(y[i])), round(float(x[i]))
            inside = 9 <= row < SHAPE[0] - 9 and 9 <= column < SHAPE[1] - 9
            box = slice(row - 9, row + 10), slice(column - 9, column + 10)
            distance = np.hypot(x - x[i], y - y[i])
            rivals = np.sum(flux[(distance > 0) & (distance < 24)]) / flux[i]
            if not inside or bad[box].any() or rivals > 0.03:
                continue
            checked += 1
            rows, columns = np.mgrid[box]
            light, error = np.sum(image[box]), np.sqrt(np.sum(variance[box]))
            # the box leaves out up to 4 % of the light, and refraction moves it by up to 1.5 pixels
            slack = 5 * error * per_adu + (0.04 + rivals) * flux[i]
            assert light * per_adu == pytest.approx(flux[i], abs=slack)
            for place, expected in ((columns, x[i]), (rows, y[i])):
                centroid = np.sum(image[box] * place) / light
                noise = np.sqrt(np.sum(variance[box] * (place - expected) ** 2)) / light
                refraction = 1.5 * (header["AIRMASS"] - 1)
                assert centroid == pytest.approx(
                    expected, abs=5 * noise + 9 * rivals + refraction + 0.05
                )

    assert checked >= 30


def test_transient_is_in_one_visit_alone():
    sources = Table.read(FIXTURES / "truth.fits", hdu="SOURCES")
    transient = sources[sources["KIND"] == "transient"]
    seen = {}
    for path in NIGHT:
        with fits.open(path) as hdus:
            header = hdus[0].header
            image, variance = hdus["IMAGE"].data, hdus["VARIANCE"].data
            x, y = WCS(hdus["IMAGE"].header).all_world2pix(transient["RA"], transient["DEC"], 0)
            bad = flagged(hdus, "BAD", "SAT", "CR", "NO_DATA")
        row, column = round(float(y[0])), round(float(x[0]))
        if not (0 <= row < SHAPE[0] and 0 <= column < SHAPE[1]):
            continue
        visit = next(visit for visit in VISITS if visit.number == header["VISIT"])
        simulated = night_exposure(visit, header["DETECTOR"])
        truth, passing = simulated.truth, simulated.truth.catalogue.visit > 0
        alone = draw_sources(
            truth.catalogue[passing], simulated.wcs, SHAPE, simulated.psf, simulated.observation
        )[0]
        without = truth.sources - alone / simulated.nanojansky
        box = slice(row - 4, row + 5), slice(column - 4, column + 5)
        excess = (image - without - truth.background)[box][~bad[box]]
        error = np.sqrt(np.sum(variance[box][~bad[box]]))
        seen[visit.number] = float(np.sum(excess) / error)

    assert list(transient["VISIT"]) == [TRANSIENT_VISIT]
    assert sorted(seen) == [visit.number for visit in VISITS]
    assert seen.pop(TRANSIENT_VISIT) > 10
    assert max(abs(value) for value in seen.values()) < 5


def test_table_of_exposures_agrees_with_their_headers():
    table = Table.read(FIXTURES / "truth.fits", hdu="EXPOSURES")

    assert len(table) == len(NIGHT)
    for row in table:
        header = fits.getheader(FIXTURES / row["FILE"])
        for name in ("VISIT", "DETECTOR", "AIRMASS", "PARANGLE", "MAGZERO", "PSFFWHM", "SKYLEVEL"):
            assert row[name] == header[name], name
        assert row["ALTITUDE"] == header["BORE-ALT"]
        assert row["ROTATION"] == header["BORE-ROTANG"]


def test_target_grid_holds_most_of_every_visit():
    lines = (FIXTURES / "target.hdr").read_text().splitlines()
    header = fits.Header.fromstring("\n".join(lines), sep="\n")
    wcs = WCS(header)

    assert lines[-1].rstrip() == "END"
    assert (header["NAXIS2"], header["NAXIS1"]) == TARGET_SHAPE
    assert (-header["LTV2"], -header["LTV1"]) == TARGET_ORIGIN
    assert (header["CRVAL2A"], header["CRVAL1A"]) == TARGET_ORIGIN
    y, x = (plane.ravel() for plane in np.mgrid[0 : SHAPE[0] : 20, 0 : SHAPE[1] : 20])
    for visit in VISITS:
        inside = []
        for detector in CAMERAS:
            there = wcs.all_world2pix(*night_wcs(visit, detector).all_pix2world(x, y, 0), 0)
            inside.append((there[0] > -0.5) & (there[0] < TARGET_SHAPE[1] - 0.5))
            inside[-1] &= (there[1] > -0.5) & (there[1] < TARGET_SHAPE[0] - 0.5)
        assert np.mean(inside) > 0.75


def test_readme_shows_the_airmass_of_every_visit():
    rows = re.findall(
        r"^\| (\d{3}) \| ([\d.]+)", (FIXTURES / "README.md").read_text(), re.MULTILINE
    )

    assert {int(visit): float(airmass) for visit, airmass in rows} == {
        visit.number: round(float(night_hdus(visit, 1)[0].header["AIRMASS"]), 2) for visit in VISITS
    }


@pytest.mark.skipif(shutil.which("fitsverify") is None, reason="fitsverify is not installed")
def test_fitsverify_finds_nothing():
    result = subprocess.run(
        ["fitsverify", "-q", *NIGHT, FIXTURES / "truth.fits"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout
    assert result.stdout.count("verification OK") == len(NIGHT) + 1


@pytest.mark.parametrize("path", NIGHT[:4], ids=lambda path: path.stem)
def test_package_reads_what_is_in_the_files(path):
    from skytool.io.sources import ReadOptions, read_exposure

    read = read_exposure(str(path), ReadOptions())

    visit = next(visit for visit in VISITS if path.stem.startswith(f"v{visit.number}"))
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(read.image, hdus["IMAGE"].data)
        np.testing.assert_array_equal(read.variance, hdus["VARIANCE"].data)
        for plane in MASK_BITS:
            np.testing.assert_array_equal(read.mask.any_of([plane]), flagged(hdus, plane))
        stamps = hdus["PSF"].data
    assert read.unit == "adu"
    assert read.header["VISIT"] == visit.number
    detector = int(path.stem[-1])
    simulated = night_exposure(visit, detector)
    assert read.calibration.scale == pytest.approx(simulated.nanojansky, rel=1e-6)
    y, x = np.mgrid[0 : SHAPE[0] : 60, 0 : SHAPE[1] : 60]
    np.testing.assert_allclose(
        read.wcs.all_pix2world(x, y, 0), simulated.wcs.all_pix2world(x, y, 0), atol=1e-10
    )
    corner = read.psf.kernel_image(y=0.0, x=0.0)
    np.testing.assert_allclose(corner, stamps[0] if stamps.ndim == 3 else stamps, atol=1e-9)


def test_simulated_exposure_reaches_the_package_unchanged():
    from tests.simulate.files import to_exposure

    simulated = night_exposure(VISITS[1], 2)

    exposure = to_exposure(simulated, name="night")

    assert exposure.name == "night"
    np.testing.assert_array_equal(exposure.image, simulated.image)
    np.testing.assert_array_equal(exposure.variance, simulated.variance)
    for plane in MASK_BITS:
        np.testing.assert_array_equal(exposure.mask.any_of([plane]), simulated.flagged(plane))
    # between its four stamps the grid interpolates, which is exact to second order in the change
    for place in ({"y": 0.0, "x": 0.0}, {"y": 130.0, "x": 61.0}):
        ours = exposure.psf.kernel_image(**place)
        truth = simulated.psf.kernel_image(**place, reach=ours.shape[0] // 2)
        np.testing.assert_allclose(ours, truth, atol=2e-3 * truth.max())
