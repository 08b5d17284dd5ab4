"""The PSFs of warps and coadds against the stars in them."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skytool.core.psf.adaptive_moments import adaptive_moments
from skytool.io.sources import read_exposure
from skytool.models.psf.coadd import CoaddPsf, NoInputsError
from tests.cli.coadding import read
from tests.cli.warping import FWHM_PER_SIGMA, run, sky_cards, write_exposure, write_grid

GRID = (250, 290)
DETECTOR = (310, 190)
FLUX = 1e4
N_VISITS = 3
STEP = 42


def profile(shape, y, x, visit):
    """An elliptical Gaussian star of the seeing of a visit."""
    sigma = (3.2 + 0.5 * visit) / FWHM_PER_SIGMA
    stretch, angle = 0.06 * visit, 0.7 * visit
    down, right = np.indices(shape, float)
    down, right = down - y, right - x
    along = np.cos(angle) * right + np.sin(angle) * down
    across = np.cos(angle) * down - np.sin(angle) * right
    a, b = sigma * np.sqrt(1 + stretch), sigma * np.sqrt(1 - stretch)
    return np.exp(-((along / a) ** 2 + (across / b) ** 2) / 2) / (2 * np.pi * a * b)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Noise-free stars of known places in the warps of visits of two detectors."""
    folder = tmp_path_factory.mktemp("night")
    rng = np.random.default_rng(4)
    sky = sky_cards(GRID)
    grid = write_grid(folder / "grid.hdr", sky, GRID)
    y, x = (
        places.ravel() + rng.uniform(-2, 2, places.size)
        for places in np.meshgrid(
            np.arange(24, GRID[0] - 20, STEP), np.arange(24, GRID[1] - 20, STEP), indexing="ij"
        )
    )
    radec = WCS(sky).all_pix2world(x, y, 0)
    raw = {}
    for visit in range(N_VISITS):
        for detector in range(2):
            cards = sky_cards(
                DETECTOR,
                rotation=7 * visit - 8,
                shift=(4.3 * visit, (-1) ** detector * 86 - 3.1 * visit),
                kind="SIP" if visit == 1 else "TAN",
            )
            image = np.zeros(DETECTOR)
            for u, v in zip(*WCS(cards).all_world2pix(*radec, 0), strict=True):
                if -15 < v < DETECTOR[0] + 15 and -15 < u < DETECTOR[1] + 15:
                    image += FLUX * profile(DETECTOR, v, u, visit)
            psf = fits.ImageHDU(profile((37, 37), 18, 18, visit), name="PSF")
            psf.header["PSFKIND"], psf.header["SKYMVER"] = "CONSTANT", 1
            raw[visit, detector] = write_exposure(
                folder / f"v{visit}d{detector}.fits",
                image,
                sky=cards,
                variance=100.0 * (1 + visit),
                extensions=[psf],
                VISIT=10 + visit,
                DETECTOR=detector,
                FILTER="r",
                MAGZERO=31.4,
            )
    return folder, grid, raw, (y, x)


@pytest.fixture(scope="module")
def warps(night):
    folder, grid, raw, _ = night
    paths = []
    for visit in range(N_VISITS):
        paths.append(folder / f"warp{visit}.fits")
        result = run("warp", raw[visit, 0], raw[visit, 1], "--like", grid, "-o", paths[-1])
        assert result.exit_code == 0, result.output
    return paths


@pytest.fixture(scope="module")
def coadd(warps):
    path = warps[0].parent / "coadd.fits"
    result = run("coadd", *warps, "-o", path)
    assert result.exit_code == 0, result.output
    return path


def whole_stars(exposure, places):
    """Yield the stars that the same inputs see all over, with what the PSF says of them."""
    for y, x in zip(*places, strict=True):
        model = exposure.psf.everywhere()
        half = model.shape[0] // 2, model.shape[1] // 2
        row, column = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
        around = [(y + j, x + i) for j in (-14, 0, 14) for i in (-14, 0, 14)]
        try:
            inputs = {
                tuple(sorted(entry.id for entry, _ in exposure.psf.contributions(y=j, x=i)))
                for j, i in around
            }
            expected = exposure.psf.image(y=y, x=x)
        except NoInputsError:
            continue
        rows = slice(row - half[0], row + half[0] + 1)
        columns = slice(column - half[1], column + half[1] + 1)
        star = exposure.image[rows, columns]
        if len(inputs) == 1 and star.shape == expected.shape and np.isfinite(star).all():
            yield star, expected


