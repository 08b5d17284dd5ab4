"""Whatever the pixels, a warp has a value in all planes or in none."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skytool.errors import NothingToDoError
from skytool.models.exposure import Exposure, Origin
from skytool.models.mask import Mask
from skytool.models.sky.geometry import TargetGrid
from skytool.stages.warp import Detector, WarpConfig, warp_visit
from tests.cli.warping import SCALE, sky_cards

KERNELS = ("lanczos3", "lanczos4", "lanczos5", "spline3", "bilinear", "nearest", "exact")
MARKED = ("BAD", "SAT", "CR", "NO_DATA", "EDGE", "SUSPECT")


def exposure(image, *, variance=None, mask=None, sky=None, name="in.fits"):
    return Exposure(
        image=image.astype(np.float32),
        mask=mask or Mask.empty(image.shape),
        variance=np.ones(image.shape, np.float32) if variance is None else variance,
        wcs=WCS(sky or sky_cards(image.shape)),
        header=fits.Header(),
        name=name,
    )


def grid(shape, **options):
    return TargetGrid(WCS(sky_cards(shape, **options)), shape, Origin(120, 7), "grid")


def damaged(rng, shape, share):
    """An exposure with values that are lost, infinite or huge, and flags, in no order."""
    image = rng.normal(100, 5, shape)
    variance = rng.uniform(1, 9, shape).astype(np.float32)
    for value in (np.nan, np.inf, -np.inf, 1e18):
        image[rng.random(shape) < share / 4] = value
    for value in (np.inf, 1e-30, 1e30):
        variance[rng.random(shape) < share / 6] = value
    mask = Mask.empty(shape)
    for plane in MARKED:
        mask = mask.with_flagged(rng.random(shape) < share / 6, plane)
    lost = ~np.isfinite(image) | ~np.isfinite(variance) | mask.any_of(["NO_DATA"])
    # as the reader leaves them: lost in all planes
    image[lost], variance[lost] = np.nan, np.inf
    return exposure(image, variance=variance, mask=mask.with_flagged(lost, "NO_DATA"))


def assert_planes_agree(result):
    warped = result.exposure
    empty = warped.mask.any_of(["NO_DATA"])
    np.testing.assert_array_equal(empty, ~np.isfinite(warped.image))
    np.testing.assert_array_equal(np.isnan(warped.image), empty)
    np.testing.assert_array_equal(empty, np.isinf(warped.variance))
    assert not np.isnan(warped.variance).any()
    assert (warped.variance > 0).all()
    np.testing.assert_array_equal(empty, result.n_image == 0)
    assert (warped.mask.array[empty] == warped.mask.bitmask(["NO_DATA"])).all()
    assert result.covered_pixels == np.count_nonzero(~empty)
    if result.masked_fraction is not None:
        assert np.isfinite(result.masked_fraction).all()
        assert result.masked_fraction.min() >= 0
        assert result.masked_fraction.max() <= 1


sizes = st.tuples(st.integers(1, 45), st.integers(1, 45))


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 1 << 32),
    shape=sizes,
    target=sizes,
    share=st.sampled_from([0.0, 0.01, 0.1, 0.6, 1.0]),
    kernel=st.sampled_from(KERNELS),
    fill=st.sampled_from(["interp", "zero", "none"]),
    scale=st.sampled_from([0.4, 1.0, 1.0, 2.3]),
    rotation=st.sampled_from([0.0, 0.0, 17.0, 90.0]),
    shift=st.tuples(st.floats(-30, 30), st.floats(-30, 30)),
    overlap=st.sampled_from(["last", "first", "best-variance", "mean"]),
)
def test_no_value_is_lost_without_a_flag(
    seed, shape, target, share, kernel, fill, scale, rotation, shift, overlap
):
    rng = np.random.default_rng(seed)
    detectors = [Detector(damaged(rng, shape, share)) for _ in range(rng.integers(1, 3))]
    config = WarpConfig(
        kernel=kernel,
        mask_kernel="nearest" if kernel == "nearest" else "bilinear",
        fill=fill,
        overlap=overlap,
        masked_fraction=bool(rng.integers(2)),
        surface_brightness=bool(rng.integers(2)),
    )
    onto = grid(target, scale=scale * SCALE, rotation=rotation, shift=shift)

    try:
        result = warp_visit(detectors, onto, config)
    except NothingToDoError:
        return

    assert_planes_agree(result)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.05, 0.7])
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.2])
def test_the_adaptive_kernel_loses_no_value_without_a_flag_either(rng, share, scale):
    detectors = [Detector(damaged(rng, (40, 33), share)) for _ in range(2)]
    onto = grid((50, 61), scale=scale * SCALE, rotation=25)
    config = WarpConfig(kernel="adaptive", masked_fraction=True)

    assert_planes_agree(warp_visit(detectors, onto, config))


@pytest.mark.parametrize(
    ("kernel", "scale"),
    [
        ("lanczos3", 1.0),
        ("lanczos3", 2.0),
        ("lanczos5", 1.0),
        ("spline3", 0.9),
        ("bilinear", 1.1),
        ("exact", 1.0),
    ],
)
def test_variances_are_those_of_many_realisations(rng, kernel, scale):
    shape = (64, 48)
    sky = sky_cards(shape, kind="SIP", rotation=21)
    variance = rng.uniform(0.5, 2.0, shape).astype(np.float32)
    onto = grid((50, 40), scale=scale * SCALE)
    config = WarpConfig(kernel=kernel)
    n, total = 200, 0.0
    for _ in range(n):
        noise = rng.normal(0, np.sqrt(variance))
        result = warp_visit([Detector(exposure(noise, variance=variance, sky=sky))], onto, config)
        total = total + result.exposure.image.astype(float) ** 2

    good = np.isfinite(result.exposure.image)
    assert np.count_nonzero(good) > 400
    ratio = (total / n)[good] / result.exposure.variance[good]
    # each pixel scatters by sqrt(2 / 200) = 0.1, the mean of hundreds that are nearly independent
    # by less than 0.005
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.02)


def test_filled_pixels_have_the_variance_of_a_guess(rng):
    """Two thirds of a star's light come from pixels that were filled in: its variance says so."""
    shape = (60, 50)
    y, x = np.indices(shape)
    star = 1e4 * np.exp(-((y - 30.3) ** 2 + (x - 25.4) ** 2) / (2 * 1.3**2))
    lost = Mask.empty(shape).with_flagged((abs(y - 30) < 2) & (abs(x - 25) < 2), "SAT")
    onto = grid((50, 40), shift=(0.4, 0.3))
    plain, filled = (
        warp_visit([Detector(exposure(star, mask=mask))], onto, WarpConfig()).exposure
        for mask in (None, lost)
    )

    at = np.s_[22:28, 17:23]
    wrong = np.abs(filled.image - plain.image)[at]
    assert wrong.max() > 300, "the peak cannot be guessed"
    assert (wrong < 5 * np.sqrt(filled.variance)[at]).all()
    far = np.s_[:15, :]
    np.testing.assert_array_equal(filled.variance[far], plain.variance[far])


def test_filled_pixels_are_never_better_than_the_best_of_the_others():
    """Between steep neighbours a cubic runs below zero, and a flat image adds no scatter."""
    variance = np.ones((30, 40), np.float32)
    variance[15, [17, 22]] = 900.0
    columns = np.broadcast_to(np.isin(np.arange(40), [19, 20]), (30, 40))
    bad = Mask.empty((30, 40)).with_flagged(columns, "BAD")
    flat = exposure(np.full((30, 40), 7.0), variance=variance, mask=bad)

    warped = warp_visit([Detector(flat)], grid((30, 40)), WarpConfig()).exposure

    assert warped.variance.min() == 1.0
