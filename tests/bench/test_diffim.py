"""How good and how fast differences of simulated scenes are."""

import importlib.util
import json
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from skytool.io.sources import read_exposure

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1200)]

SCENES = {
    "base": [],
    "deep": ["--template-depth", "10"],
    "wide": ["--fwhm-template", "5", "--fwhm-science", "4"],
    "sparse": ["--star-density", "150", "--galaxy-density", "60"],
}


def cpu_seconds(command):
    """Processor time of a command [s]."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.fixture(scope="module", params=SCENES)
def measured(request, shared, tmp_path_factory):
    """Numbers of a difference, by the metrics that every program is measured with."""
    if importlib.util.find_spec("galsim") is None:
        pytest.skip("galsim, which draws the scenes, is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    tools = shared / "bench"
    make = [sys.executable, tools / "make_scenes.py", "diffim", "--size", "1024", "--seed", "61"]
    subprocess.run([*make, *SCENES[request.param], "--out", folder], check=True)
    names = [folder / f"{name}.fits" for name in ("science", "template", "difference")]
    command = [sys.executable, "-m", "skytool", "diffim", *names[:2], "-o", names[2], "-q"]
    seconds = cpu_seconds(command)
    found = read_exposure(names[2])
    bad = found.mask.any_of(["SAT", "SAT_TEMPLATE", "NO_DATA", "BAD", "EDGE"])
    planes = [
        fits.PrimaryHDU(),
        fits.ImageHDU(np.nan_to_num(found.image), name="DIFF"),
        fits.ImageHDU(found.variance, name="VAR"),
        fits.ImageHDU(bad.astype(np.int32), name="BAD"),
        fits.ImageHDU(found.psf.kernel_image(y=511.5, x=511.5), name="STAR"),
    ]
    path = folder / "planes.fits"
    fits.HDUList(planes).writeto(path)
    options = {"diff": "DIFF", "var": "VAR", "mask": "BAD", "psf": "STAR"}
    arguments = [text for key, name in options.items() for text in (f"--{key}", f"{path}:{name}")]
    judge = [sys.executable, tools / "metrics.py", "diffim", "--scene", folder, "--white"]
    result = subprocess.run([*judge, *arguments], check=True, capture_output=True, text=True)
    numbers = json.loads(result.stdout)
    sys.stdout.write(f"\n{request.param}: {seconds:.2f} s CPU {json.dumps(numbers)}\n")
    return request.param, numbers


def test_noise_is_white_and_as_large_as_it_says(measured):
    _, numbers = measured

    assert abs(numbers["autocorr_x1"]) < 0.01
    assert abs(numbers["autocorr_y1"]) < 0.01
    assert 0.97 < numbers["noise_ratio"] < 1.03
    assert numbers["pull_own_variance"] == pytest.approx(1.0, abs=0.02)
    assert numbers["pull_own_score"] == pytest.approx(1.0, abs=0.03)
    assert numbers["flux_noise_over_ideal"] < 1.03


def test_stars_leave_no_sources(measured):
    _, numbers = measured

    assert numbers["false_positives_own_variance_per_1k2"] <= 1.5
    assert numbers["star_chi2"].get("snr1000-", {"mean": 1.0})["mean"] <= 1.15


def test_transients_keep_their_fluxes(measured):
    _, numbers = measured
    flux = numbers["transient_flux"]

    assert abs(flux["bias_percent"]) < max(0.3, 2 * flux["bias_error_percent"])
