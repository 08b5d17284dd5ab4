"""Small exposures of the night sky in files, for the tests of sky frames."""

import json
from pathlib import Path

import numpy as np
from astropy.io import fits
from click.testing import CliRunner

from skytool.cli.main import cli
from tests.cli.warping import sky_cards, write_exposure
from tests.stages.skies import gradient, pattern

SHAPE = (160, 192)
LEVELS = (800.0, 900.0, 1000.0, 1100.0, 1200.0)


def run(*args, status=0):
    """Run the program and return its result; say what went wrong if the status is another."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == status, result.stderr
    return result


def build(*args, **options):
    """Build sky frames of superpixels that suit small exposures."""
    return run("skyframe", "build", *args, "--bin-size", "16", **options)


def apply(*args, **options):
    return run("skyframe", "apply", *args, **options)


def undo(*args, **options):
    return run("skyframe", "undo", *args, **options)


def scale_of(result):
    """Return the scale and its error in the first row of what the command printed."""
    return tuple(float(part) for part in result.stdout.split("\t")[1:3])


def write_sky(path, rng, level, *, truth=None, size=0.02, sky=None, **options):
    """Write an exposure of a level, with a gradient and photon noise."""
    truth = pattern(SHAPE) if truth is None else truth
    expected = level * (1 + truth + gradient(rng, truth.shape, size))
    image = expected + rng.normal(0, 1, truth.shape) * np.sqrt(level)
    return write_exposure(path, image, sky=sky or sky_cards(truth.shape), variance=level, **options)


def write_night(rng, levels=LEVELS, **options):
    """Write exposures of different visits of one detector; return their names."""
    return [
        str(write_sky(f"v{i}.fits", rng, level, VISIT=i + 1, FILTER="r", **options))
        for i, level in enumerate(levels)
    ]


def write_camera(rng, levels=LEVELS):
    """Write exposures of two detectors side by side; return their names."""
    names = []
    for i, level in enumerate(levels):
        for detector, truth in (("1", pattern(SHAPE)), ("2", pattern(SHAPE)[::-1])):
            shift = (0, 110 if detector == "1" else -110)
            name = write_sky(
                f"v{i}_d{detector}.fits",
                rng,
                level,
                truth=truth,
                sky=sky_cards(SHAPE, shift=shift, rotation=20.0 * i),
                size=0.0,
                VISIT=i + 1,
                DETECTOR=int(detector),
                FILTER="r",
            )
            names.append(str(name))
    return names


def plane(path, name="IMAGE"):
    """Return the pixels of an extension in native byte order."""
    with fits.open(path) as hdus:
        return np.array(hdus[name].data, dtype=hdus[name].data.dtype.newbyteorder("="))


def header(path, name=0):
    with fits.open(path) as hdus:
        return hdus[name].header.copy()


def rows(path):
    """Return the lines of a report."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def listing(folder="."):
    return sorted(path.name for path in Path(folder).iterdir())
