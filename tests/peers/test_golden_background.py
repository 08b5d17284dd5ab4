import json

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.cells import cell_statistics
from skytool.core.background.chebyshev import point_basis
from skytool.core.background.chebyshev_fit import chebyshev_fit
from skytool.core.background.curves import InterpolationStyle
from skytool.core.background.interpolation import (
    InterpolationRule,
    UndersampleStyle,
    fill_missing,
    grid_rule,
    interpolate,
    interpolate_cells,
)
from skytool.core.statistics import Clip, Statistic, sample_statistics
from skytool.errors import AlgorithmError

IMAGES = {"full": "input", "holes": "input_holes"}
SHAPE = (131, 150)
FLOAT32 = 1.2e-7  # stored values are float32: two roundings of a relative 6e-8


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden/01-background"
    with np.load(folder / "output.npz") as file:
        arrays = dict(file)
    return arrays, json.loads((folder / "params.json").read_text())


@pytest.fixture(scope="module")
def images(shared, golden):
    _, params = golden
    found = {}
    for name, file in IMAGES.items():
        with fits.open(shared / f"golden/01-background/{file}.fits.gz") as hdus:
            found[name] = hdus["SCI"].data, (hdus["MASK"].data & params["andMask"]) != 0
    return found


@pytest.fixture(scope="module")
def sky_golden(shared):
    with np.load(shared / "golden/02-skyframe/output.npz") as file:
        return dict(file)


def rule(style, undersample="reduce_interp_order"):
    return InterpolationRule(InterpolationStyle(style), UndersampleStyle(undersample))


@pytest.mark.parametrize("image", ["full", "holes"])
@pytest.mark.parametrize(("sigma", "iterations"), [(3.0, 2), (3.0, 3), (2.0, 3)])
def test_statistics_of_images(golden, images, image, sigma, iterations):
    result = sample_statistics(*images[image], clip=Clip(sigma, iterations))

    ours = {
        "MEAN": (result.mean, result.mean_error),
        "MEDIAN": (result.median, result.median_error),
        "MEANCLIP": (result.clip_mean, result.clip_mean_error),
        "STDEV": (result.std, None),
        "STDEVCLIP": (result.clip_std, None),
        "VARIANCE": (result.variance, None),
        "VARIANCECLIP": (result.clip_variance, None),
        "IQRANGE": (result.iqr, None),
        "MEANSQUARE": (result.mean_square, None),
        "NPOINT": (result.count, None),
    }
    for name, (value, error) in ours.items():
        expected = golden[1]["statistics"][f"{image}_{name}_n{iterations}_s{sigma}_w0"]
        assert value == pytest.approx(expected[0], rel=1e-13), name
        if error is not None:
            assert error == pytest.approx(expected[1], rel=1e-13), name
    # LSST gives the error of the variance with n in the denominator.
    expected = golden[1]["statistics"][f"{image}_STDEV_n{iterations}_s{sigma}_w0"][1]
    ratio = result.count / (result.count - 1)
    assert result.std_error == pytest.approx(expected * ratio, rel=1e-12)


@pytest.mark.parametrize("statistic", ["MEAN", "MEDIAN", "MEANCLIP"])
@pytest.mark.parametrize("iterations", [2, 3])
@pytest.mark.parametrize("masked", [0, 1])
def test_cells_with_and_without_a_mask(golden, images, statistic, iterations, masked):
    image, bad = images["full"]
    expected = golden[0][f"A_{statistic}_n{iterations}_nan1_mask{masked}_5x4"]

    cells = cell_statistics(
        image,
        bad if masked else None,
        CellGrid.from_counts(SHAPE, expected.shape),
        statistic=Statistic(statistic),
        clip=Clip(3, iterations),
    )

    errors = golden[0][f"A_{statistic}_n{iterations}_nan1_mask{masked}_5x4_err"]
    np.testing.assert_allclose(cells.value, expected, rtol=FLOAT32)
    np.testing.assert_allclose(cells.error, errors, rtol=FLOAT32)


@pytest.mark.parametrize("image", ["full", "holes"])
@pytest.mark.parametrize("statistic", ["MEAN", "MEDIAN", "MEANCLIP"])
@pytest.mark.parametrize("counts", ["5x5", "5x4", "4x4", "4x3", "9x8", "3x3", "2x2"])
def test_cells_that_do_not_divide_the_image(golden, images, image, statistic, counts):
    n_x, n_y = (int(n) for n in counts.split("x"))
    grid = CellGrid.from_counts(SHAPE, (n_y, n_x))

    cells = cell_statistics(*images[image], grid, statistic=Statistic(statistic))

    name = f"B_{image}_{statistic}_{counts}"
    np.testing.assert_allclose(cells.value, golden[0][name], rtol=FLOAT32)
    np.testing.assert_allclose(cells.error, golden[0][f"{name}_err"], rtol=FLOAT32)
    np.testing.assert_array_equal(grid.x_centers, golden[0][f"B_xcen_{n_x}"])
    np.testing.assert_array_equal(grid.y_centers, golden[0][f"B_ycen_{n_y}"])


