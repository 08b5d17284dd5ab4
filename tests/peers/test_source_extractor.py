"""Files of source-extractor read by us, and ours by it."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from skytool.cli.main import cli
from skytool.io.catalogs import read_sources
from skytool.models.exposure_hdus import primary_header, to_hdus
from tests.stages.pairs import drawn, exposure, places

SHAPE = (300, 340)
NOISE = 3.0


@pytest.fixture
def stars(rng, tmp_path, monkeypatch):
    """Write an exposure whose right half is three times noisier, and return its stars."""
    if shutil.which("source-extractor") is None:
        pytest.skip("source-extractor is not installed")
    monkeypatch.chdir(tmp_path)
    y, x = places(rng, SHAPE, 24, apart=30)
    flux = rng.uniform(4000.0, 9000.0, y.size)
    sigma = np.full(SHAPE, NOISE)
    sigma[:, SHAPE[1] // 2 :] *= 3.0
    image = 120.0 + drawn(SHAPE, y, x, flux, 2.0) + sigma * rng.normal(size=SHAPE)
    made = exposure(image, sigma**2, 2.0, name="x.fits")
    primary = fits.PrimaryHDU(header=primary_header(made, kind="EXPOSURE", stage="warp"))
    fits.HDUList([primary, *to_hdus(made)]).writeto("x.fits")
    return y, x, flux


def extract(image, *options, kind="ASCII_HEAD"):
    """Run the program and return the name of its catalogue."""
    Path("x.param").write_text("X_IMAGE\nY_IMAGE\nFLUX_AUTO\nFLUXERR_AUTO\nFLAGS\n")
    Path("x.conv").write_text("CONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    command = ["source-extractor", image, "-c", "/dev/null", "-CATALOG_TYPE", kind]
    command += ["-CATALOG_NAME", "x.cat", "-PARAMETERS_NAME", "x.param", "-FILTER_NAME", "x.conv"]
    command += ["-DETECT_THRESH", "5", "-VERBOSE_TYPE", "QUIET", *options]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return "x.cat"


@pytest.mark.parametrize("kind", ["ASCII_HEAD", "FITS_1.0", "FITS_LDAC"])
def test_its_catalogues_are_lists_of_sources(stars, kind):
    y, x, _ = stars

    listed = read_sources(extract("x.fits[1]", kind=kind))

    for star_y, star_x in zip(y, x, strict=True):
        distance = np.hypot(listed.y - star_y, listed.x - star_x)
        assert distance.min() < 0.25  # isophotal centres of stars of S/N 40 or more
        assert listed.snr[distance.argmin()] > 20
    assert not listed.flagged.all()


def test_it_takes_our_weights_for_what_they_are(stars):
    _, x, flux = stars
    result = CliRunner().invoke(cli, ["convert", "x.fits", "--to", "swarp", "-o", "y.fits"])
    assert result.exit_code == 0, result.output

    weights = ("-WEIGHT_TYPE", "MAP_WEIGHT", "-WEIGHT_IMAGE", "y.weight.fits", "-WEIGHT_GAIN", "N")
    found = np.loadtxt(extract("y.fits", *weights, "-PHOT_AUTOPARAMS", "2.5,5"), ndmin=2)

    noisy = found[:, 0] > SHAPE[1] // 2 + 20
    quiet = found[:, 0] < SHAPE[1] // 2 - 20
    ratio = np.median(found[noisy, 3]) / np.median(found[quiet, 3])
    assert ratio == pytest.approx(3.0, rel=0.25)  # apertures of single stars differ
    assert np.sum(found[:, 2] > 0.8 * flux.min()) == x.size
