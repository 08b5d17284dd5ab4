"""Pixels of warps against those of SWarp, which has code, mathematics and authors of its own."""

import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from tests.cli.warping import (
    SCALE,
    gaussians,
    lattice,
    measure,
    moved,
    sky_cards,
    warp,
    write_exposure,
    write_grid,
)

SHAPE = (330, 290)
PEAK = 2e4
FWHM = 3.2
KERNELS = {
    "lanczos3": "LANCZOS3",
    "lanczos4": "LANCZOS4",
    "bilinear": "BILINEAR",
    "nearest": "NEAREST",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    if shutil.which("SWarp") is None:
        pytest.skip("SWarp is not installed")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def swarp(name, sky, shape, **options):
    """Resample an image with SWarp and return the pixels, NaN where there are none."""
    header = fits.Header({"NAXIS": 2, "NAXIS1": shape[1], "NAXIS2": shape[0]})
    header.update(sky)
    header.totextfile("coadd.head", endcard=True, overwrite=True)
    settings = {
        "IMAGEOUT_NAME": "coadd.fits",
        "WEIGHTOUT_NAME": "coadd.weight.fits",
        "RESAMPLING_TYPE": "LANCZOS3",
        "FSCALASTRO_TYPE": "VARIABLE",
        "PROJECTION_ERR": "0",
        "SUBTRACT_BACK": "N",
        "COMBINE_TYPE": "AVERAGE",
        "OVERSAMPLING": "1",
        "WRITE_XML": "N",
        "VERBOSE_TYPE": "QUIET",
        **options,
    }
    command = ["SWarp", name, "-c", "/dev/null"]
    command += [text for key, value in settings.items() for text in (f"-{key}", value)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    with fits.open("coadd.fits") as image, fits.open("coadd.weight.fits") as weight:
        return np.where(weight[0].data > 0, image[0].data, np.nan).astype(float)


def stars(rng, sky):
    """Write stars for both programs, and return where they are."""
    y, x = lattice(SHAPE, step=40, margin=24, rng=rng)
    flux = PEAK * 1.133 * FWHM**2 * rng.uniform(0.1, 1.0, y.size)
    image = 150.0 + gaussians(SHAPE, y, x, fwhm=FWHM, flux=flux)
    write_exposure("in.fits", image, sky=sky)
    fits.PrimaryHDU(image.astype(np.float32), sky).writeto("plain.fits")
    return y, x


CASES = {
    "tangential": (sky_cards(SHAPE, rotation=24), sky_cards((400, 380), scale=0.9 * SCALE)),
    "same angle": (sky_cards(SHAPE, scale=0.26), sky_cards((400, 380), shift=(0.3, 0.1))),
    "TPV": (sky_cards(SHAPE, kind="TPV", rotation=-70), sky_cards((400, 380), rotation=3)),
    "far off axis": (
        sky_cards(SHAPE, shift=(900, -1100)),
        sky_cards((400, 380), shift=(900, -1100), kind="STG"),
    ),
}
# The area of pixels changes by 1e-5 a pixel there, and SWarp's is not that of their middle.
TOLERANCES = {"TPV": (1e-4, 3e-5)}


@pytest.mark.parametrize("case", CASES)
def test_lanczos3_agrees_to_rounding(rng, case):
    source, target = CASES[case]
    pixel, flux = TOLERANCES.get(case, (1e-5, 1e-6))
    y, x = stars(rng, source)

    ours = warp("in.fits", "--like", write_grid("g.hdr", target, (400, 380)), "--oversample", 1)
    theirs = swarp("plain.fits", target, (400, 380))

    both = ~ours.empty & np.isfinite(theirs)
    assert both.sum() > 0.95 * (~ours.empty).sum()
    assert both.sum() > 0.5 * np.prod(SHAPE)
    assert np.abs(ours.image - theirs)[both].max() < pixel * PEAK
    at_y, at_x = moved(y, x, WCS(source), WCS(target))
    box = 14
    inside = (at_y > box) & (at_y < 400 - box - 1) & (at_x > box) & (at_x < 380 - box - 1)
    pixels = np.stack([np.where(both, plane, np.nan) for plane in (ours.image, theirs)])
    sums = []
    for star_y, star_x in zip(at_y[inside], at_x[inside], strict=True):
        part = np.s_[:, round(star_y) - box : round(star_y) + box + 1]
        stamp = pixels[part][..., round(star_x) - box : round(star_x) + box + 1]
        if np.isfinite(stamp).all():
            sums.append(stamp.sum(axis=(1, 2)))
    ratios = np.divide(*np.array(sums).T)
    assert len(ratios) >= 20
    np.testing.assert_allclose(ratios, 1.0, rtol=0, atol=flux)


@pytest.mark.parametrize("kernel", ["lanczos4", "bilinear", "nearest"])
def test_other_kernels_agree_too(rng, kernel):
    source, target = CASES["TPV"]
    stars(rng, source)

    grid = write_grid("g.hdr", target, (400, 380))
    ours = warp("in.fits", "--like", grid, "--kernel", kernel)
    theirs = swarp("plain.fits", target, (400, 380), RESAMPLING_TYPE=KERNELS[kernel])

    both = ~ours.empty & np.isfinite(theirs)
    assert both.sum() > 0.9 * (~ours.empty).sum()
    different = np.abs(ours.image - theirs)[both] > TOLERANCES["TPV"][0] * PEAK
    # the nearest pixel may be another one where a position is half way to rounding
    assert different.mean() <= (1e-4 if kernel == "nearest" else 0)


def test_the_variance_is_not_overstated_as_its_weights_are(rng):
    """SWarp interpolates variances; the scatter of noise shows who is right."""
    source, target = CASES["tangential"]
    noise = rng.normal(0, 2, SHAPE).astype(np.float32)
    write_exposure("in.fits", noise, sky=source, variance=4.0)
    fits.PrimaryHDU(noise, source).writeto("plain.fits")
    fits.PrimaryHDU(np.full(SHAPE, 0.25, np.float32), source).writeto("plain.weight.fits")

    ours = warp("in.fits", "--like", write_grid("g.hdr", target, (400, 380)))
    theirs = swarp("plain.fits", target, (400, 380), WEIGHT_TYPE="MAP_WEIGHT", RESCALE_WEIGHTS="N")

    good = ~ours.empty & np.isfinite(theirs)
    with fits.open("coadd.weight.fits") as hdus:
        weight = hdus[0].data
    pull = np.std(ours.image[good] / np.sqrt(ours.variance[good]))
    their_pull = np.std(theirs[good] * np.sqrt(weight[good]))
    assert pull == pytest.approx(1.0, abs=0.015)
    assert their_pull < 0.93


def test_stars_are_as_round_and_as_bright_as_there(rng):
    source, target = CASES["tangential"]
    y, x = stars(rng, source)
    at = moved(y, x, WCS(source), WCS(target))

    ours = warp("in.fits", "--like", write_grid("g.hdr", target, (400, 380)))
    theirs = swarp("plain.fits", target, (400, 380))

    half, width = 12, FWHM / 0.9
    some = [p[12:20] for p in at]
    mine, others = (
        measure(image - 150 * 0.81, *some, half_size=half, fwhm=width)
        for image in (ours.image, theirs)
    )
    np.testing.assert_allclose(mine.y, others.y, rtol=0, atol=1e-5)
    np.testing.assert_allclose(mine.x, others.x, rtol=0, atol=1e-5)


def test_its_images_are_read_with_their_weights(rng):
    from skytool.io.sources import ReadOptions, read_exposure

    stars(rng, sky_cards(SHAPE))
    with fits.open("plain.fits", mode="update") as hdus:
        hdus[0].data += 2.0 * rng.normal(size=SHAPE).astype("f4")
    weight = np.full(SHAPE, 0.25, np.float32)
    weight[:, :90] = 0.0
    fits.PrimaryHDU(weight).writeto("plain.weight.fits")
    weights = {"WEIGHT_TYPE": "MAP_WEIGHT", "RESCALE_WEIGHTS": "N"}
    pixels = swarp("plain.fits", sky_cards(SHAPE), SHAPE, **weights)

    read = read_exposure("coadd.fits", ReadOptions())

    empty = read.mask.any_of(["NO_DATA"])
    np.testing.assert_array_equal(empty, np.isnan(pixels))
    assert 0.2 < empty.mean() < 0.4  # a third has no weight
    np.testing.assert_array_equal(read.image[~empty], pixels[~empty].astype("f4"))
    with fits.open("coadd.weight.fits") as hdus:
        np.testing.assert_allclose(read.variance[~empty] * hdus[0].data[~empty], 1.0, rtol=1e-5)
    assert np.median(read.variance[~empty]) == pytest.approx(4.0, rel=1e-3)
