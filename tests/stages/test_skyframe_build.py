import warnings
from dataclasses import replace

import numpy as np
import pytest

from skytool.core.skyframe.focal_plane_grid import Affine
from skytool.errors import AlgorithmError, IncompatibleError, SkytoolWarning
from skytool.models.background.hdus import (
    Background,
    BackgroundLayer,
    ConstantBackground,
    background_to_hdus,
)
from skytool.stages.skyframe import (
    BackgroundConfig,
    BuildConfig,
    CombineConfig,
    FocalPlaneConfig,
    MaskObjectsConfig,
    average_backgrounds,
    build_sky_frames,
    measure_background,
)
from tests.stages.skies import (
    LEVELS,
    SHAPE,
    build_input,
    built,
    cell_means,
    exposure,
    gradient,
    low_order,
    pattern,
    sky_exposure,
)

BARE = BuildConfig(objects=MaskObjectsConfig(n_iter=0), passes=1)


def noise_of_mean(frame, levels=LEVELS):
    """Error of a superpixel in the mean of exposures with the weights that make it least."""
    return 1 / np.sqrt(np.sum(levels) * np.median(frame.cells.areas))


def night(rng, levels=LEVELS, *, gradients=True, objects=None, **options):
    truth = pattern()
    return [
        sky_exposure(
            rng,
            level,
            truth,
            smooth=gradient(rng) if gradients else 0.0,
            objects=0.0 if objects is None else objects[i],
            name=f"e{i}",
            **options,
        )
        for i, level in enumerate(levels)
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_superpixels_are_right_to_the_photon_noise(seed):
    frame = built(night(np.random.default_rng(seed))).frames[""]

    error = frame.image - cell_means(pattern(), frame.cells)

    # 143 superpixels tell the error to 6 %.
    assert np.std(error - low_order(error)) < 1.2 * noise_of_mean(frame)
    assert frame.n_image.min() >= 7
    np.testing.assert_allclose(np.sqrt(np.median(frame.variance)), noise_of_mean(frame), rtol=0.15)


def test_levels_are_those_of_the_sky(rng):
    result = built(night(rng, gradients=False))

    found = [report.level for report in result.exposures]

    errors = np.sqrt(np.array(LEVELS) / (SHAPE[0] * SHAPE[1]))
    assert (np.abs(np.subtract(found, LEVELS)) < 5 * errors + 2e-4 * np.array(LEVELS)).all()


def test_scaling_an_exposure_does_not_change_the_frame(rng):
    exposures = night(rng)
    scaled = exposures.copy()
    scaled[2] = scaled[2].with_values(image=3 * scaled[2].image, variance=9 * scaled[2].variance)

    one, other = (built(each).frames[""] for each in (exposures, scaled))

    np.testing.assert_allclose(other.image, one.image, rtol=0, atol=1e-5 * np.abs(one.image).max())


def test_the_order_of_exposures_does_not_change_the_frame(rng):
    exposures = night(rng)

    one, other = built(exposures), built(exposures[::-1])

    np.testing.assert_allclose(other.frames[""].image, one.frames[""].image, rtol=0, atol=1e-8)


def test_bad_pixels_may_have_any_value(rng):
    exposures = night(rng)
    where = rng.random(SHAPE) < 0.05
    frames = []
    for value in (-1e6, 1e9, np.nan):
        changed = []
        for given in exposures:
            image = given.image.copy()
            image[where] = value
            planes = "SAT" if np.isfinite(value) else "NO_DATA"
            changed.append(
                given.with_values(image=image, mask=given.mask.with_flagged(where, planes))
            )
        frames.append(built(changed).frames[""].image)

    np.testing.assert_array_equal(frames[0], frames[1])
    np.testing.assert_array_equal(frames[0], frames[2])


def field(rng, n=300, width=(3.0, 4.5)):
    """Stars and two wide galaxies, somewhere on a sky larger than the detector."""
    sky = np.zeros((SHAPE[0] + 300, SHAPE[1] + 300))
    yy, xx = np.indices((81, 81)) - 40
    for _ in range(n):
        y, x = (int(rng.uniform(40, size - 41)) for size in sky.shape)
        sigma, flux = rng.uniform(*width) / 2.35, 500 * rng.random() ** (-1 / 0.9)
        profile = (1 + (yy**2 + xx**2) / (2 * sigma**2) / 2.5) ** -2.5
        sky[y - 40 : y + 41, x - 40 : x + 41] += min(flux, 3e5) * profile / profile.sum()
    yy, xx = np.indices(sky.shape)
    for y, x in ((260, 300), (400, 480)):
        sky += 60 * np.exp(-np.hypot(yy - y, xx - x) / 15)  # sinks in the noise at 60 pixels
    return sky


def cut(sky, dy, dx):
    return sky[dy : dy + SHAPE[0], dx : dx + SHAPE[1]]


def test_dithered_stars_and_galaxies_leave_no_trace(rng):
    sky = field(rng)
    shifts = rng.integers(0, 300, (len(LEVELS), 2))
    objects = [cut(sky, *shift) for shift in shifts]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkytoolWarning)
        frame = built(night(rng, gradients=False, objects=objects)).frames[""]

    error = frame.image - cell_means(pattern(), frame.cells)
    pull = (error - np.median(error)) / np.sqrt(frame.variance)
    assert np.abs(pull).max() < 5


