import warnings
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import pytest

from skytool.core.skyframe.focal_plane_grid import Affine
from skytool.errors import AlgorithmError, IncompatibleError, NothingToDoError, SkytoolWarning
from skytool.models.background.hdus import (
    Background,
    BackgroundLayer,
    ConstantBackground,
    background_to_hdus,
)
from skytool.stages.skyframe import (
    ApplyConfig,
    ApplyInput,
    BackgroundConfig,
    FocalPlaneConfig,
    MaskObjectsConfig,
    SkyMeasurementConfig,
    StatsConfig,
    divided_layers,
    measure_scale,
    restoring_layers,
    solve_scales,
    solve_visit,
    subtract_sky_frame,
    with_layers,
    without_layers,
)
from tests.stages.skies import (
    SHAPE,
    apply_input,
    exposure,
    frame_of,
    gradient,
    pattern,
    sky_exposure,
    solved,
)

LSST = ApplyConfig(
    sky=SkyMeasurementConfig(
        background=BackgroundConfig(block_size=1),
        x_num_samples=4,
        y_num_samples=4,
        stats=StatsConfig(clip=3.0),
        same_pixels=False,
        fit="scale",
        weighted=False,
        clip_about="zero",
        robust_start=False,
        min_samples=1,
        min_fraction=0.0,
        frame_noise=False,
    ),
    bg_model1=FocalPlaneConfig(model="none"),
    keep_averages=False,
    do_mask_objects=False,
)


def corrected(given, solution):
    return with_layers(given, solution.detectors[0].layers)


def relief(shape=SHAPE, peak=0.02, sigma=90.0):
    """Return a bump in the middle, less its mean."""
    y, x = np.indices(shape, float)
    bump = peak * np.exp(-((y - shape[0] / 2) ** 2 + (x - shape[1] / 2) ** 2) / (2 * sigma**2))
    return bump - bump.mean()


def test_scales_are_right_within_their_errors(rng):
    truth, pulls = pattern(size=0.0043), []
    frame = frame_of(truth)
    config = replace(ApplyConfig(), do_mask_objects=False)
    for scale in 25 * [0.0, 50.0, 1000.0, -200.0]:
        image = 1000 + scale * truth + rng.normal(0, 30, SHAPE)
        with warnings_allowed():
            found = solved(exposure(image, variance=900.0), frame, config)
        pulls.append((found.scale - scale) / found.scale_error)
        assert found.scale_error == pytest.approx(30 / (np.sqrt(truth.size) * truth.std()), rel=0.3)

    assert np.abs(pulls).max() < 4
    assert 0.8 < np.std(pulls) < 1.25


