"""Time and memory of a whole ``skytool warp`` beside SWarp on the same file."""

import os
import shutil
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from tests.bench.costs import Cost, cost
from tests.cli.warping import sky_cards

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

SCALE = 0.2
SIZES = (1024, 2048, 4096)
ROUNDS = 3


def distortion(size):
    """Cubic distortion of 8 pixels in the corners of a detector."""
    half = size / 2 * SCALE / 3600
    return {
        "PV1_1": 1.0,
        "PV1_7": 2.8 / size / half**2,
        "PV2_1": 1.0,
        "PV2_7": 2.8 / size / half**2,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noise in three sizes: a file for skytool, an image and a weight for SWarp, and a grid."""
    folder = tmp_path_factory.mktemp("speed")
    rng = np.random.default_rng(5)
    for size in SIZES:
        sky = sky_cards((size, size), scale=SCALE, rotation=23, kind="TPV")
        sky.update({key: 0.0 for key in sky if key.startswith("PV")})
        sky.update(distortion(size))
        image = rng.normal(100, 5, (size, size)).astype(np.float32)
        weight = np.full((size, size), 0.04, np.float32)
        mask = fits.ImageHDU((rng.random((size, size)) < 0.01).astype(np.int32) << 5, name="MASK")
        mask.header["HIERARCH MP_DETECTED"] = 5
        primary = fits.PrimaryHDU()
        primary.header.update({"SKYFMT": 1, "SKYTYPE": "EXPOSURE"})
        planes = [
            fits.ImageHDU(image, sky, name="IMAGE"),
            mask,
            fits.ImageHDU(1 / weight, sky, name="VARIANCE"),
        ]
        fits.HDUList([primary, *planes]).writeto(folder / f"our{size}.fits")
        fits.PrimaryHDU(image, sky).writeto(folder / f"their{size}.fits")
        fits.PrimaryHDU(weight, sky).writeto(folder / f"their{size}.weight.fits")
        n = size * 3 // 2
        header = fits.Header({"NAXIS": 2, "NAXIS1": n, "NAXIS2": n})
        header.update(sky_cards((n, n), scale=SCALE))
        header.totextfile(folder / f"grid{size}.head", endcard=True)
    return folder


def ours(size, *options):
    command = [sys.executable, "-m", "skytool", "warp", f"our{size}.fits", "-q", "--overwrite"]
    return [*command, "--like", f"grid{size}.head", "-o", f"our{size}.warp.fits", *options]


def theirs(size):
    settings = {
        "IMAGEOUT_NAME": f"their{size}.warp.fits",
        "HEADEROUT_NAME": "",
        "RESAMPLE_SUFFIX": f".{size}.fits",
        "RESAMPLING_TYPE": "LANCZOS3",
        "FSCALASTRO_TYPE": "VARIABLE",
        "WEIGHT_TYPE": "MAP_WEIGHT",
        "PROJECTION_ERR": "0.01",
        "SUBTRACT_BACK": "N",
        "COMBINE": "N",
        "NTHREADS": "1",
        "WRITE_XML": "N",
    }
    shutil.copy(Path(f"grid{size}.head"), f"their{size}.warp.head")
    command = ["SWarp", f"their{size}.fits", "-c", "/dev/null"]
    return command + [text for key, value in settings.items() for text in (f"-{key}", value)]


@pytest.fixture(scope="module")
def costs(folder):
    """Median costs, the commands taken in turns, after a first run that may compile."""
    if shutil.which("SWarp") is None:
        pytest.skip("SWarp is not installed")
    before = Path.cwd()
    os.chdir(folder)
    try:
        jobs = {("skytool", size): ours(size) for size in SIZES}
        jobs |= {("SWarp", size): theirs(size) for size in SIZES}
        jobs["spline3", 2048] = ours(2048, "--kernel", "spline3")
        jobs["lanczos5", 2048] = ours(2048, "--kernel", "lanczos5")
        cost(jobs["skytool", 1024], folder)
        runs = {job: [] for job in jobs}
        for _ in range(ROUNDS):
            for job, command in jobs.items():
                runs[job].append(cost(command, folder))
    finally:
        os.chdir(before)
    medians = {
        job: Cost(*(statistics.median(values) for values in zip(*several, strict=True)))
        for job, several in runs.items()
    }
    sys.stdout.write("\n")
    for (program, size), (cpu, memory) in medians.items():
        sys.stdout.write(f"warp {size:5d} {program:9s} {cpu:6.2f} s CPU {memory / 1e6:6.0f} MB\n")
    return medians


@pytest.mark.parametrize(("size", "most"), [(2048, 1.0), (4096, 0.6)])
def test_mask_variance_and_area_cost_no_more_than_swarp_without(costs, size, most):
    ratio = costs["skytool", size].cpu / costs["SWarp", size].cpu
    sys.stdout.write(f"warp {size} over SWarp: {ratio:.2f}\n")

    assert ratio <= most


def test_time_grows_with_the_number_of_pixels(costs):
    cpu = {size: costs["skytool", size].cpu for size in SIZES}
    small, large = (cpu[2048] - cpu[1024]) / 3, (cpu[4096] - cpu[2048]) / 12
    sys.stdout.write(f"warp: {small:.3f} and {large:.3f} s a million pixels of input\n")

    assert large < 1.35 * small


def test_memory_stays_below_ten_planes_of_the_input(costs):
    """Of smaller inputs Python and its libraries alone take more."""
    assert costs["skytool", 4096].memory < 10 * 4 * 4096**2


def test_a_large_detector_takes_less_than_a_minute_and_a_half_gigabyte_and_a_half(costs):
    assert costs["skytool", 4096].cpu < 60
    assert costs["skytool", 4096].memory < 1.5e9


def test_the_first_lines_of_help_come_at_once(folder):
    cpu = min(cost([sys.executable, "-m", "skytool", "--help"], folder).cpu for _ in range(5))
    sys.stdout.write(f"skytool --help: {cpu:.2f} s CPU\n")

    assert cpu < 0.2
