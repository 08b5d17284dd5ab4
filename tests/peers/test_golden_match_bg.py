import json

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from skytool.cli.main import cli
from skytool.core.background.chebyshev import ChebyshevModel
from skytool.core.background.curves import InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule, interpolate_cells
from skytool.core.background.polynomial_match import shifted_polynomial
from skytool.core.background.reference_cost import (
    CostKind,
    CostWeights,
    choose_reference,
    sky_figures,
)
from skytool.core.difference.cells import ImagePiece
from skytool.core.skyframe.superpixels import SuperpixelRule, superpixels
from skytool.core.statistics import Clip, Statistic
from skytool.core.windows import Window

FLOAT32 = 1.2e-7
CASES = (
    *("spline_bin64", "spline_default_binsize256", "spline_bin50_median_natural"),
    *("spline_bin32_meanclip_linear", "cheb_bin32_order8", "cheb_bin32_order4_unw"),
    *("cheb_bin64_order2_median", "cheb_bin64_order4", "cheb_bin64_order3_meanclip"),
    *("cheb_bin64_order4_increase", "cheb_bin64_order4_throw"),
)


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "golden/03-matchbg"


@pytest.fixture(scope="module")
def golden(folder):
    with np.load(folder / "output.npz") as file:
        arrays = dict(file)
    return arrays, json.loads((folder / "params.json").read_text())


def options(config):
    """Return the options that a configuration of LSST asks for, beside the preset."""
    names = {
        "binSize": "bin-size",
        "order": "order",
        "gridStatistic": "grid-statistic",
        "undersampleStyle": "undersample-style",
        "interpStyle": "interp-style",
        "numSigmaClip": "num-sigma-clip",
        "numIter": "num-iter",
        "gridStdevEpsilon": "grid-stdev-epsilon",
    }
    given = [f"--{option}={config[name]}" for name, option in names.items()]
    for name, flag in (
        ("usePolynomial", "use-polynomial"),
        ("approxWeighting", "approx-weighting"),
    ):
        given.append(f"--{flag}" if config[name] else f"--no-{flag}")
    return [*given, "--bad-mask-planes", ",".join(config["badMaskPlanes"])]


def match(folder, out, config, *more):
    """Match exposures 1 to 3 to exposure 0; return the report, a line for each."""
    inputs = [str(folder / f"input_{k}.fits.gz") for k in (1, 2, 3)]
    reference = str(folder / "input_0.fits.gz")
    arguments = ["match-bg", *inputs, "-r", reference, "-d", str(out), "--config", "lsst", "--json"]
    result = CliRunner().invoke(cli, [*arguments, *options(config), *more])
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize("case", CASES)
def test_matched_images_and_figures(folder, golden, tmp_path, case):
    arrays, params = golden
    expected = params["results"][case]

    rows = match(folder, tmp_path, expected["config"])

    assert len(rows) == 3
    for k, row in enumerate(rows, 1):
        pair = expected["pairs"][f"0-{k}"]
        if isinstance(pair, str):
            assert "does not cover enough" in pair
            assert row["status"] == "failed"
            assert row["exit_code"] == 5
            continue
        metrics = row["metrics"]
        # The rows of the report are single precision there.
        assert metrics["fit_rms"] == pytest.approx(pair["fitRMS"], rel=1e-5)
        assert metrics["matched_mse"] == pytest.approx(pair["matchedMSE"], rel=1e-7)
        # A dozen pixels that are NaN without a flag have a variance that counts there.
        assert metrics["diff_im_var"] == pytest.approx(pair["diffImVar"], rel=1e-5)
        name = f"{case}_0-{k}_model"
        if name not in arrays:
            continue
        with fits.open(folder / f"input_{k}.fits.gz") as before:
            science = before["SCI"].data.astype(np.float32)
        matched = fits.getdata(row["path"], "IMAGE")
        # Normal equations of 45 terms lose more digits than a decomposition of the design.
        lost = 1e-3 if "order8" in case else 6e-5
        tolerance = lost if case.startswith("cheb") else 2e-5
        known = np.isfinite(science)
        np.testing.assert_allclose(
            matched[known], (science + arrays[name])[known], rtol=2 * FLOAT32, atol=tolerance
        )
        np.testing.assert_array_equal(np.isfinite(matched), known)