@contextmanager
def warnings_allowed():
    """Allow a warning that noise decides on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkytoolWarning)
        yield


def test_a_pattern_that_is_not_there_is_warned_of(rng):
    given = exposure(1000 + rng.normal(0, 30, SHAPE), variance=900.0)

    with pytest.warns(SkytoolWarning, match="the sky frame is not detected"):
        found = solved(given, frame_of(pattern(size=0.0005)))

    assert abs(found.scale) < 4 * found.scale_error


def test_half_of_the_pattern_may_be_masked(rng):
    truth = relief((512, 512))
    y, x = np.indices(truth.shape) - 255.5
    hole = np.hypot(y, x) < 80
    frame = frame_of(truth)
    scales = {"default": [], "lsst": []}
    for _ in range(20):
        given = exposure(
            1000 * truth + rng.normal(0, 30, truth.shape), variance=900.0, flags={"BAD": hole}
        )
        scales["default"].append(solved(given, frame).scale)
        with suppress(AlgorithmError):  # clipping about zero now and then leaves nothing
            scales["lsst"].append(solved(given, frame, LSST).scale)

    assert np.mean(scales["default"]) == pytest.approx(1000, rel=0.01)
    # Other pixels for the frame than for the image: a quarter of the scale is missing.
    assert len(scales["lsst"]) > 10
    assert np.mean(scales["lsst"]) == pytest.approx(768, abs=80)


def test_an_image_or_a_frame_without_structure_has_no_scale():
    flat = exposure(np.full(SHAPE, 1000.0), variance=900.0)
    waves = exposure(1000 * (1 + pattern()), variance=900.0)

    for given, truth in ((flat, pattern()), (waves, np.zeros(SHAPE))):
        with pytest.warns(SkytoolWarning, match="the sky frame is not detected"):
            found = solved(given, frame_of(truth))
        assert abs(found.scale) < 1e-3


def test_a_pedestal_does_not_matter_by_default_and_ends_a_fit_without_constant(rng):
    truth = pattern((512, 512), size=0.0043)
    frame = frame_of(truth)
    for _ in range(5):
        given = exposure(5 + 1000 * truth + rng.normal(0, 30, truth.shape), variance=900.0)

        found = solved(given, frame)

        assert abs(found.scale - 1000) < 4 * found.scale_error
        with pytest.raises(AlgorithmError, match=r"exposure: of \d+ samples"):
            solved(given, frame, LSST)


def test_gradients_do_not_shift_the_scale(rng):
    truth, pulls, errors = pattern(), [], []
    frame = frame_of(truth)
    for _ in range(8):
        given = sky_exposure(rng, 1000.0, truth, smooth=gradient(rng, size=0.1))
        found = solved(given, frame)
        pulls.append((found.scale - 1000) / found.scale_error)
        errors.append(found.scale_error)

    assert np.abs(pulls).max() < 5
    assert max(errors) < 15


def test_less_than_a_percent_of_the_pattern_is_left(rng):
    truth = pattern()
    given = sky_exposure(rng, 1000.0, truth, smooth=gradient(rng))
    solution = solved(given, frame_of(truth))

    image = corrected(given, solution).image.astype(float)

    left = np.sum((image - image.mean()) * truth) / np.sum(truth**2) / 1000
    error = np.sqrt(1000) / np.sqrt(np.sum(truth**2)) / 1000
    assert abs(left) < 0.01 + 3 * error
    assert abs(image.mean()) < 5 * np.sqrt(1000 / image.size)
    (detector,) = solution.detectors
    assert abs(detector.correlation_after) < 0.2
    assert detector.correlation_before > 0.9
    assert detector.rms_before == pytest.approx(1000 * truth.std(), rel=0.1)
    assert detector.rms_after == pytest.approx(np.sqrt(1000 / 256), rel=0.1)


def test_stars_and_bad_boxes_do_not_shift_the_scale(rng):
    truth = pattern()
    yy, xx = np.indices(SHAPE)
    stars = np.zeros(SHAPE)
    for _ in range(100):
        y, x, flux = rng.uniform(0, SHAPE[0]), rng.uniform(0, SHAPE[1]), 10 ** rng.uniform(3, 5)
        stars += flux / 25 * np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / 8)
    given = sky_exposure(rng, 1000.0, truth, objects=stars)
    image = given.image.copy()
    image[64:96, 32:64] += 1e5
    image[: SHAPE[0] // 5] += 300  # a fifth of the detector

    found = solved(given.with_values(image=image), frame_of(truth))

    assert abs(found.scale - 1000) < 5 * found.scale_error + 10


def test_a_fifth_of_the_boxes_may_be_bad(rng):
    truth = pattern()
    given = sky_exposure(rng, 1000.0, truth)
    image = given.image.copy()
    image[64:96, 32:64] += 1000 * np.sqrt(1000)
    for y in range(0, SHAPE[0], 32):
        for x in range(0, SHAPE[1], 32):
            if rng.random() < 0.2:
                image[y : y + 32, x : x + 32] += 300

    found = solved(given.with_values(image=image), frame_of(truth))

    assert abs(found.scale - 1000) < 5 * found.scale_error
    assert found.scale_error < 15


def test_bad_pixels_may_have_any_value(rng):
    truth = pattern()
    given = sky_exposure(rng, 1000.0, truth)
    where = rng.random(SHAPE) < 0.05
    scales = []
    for value in (-1e6, 1e9, np.nan):
        image = given.image.copy()
        image[where] = value
        mask = given.mask.with_flagged(where, "SAT" if np.isfinite(value) else "NO_DATA")
        scales.append(solved(given.with_values(image=image, mask=mask), frame_of(truth)).scale)

    assert scales[0] == scales[1] == scales[2]


def test_an_origin_that_is_not_zero_gives_the_same_scale(rng):
    truth = pattern()
    given = sky_exposure(rng, 1000.0, truth)
    moved = given.with_values(origin=type(given.origin)(700, 31))

    one = solved(given, frame_of(truth))
    other = solved(moved, frame_of(truth, origin=(700, 31)))

    assert one.scale == other.scale


def test_noise_of_the_frame_is_corrected_for_unless_the_exposure_is_in_it(rng):
    truth, noise = pattern(size=0.004), 0.001
    frame = frame_of(truth, variance=noise**2)
    scales = []
    for _ in range(6):
        image = frame.image + rng.normal(0, noise, frame.image.shape).astype(np.float32)
        given = sky_exposure(rng, 4000.0, truth)
        inputs = [
            apply_input(given, replace(frame, image=image), in_build=within)
            for within in (False, True)
        ]
        scales.append([solve_visit([each], ApplyConfig()).scale for each in inputs])

    corrected_for, plain = np.mean(scales, axis=0)
    assert corrected_for == pytest.approx(4000, rel=0.015)
    assert plain < 0.97 * corrected_for


def camera(rng, *, levels=1000.0, seen=range(9)):
    """Nine detectors, the pattern on one of them only."""
    truth = np.zeros((128, 160))
    inputs, places = [], {}
    for number in range(9):
        its = pattern(truth.shape, size=0.01) if number == 4 else truth
        given = sky_exposure(rng, levels, its, name=f"d{number}")
        if number in seen:
            inputs.append(apply_input(given, frame_of(its), str(number)))
        places[str(number)] = Affine(
            np.eye(2), np.array([170.0 * (number % 3), 140.0 * (number // 3)])
        )
    return inputs, places


def test_one_detector_with_pattern_tells_the_scale_of_all(rng):
    inputs, places = camera(rng)

    found = solve_visit(inputs, ApplyConfig(), places=places)

    assert abs(found.scale - 1000) < 4 * found.scale_error
    assert len(found.detectors) == 9
    scales = {layer.scale for each in found.detectors for layer in each.layers if layer.sky_file}
    assert scales == {found.scale}


def test_detectors_without_pattern_do_not_crash(rng):
    inputs, places = camera(rng, seen=[0])

    with warnings_allowed():
        found = solve_visit(inputs, ApplyConfig(), places=places)

    assert np.isfinite(found.scale)


def test_the_order_of_detectors_does_not_matter(rng):
    inputs, places = camera(rng)

    one = solve_visit(inputs, ApplyConfig(), places=places)
    other = solve_visit(inputs[::-1], ApplyConfig(), places=places)

    assert one.scale == pytest.approx(other.scale, rel=1e-9)


def test_detectors_may_lie_nobody_knows_where(rng):
    inputs, _ = camera(rng)

    found = solve_visit(inputs, ApplyConfig())

    assert abs(found.scale - 1000) < 4 * found.scale_error
    assert found.order == 0
    with pytest.raises(AlgorithmError, match="nothing tells where the detectors lie"):
        solve_visit(inputs, ApplyConfig(do_bg_model2=True))


def cross(shape, n):
    """Return a cross-shaped frame of a few values with some noise, as LSST tests it."""
    y, x = np.linspace(-1, 1, n[0])[:, None], np.linspace(-1, 1, n[1])
    return np.where((np.abs(y) < 0.3) | (np.abs(x) < 0.3), 1.0, -1.0)


@pytest.mark.parametrize("ratio", [None, 1.1])
@pytest.mark.parametrize("undo", [False, True])
def test_two_detectors_with_a_restored_background(rng, ratio, undo):
    shape, n = (1000, 1024), (31, 32)
    values = cross(shape, n) + rng.normal(0, 0.1, n)
    values -= values.mean()
    frames, givens = [], []
    for detector in "12":
        frame = replace(frame_of(np.zeros(shape), bin_size=32), image=values.astype(np.float32))
        sky = frame.models()[0].evaluate(shape)
        layer = BackgroundLayer(ConstantBackground(3000.0), "SUBTRACT", stage="calibration")
        hdus = tuple(background_to_hdus(Background((layer,), "adu")))
        image = 5 * sky + rng.normal(0, 25, shape)
        given = exposure(image, variance=625.0, name=f"d{detector}")
        givens.append(given.with_values(extensions=hdus))
        frames.append(frame)
    places = {"1": Affine.identity(), "2": Affine(np.eye(2), np.array([1100.0, 0.0]))}
    config = ApplyConfig(
        objects=MaskObjectsConfig(threshold=(6.0, 6.0)),
        undo_bg_model1=undo,
        keep_averages=False,
        do_bg_model2=not undo,
    )
    factor = None if ratio is None else np.full(shape, ratio, np.float32)

    inputs = [
        apply_input(given, frame, detector, config=config, factor=factor)
        for given, frame, detector in zip(givens, frames, "12", strict=True)
    ]
    found = solve_visit(inputs, config, places=places)

    assert found.scale == pytest.approx(5 * (ratio or 1), abs=0.1)
    means = []
    for given, each in zip(givens, found.detectors, strict=True):
        layers = list(each.layers)
        if factor is not None:
            layers = [divided_layers(layers, factor)]
        image = with_layers(given, [*restoring_layers(given), *layers]).image
        means.append(image.mean(dtype=float))
    expected = np.mean([given.image.mean(dtype=float) for given in givens]) + 3000 if undo else 0.0
    limit = 0.01 + (0 if undo else 3 * 25 / np.sqrt(2 * 1000 * 1024))
    assert np.mean(means) == pytest.approx(expected, abs=limit)


def test_layers_add_up_to_what_was_taken_off_and_undo_puts_it_back(rng):
    truth = pattern()
    given = sky_exposure(
        rng, 1000.0, truth, smooth=gradient(rng), flags={"CR": rng.random(SHAPE) < 0.01}
    )
    config = ApplyConfig(do_bg_model2=True)
    inputs = [apply_input(given, frame_of(truth), config=config)]
    solution = solve_visit(inputs, config)

    after = corrected(given, solution)
    before = without_layers(after)

    total = Background(solution.detectors[0].layers).evaluate(SHAPE)
    limit = 2e-6 * np.abs(given.image).max()
    np.testing.assert_allclose(given.image - total, after.image, rtol=0, atol=limit)
    np.testing.assert_array_equal(before.image, given.image)
    for one, other in ((after, given), (before, given)):
        np.testing.assert_array_equal(one.mask.array, other.mask.array)
        np.testing.assert_array_equal(one.variance, other.variance)
    assert not before.extensions
    with pytest.raises(NothingToDoError, match="carries no layer"):
        without_layers(before)


def test_undo_leaves_earlier_layers_alone(rng):
    layer = BackgroundLayer(ConstantBackground(40.0), "SUBTRACT", stage="match-bg")
    given = with_layers(sky_exposure(rng, 1000.0, pattern()), [layer])
    solution = solved(given, frame_of(pattern()))

    after = with_layers(given, [*restoring_layers(given), *solution.detectors[0].layers])
    before = without_layers(after)

    np.testing.assert_array_equal(before.image, given.image)
    assert [hdu.header["BKGSTAGE"] for hdu in before.extensions if hdu.name == "BKG"] == [
        "match-bg"
    ]


def test_components_have_scales_of_their_own(rng):
    truth = pattern()
    y, _ = np.indices(SHAPE, float)
    second = np.sin(y / 11.0)
    frame = frame_of(truth)
    frame = replace(frame, components=frame_of(0.01 * second).image[None])
    given = sky_exposure(rng, 1000.0, truth + 0.003 * second)

    found = solved(given, frame)

    assert found.component_scales[0] == pytest.approx(300, abs=30)
    assert len(found.detectors[0].layers) == 3


def test_the_background_may_be_left_in(rng):
    truth = pattern()
    given = sky_exposure(rng, 1000.0, truth)
    none = ApplyConfig(bg_model1=FocalPlaneConfig(model="none"))

    for config in (none, ApplyConfig(undo_bg_model1=True)):
        image = corrected(given, solved(given, frame_of(truth), config)).image
        assert image.mean(dtype=float) == pytest.approx(given.image.mean(dtype=float), abs=0.05)


def test_the_frame_may_be_left_in(rng):
    truth = pattern()
    given = sky_exposure(rng, 1000.0, truth)

    found = solved(given, frame_of(truth), ApplyConfig(do_sky=False))

    assert found.scale == 0
    assert len(found.detectors[0].layers) == 1


def test_cells_of_the_focal_plane_come_off_before_and_after(rng):
    truth = pattern()
    given = sky_exposure(rng, 1000.0, truth, smooth=gradient(rng))
    cells = FocalPlaneConfig(model="cells", x_size=600.0, y_size=600.0)
    config = replace(LSST, bg_model1=cells, do_bg_model2=True)
    config = replace(config, sky=replace(config.sky, fit="background", robust_start=True))

    found = solve_visit([apply_input(given, frame_of(truth), config=config)], config)

    assert found.scale == pytest.approx(1000, rel=0.1)
    assert len(found.detectors[0].layers) == 3
    assert abs(corrected(given, found).image.mean(dtype=float)) < 15


def test_too_few_superpixels_are_an_error(rng):
    given = sky_exposure(rng, 1000.0, pattern(), flags={"BAD": np.ones(SHAPE, bool)})

    with pytest.raises(AlgorithmError, match="exposure: the scale of the sky frame needs"):
        solved(given, frame_of(pattern()))


def test_the_steps_one_by_one_give_the_scale_too(rng):
    truth = pattern()
    frame = frame_of(truth)
    given = sky_exposure(rng, 1000.0, truth)

    solution = solve_scales([measure_scale(given, frame.background())])
    flat = subtract_sky_frame(given, frame.background(), solution.scale[0])

    assert abs(solution.scale[0] - 1000) < 5 * solution.error + 5
    assert np.corrcoef(flat.image.ravel(), truth.ravel())[0, 1] == pytest.approx(0, abs=0.02)
    np.testing.assert_allclose(without_layers(flat).image, given.image, rtol=1.2e-7)


@pytest.mark.parametrize(
    ("width", "limits"), [(10, [0, 2, 5, 7, 10]), (7, [0, 1, 3, 5, 7]), (3, [0, 1, 2, 3])]
)
def test_boxes_divide_a_detector_downwards(width, limits):
    from skytool.core.background.cell_grid import CellGrid
    from skytool.stages.skyframe import sample_boxes

    config = SkyMeasurementConfig(x_num_samples=4, y_num_samples=4)

    boxes = sample_boxes((40, width), config, CellGrid.from_counts((40, width), (2, 2)))

    assert boxes.x_edges.tolist() == limits


def test_frames_of_other_shapes_are_refused(rng):
    given = sky_exposure(rng, 1000.0, pattern())

    with pytest.raises(IncompatibleError, match="has 416 x 352 pixels"):
        measure_scale(given, frame_of(pattern((352, 400))).background())
    assert isinstance(apply_input(given, frame_of(pattern())), ApplyInput)
