"""Real exposures, warped with nothing but a target and an output, keep their stars."""

import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from photutils.aperture import CircularAnnulus, CircularAperture
from scipy import ndimage

from skytool.core.psf.adaptive_moments import adaptive_moments
from tests.cli.warping import FWHM_PER_SIGMA, moved, read_warp, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning"),
    pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning"),
]


def read_input(path, extension):
    with fits.open(path, memmap=False) as hdus:
        hdu = hdus[extension]
        return hdu.data.astype(np.float64), WCS(hdu.header, fobj=hdus)


def find_stars(image, *, noise, fwhm, radius, ceiling, good):
    """Positions of stars far above the noise, whole, with nothing bright beside them."""
    filled = np.where(good, image, np.median(image[good]))
    smooth = ndimage.gaussian_filter(filled, fwhm / FWHM_PER_SIGMA)
    smooth -= (
        ndimage.median_filter(smooth[::4, ::4], 9)
        .repeat(4, 0)
        .repeat(4, 1)[: image.shape[0], : image.shape[1]]
    )
    peaks = smooth == ndimage.maximum_filter(smooth, round(fwhm) // 2 * 2 + 1)
    # flux is 2 x 1.133 FWHM^2 times the peak of the smoothed star; its noise that of the aperture
    limit = 100 * noise * radius * np.sqrt(np.pi) / (2 * 1.133 * fwhm**2)
    y, x = np.nonzero(peaks & (smooth > limit / 50))
    height = smooth[y, x]
    whole = ndimage.minimum_filter(good & (image < ceiling), 2 * round(1.5 * radius) + 1)
    inside = np.zeros(image.shape, bool)
    margin = round(3 * radius)
    inside[margin:-margin, margin:-margin] = True
    chosen = []
    for i in np.flatnonzero((height > limit) & whole[y, x] & inside[y, x]):
        distance = np.hypot(y - y[i], x - x[i])
        others = (distance > 0) & (distance < 2.2 * radius)
        if height[others].max(initial=0.0) < 0.03 * height[i]:
            chosen.append((y[i], x[i]))
    return np.array(chosen, float).reshape(-1, 2).T


def centroids(image, y, x, *, fwhm):
    """Gaussian-weighted centroids of sky-subtracted stars."""
    sigma, half = fwhm / FWHM_PER_SIGMA, round(2 * fwhm)
    grid = np.arange(-half, half + 1.0)
    result = []
    for at_y, at_x in zip(y, x, strict=True):
        row, column = round(at_y), round(at_x)
        box = image[row - half : row + half + 1, column - half : column + half + 1]
        dy, dx = at_y - row, at_x - column
        for _ in range(50):
            weight = box * np.outer(
                np.exp(-((grid - dy) ** 2) / (2 * sigma**2)),
                np.exp(-((grid - dx) ** 2) / (2 * sigma**2)),
            )
            step = weight.sum(axis=1) @ grid / weight.sum() - dy
            dx += 2 * (weight.sum(axis=0) @ grid / weight.sum() - dx)
            dy += 2 * step
        result.append((row + dy, column + dx))
    return np.array(result).T


def fluxes(image, y, x, *, radius):
    """Fluxes in a circle above the mean of the ring around it, and these means.

    Parts of pixels count by their area, so that both are linear in the image: noise that is the
    same before and after a warp makes no difference.
    """
    places = np.transpose([x, y])
    circle, ring = CircularAperture(places, radius), CircularAnnulus(places, radius, 1.8 * radius)
    sky = ring.do_photometry(image)[0] / ring.area
    return circle.do_photometry(image)[0] - sky * circle.area, sky


def compare(path, extension, product, *, fwhm, radius, ceiling=np.inf, good=None):
    """Return how many stars there are, and rms of their flux ratios and shifts [pixel]."""
    image, wcs = read_input(path, extension)
    warped = read_warp(product)
    good = np.isfinite(image) if good is None else good & np.isfinite(image)
    image = np.where(good, image, np.median(image[good]))
    steps = np.abs(np.diff(image))[good[:, 1:] & good[:, :-1]]
    noise = 1.4826 * np.median(steps) / np.sqrt(2)
    y, x = find_stars(image, noise=noise, fwhm=fwhm, radius=radius, ceiling=ceiling, good=good)
    if not y.size:
        return 0, 0.0, 0.0
    _, sky = fluxes(image, y, x, radius=radius)
    scale = float(warped.others["CCDS"]["SCALE"][0])
    area = float(warped.others["CCDS"]["AREA"][0])
    in_warp = 1 / np.sqrt(area)
    at_y, at_x = centroids(image - np.median(sky), y, x, fwhm=fwhm)
    before, _ = fluxes(image, at_y, at_x, radius=radius)
    there_y, there_x = moved(at_y, at_x, wcs, warped.wcs)
    margin = 2.4 * radius * in_warp
    ny, nx = warped.image.shape
    seen = (
        (there_y > margin) & (there_y < ny - margin) & (there_x > margin) & (there_x < nx - margin)
    )
    lost = ndimage.maximum_filter(warped.empty, 2 * round(margin) + 1)
    seen[seen] &= ~lost[np.round(there_y[seen]).astype(int), np.round(there_x[seen]).astype(int)]
    pixels = np.where(warped.empty, 0.0, warped.image).astype(np.float64)
    after, sky = fluxes(pixels, there_y[seen], there_x[seen], radius=radius * in_warp)
    new_y, new_x = centroids(
        pixels - np.median(sky), there_y[seen], there_x[seen], fwhm=fwhm * in_warp
    )
    ratio = after / scale / before[seen]
    shift = np.concatenate([new_y - there_y[seen], new_x - there_x[seen]])
    return (
        int(seen.sum()),
        float(np.sqrt(np.mean((ratio - 1) ** 2))),
        float(np.sqrt(np.mean(shift**2))),
    )


def warped(tmp_path, *names):
    """Warp every file to a grid around all of them; return the products in order."""
    result = run("warp", *names, "--auto", "-d", tmp_path / "out")
    assert result.exit_code == 0, result.output
    products = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert len(products) == len(names)
    return products


def test_an_infrared_chip(shared, tmp_path):
    names = sorted((shared / "data" / "infrared-chip").glob("visit_*.fits"))
    products = warped(tmp_path, *names)

    for name, product in zip(names, products, strict=True):
        n, flux, place = compare(name, 1, product, fwhm=2.6, radius=7.0, ceiling=5e4)
        assert n >= 20
        assert flux < 0.003
        assert place < 0.02
        with fits.open(product) as hdus:
            assert hdus[1].header["BUNIT"] == "nJy"
            image = hdus[1].data.astype(float)
            variance = hdus[3].data
        sky = np.isfinite(image)
        pull = (image - ndimage.median_filter(image, 1))[sky] / np.sqrt(variance[sky])
        assert np.isfinite(pull).all()
        # INVAR agrees with the noise of the input to a few percent, which is a little correlated
        rms = 1.4826 * np.median(
            np.abs(image[sky] - np.median(image[sky])) / np.sqrt(variance[sky])
        )
        assert rms == pytest.approx(1.0, abs=0.12)


def test_stamps_of_three_files_each(shared, tmp_path):
    folder = shared / "data" / "decam-stamps"
    names = sorted(folder.glob("*_ooi_*"))
    products = warped(tmp_path, *names)

    total = 0
    for name, product in zip(names, products, strict=True):
        with fits.open(str(name).replace("_ooi_", "_ood_")) as hdus:
            good = hdus[1].data == 0
        n, flux, place = compare(name, 1, product, fwhm=4.0, radius=6.0, good=good)
        total += n
        if n:
            assert flux < 0.003
            assert place < 0.02
    assert total >= 3


def test_a_crowded_field_of_16_bit_integers(shared, tmp_path):
    names = sorted((shared / "data" / "bulge").glob("*.fits"))
    products = warped(tmp_path, *names)

    for name, product in zip(names, products, strict=True):
        n, flux, place = compare(name, 0, product, fwhm=5.0, radius=8.0, ceiling=60000)
        assert n >= 10
        assert flux < 0.003
        assert place < 0.02


def test_tiles_with_empty_borders(shared, tmp_path):
    names = sorted((shared / "data" / "infrared-tiles").glob("*.gz"))
    products = warped(tmp_path, *names)

    for name, product in zip(names, products, strict=True):
        image, wcs = read_input(name, 0)
        planes = read_warp(product)
        rows, columns = np.nonzero(np.isnan(image))
        y, x = moved(rows, columns, wcs, planes.wcs)
        there = np.round([y, x]).astype(int)
        inside = ((there >= 0) & (planes.image.shape > there.T).T).all(axis=0)
        assert planes.empty[tuple(there[:, inside])].all(), "what was lost stays lost"
        n, flux, place = compare(name, 0, product, fwhm=2.8, radius=6.0, ceiling=15000)
        assert n >= 30
        assert flux < 0.003
        assert place < 0.03, "the camera sampled them at 2 arcsec, which no interpolation undoes"


@pytest.mark.parametrize("colour", ["R", "G", "B"])
def test_an_extension_of_a_colour_camera(shared, tmp_path, colour):
    """Its stars have a width of 1.5 pixels: every kernel has its way with them."""
    name = shared / "data" / "rgb-airmass" / "frame_B01.fits.gz"
    result = run("warp", f"{name}[{colour}]", "--auto", "-o", tmp_path / "w.fits")
    assert result.exit_code == 0, result.output

    n, flux, place = compare(name, colour, tmp_path / "w.fits", fwhm=1.6, radius=3.5, ceiling=6e4)
    assert n >= 2
    assert flux < 0.01
    assert place < 0.1


def test_every_product_is_clean(shared, tmp_path):
    if shutil.which("fitsverify") is None:
        pytest.skip("fitsverify is not installed")
    folder = shared / "data"
    names = [folder / "decam-stamps" / "c4d_170522_005829_ooi_r_ls9.N2.fits"]
    names += [folder / "bulge" / "frame_0020.fits"]
    names += [folder / "infrared-tiles" / "scan_135_tile_0080.fits.gz"]
    names += [f"{folder}/rgb-airmass/frame_A01.fits.gz[G]"]
    for number, name in enumerate(names):
        product = tmp_path / f"{number}.fits"
        assert run("warp", name, "--auto", "-o", product).exit_code == 0
        done = subprocess.run(["fitsverify", product], capture_output=True, check=False, text=True)
        assert "found 0 warning(s) and 0 error(s)" in done.stdout, done.stdout


def widths(image, y, x, half=15):
    """Adaptive widths of stars above their surroundings, NaN of what is not compact."""
    grid = np.arange(-half - 6, half + 7)
    around = np.hypot(*np.meshgrid(grid, grid)) > half
    found = []
    for row, column in zip(y.astype(int), x.astype(int), strict=True):
        stamp = image[row - half - 6 : row + half + 7, column - half - 6 : column + half + 7]
        try:
            found.append(adaptive_moments(stamp - np.median(stamp[around])).fwhm)
        except ValueError:
            found.append(np.nan)
    return np.array(found)


def test_visits_matched_to_one_psf_have_stars_of_one_width(shared, tmp_path):
    """Seeing of 2.4 to 2.8 pixels, the PSF measured on the stars of each visit."""
    names = []
    for number in (1, 3, 4):
        with fits.open(shared / "data" / "infrared-chip" / f"visit_{number}.fits") as hdus:
            pixels, header = hdus[1].data[400:1400, 400:1400], hdus[1].header
            for axis in (1, 2):
                header[f"CRPIX{axis}"] -= 400
            names.append(tmp_path / f"v{number}.fits")
            fits.PrimaryHDU(pixels, header).writeto(names[-1])
    measured = run("psf", *names, "-d", tmp_path / "psf", "--noise-from-sky")
    assert measured.exit_code == 0, measured.output
    inputs = [tmp_path / "psf" / name.name for name in names]
    target = ("--like", f"{inputs[0]}[IMAGE]", "-d", tmp_path / "out")
    cuts = ("--max-fwhm", 1.2, "--min-n-psf-star-per-band", 6, "--max-ellip-residual", 0.1)
    result = run("warp", *inputs, *target, *cuts, "--psf-matched", "--no-direct")
    assert result.exit_code == 0, result.output

    warps = [read_warp(line.split("\t")[0]) for line in result.stdout.splitlines()]
    # no flag tells of saturation, which begins at 5e4 counts
    good = np.logical_and.reduce([~warp.empty for warp in warps])
    ceiling = 5e4 * warps[0].others["CCDS"]["SCALE"][0]
    noise = np.sqrt(np.median(warps[0].variance[good]))
    y, x = find_stars(
        warps[0].image.astype(float), noise=noise, fwhm=3.0, radius=7.0, ceiling=ceiling, good=good
    )
    each = np.array([widths(warp.image.astype(float), y, x) for warp in warps])
    model = warps[0].primary["PSFFWHM"]
    round_ones = np.abs(each / model - 1).max(axis=0) < 0.1  # galaxies are wider

    assert np.count_nonzero(round_ones) >= 8
    median = np.median(each[:, round_ones], axis=1)
    np.testing.assert_allclose(median, model, rtol=0.02)
    assert median.max() / median.min() < 1.02
    for warp in warps:
        assert warp.primary["PSFFWHM"] == model
        assert 2.2 < warp.others["CCDS"]["FWHMIN"][0] < 2.9
