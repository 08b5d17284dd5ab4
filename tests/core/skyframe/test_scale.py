from dataclasses import replace

import numpy as np
import pytest

from skytool.core.skyframe.scale import ScaleRule, ScaleSamples, solve_scales, solve_with_order
from skytool.errors import AlgorithmError

LSST = ScaleRule(
    clip_about="zero",
    weighted=False,
    robust_start=False,
    min_samples=1,
    min_fraction=0.0,
    frame_noise=False,
)
PLAIN = replace(LSST, iterations=0)


def samples(image, sky, *, error=1.0, smooth=None, variance=np.nan):
    image, sky = np.asarray(image, float), np.asarray(sky, float)
    n = len(image)
    return ScaleSamples(
        image=image,
        sky=sky.reshape(n, -1),
        error=np.full(n, error),
        sky_variance=np.full(n, variance),
        smooth=np.empty((n, 0)) if smooth is None else smooth,
    )


SKY = np.array([0.01, -0.02, 0.03, 0.005, -0.015, 0.02, -0.01, 0.025])
IMAGE = 100 * SKY + np.array([0, 0.1, -0.05, 0.02, -0.1, 0.03, 0, 5])


def test_rounds_of_rejection_one_by_one():
    scales = [
        solve_scales(samples(IMAGE, SKY), replace(LSST, iterations=n)).scale[0] for n in range(4)
    ]

    np.testing.assert_allclose(scales, [144.5765766, 99.39534884, 99.39534884, 99.39534884])


def test_samples_without_a_value_change_nothing():
    image, sky = np.append(IMAGE, [0.5, np.nan]), np.append(SKY, [np.nan, 0.01])

    assert solve_scales(samples(image, sky), LSST).scale[0] == pytest.approx(99.39534884)


def test_a_frame_of_zeros_has_scale_zero():
    assert solve_scales(samples(IMAGE, 0 * SKY), PLAIN).scale[0] == 0


@pytest.mark.parametrize("scale", [0.0, 50.0, 1000.0, -200.0])
def test_scales_come_back_with_honest_errors(rng, scale):
    n, rms, sigma = 256, 0.0043, 1.0
    pulls = []
    for _ in range(100):
        sky = rng.normal(0, rms, n)
        image = scale * sky + 40 + rng.normal(0, sigma, n)
        given = samples(image, sky, error=sigma, smooth=np.ones((n, 1)))
        found = solve_scales(given, ScaleRule())
        assert found.error == pytest.approx(sigma / (np.sqrt(n) * rms), rel=0.25)
        pulls.append((found.scale[0] - scale) / found.error)

    assert np.abs(pulls).max() < 4
    assert 0.8 < np.std(pulls) < 1.25
    assert abs(np.mean(pulls)) < 0.4


@pytest.mark.parametrize("share", [1 / 256, 0.2])
def test_contaminated_boxes_are_rejected(rng, share):
    n = 256
    for _ in range(20):
        sky = rng.normal(0, 0.0043, n)
        image = 1000 * sky + rng.normal(0, 1, n)
        image[: max(int(share * n), 1)] += 1000.0

        found = solve_scales(samples(image, sky, smooth=np.ones((n, 1))), ScaleRule())

        assert abs(found.scale[0] - 1000) < 5 * found.error
        assert found.n_rejected >= int(share * n)


def test_a_pedestal_ends_the_fit_about_zero_and_not_the_default_one(rng):
    sky = rng.normal(0, 0.0043, 640)
    image = 1000 * sky + 25.0 + rng.normal(0, 0.5, 640)

    with pytest.raises(AlgorithmError, match="median of the image in them is 2") as caught:
        solve_scales(samples(image, sky, error=0.5), LSST)
    found = solve_scales(samples(image, sky, error=0.5, smooth=np.ones((640, 1))), ScaleRule())

    assert caught.value.exit_code == 5
    assert abs(found.scale[0] - 1000) < 4 * found.error
    assert found.smooth[0] == pytest.approx(25, abs=0.5)


def test_too_few_samples_are_refused():
    with pytest.raises(AlgorithmError, match="needs 5 samples and has 3"):
        solve_scales(samples(IMAGE[:3], SKY[:3]), ScaleRule())


def test_most_samples_must_agree(rng):
    sky = rng.normal(0, 0.01, 40)
    image = np.where(np.arange(40) % 2, 1000 * sky, rng.uniform(-1e6, 1e6, 40))

    with pytest.raises(AlgorithmError, match="agree on a scale"):
        solve_scales(samples(image, sky, error=0.1), replace(ScaleRule(), min_fraction=0.9))


def test_noise_of_the_frame_does_not_make_the_scale_too_small(rng):
    n, rms, noise = 4000, 0.005, 0.002
    truth = rng.normal(0, rms, n)
    image = 1000 * truth + rng.normal(0, 0.5, n)
    given = samples(image, truth + rng.normal(0, noise, n), error=0.5, variance=noise**2)
    rule = replace(ScaleRule(), rejection=0)

    corrected = solve_scales(given, rule).scale[0]
    plain = solve_scales(given, replace(rule, frame_noise=False)).scale[0]

    error = 1000 * noise / (rms * np.sqrt(n))
    assert plain == pytest.approx(1000 / (1 + (noise / rms) ** 2), abs=5 * error)
    assert corrected == pytest.approx(1000, abs=6 * error)


def test_several_patterns_have_scales_of_their_own(rng):
    sky = rng.normal(0, 0.01, (300, 2))
    image = sky @ [800.0, -120.0] + rng.normal(0, 0.3, 300)

    found = solve_scales(samples(image, sky, error=0.3), ScaleRule())

    errors = np.sqrt(np.diag(found.covariance))
    assert (np.abs(found.scale - [800, -120]) < 4 * errors).all()


def smooth_columns(n, rng):
    x = np.linspace(-1, 1, n)
    return np.column_stack([np.ones(n), x, x**2]), np.array([0, 1, 2])


def test_the_order_of_the_background_is_what_the_samples_call_for(rng):
    n = 400
    smooth, orders = smooth_columns(n, rng)
    sky = rng.normal(0, 0.01, n)
    for order in range(3):
        background = smooth[:, : order + 1] @ np.full(order + 1, 8.0)
        image = 500 * sky + background + rng.normal(0, 0.5, n)

        found, chosen = solve_with_order(
            samples(image, sky, error=0.5, smooth=smooth), orders, ScaleRule()
        )

        assert chosen == order
        assert abs(found.scale[0] - 500) < 4 * found.error
        assert (found.smooth[order + 1 :] == 0).all()


def test_terms_like_the_pattern_are_not_fitted_with_it(rng):
    n = 400
    smooth, orders = smooth_columns(n, rng)
    sky = 0.01 * (smooth[:, 2] + 0.3 * smooth[:, 1] + rng.normal(0, 0.02, n))
    image = 500 * sky + 0.2 * smooth[:, 2] + rng.normal(0, 0.01, n)

    found, chosen = solve_with_order(
        samples(image, sky, error=0.01, smooth=smooth), orders, ScaleRule()
    )

    assert chosen < 2
    assert found.scale[0] == pytest.approx(520, rel=0.02)
