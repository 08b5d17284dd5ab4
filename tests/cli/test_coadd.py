import numpy as np
import pytest
from astropy.io import fits

from skytool.core.stacks.coadd import median_variance
from tests.cli.coadding import NANOJANSKY, SHAPE, coadded, write_warp
from tests.cli.warping import run

N = 5


@pytest.fixture
def noise(tmp_path, rng):
    """Warps of noise of different strength, their planes and their paths."""
    sigma = np.array([1.0, 2.0, 1.5, 0.8, 3.0])
    images = sigma[:, None, None] * rng.standard_normal((N, *SHAPE)).astype(np.float32)
    paths = [
        write_warp(tmp_path / f"{k}.fits", image, visit=100 + k, variance=float(s) ** 2)
        for k, (image, s) in enumerate(zip(images, sigma, strict=True))
    ]
    return images.astype(np.float32), sigma, paths


def test_the_mean_has_inverse_variances_as_weights(noise, tmp_path):
    images, sigma, paths = noise

    made = coadded(paths, tmp_path / "c.fits", "--statistic", "mean")

    weights = (sigma**-2)[:, None, None]
    expected = (weights * images).sum(0) / weights.sum()
    np.testing.assert_allclose(made.image, expected, rtol=0, atol=3e-7 * 9)
    np.testing.assert_allclose(made.variance, 1 / weights.sum(), rtol=1e-6)
    np.testing.assert_array_equal(made.count, N)
    assert not made.mask.any()
    np.testing.assert_allclose(made.tables["VISITS"]["WEIGHT"], sigma**-2, rtol=1e-6)
    np.testing.assert_allclose(made.tables["CCDS"]["WEIGHT"], sigma**-2, rtol=1e-6)
    np.testing.assert_allclose(made.tables["INPUTS"]["WEIGHT"], sigma**-2, rtol=1e-6)