def test_a_field_without_dithers_is_noticed(rng):
    objects = [cut(field(rng), 100, 100)] * len(LEVELS)

    with pytest.warns(SkytoolWarning, match="lie on the same pixels"):
        result = built(night(rng, gradients=False, objects=objects))

    assert result.mask_overlap > 0.5


def test_different_fields_do_not_alarm(rng):
    shifts = rng.integers(0, 300, (len(LEVELS), 2))
    objects = [cut(field(rng, 60), *shift) for shift in shifts]

    result = built(night(rng, gradients=False, objects=objects))

    assert result.mask_overlap < 0.3


def test_a_trail_in_one_exposure_is_as_if_it_were_not_there(rng):
    exposures = night(rng, LEVELS[:6], gradients=False)
    trail = np.zeros(SHAPE, bool)
    trail[:, 200:206] = True
    image = exposures[3].image.copy()
    image[trail] = 6e4
    spoilt = exposures.copy()
    spoilt[3] = exposures[3].with_values(image=image)  # without any flag

    others = exposures[:3] + exposures[4:]

    one, other = (built(each, BuildConfig()).frames[""] for each in (others, spoilt))

    column = np.s_[:, 6]
    difference = (other.image - one.image)[column] / np.sqrt(one.variance[column])
    assert np.abs(difference).max() < 1


def test_a_sharp_edge_of_the_pattern_is_no_object(rng):
    truth = pattern()
    truth[200:233, 101:150] -= 0.25  # a shadow whose edges lie within superpixels
    exposures = [sky_exposure(rng, level, truth, name=f"e{i}") for i, level in enumerate(LEVELS)]

    with pytest.warns(SkytoolWarning, match="objects or sharp edges lie on the same pixels"):
        frame = built(exposures).frames[""]

    error = frame.image - cell_means((1 + truth) / (1 + truth.mean()) - 1, frame.cells)
    assert np.abs(error - np.median(error)).max() < 6 * noise_of_mean(frame)


def test_an_exposure_with_another_pattern_is_left_out(rng):
    exposures = night(rng, gradients=False)
    exposures[5] = sky_exposure(rng, 900.0, -pattern(), name="odd")

    with pytest.warns(SkytoolWarning, match="is left out"):
        result = built(exposures)

    assert [report.used for report in result.exposures].count(False) == 1
    assert "times the pattern of the others" in result.exposures[5].reason
    assert result.skipped["v5", ""] == result.exposures[5].reason
    assert result.frames[""].n_image.max() == 7


