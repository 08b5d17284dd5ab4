import json

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.curves import InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule, interpolate_cells
from skytool.core.skyframe.focal_plane_grid import Affine, FocalPlaneGrid, FocalPlaneRule
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask
from skytool.stages.skyframe import (
    BackgroundConfig,
    CombineConfig,
    SkyMeasurementConfig,
    StatsConfig,
    average_backgrounds,
    exposure_to_background,
    measure_background,
    measure_scale,
    solve_scales,
    subtract_sky_frame,
)
from tests.cli.skyframing import apply, header, plane

CASES = ("default", "bin40_median", "bin64x25_mean_akima")
FLOAT32 = 2.4e-7  # two roundings to float32 on each side
SHAPE = (200, 170)


@pytest.fixture(scope="module")
def golden(shared):
    folder = shared / "golden/02-skyframe"
    with np.load(folder / "output.npz") as file:
        arrays = dict(file)
    return folder, arrays, json.loads((folder / "params.json").read_text())


def exposure(folder, name):
    with fits.open(folder / f"{name}.fits.gz") as hdus:
        image = hdus["SCI"].data.astype(np.float32)
        mask = Mask.from_array(hdus["MASK"].data, hdus["MASK"].header, name=name)
        variance = hdus["VAR"].data.astype(np.float32)
    return Exposure(image=image, mask=mask, variance=variance, name=name)


def measurement(params, case):
    """Return LSST's settings of a case."""
    config = params["results"][case]["config"]
    background, stats = config["background"], config["stats"]
    return SkyMeasurementConfig(
        sky_iter=config["skyIter"],
        sky_rej=config["skyRej"],
        x_num_samples=config["xNumSamples"],
        y_num_samples=config["yNumSamples"],
        background=BackgroundConfig(
            statistic=background["statistic"].lower(),
            x_bin_size=background["xBinSize"],
            y_bin_size=background["yBinSize"],
            algorithm=background["algorithm"].lower(),
            mask=tuple(background["mask"]),
            block_size=1,
            clip=3.0,
        ),
        stats=StatsConfig(
            statistic=stats["statistic"].lower(),
            clip=stats["clip"],
            n_iter=stats["nIter"],
            mask=tuple(stats["mask"]),
        ),
        same_pixels=False,
        fit="scale",
        weighted=False,
        clip_about="zero",
        robust_start=False,
        min_samples=1,
        min_fraction=0.0,
        frame_noise=False,
    )


def averaged(golden, case, detector):
    folder, _, params = golden
    config = measurement(params, case).background
    backgrounds = [
        measure_background(exposure(folder, f"input_det{detector}_exp{k}"), config)
        for k in range(5)
    ]
    return backgrounds, average_backgrounds(backgrounds, CombineConfig(by="scatter", clip=3.0))


@pytest.mark.parametrize("detector", [0, 1])
def test_superpixels_of_single_exposures(golden, detector):
    backgrounds, _ = averaged(golden, "default", detector)

    for number, background in enumerate(backgrounds):
        model = background.layers[0].model
        key = f"default_det{detector}_exp{number}"
        np.testing.assert_allclose(model.cells, golden[1][f"{key}_stats"], rtol=FLOAT32)
        # What LSST stores as variance is the standard error.
        np.testing.assert_allclose(np.sqrt(model.variance), golden[1][f"{key}_err"], rtol=FLOAT32)


@pytest.mark.parametrize("detector", [0, 1])
def test_the_average_of_exposures(golden, detector):
    _, frame = averaged(golden, "default", detector)
    arrays, key = golden[1], f"default_det{detector}"

    np.testing.assert_allclose(frame.image, arrays[f"{key}_average"], rtol=FLOAT32)
    np.testing.assert_allclose(frame.variance, arrays[f"{key}_average_var"], rtol=1e-6)
    np.testing.assert_array_equal(frame.mask.array, arrays[f"{key}_average_mask"])


@pytest.mark.parametrize("detector", [0, 1])
def test_the_frame_at_full_resolution(golden, detector):
    _, frame = averaged(golden, "default", detector)

    image = exposure_to_background(frame).evaluate(SHAPE)

    stored = golden[1][f"default_det{detector}_skyimage"]
    np.testing.assert_allclose(image, stored, rtol=0, atol=4e-7 * np.abs(stored).max())


