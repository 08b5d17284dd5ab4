import json

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.cells import cell_statistics
from skytool.core.background.interpolation import interpolate_cells
from skytool.core.statistics import Statistic, sample_statistics, stack_statistics

FLOAT32 = 1.2e-7  # stored values are float32: two roundings of a relative 6e-8


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden/10-primitives"
    with np.load(folder / "output.npz") as file:
        arrays = dict(file)
    return arrays, json.loads((folder / "params.json").read_text())


@pytest.mark.parametrize("statistic", ["MEAN", "MEDIAN", "MEANCLIP"])
@pytest.mark.parametrize("weighted", [0, 1])
def test_stacks(golden, statistic, weighted):
    arrays, params = golden
    bits = params["mask_planes"]
    ignored = 1 << bits["BAD"] | 1 << bits["NO_DATA"]

    result = stack_statistics(
        arrays["stack_in_img"],
        (arrays["stack_in_msk"] & ignored) != 0,
        statistic=Statistic(statistic),
        weights=params["results"]["stack_weights"] if weighted else None,
        variance=arrays["stack_in_var"],
    )

    name = f"stack_{statistic}_w{weighted}_inputvar"
    np.testing.assert_allclose(result.value, arrays[f"{name}0_img"], rtol=FLOAT32)
    if statistic == "MEDIAN":
        # LSST takes the scatter with the weights that the median ignores, and has no propagated
        # variance of a median: only the unweighted scatter is comparable.
        name = "stack_MEDIAN_w0_inputvar"
    else:
        np.testing.assert_allclose(result.propagated, arrays[f"{name}1_var"], rtol=FLOAT32)
    np.testing.assert_allclose(result.error**2, arrays[f"{name}0_var"], rtol=FLOAT32)
    empty = arrays[f"{name}0_msk"] == ignored ^ 1 << bits["BAD"]
    np.testing.assert_array_equal(result.count == 0, empty)


@pytest.mark.parametrize("number", range(4))
def test_subtracted_backgrounds(golden, shared, number):
    arrays, params = golden
    config = params["results"]["scalevariance"]["config"]
    ignored = sum(1 << params["mask_planes"][plane] for plane in config["maskPlanes"])
    path = shared / f"golden/10-primitives/scalevar_input{number}.fits.gz"
    with fits.open(path) as hdus:
        image, variance = hdus["SCI"].data, hdus["VAR"].data
        bad = (hdus["MASK"].data & ignored) != 0
    grid = CellGrid.from_bin_size(image.shape, config["background"]["binSize"])

    surface = interpolate_cells(cell_statistics(image, bad, grid).value, grid)

    expected = arrays[f"scalevar_bgsub{number}"]
    tolerance = 2 * FLOAT32 * np.nanmax(np.abs(image[~bad]))  # cells are stored as float32 too
    np.testing.assert_allclose((image - surface)[~bad], expected[~bad], rtol=0, atol=tolerance)
    pull = sample_statistics(expected / np.sqrt(variance), bad)
    factor = params["results"]["scalevariance"]["rows"][str(number)]["pixelFactor"]
    assert (0.74 * pull.iqr) ** 2 == pytest.approx(factor, rel=1e-6)