def test_components_describe_what_varies(rng):
    y, _ = np.indices(SHAPE, float)
    second = 0.01 * np.sin(y / 19.0)
    strengths = rng.normal(0, 1, len(LEVELS))
    exposures = [
        sky_exposure(rng, level, pattern() + strength * second, name=f"e{i}")
        for i, (level, strength) in enumerate(zip(LEVELS, strengths, strict=True))
    ]

    result = built(exposures, BuildConfig(components=2))

    found = result.frames[""].components[0]
    expected = cell_means(second, result.frames[""].cells)
    expected -= low_order(expected)  # smooth backgrounds take that off
    assert abs(np.corrcoef(found.ravel(), expected.ravel())[0, 1]) > 0.97
    amplitudes = [report.strengths[0] for report in result.exposures]
    assert abs(np.corrcoef(amplitudes, strengths)[0, 1]) > 0.97


def test_more_components_than_exposures_are_refused(rng):
    with pytest.raises(AlgorithmError, match="do not tell 4 patterns"):
        built(night(rng, LEVELS[:4]), BuildConfig(components=4))


def test_backgrounds_of_several_layers_or_other_cells_are_no_superpixels_of_one_exposure(rng):
    one, other = (measure_background(each) for each in night(rng, LEVELS[:2]))
    twice = one.with_layer(one.layers[0])
    coarse = measure_background(night(rng, LEVELS[:1])[0], BackgroundConfig(x_bin_size=64.0))

    with pytest.raises(IncompatibleError, match="a background of 2 layers is not the superpixels"):
        average_backgrounds([other, twice])
    with pytest.raises(IncompatibleError, match=r"background 2 has \(11, 7\) cells"):
        average_backgrounds([one, coarse])


def test_superpixels_without_data_are_filled_and_flagged(rng):
    hole = np.zeros(SHAPE, bool)
    hole[64:128, 96:192] = True
    exposures = night(rng, gradients=False, flags={"BAD": hole})

    between, median = (
        built(exposures, BuildConfig(fill=fill)).frames[""] for fill in ("interpolate", "median")
    )

    flagged = between.mask.any_of(["NO_DATA"])
    assert flagged.sum() == 2 * 3
    assert not np.isfinite(between.variance[flagged]).any()
    assert np.isfinite(between.image).all()
    np.testing.assert_allclose(median.image[flagged], np.median(median.image[~flagged]), rtol=1e-6)


def test_superpixels_need_enough_exposures(rng):
    exposures = night(rng, LEVELS[:5], gradients=False)
    hole = np.zeros(SHAPE, bool)
    hole[:64, :64] = True
    for i in range(2):
        mask = exposures[i].mask.with_flagged(hole, "BAD")
        exposures[i] = exposures[i].with_values(mask=mask)

    few, many = (built(exposures, BuildConfig(min_exposures=n)).frames[""] for n in (3, 4))

    assert not few.mask.any_of(["NO_DATA"]).any()
    assert many.mask.any_of(["NO_DATA"]).sum() == 4


@pytest.mark.parametrize("number", [1, 2])
def test_too_few_exposures_are_refused(rng, number):
    with pytest.raises(
        AlgorithmError,
        match=f"needs 3 exposures and there {'is' if number == 1 else 'are'} {number}",
    ):
        built(night(rng, LEVELS[:number]))


def test_one_exposure_makes_a_frame_without_scatter_if_asked_to(rng):
    config = replace(BARE, min_exposures=1, combine=CombineConfig(by="scatter"))

    frame = built(night(rng, LEVELS[:1], gradients=False), config).frames[""]

    assert np.isnan(frame.variance).all()
    assert np.isfinite(frame.image).all()


def test_exposures_without_their_sky_are_refused_with_a_hint(rng):
    exposures = [
        given.with_values(image=given.image - np.float32(level))
        for given, level in zip(night(rng, gradients=False), LEVELS, strict=True)
    ]

    with (
        pytest.warns(SkytoolWarning, match="is left out"),
        pytest.raises(AlgorithmError, match="has a sky level of") as caught,
    ):
        built(exposures)

    assert "stored with them" in caught.value.hint


