"""The warp of several detectors against LSST golden data, from the command line."""

import json

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from skytool.cli.main import cli

N_DETECTORS = 3


@pytest.fixture
def golden(shared, tmp_path):
    """Read a case, and write its inputs as the camera would have: with visit and zero point."""

    def read(case):
        folder = shared / "golden" / case
        parameters = json.loads((folder / "params.json").read_text())
        for index in range(N_DETECTORS):
            with fits.open(folder / f"input_det{index}.fits.gz") as hdus:
                image = hdus["SCI"].header
                image["VISIT"], image["DETECTOR"], image["FILTER"] = 903, index, "i"
                nanojansky = parameters["photoCalib"][str(index)]
                image["MAGZERO"] = 31.4 - 2.5 * np.log10(nanojansky)
                hdus.writeto(tmp_path / f"det{index}.fits")
        _, _, nx, ny = box = parameters["target_bbox"]
        assert box[:2] == [0, 0]
        cards = fits.Header({"NAXIS": 2, "NAXIS1": nx, "NAXIS2": ny, **parameters["target_wcs"]})
        cards.totextfile(tmp_path / "target.hdr")
        return parameters, np.load(folder / "output.npz")

    return read


@pytest.fixture
def warped(tmp_path):
    """Run the command on the detectors and return the planes."""

    def run(*options, detectors=range(N_DETECTORS)):
        inputs = [str(tmp_path / f"det{index}.fits") for index in detectors]
        output = tmp_path / "out.fits"
        target = ["--like", str(tmp_path / "target.hdr"), "-o", str(output), "--overwrite"]
        result = CliRunner().invoke(cli, ["warp", *inputs, *target, "--config", "lsst", *options])
        assert result.exit_code == 0, result.output
        with fits.open(output) as hdus:
            return {
                "img": hdus["IMAGE"].data,
                "msk": hdus["MASK"].data,
                "var": hdus["VARIANCE"].data,
                "ccds": hdus["CCDS"].data,
            }

    return run


def assert_planes_agree(planes, stored, key):
    """Compare where both have a value: LSST keeps pixels that a NaN of the input made NaN."""
    both = np.isfinite(stored[f"{key}_img"])
    empty = stored[f"{key}_msk"] == 1 << 8
    np.testing.assert_array_equal(np.isfinite(planes["img"]), both)
    np.testing.assert_array_equal(planes["msk"][both], stored[f"{key}_msk"][both])
    np.testing.assert_array_equal(planes["msk"][empty], 1 << 8)
    peak = np.abs(stored[f"{key}_img"][both]).max()
    np.testing.assert_allclose(
        planes["img"][both], stored[f"{key}_img"][both], rtol=1e-5, atol=1e-5 * peak
    )
    if f"{key}_var" in stored:
        np.testing.assert_allclose(planes["var"][both], stored[f"{key}_var"][both], rtol=2e-5)


def test_a_visit_in_nanojanskys_is_that_of_lsst(golden, warped):
    parameters, stored = golden("09-makewarp")

    planes = warped("--border", "20")

    assert_planes_agree(planes, stored, "default_border20")
    # LSST counts the NaN around a NaN of the input as good pixels
    counts = [
        ccd["goodpix"]
        - np.count_nonzero(
            np.isnan(stored[f"default_border20_det{index}_img"])
            & (stored[f"default_border20_det{index}_msk"] != 1 << 8)
        )
        for index, ccd in enumerate(parameters["results"]["default_border20"]["ccds"])
    ]
    np.testing.assert_array_equal(planes["ccds"]["GOODPIX"], counts)
    np.testing.assert_allclose(planes["ccds"]["SCALE"], [1.0, 2.5, 0.5])


@pytest.mark.parametrize("detector", range(N_DETECTORS))
def test_one_detector_is_that_of_lsst(golden, warped, detector):
    _, stored = golden("09-makewarp")

    planes = warped("--border", "20", detectors=[detector])

    assert_planes_agree(planes, stored, f"default_border20_det{detector}")


def test_a_visit_in_the_units_of_its_first_detector_is_that_of_lsst(golden, warped):
    _, stored = golden("14-warpandpsfmatch-2024")

    planes = warped("--units", "input")

    assert_planes_agree(planes, stored, "direct")


def test_a_psf_matched_visit_is_that_of_lsst(golden, warped):
    _, stored = golden("14-warpandpsfmatch-2024")

    planes = warped("--units", "input", "--psf-matched")

    both = np.isfinite(stored["psfMatched_img"])
    noise = np.sqrt(np.median(stored["psfMatched_var"][both]))
    difference = np.abs(planes["img"] - stored["psfMatched_img"])[both] / noise
    np.testing.assert_array_equal(np.isfinite(planes["img"]), both)
    np.testing.assert_array_equal(planes["msk"][both], stored["psfMatched_msk"][both])
    # The fit has no ridge and a normal matrix of condition 1e13: the last digits of the PSFs
    # decide the kernel, and two programs agree to a small part of the noise only.
    assert np.median(difference) < 0.01
    assert np.percentile(difference, 90) < 0.05