def test_figures_of_all_pairs_are_there(golden):
    arrays, _ = golden

    assert {f"{case}_0-1_model" in arrays for case in CASES} == {True, False}
    assert all(f"{case}_0-{k}_grid" in arrays for case in CASES[:3] for k in (1, 2, 3))


def test_layers_are_lists_of_backgrounds_with_the_cells_of_lsst(folder, golden, tmp_path):
    arrays, params = golden
    match(folder, tmp_path, params["results"]["spline_bin64"]["config"])

    for k in (1, 2, 3):
        with fits.open(tmp_path / f"input_{k}.fits") as hdus:
            assert [hdu.name for hdu in hdus[4:7]] == ["BKG", "BKGMASK", "BKGVAR"]
            header = hdus["BKG"].header
            np.testing.assert_allclose(
                hdus["BKG"].data, arrays[f"spline_bin64_0-{k}_stats"], rtol=2 * FLOAT32
            )
        assert (header["INTERPSTYLE"], header["UNDERSAMPLESTYLE"], header["APPROXSTYLE"]) == (
            *(5, 1, -1),
        )
        assert (header["BKGD_WIDTH"], header["BKGD_HEIGHT"]) == (340, 300)


def test_an_exact_offset_is_fitted_without_weights(folder, golden, tmp_path):
    _, params = golden
    with fits.open(folder / "input_0.fits.gz") as hdus:
        hdus["SCI"].data = np.where(np.isfinite(hdus["SCI"].data), 100.0, np.nan).astype(np.float32)
        hdus.writeto(tmp_path / "a.fits")
        hdus["SCI"].data = hdus["SCI"].data - np.float32(16)
        hdus.writeto(tmp_path / "b.fits")
    config = params["results"]["uniform_offset"]["config"]
    arguments = [str(tmp_path / "b.fits"), "-r", str(tmp_path / "a.fits"), "-o"]
    result = CliRunner().invoke(
        cli,
        [
            *("match-bg", *arguments, str(tmp_path / "m.fits"), "--json", "--config", "lsst"),
            *options(config),
        ],
    )

    metrics = json.loads(result.stdout)["metrics"]
    assert metrics["fit_rms"] < 1e-6
    assert metrics["matched_mse"] < 1e-9
    matched = fits.getdata(tmp_path / "m.fits", "IMAGE")
    np.testing.assert_allclose(matched[np.isfinite(matched)], 100.0, rtol=2 * FLOAT32)


@pytest.mark.parametrize("case", ["default", "coverage", "variance", "level"])
def test_choice_of_the_reference(folder, golden, case):
    _, params = golden
    expected = params["selectRefExposure"][case]
    bits = params["mask_planes"]
    planes = params["results"]["spline_bin64"]["config"]["badMaskPlanes"]
    value = sum(1 << bits[plane] for plane in planes)
    figures = []
    for k in range(4):
        with fits.open(folder / f"input_{k}.fits.gz") as hdus:
            bad = (hdus["MASK"].data & value) != 0
            figures.append(sky_figures(hdus["SCI"].data, bad, CostKind.VARIANCE))

    choice = choose_reference(figures, CostKind.VARIANCE, CostWeights(**expected["weights"]))

    ours = [[one.variance, one.level, one.coverage] for one in figures]
    np.testing.assert_allclose(ours, expected["var_mean_npoint"], rtol=1e-12)
    np.testing.assert_allclose(choice.cost, expected["cost"], rtol=1e-12)
    assert choice.index == expected["index"]


# --- the form that works on a tract -----------------------------------------------------------

PATCHES = {10: (0, 1, 2), 11: (0, 1, 2), 12: (0, 1)}
TRACT = (320, 960)
MASKED = (0, 1, 4, 8)  # BAD, SAT, EDGE, NO_DATA
RULE = SuperpixelRule(y_bin=64, x_bin=64)


@pytest.fixture(scope="module")
def tract(shared):
    folder = shared / "golden/03b-matchbg-current"
    with np.load(folder / "output.npz") as file:
        return folder, dict(file), json.loads((folder / "params.json").read_text())