def test_stored_backgrounds_are_put_back_first(rng):
    exposures = night(rng, gradients=False)
    plain = built(exposures).frames[""]
    stored = []
    for given, level in zip(exposures, LEVELS, strict=True):
        layer = BackgroundLayer(ConstantBackground(level), "SUBTRACT", stage="calibration")
        hdus = background_to_hdus(Background((layer,), "adu"))
        image = given.image - np.float32(level)
        stored.append(given.with_values(image=image, extensions=tuple(hdus)))

    restored = built(stored).frames[""]

    np.testing.assert_allclose(restored.image, plain.image, rtol=0, atol=1e-6)


def test_stored_backgrounds_of_another_unit_are_refused(rng):
    layer = BackgroundLayer(ConstantBackground(300.0), "SUBTRACT", stage="calibration")
    hdus = tuple(background_to_hdus(Background((layer,), "nJy")))
    exposures = night(rng, LEVELS[:3], gradients=False)
    exposures[1] = exposures[1].with_values(extensions=hdus)

    with pytest.raises(IncompatibleError, match="is in 'adu' and its stored background in 'nJy'"):
        built(exposures)


def test_one_dark_exposure_is_left_out_and_the_others_are_used(rng):
    exposures = night(rng, gradients=False)
    exposures[0] = exposures[0].with_values(image=exposures[0].image - np.float32(LEVELS[0]))

    with pytest.warns(SkytoolWarning, match="is left out"):
        result = built(exposures)

    assert not result.exposures[0].used
    assert "sky level" in result.exposures[0].reason


def test_a_masked_exposure_is_listed_and_left_out(rng):
    exposures = night(rng, gradients=False)
    exposures[2] = exposures[2].with_values(
        mask=exposures[2].mask.with_flagged(np.ones(SHAPE, bool), "BAD")
    )

    with pytest.warns(SkytoolWarning, match="is left out"):
        result = built(exposures)

    assert result.exposures[2].reason == "has no superpixel with data"


def test_exposures_of_different_shapes_filters_or_places_are_refused(rng):
    good = night(rng, LEVELS[:4], gradients=False)
    other = sky_exposure(rng, 900.0, pattern((352, 400)), name="narrow")
    with pytest.raises(IncompatibleError, match="narrow has 400 x 352 pixels"):
        built([*good, other])
    moved = sky_exposure(rng, 900.0, pattern(), origin=(5, 7), name="moved")
    with pytest.raises(IncompatibleError, match="moved has 416 x 352 pixels from x 7, y 5"):
        built([*good, moved])
    inputs = [
        build_input(given, f"v{i}", filter_name="r" if i else "g") for i, given in enumerate(good)
    ]
    with pytest.raises(IncompatibleError, match="filters differ"):
        build_sky_frames(inputs, BuildConfig())


def test_a_detector_twice_in_a_visit_is_refused(rng):
    given = night(rng, LEVELS[:2])

    with pytest.raises(IncompatibleError, match="both detector 3 of visit v"):
        build_sky_frames([build_input(each, "v", "3") for each in given], BuildConfig())


def test_an_origin_that_is_not_zero_gives_the_same_frame(rng):
    exposures = night(rng)
    moved = [given.with_values(origin=type(given.origin)(300, 1000)) for given in exposures]

    one, other = (built(each).frames[""] for each in (exposures, moved))

    np.testing.assert_array_equal(one.image, other.image)
    assert other.origin == (300, 1000)


def two_detectors(rng, levels=LEVELS[:5]):
    inputs, truths = [], {"1": pattern(), "2": pattern()[::-1] + 0.03}
    mean = 0.015
    for i, level in enumerate(levels):
        tilt = rng.normal(0, 0.05)
        for detector, truth in truths.items():
            x = np.arange(SHAPE[1]) + (440 if detector == "2" else 0)
            smooth = tilt * (x / 856 - 0.5)
            given = sky_exposure(rng, level, truth, smooth=smooth, name=f"v{i}d{detector}")
            inputs.append(build_input(given, f"v{i}", detector))
    places = {"1": Affine.identity(), "2": Affine(np.eye(2), np.array([440.0, 0.0]))}
    return inputs, {key: (1 + truth) / (1 + mean) - 1 for key, truth in truths.items()}, places


