"""PSFs of warps against LSST golden data."""

import json

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.resampling import warped_psf_loops
from skytool.core.resampling.kernels import lanczos
from skytool.io.sources import read_exposure
from skytool.models.psf.coadd import CoaddPsf, NoInputsError
from tests.cli.warping import run

DIRECT, MATCHED = "09-makewarp", "14-warpandpsfmatch-2024"
BORDER = 20
# LSST tabulates the kernel at the middle of 10000 intervals of the sub-pixel position: it is
# off by up to 5e-5 pixels per axis, where the star has slopes of up to 0.3 peaks per pixel.
TABLE = 2.1e-5


@pytest.fixture
def warp(shared, tmp_path):
    """Warp detectors with LSST's settings and return the exposure, the stored PSFs and the case."""

    def make(case, detectors, *options):
        folder = shared / "golden" / case
        parameters = json.loads((folder / "params.json").read_text())
        _, _, nx, ny = parameters["target_bbox"]
        cards = fits.Header({"NAXIS": 2, "NAXIS1": nx, "NAXIS2": ny, **parameters["target_wcs"]})
        cards.totextfile(tmp_path / "target.hdr")
        inputs = []
        for index in detectors:
            with fits.open(folder / f"input_det{index}.fits.gz") as hdus:
                hdus["SCI"].header.update({"VISIT": 903, "DETECTOR": index, "FILTER": "i"})
                inputs.append(tmp_path / f"det{index}.fits")
                hdus.writeto(inputs[-1])
        output = tmp_path / "warp.fits"
        target = ["--like", tmp_path / "target.hdr", "--border", BORDER, "--units", "input"]
        result = run("warp", *inputs, *target, "-o", output, "--config", "lsst", *options)
        assert result.exit_code == 0, result.output
        with np.load(folder / "output.npz") as file:
            stored = {key: file[key] for key in file.files if "psf_" in key or "warpedpsf" in key}
        return read_exposure(output), stored, parameters

    return make


def assert_stars_agree(made, stored, tolerance):
    assert made.shape == stored.shape
    np.testing.assert_allclose(made, stored, rtol=0, atol=tolerance * stored.max())


@pytest.mark.parametrize("position", [(100, 100), (200, 150), (120, 230)], ids=str)
def test_psf_of_a_warp_of_three_detectors_is_that_of_lsst(warp, position):
    exposure, stored, _ = warp(DIRECT, range(3))
    x, y = position

    star = exposure.psf.kernel_image(y=y + BORDER, x=x + BORDER)

    assert isinstance(exposure.psf, CoaddPsf)
    assert_stars_agree(star, stored[f"default_border20_psf_{x}_{y}"], TABLE)
    assert star.sum() == pytest.approx(1, abs=1e-12)


def test_two_detectors_are_averaged_where_they_overlap(warp):
    exposure, stored, _ = warp(DIRECT, range(3))
    y, x = 230 + BORDER, 120 + BORDER
    both = exposure.psf.contributions(y=y, x=x)
    # LSST's mean over all against the default, one detector alone
    one = CoaddPsf((both[0][0],), exposure.shape).kernel_image(y=y, x=x)
    key = "default_border20_psf_120_230"

    assert [weight for _, weight in both] == [1, 1]
    assert np.abs(one - stored[key]).max() > 0.01 * stored[key].max()
    assert_stars_agree(exposure.psf.kernel_image(y=y, x=x), stored[key], TABLE)


@pytest.mark.parametrize("detector", [0, 1])
def test_psf_of_one_detector_is_that_of_lsst(warp, detector):
    exposure, stored, parameters = warp(MATCHED, [detector])
    x, y = parameters["boxes"][f"det{detector}_warpedpsf_at"]

    star = exposure.psf.kernel_image(y=y + BORDER, x=x + BORDER)

    assert_stars_agree(star, stored[f"det{detector}_warpedpsf"], TABLE)


@pytest.mark.parametrize("detector", [0, 1])
def test_with_the_kernel_tabulated_as_by_lsst_the_psf_is_equal(warp, detector, monkeypatch):
    def tabulated(samples, table, first_tap, nearest, matrix, y, x, rows, columns, out):
        if table.shape[1] != 6:  # the shift within the detector is exact
            return exact(samples, table, first_tap, nearest, matrix, y, x, rows, columns, out)
        taps = first_tap + np.arange(6)
        for j, row in enumerate(rows):
            for i, column in enumerate(columns):
                v, u = (y, x) + matrix @ (row, column)
                whole = np.floor((v, u)).astype(int)
                part = (np.floor(((v, u) - whole) * 10000) + 0.5) / 10000
                along_y, along_x = (lanczos(taps - f, 3) for f in part)
                if (whole + taps[0] < 0).any() or (whole + taps[-1] >= samples.shape).any():
                    continue
                pixels = samples[np.ix_(whole[0] + taps, whole[1] + taps)]
                out[j, i] += along_y @ pixels @ along_x / (along_y.sum() * along_x.sum())
        return None

    exact = warped_psf_loops.resampled_lattice
    exposure, stored, parameters = warp(MATCHED, [detector])
    x, y = parameters["boxes"][f"det{detector}_warpedpsf_at"]
    monkeypatch.setattr(warped_psf_loops, "resampled_lattice", tabulated)

    star = exposure.psf.kernel_image(y=y + BORDER, x=x + BORDER)

    assert_stars_agree(star, stored[f"det{detector}_warpedpsf"], 1e-7)


def test_where_no_detector_is_there_is_no_psf(warp):
    exposure, _, _ = warp(DIRECT, range(3))
    y, x = 5, 335

    with pytest.raises(NoInputsError, match=r"no input image sees \(x, y\) = \(335, 5\)"):
        exposure.psf.kernel_image(y=y, x=x)