def assert_psf_is_that_of_the_stars(exposure, places, at_least):
    compared = 0
    for star, expected in whole_stars(exposure, places):
        found, model = adaptive_moments(star), adaptive_moments(expected)
        # Both went through one resampling; the PSF also through the interpolation of its stamp,
        # right to 1e-3 of the peak for a star of 3 pixels.
        assert found.yy == pytest.approx(model.yy, rel=2e-3)
        assert found.xx == pytest.approx(model.xx, rel=2e-3)
        assert found.xy == pytest.approx(model.xy, abs=2e-3 * model.xx)
        assert (found.y, found.x) == pytest.approx((model.y, model.x), abs=1e-3)
        np.testing.assert_allclose(star / FLUX, expected, rtol=0, atol=3e-3 * expected.max())
        compared += 1
    assert compared >= at_least


@pytest.mark.parametrize("visit", range(N_VISITS))
def test_the_psf_of_a_warp_is_that_of_its_stars(warps, night, visit):
    exposure = read_exposure(warps[visit])

    assert isinstance(exposure.psf, CoaddPsf)
    assert_psf_is_that_of_the_stars(exposure, night[3], 15)


def test_the_psf_of_a_coadd_is_that_of_its_stars(coadd, night):
    exposure = read_exposure(coadd)

    assert isinstance(exposure.psf, CoaddPsf)
    assert_psf_is_that_of_the_stars(exposure, night[3], 12)


@pytest.mark.parametrize("kernel", ["lanczos5", "spline3", "bilinear", "exact"])
def test_the_psf_of_a_warp_is_that_of_its_kernel(night, tmp_path, kernel):
    _, grid, raw, places = night
    path = tmp_path / "warp.fits"

    result = run("warp", raw[0, 0], raw[0, 1], "--like", grid, "-o", path, "--kernel", kernel)

    assert result.exit_code == 0, result.output
    assert_psf_is_that_of_the_stars(read_exposure(path), places, 15)


@pytest.mark.parametrize(
    ("overlap", "detectors"),
    [("last", [1]), ("first", [0]), ("mean", [0, 1]), ("best-variance", [1])],
)
def test_where_detectors_overlap_the_psf_is_that_of_the_pixels(night, tmp_path, overlap, detectors):
    folder, grid, raw, _ = night
    best = tmp_path / "best.fits"
    with fits.open(raw[0, 1]) as hdus:  # less noise, and another PSF, on the second detector
        hdus["VARIANCE"].data[:] = 50.0
        hdus["PSF"].data[:] = profile((37, 37), 18, 18, 2)
        hdus.writeto(best)
    path = tmp_path / "warp.fits"

    result = run("warp", raw[0, 0], best, "--like", grid, "-o", path, "--overlap", overlap)

    assert result.exit_code == 0, result.output
    psf = read_exposure(path).psf
    y, x = GRID[0] / 2, GRID[1] / 2
    found = psf.contributions(y=y, x=x)
    assert sorted(entry.id - 10_000 for entry, _ in found) == detectors
    assert sum(weight for _, weight in found) == pytest.approx(1)
    alone = [CoaddPsf((entry,), GRID).kernel_image(y=y, x=x, shape=psf.shape) for entry, _ in found]
    np.testing.assert_allclose(
        psf.kernel_image(y=y, x=x), np.mean(alone, axis=0), rtol=0, atol=1e-12
    )
    assert folder.is_dir()