def test_detectors_of_a_camera_share_levels_and_gradients(rng):
    inputs, truths, places = two_detectors(rng)

    result = build_sky_frames(inputs, BuildConfig(), places=places)

    errors = {
        key: frame.image - cell_means(truths[key], frame.cells)
        for key, frame in result.frames.items()
    }
    # a tilt that all exposures share belongs to the pattern
    joined = np.hstack([errors["1"], errors["2"]])
    assert np.std(joined - low_order(joined)) < 1.3 * noise_of_mean(result.frames["1"], LEVELS[:5])
    assert list(result.frames) == ["1", "2"]


def test_several_detectors_need_their_places(rng):
    inputs, _, _ = two_detectors(rng)

    with pytest.raises(IncompatibleError, match="where detector 1 lies"):
        build_sky_frames(inputs, BuildConfig())
    flat = BuildConfig(large_scale=FocalPlaneConfig(model="none"))
    with pytest.warns(SkytoolWarning, match="is left out"):
        assert set(build_sky_frames(inputs, flat).frames) == {"1", "2"}


def test_a_detector_with_too_few_exposures_is_named(rng):
    inputs, _, places = two_detectors(rng)
    few = [each for each in inputs if each.detector == "1" or each.visit in {"v0", "v1"}]

    with pytest.raises(AlgorithmError, match="detector 2 has data in 2 exposures"):
        build_sky_frames(few, BuildConfig(), places=places)


def test_cells_of_the_focal_plane_take_gradients_off_too(rng):
    exposures = night(rng, gradients=False)
    config = replace(
        BARE,
        background=BackgroundConfig(block_size=1, clip=3.0),
        large_scale=FocalPlaneConfig(model="cells", x_size=600.0, y_size=600.0),
        combine=CombineConfig(by="scatter", clip=3.0),
        fill="median",
    )

    frame = built(exposures, config).frames[""]

    error = frame.image - cell_means(pattern(), frame.cells)
    assert np.std(error - low_order(error)) < 2 * noise_of_mean(frame)
    assert frame.chi2 is None


@pytest.mark.parametrize(
    ("length", "size", "number"),
    [(4176, 32, 131), (2048, 32, 64), (100, 32, 3), (48, 32, 2), (47, 32, 1), (10, 32, 1)],
)
def test_the_number_of_superpixels_is_the_nearest(length, size, number):
    from skytool.stages.skyframe import superpixel_grid

    config = BackgroundConfig(x_bin_size=size, y_bin_size=size)

    assert superpixel_grid((length, 2 * length), config).shape[0] == number


def test_superpixels_tell_their_noise_whatever_the_size_of_blocks(rng):
    exposures = night(rng, LEVELS[:4], gradients=False)
    sizes = [BackgroundConfig(x_bin_size=16, y_bin_size=16, block_size=n) for n in (4, 64)]

    one, other = (built(exposures, BuildConfig(background=size)).frames[""] for size in sizes)

    np.testing.assert_array_equal(one.image, other.image)
    assert np.isfinite(other.variance).all()


def test_exposures_are_read_once_while_there_is_room(rng):
    calls = []
    inputs = []
    for i, given in enumerate(night(rng, LEVELS[:4])):
        plain = build_input(given, f"v{i}")

        def load(plain=plain, i=i):
            calls.append(i)
            return plain.load()

        inputs.append(replace(plain, load=load))

    build_sky_frames(inputs, BuildConfig())

    assert sorted(calls) == [0, 1, 2, 3]


def test_a_frame_of_constant_exposures_is_flat():
    exposures = [exposure(np.full(SHAPE, level), name=f"e{level}") for level in LEVELS]

    frame = built(exposures, replace(BARE, combine=CombineConfig(by="scatter"))).frames[""]

    np.testing.assert_allclose(frame.image, 0, atol=1e-6)