def test_equal_weights_and_the_median(noise, tmp_path):
    images, sigma, paths = noise

    plain = coadded(paths, tmp_path / "c.fits", "--statistic", "mean", "--weight-by", "equal")
    median = coadded(paths, tmp_path / "m.fits", "--statistic", "median")

    np.testing.assert_allclose(plain.image, images.mean(0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(plain.variance, (sigma**2).sum() / N**2, rtol=1e-6)
    np.testing.assert_array_equal(median.image, np.median(images, axis=0))
    expected = median_variance(N) * N / (1 / sigma).sum() ** 2
    np.testing.assert_allclose(median.variance, expected, rtol=1e-6)


def test_the_weight_of_a_warp_does_not_see_its_few_noisy_pixels(tmp_path, rng):
    variance = np.full(SHAPE, 4.0, np.float32)
    variance[20:23, 30:33] = 1e6
    variance[:, :5] = np.inf
    image = rng.standard_normal(SHAPE)
    image[:, :5] = np.nan
    paths = [
        write_warp(tmp_path / "a.fits", image, visit=1, variance=variance),
        write_warp(tmp_path / "b.fits", np.nan_to_num(image), visit=2, variance=1.0),
    ]

    made = coadded(paths, tmp_path / "c.fits")

    np.testing.assert_allclose(made.tables["VISITS"]["WEIGHT"], [0.25, 1.0], rtol=1e-6)
    np.testing.assert_array_equal(made.count[:, :5], 1)


@pytest.mark.parametrize("statistic", ["mean", "meanclip", "median"])
def test_the_variance_is_that_of_the_noise(tmp_path, rng, statistic):
    n, shape = 7, (150, 170)
    paths = [
        write_warp(tmp_path / f"{k}.fits", 2 * rng.standard_normal(shape), visit=k, variance=4.0)
        for k in range(n)
    ]

    made = coadded(paths, tmp_path / "c.fits", "--statistic", statistic)

    pull = made.image / np.sqrt(made.variance)
    # clipping at 4 sigma leaves out 6e-5 of the values, which adds 3e-4 to the scatter
    assert abs(pull.std() - 1) < 4 / np.sqrt(2 * pull.size) + 5e-4


def test_zero_points_and_units_become_nanojansky(tmp_path):
    flux = 500.0
    paths = []
    for k, zero_point in enumerate((25.0, 27.0, NANOJANSKY)):
        counts = flux * 10 ** (-0.4 * (NANOJANSKY - zero_point))
        scale = counts / flux
        image = np.full(SHAPE, counts)
        paths.append(
            write_warp(
                tmp_path / f"{k}.fits",
                image,
                visit=k,
                unit="adu" if k < 2 else "nJy",
                variance=scale**2 * 9.0,
                MAGZERO=zero_point,
            )
        )

    made = coadded(paths, tmp_path / "c.fits")

    np.testing.assert_allclose(made.image, flux, rtol=1e-6)
    np.testing.assert_allclose(made.variance, 3.0, rtol=1e-5)
    assert made.header["BUNIT"] == "nJy"
    assert made.primary["MAGZERO"] == pytest.approx(NANOJANSKY)
    scales = 10 ** (0.4 * (NANOJANSKY - np.array([25.0, 27.0, NANOJANSKY])))
    np.testing.assert_allclose(made.tables["INPUTS"]["SCALE"], scales, rtol=1e-9)
    np.testing.assert_allclose(made.tables["VISITS"]["WEIGHT"], 1 / 9, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "zero_point", "unit"),
    [
        (("--units", "zeropoint", "--zeropoint", 27.0), 27.0, None),
        (("--units", "input"), 25.0, "adu"),
        (("--units", "njy"), NANOJANSKY, "nJy"),
    ],
)
def test_other_units_are_asked_for(tmp_path, options, zero_point, unit):
    paths = [
        write_warp(tmp_path / f"{z}.fits", np.full(SHAPE, 7.0), visit=z, unit="adu", MAGZERO=z)
        for z in (25, 26)
    ]

    made = coadded(paths, tmp_path / "c.fits", *options, "--weight-by", "equal")

    scales = [10 ** (0.4 * (zero_point - z)) for z in (25, 26)]
    np.testing.assert_allclose(made.image, 7 * np.mean(scales), rtol=1e-6)
    assert made.primary["MAGZERO"] == pytest.approx(zero_point)
    assert made.header.get("BUNIT") == unit


def test_warps_without_calibration_keep_their_unit(tmp_path):
    paths = [
        write_warp(tmp_path / f"{k}.fits", np.full(SHAPE, 3.0), visit=k, unit="adu", MAGZERO=None)
        for k in range(2)
    ]

    made = coadded(paths, tmp_path / "c.fits")

    assert made.header["BUNIT"] == "adu"
    assert "MAGZERO" not in made.primary
    np.testing.assert_array_equal(made.image, 3.0)


@pytest.fixture
def flagged(tmp_path):
    """Three warps of 1, 2 and 3 with planes set in some."""
    masks = [
        {
            "SAT": np.s_[10, 10:13],
            "DETECTED": np.s_[20, 10:13],
            "BAD": np.s_[30, 10],
            "NO_DATA": np.s_[40, 10],
        },
        {"SAT": np.s_[10, 11:13], "EDGE": np.s_[:, :4], "NO_DATA": np.s_[40, 10:12]},
        {"SAT": np.s_[10, 12], "CR": np.s_[50, 10], "NO_DATA": np.s_[40, 10:13]},
    ]
    return [
        write_warp(
            tmp_path / f"{k}.fits", np.full(SHAPE, k + 1.0), visit=k, mask=mask, variance=1.0
        )
        for k, mask in enumerate(masks)
    ]


def test_bad_planes_skip_pixels_and_the_rest_is_passed_on(flagged, tmp_path):
    made = coadded(flagged, tmp_path / "c.fits", "--statistic", "mean")

    values = [2.5, 3.0, np.nan, 2.0, 2.5, 1.5]
    places = [(10, 10), (10, 11), (10, 12), (20, 10), (30, 10), (50, 10)]
    for value, (y, x) in zip(values, places, strict=True):
        np.testing.assert_array_equal(made.image[y, x], np.float32(value))
    detected = np.zeros(SHAPE, bool)
    detected[20, 10:13] = True
    np.testing.assert_array_equal(made.flagged("DETECTED"), detected)
    rejected = np.zeros(SHAPE, bool)
    rejected[10, 10:13] = rejected[30, 10] = rejected[50, 10] = True
    np.testing.assert_array_equal(made.flagged("REJECTED"), rejected)
    assert not made.flagged("BAD", "CR", "EDGE", "CLIPPED").any()
    np.testing.assert_array_equal(made.count[10, 10:13], [2, 1, 0])


def test_saturation_stays_visible_by_its_weight(flagged, tmp_path):
    usual = coadded(flagged, tmp_path / "c.fits", "--statistic", "mean")
    half = coadded(flagged, tmp_path / "h.fits", "--propagate-from", 0.5)
    never = coadded(flagged, tmp_path / "n.fits", "--propagate-planes", "")

    np.testing.assert_array_equal(usual.flagged("SAT")[10, 9:14], [0, 1, 1, 1, 0])
    np.testing.assert_array_equal(half.flagged("SAT")[10, 9:14], [0, 0, 1, 1, 0])
    assert not never.flagged("SAT").any()


def test_pixels_without_value_are_empty_in_every_plane(flagged, tmp_path):
    made = coadded(flagged, tmp_path / "c.fits", "--statistic", "mean")

    empty = np.zeros(SHAPE, bool)
    empty[10, 12] = empty[40, 10] = True
    np.testing.assert_array_equal(np.isnan(made.image), empty)
    np.testing.assert_array_equal(np.isposinf(made.variance), empty)
    np.testing.assert_array_equal(made.flagged("NO_DATA"), empty)
    np.testing.assert_array_equal(made.count == 0, empty)
    assert made.image[40, 11] == 1.0


def test_the_edges_of_detectors_make_the_psf_inexact(flagged, tmp_path):
    made = coadded(flagged, tmp_path / "c.fits", "--statistic", "mean")

    edge = np.zeros(SHAPE, bool)
    edge[:, :4] = True
    # pixels whose neighbour has no value in one of the warps
    edge[39:42:2, 10:13] = edge[40, 9] = edge[40, 11:14] = True
    np.testing.assert_array_equal(made.flagged("SENSOR_EDGE"), edge)
    np.testing.assert_array_equal(
        made.flagged("INEXACT_PSF"), made.flagged("SENSOR_EDGE", "REJECTED", "CLIPPED")
    )


def test_what_one_warp_alone_shows_is_clipped_and_flagged(tmp_path, rng):
    images = rng.standard_normal((6, *SHAPE))
    clean = images.copy()
    down, right = np.indices(SHAPE)
    images[2] += 300 * np.exp(-((down - 25) ** 2 + (right - 40) ** 2) / 5)
    images[4, 50, 12] += 1e4
    paths = [write_warp(tmp_path / f"{k}.fits", image, visit=k) for k, image in enumerate(images)]

    made = coadded(paths, tmp_path / "c.fits")

    core = (down - 25) ** 2 + (right - 40) ** 2 < 9
    assert made.flagged("CLIPPED")[core].all()
    assert made.flagged("CLIPPED")[50, 12]
    assert made.flagged("CLIPPED").mean() < 0.02
    assert np.abs(made.image - clean.mean(0)).max() < 5 / np.sqrt(6)
    np.testing.assert_array_equal(made.count[core], 5)
    assert made.tables["INPUTS"]["NCLIPPED"][2] > 25
    assert made.tables["INPUTS"]["NCLIPPED"][4] >= 1


def test_a_warp_without_a_usable_pixel_is_skipped(tmp_path, rng):
    paths = [
        write_warp(tmp_path / "a.fits", rng.standard_normal(SHAPE), visit=1),
        write_warp(tmp_path / "b.fits", np.full(SHAPE, 9.0), visit=2, mask={"BAD": np.s_[:, :]}),
        write_warp(tmp_path / "c.fits", rng.standard_normal(SHAPE), visit=3),
    ]

    made = coadded(paths, tmp_path / "out.fits")

    np.testing.assert_array_equal(made.tables["VISITS"]["WEIGHT"] > 0, [1, 0, 1])
    np.testing.assert_array_equal(made.tables["INPUTS"]["STATUS"], ["used", "skipped", "used"])
    assert made.tables["INPUTS"]["REASON"][1] == "no usable pixel"
    np.testing.assert_array_equal(made.count, 2)
    assert made.primary["NINPUT"] == 2


def test_planes_are_joined_by_name(tmp_path):
    other = {"NO_DATA": 8, "SAT": 1, "DETECTED": 5, "GHOST": 25}
    first = {"SAT": np.s_[5, 5], "DETECTED": np.s_[6, 6]}
    second = {"SAT": np.s_[7, 7], "DETECTED": np.s_[8, 8], "GHOST": np.s_[9, 9]}
    paths = [
        write_warp(tmp_path / "a.fits", np.ones(SHAPE), visit=1, mask=first),
        write_warp(tmp_path / "b.fits", np.ones(SHAPE), visit=2, mask=second, bits=other),
    ]

    made = coadded(paths, tmp_path / "c.fits", "--statistic", "mean")

    for plane, places in {"DETECTED": [(6, 6), (8, 8)], "GHOST": [(9, 9)]}.items():
        np.testing.assert_array_equal(np.argwhere(made.flagged(plane)), places)
    np.testing.assert_array_equal(np.argwhere(made.flagged("REJECTED")), [(5, 5), (7, 7)])


def test_a_warp_that_is_clipped_nearly_everywhere_is_warned_of(tmp_path, rng):
    levels = {1: 0.0, 2: 0.0, 3: 0.0, 4: 30.0}
    paths = [
        write_warp(tmp_path / f"{k}.fits", level + rng.standard_normal(SHAPE), visit=k)
        for k, level in levels.items()
    ]

    result = run("coadd", *paths, "-o", tmp_path / "c.fits")
    alike = run("coadd", *paths[:3], "-o", tmp_path / "d.fits")

    assert "4.fits: 100% of its pixels are clipped" in result.stderr
    assert "clipped" not in alike.stderr


def test_the_preset_clips_by_the_scatter_alone(tmp_path, rng):
    images = rng.standard_normal((5, *SHAPE))
    paths = [write_warp(tmp_path / f"{k}.fits", image, visit=k) for k, image in enumerate(images)]

    ours = coadded(paths, tmp_path / "a.fits")
    theirs = coadded(paths, tmp_path / "b.fits", "--config", "lsst")

    assert ours.flagged("CLIPPED").mean() < 0.002
    assert 0.2 < theirs.flagged("CLIPPED").mean() < 0.4
    settings = dict(
        zip(theirs.tables["CONFIG"]["NAME"], theirs.tables["CONFIG"]["VALUE"], strict=True)
    )
    assert settings["clip-scale"] == '"scatter"'
    assert settings["bad-planes"] == '["NO_DATA", "BAD", "SAT", "EDGE"]'


def test_images_of_other_layouts_are_added(tmp_path, rng):
    paths = []
    for k in range(3):
        path = tmp_path / f"{k}.fits"
        write_warp(path, np.full(SHAPE, k + 1.0), visit=k, variance=2.0)
        with fits.open(path) as hdus:
            for old, new in (("IMAGE", "SCI"), ("VARIANCE", "VAR")):
                hdus[old].header["EXTNAME"] = new
            for key in ("SKYFMT", "SKYTYPE"):
                del hdus[0].header[key]
            hdus.writeto(path, overwrite=True)
        paths.append(path)

    made = coadded(paths, tmp_path / "c.fits", "--statistic", "mean")

    np.testing.assert_array_equal(made.image, 2.0)
    np.testing.assert_allclose(made.variance, 2 / 3, rtol=1e-6)
    np.testing.assert_array_equal(made.tables["CCDS"]["FILE"], ["0.fits", "1.fits", "2.fits"])