def test_a_detector_does_not_count_where_its_footprint_is_cut(night, tmp_path):
    _, grid, raw, _ = night
    path = tmp_path / "warp.fits"
    assert run("warp", raw[0, 0], "--like", grid, "-o", path).exit_code == 0
    exposure = read_exposure(path)

    rows, columns = np.nonzero(np.isfinite(exposure.image))
    empty = np.argwhere(~np.isfinite(exposure.image))
    some = np.random.default_rng(1).integers(len(rows), size=300)
    entry = exposure.psf.inputs[0]

    assert all(entry.sees(y=rows[k], x=columns[k]) for k in some)
    assert not any(entry.sees(y=y, x=x) for y, x in empty[:: max(len(empty) // 300, 1)])


def test_numbers_of_the_inputs_are_those_of_the_records(warps, coadd):
    for path, n in ((warps[0], 2), (coadd, 2 * N_VISITS)):
        with fits.open(path) as hdus:
            ids = hdus["CCDS"].data["ID"].tolist()
            np.testing.assert_array_equal(hdus["PSFCCDS"].data["ID"], ids)
            np.testing.assert_array_equal(
                hdus["PSFCCDS"].data["WEIGHT"], hdus["CCDS"].data["WEIGHT"]
            )
        assert len(set(ids)) == n


def test_the_records_place_a_star_on_its_detector_as_the_psf_does(warps):
    with fits.open(warps[1]) as hdus:
        ccds, inputs = hdus["CCDS"].data, hdus["PSFCCDS"].data
        sky = WCS(hdus["IMAGE"].header)
        exposure = read_exposure(warps[1])
        for row, ccd in enumerate(ccds):
            x0, y0, nx, ny = inputs["WINDOW"][row]
            text = ccd["WCSHDR"].ljust(80 * -(-len(ccd["WCSHDR"]) // 80))
            detector = WCS(fits.Header.fromstring(text))
            for y, x in ((y0 + ny / 3, x0 + nx / 2), (y0 + ny / 2, x0 + nx / 3)):
                u, v = detector.all_world2pix(*sky.all_pix2world(x, y, 0), 0)
                found = exposure.psf.inputs[row].pixel_map.positions(y=y, x=x)
                assert found == pytest.approx((float(v), float(u)), abs=2e-5)


def test_a_warp_has_no_psf_unless_all_detectors_have_one(night, tmp_path, caplog):
    _, grid, raw, _ = night
    bare = tmp_path / "bare.fits"
    with fits.open(raw[0, 1]) as hdus:
        del hdus["PSF"]
        hdus.writeto(bare)
    path = tmp_path / "warp.fits"

    result = run("warp", raw[0, 0], bare, "--like", grid, "-o", path)

    assert result.exit_code == 0, result.output
    assert read_exposure(path).psf is None
    assert "the warp gets no PSF: bare.fits has none" in caplog.text


def test_a_coadd_has_no_psf_unless_all_warps_have_one(warps, tmp_path, caplog):
    bare = tmp_path / "bare.fits"
    with fits.open(warps[1]) as hdus:
        kept = [hdu for hdu in hdus if "PSF" not in hdu.name]
        kept[0].header["NEXTEND"] = len(kept) - 1
        fits.HDUList(kept).writeto(bare)

    result = run("coadd", warps[0], bare, "-o", tmp_path / "c.fits")

    assert result.exit_code == 0, result.output
    assert not [name for name in read(tmp_path / "c.fits").names if "PSF" in name]
    assert "the coadd gets no PSF: bare.fits has none" in caplog.text


def test_a_coadd_on_another_grid_has_a_psf_everywhere(coadd, tmp_path):
    grid = write_grid(tmp_path / "other.hdr", sky_cards((180, 200), rotation=30), (180, 200))

    result = run("warp", coadd, "--like", grid, "-o", tmp_path / "again.fits")

    assert result.exit_code == 0, result.output
    psf = read_exposure(tmp_path / "again.fits").psf
    found = adaptive_moments(psf.kernel_image(y=90, x=100))
    original = read_exposure(coadd).psf.adaptive_fwhm(y=GRID[0] / 2, x=GRID[1] / 2)
    assert found.fwhm == pytest.approx(original, rel=0.02)


def test_a_coadd_of_coadds_keeps_all_inputs(warps, coadd, tmp_path):
    single = tmp_path / "single.fits"
    assert run("coadd", warps[0], "-o", single).exit_code == 0

    result = run("coadd", coadd, single, "-o", tmp_path / "both.fits")

    assert result.exit_code == 0, result.output
    both = read(tmp_path / "both.fits")
    assert len(both.tables["PSFCCDS"]["ID"]) == 2 * (N_VISITS + 1)
    assert len(set(both.tables["CCDS"]["ID"])) == 2 * (N_VISITS + 1)
    np.testing.assert_array_equal(both.tables["VISITS"]["ID"], [10, 11, 12])
