"""Pairs on disk and runs that the tests of differences share."""

import numpy as np
from astropy.io import fits
from click.testing import CliRunner

from skytool.cli.main import cli
from skytool.models.exposure_hdus import primary_header, to_hdus
from tests.stages.pairs import pair

SHAPE = (260, 300)


def written(exposure, path):
    """Write an exposure and return the path as text."""
    primary = fits.PrimaryHDU(header=primary_header(exposure, kind="EXPOSURE", stage="warp"))
    fits.HDUList([primary, *to_hdus(exposure)]).writeto(path)
    return str(path)


def small_pair(folder):
    """Files of science image and template, their stars, and the exposures."""
    science, template, stars = pair(
        np.random.default_rng(5), shape=SHAPE, count=30, fluxes=(3.3, 4.3)
    )
    names = [
        written(each, folder / name)
        for each, name in ((science, "science.fits"), (template, "template.fits"))
    ]
    return names, stars, (science, template)


def run(*args, status=0):
    """Run the command and return what it printed."""
    result = CliRunner().invoke(cli, ["diffim", *map(str, args)], standalone_mode=True)
    assert result.exit_code == status, (result.output, result.stderr, result.exception)
    return result