@pytest.mark.parametrize("image", ["full", "holes"])
@pytest.mark.parametrize("counts", ["5x4", "8x9", "3x7", "7x2"])
@pytest.mark.parametrize("style", [style for style in InterpolationStyle if style != "nearest"])
def test_surfaces_through_cells_of_an_image(golden, image, counts, style):
    values = golden[0][f"C_{image}_{counts}_stats"]

    surface = interpolate_cells(values, CellGrid.from_counts(SHAPE, values.shape), rule(style))

    expected = golden[0][f"C_{image}_{counts}_{style.upper()}"]
    np.testing.assert_allclose(surface, expected, rtol=0, atol=FLOAT32 * np.nanmax(expected))


def parts(name):
    """Split "D_3x4_1nan_LINEAR_THROW_EXCEPTION" in the case, the style and what may be reduced."""
    undersample = next(u for u in UndersampleStyle if name.endswith(u.upper()))
    rest = name.removesuffix(f"_{undersample.upper()}").removeprefix("D_")
    styles = sorted(InterpolationStyle, key=lambda style: -len(style))
    style = next(style for style in styles if rest.endswith(f"_{style.upper()}"))
    return rest.removesuffix(f"_{style.upper()}"), rule(style, undersample)


def test_surfaces_through_small_grids_with_holes_and_refusals(golden):
    arrays, params = golden
    refused = compared = 0
    for name, outcome, *details in params["log"]:
        if not name.startswith("D_") or "allnan" in name:
            continue
        case, wanted = parts(name)
        values = arrays[f"D_{case.split('_')[0]}_stats"].copy()
        if case.endswith("_1nan"):
            values[values.shape[0] // 2, values.shape[1] // 2] = np.nan
        elif case.endswith("_colnan"):
            values[:, 0] = np.nan
        elif case.endswith("_rownan"):
            values[0] = np.nan
        grid = CellGrid.from_counts((29, 37), values.shape)
        if outcome == "exc":
            refused += 1
            with pytest.raises(AlgorithmError):
                interpolate_cells(values, grid, wanted)
            continue
        surface = interpolate_cells(values, grid, wanted)
        used = grid_rule(wanted, values.shape).style.upper()
        logged = details[0].removeprefix("Style.")
        assert used == logged or {used, logged} == {"NATURAL_SPLINE", "CUBIC_SPLINE"}, name
        if name in arrays:
            compared += 1
            tolerance = FLOAT32 * np.nanmax(np.abs(arrays[name]), initial=1)
            np.testing.assert_allclose(surface, arrays[name], rtol=0, atol=tolerance, err_msg=name)
    assert refused == 60
    assert compared > 200


def test_a_grid_of_nothing(golden):
    surface = interpolate_cells(np.full((5, 5), np.nan), CellGrid.from_counts((29, 37), (5, 5)))

    np.testing.assert_array_equal(surface, golden[0]["D_allnan_AKIMA_SPLINE"])


def test_curves_between_and_beyond_knots(golden):
    arrays, _ = golden
    names = [name for name in arrays if name.startswith("E_") and "_n" in name]
    for name in names:
        style, n = name.removeprefix("E_").rsplit("_n", 1)
        curve = interpolate(
            arrays["E_x"][: int(n)], arrays["E_y"][: int(n)], arrays["E_xi"], rule(style)
        )
        np.testing.assert_allclose(curve, arrays[name], rtol=1e-12, atol=1e-12, err_msg=name)
    assert len(names) == 21


def test_curves_refused_for_too_few_knots(golden):
    names = [name for name, outcome, *_ in golden[1]["log"] if name[0] == "E" and outcome == "exc"]
    for name in names:
        style, n = name.removeprefix("E_").rsplit("_n", 1)
        at = np.arange(float(n))
        with pytest.raises(AlgorithmError, match="needs"):
            interpolate(at, at, [0.5], rule(style, "throw_exception"))
    assert len(names) == 9


@pytest.mark.parametrize("image", ["full", "holes"])
@pytest.mark.parametrize("counts", ["10x10", "5x4"])
@pytest.mark.parametrize("weighted", [0, 1])
@pytest.mark.parametrize("order", range(1, 9))
def test_chebyshev_surfaces(golden, image, counts, weighted, order):
    arrays, _ = golden
    name = f"F_{image}_{counts}"
    values, errors = arrays[f"{name}_stats"], arrays[f"{name}_var"]
    grid = CellGrid.from_counts(SHAPE, values.shape)
    basis = point_basis(order, SHAPE, y=grid.y_centers[:, None], x=grid.x_centers)
    weights = 1 / errors if weighted else None
    if order >= min(values.shape):  # LSST solves these, with an arbitrary result
        with pytest.raises(AlgorithmError, match="terms"):
            chebyshev_fit(values, basis, order=order, shape=SHAPE, weights=weights)
        return

    fit = chebyshev_fit(values, basis, order=order, shape=SHAPE, weights=weights)

    expected = arrays[f"{name}_o{order}_w{weighted}"]
    np.testing.assert_allclose(fit.model.image(), expected, rtol=2 * FLOAT32)
    if order == 4:
        lower = fit.model.truncated(2).image()
        expected = arrays[f"{name}_o4_w{weighted}_trunc2"]
        np.testing.assert_allclose(lower, expected, rtol=2 * FLOAT32)


@pytest.mark.parametrize("style", ["CONSTANT", "LINEAR", "NATURAL_SPLINE", "AKIMA_SPLINE"])
def test_bad_cells_are_filled(sky_golden, style):
    filled = fill_missing(sky_golden["interpBad_in"], rule(style))

    np.testing.assert_allclose(filled, sky_golden[f"interpBad_{style}"], rtol=1e-12, atol=1e-13)