def patch(folder, visit, number, *, masked=True):
    with fits.open(folder / f"warp_visit{visit}_patch{number}.fits.gz") as hdus:
        header = hdus["SCI"].header
        image = hdus["SCI"].data.astype(np.float32)
        bad = (hdus["MASK"].data & sum(1 << bit for bit in MASKED)) != 0
    window = Window(y=header["Y0"], x=header["X0"], shape=image.shape)
    return ImagePiece(window, image, bad if masked else np.zeros_like(bad))


def curves(style):
    return InterpolationRule(InterpolationStyle(style))


@pytest.mark.parametrize("visit", PATCHES)
def test_superpixels_of_a_visit(tract, visit):
    folder, arrays, _ = tract
    pieces = [patch(folder, visit, number) for number in PATCHES[visit]]

    found = superpixels(pieces, TRACT, RULE, statistic=Statistic.MEANCLIP, clip=Clip(3, 3))

    for name in ("values", "numbers", "variances"):
        expected = arrays[f"bin64_visit{visit}_{name}"]
        np.testing.assert_allclose(getattr(found, name), expected, rtol=FLOAT32)
    filled = found.filled(curves("akima_spline"))
    stored = arrays[f"bin64_visit{visit}_stats"]
    # Quadratic continuation from single-precision values at a distance of several cells.
    np.testing.assert_allclose(filled, stored, rtol=2e-6)


@pytest.mark.parametrize(
    ("case", "reference", "statistic", "style"),
    [
        ("bin64", 10, "meanclip", "akima_spline"),
        ("bin64_natural_median", 10, "median", "natural_spline"),
        ("bin64_ref12", 12, "meanclip", "akima_spline"),
    ],
)
def test_superpixels_of_differences(tract, case, reference, statistic, style):
    folder, arrays, params = tract
    assert params["results"][case]["reference"] == reference
    for visit, numbers in PATCHES.items():
        name = f"{case}_diff_visit{visit}_stats"
        if visit == reference or name not in arrays:
            continue
        pieces = []
        for number in numbers:
            if number not in PATCHES[reference]:
                continue
            science = patch(folder, visit, number)
            # The mask of the reference is not looked at there, its missing values are.
            other = patch(folder, reference, number, masked=False)
            common = science.window.common(other.window)
            here, there = common.within(science.window), common.within(other.window)
            image = np.full(science.window.shape, np.nan, np.float32)
            image[here] = other.image[there] - science.image[here]
            pieces.append(ImagePiece(science.window, image, science.bad))

        # The differences are made of clipped means whatever is asked for the model.
        found = superpixels(pieces, TRACT, RULE, statistic=Statistic.MEANCLIP, clip=Clip(3, 3))

        filled = found.filled(curves("akima_spline"))
        np.testing.assert_allclose(filled, arrays[name], rtol=2e-5, atol=2e-4)


@pytest.mark.parametrize("visit", PATCHES)
def test_models_of_patches_follow_from_their_cells(tract, visit):
    _, arrays, _ = tract
    from skytool.core.background.cell_grid import CellGrid

    for number in PATCHES[visit]:
        cells = arrays[f"bin64_visit{visit}_patch{number}_binned"].astype(np.float64)
        expected = arrays[f"bin64_visit{visit}_patch{number}_model"]
        grid = CellGrid.from_bin_size(expected.shape, 16)

        model = interpolate_cells(cells, grid, curves("akima_spline"))

        np.testing.assert_allclose(
            model, expected, rtol=0, atol=2 * FLOAT32 * np.ptp(expected) + 2e-5
        )


def test_a_polynomial_of_the_tract_is_the_same_in_a_patch(rng):
    coefficients = rng.normal(size=(5, 5))
    whole = ChebyshevModel(coefficients, (320, 960))

    part = shifted_polynomial(whole, y=16, x=304, shape=(290, 352))

    np.testing.assert_allclose(
        part.image(dtype=np.float64),
        whole.image(dtype=np.float64)[16:306, 304:656],
        atol=1e-12 * np.abs(coefficients).sum(),
    )