@pytest.mark.parametrize("detector", [0, 1])
def test_samples_of_image_and_frame(golden, detector):
    folder, arrays, params = golden
    _, frame = averaged(golden, "default", detector)
    science = exposure(folder, f"input_science_det{detector}")

    samples = measure_scale(science, frame.background(), measurement(params, "default"))

    # LSST goes through boxes column by column.
    for found, key in ((samples.image, "imageSamples"), (samples.sky[:, 0], "skySamples")):
        stored = arrays[f"default_det{detector}_{key}"]
        np.testing.assert_allclose(found.reshape(4, 4).T.ravel(), stored, rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_scale_of_all_and_of_each_detector(golden, case):
    folder, _, params = golden
    config, samples = measurement(params, case), []
    for detector in (0, 1):
        _, frame = averaged(golden, case, detector)
        science = exposure(folder, f"input_science_det{detector}")
        samples.append(measure_scale(science, exposure_to_background(frame), config))

    result = params["results"][case]
    each = [solve_scales([one], config).scale[0] for one in samples]

    assert solve_scales(samples, config).scale[0] == pytest.approx(result["scale_all"], rel=1e-6)
    assert each == pytest.approx(result["scale_each"], rel=1e-6)


@pytest.mark.parametrize("detector", [0, 1])
def test_exposures_less_the_scaled_frame(golden, detector):
    folder, arrays, params = golden
    _, frame = averaged(golden, "default", detector)
    science = exposure(folder, f"input_science_det{detector}")

    corrected = subtract_sky_frame(
        science, frame.background(), params["results"]["default"]["scale_all"]
    )

    stored = arrays[f"default_det{detector}_subtracted"]
    limit = 2.4e-7 * np.nanmax(np.abs(science.image))
    np.testing.assert_allclose(corrected.image, stored, rtol=0, atol=limit)


def test_one_outlier_does_not_end_the_default_solution(golden):
    folder, _, params = golden
    samples = []
    for detector in (0, 1):
        _, frame = averaged(golden, "default", detector)
        science = exposure(folder, f"input_science_det{detector}")
        samples.append(measure_scale(science, frame.background(), measurement(params, "default")))
    samples[1].image[8] += 300.0  # LSST's solution of this raises

    solution = solve_scales(samples, SkyMeasurementConfig(fit="scale"))

    assert solution.scale[0] == pytest.approx(params["results"]["default"]["scale_all"], rel=3e-3)


def write_visit(golden, case):
    """Write the exposures to correct, and sky frames as LSST stores them; return their names."""
    folder, _, params = golden
    algorithm = params["results"][case]["config"]["background"]["algorithm"]
    exposures, frames = [], []
    for detector in (0, 1):
        with fits.open(folder / f"input_science_det{detector}.fits.gz") as hdus:
            hdus[0].header["VISIT"], hdus[0].header["DETECTOR"] = 7, detector
            hdus.writeto(f"v7_d{detector}.fits")
        _, frame = averaged(golden, case, detector)
        primary = fits.PrimaryHDU()
        for key, value in zip(("MINX", "MINY", "MAXX", "MAXY"), (0, 0, 169, 199), strict=True):
            primary.header[f"HIERARCH BOX.{key}"] = value
        primary.header["HIERARCH ALGORITHM"] = algorithm
        primary.header["DETECTOR"] = detector
        mask = fits.ImageHDU(frame.mask.array, name="MASK")
        mask.header["MP_BAD"], mask.header["HIERARCH MP_NO_DATA"] = 0, 8
        planes = [fits.ImageHDU(frame.image, name="IMAGE"), mask]
        planes.append(fits.ImageHDU(frame.variance, name="VARIANCE"))
        fits.HDUList([primary, *planes]).writeto(f"sky{detector}.fits")
        exposures.append(f"v7_d{detector}.fits")
        frames.append(f"sky{detector}.fits")
    return exposures, frames


def options(params, case):
    """Return the options that differ from the preset."""
    config, usual = (params["results"][name]["config"] for name in (case, "default"))
    named = {
        "sky-iter": lambda c: c["skyIter"],
        "sky-rej": lambda c: c["skyRej"],
        "x-num-samples": lambda c: c["xNumSamples"],
        "y-num-samples": lambda c: c["yNumSamples"],
        "stats-statistic": lambda c: c["stats"]["statistic"],
    }
    changed = {
        name: value(config) for name, value in named.items() if value(config) != value(usual)
    }
    return [word for name, value in changed.items() for word in (f"--{name}", value)]


@pytest.mark.parametrize("case", CASES)
def test_the_preset_gives_the_scale_from_the_command_line(golden, case, tmp_path, monkeypatch):
    _, arrays, params = golden
    monkeypatch.chdir(tmp_path)
    exposures, frames = write_visit(golden, case)
    alone = ("--bg-model1", "none", "--no-do-bg-model2", "--no-do-mask-objects")

    apply(*exposures, "--sky", *frames[:1], "--sky", *frames[1:], "-d", "flat", "--config", "lsst",
          *alone, *options(params, case))  # fmt: skip

    for detector, name in enumerate(exposures):
        scale = header(f"flat/{name}")["SKYSCALE"]
        assert scale == pytest.approx(params["results"][case]["scale_all"], rel=1e-6)
        if case == "default":
            stored, found = arrays[f"default_det{detector}_subtracted"], plane(f"flat/{name}")
            limit = 4.8e-7 * np.nanmax(np.abs(stored))
            np.testing.assert_allclose(found, stored, rtol=0, atol=limit)


@pytest.fixture(scope="module")
def focal_plane(golden):
    folder, _, params = golden
    case = params["focalplane"]["bin50"]
    config = case["config"]
    rule = FocalPlaneRule(
        x_size=config["xSize"],
        y_size=config["ySize"],
        pixel_size=config["pixelSize"],
        min_fraction=config["minFrac"],
        style=InterpolationStyle(config["interpolation"].lower()),
        binning=config["binning"],
    )
    places = [
        Affine(np.array(matrix)[:2, :2], np.array(matrix)[:2, 2]) for matrix in case["det_matrix"]
    ]
    empty = FocalPlaneGrid.covering([(place, SHAPE) for place in places], rule)
    grids = []
    for detector, place in enumerate(places):
        science = exposure(folder, f"input_science_det{detector}")
        bad = science.mask.any_of(config["mask"])
        grids.append(empty.with_detector(science.image, bad, place))
    return case, places, empty, grids


def test_the_grid_over_the_focal_plane(focal_plane):
    case, _, empty, _ = focal_plane
    matrix = np.array(case["sample_matrix"])

    y, x = empty.position(y=np.array([12.0, -30.0]), x=np.array([-7.0, 55.0]))

    assert list(empty.values.shape[::-1]) == case["dims"]
    np.testing.assert_allclose(x, matrix[0] @ [[-7.0, 55.0], [12.0, -30.0], [1, 1]], rtol=1e-12)
    np.testing.assert_allclose(y, matrix[1] @ [[-7.0, 55.0], [12.0, -30.0], [1, 1]], rtol=1e-12)


@pytest.mark.parametrize("detector", [0, 1])
def test_detectors_in_cells_of_the_focal_plane(golden, focal_plane, detector):
    grid, key = focal_plane[3][detector], f"fp_bin50_det{detector}"

    np.testing.assert_array_equal(grid.numbers, golden[1][f"{key}_numbers"])
    np.testing.assert_allclose(grid.values, golden[1][f"{key}_values"], rtol=FLOAT32)


def test_the_merged_and_filled_focal_plane(golden, focal_plane):
    merged = focal_plane[3][0].merged(focal_plane[3][1])

    np.testing.assert_allclose(merged.filled(), golden[1]["fp_bin50_stats"], rtol=1e-6)


@pytest.mark.parametrize("detector", [0, 1])
def test_the_focal_plane_on_detectors(golden, focal_plane, detector):
    case, places, _, grids = focal_plane
    binning, key = case["config"]["binning"], f"fp_bin50_det{detector}"
    cells = CellGrid.from_counts(SHAPE, (SHAPE[0] // binning, SHAPE[1] // binning))
    # LSST samples at multiples of the binning, also where cells of equal size lie elsewhere.
    y, x = (binning * (np.arange(n) + 0.5) for n in cells.shape)

    values = grids[0].merged(grids[1]).on_detector(places[detector], y=y, x=x)

    stored = golden[1][f"{key}_ccdstats"]
    np.testing.assert_allclose(values, stored, rtol=1e-6)
    # Akima's curves weigh slopes by differences of slopes: they multiply rounding of the cells.
    image = interpolate_cells(stored, cells, InterpolationRule(InterpolationStyle.AKIMA_SPLINE))
    np.testing.assert_allclose(image, golden[1][f"{key}_image"], rtol=FLOAT32)
