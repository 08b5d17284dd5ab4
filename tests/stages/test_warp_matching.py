import warnings

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.matching.model_psf import ModelPsf
from skytool.core.matching.psf_match_config import PsfMatchConfig
from skytool.core.psf.adaptive_moments import adaptive_moments
from skytool.errors import AlgorithmError, IncompatibleError, SkytoolWarning
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask
from skytool.models.psf.kinds import AnalyticPsf, ConstantPsf
from skytool.models.sky.celestial import celestial_wcs
from skytool.models.sky.geometry import TargetGrid
from skytool.stages.warp import Detector, WarpConfig, warp_and_match_visit
from skytool.stages.warp.matching_config import MatchingConfig

SHAPE = (300, 340)
FWHM = 3.0
ELLIPTICITY = 0.1
FLUX = 1e5
STEP = 60
SCALE = 0.25
ROTATION = 17.0
LSST_RULE = {
    "basis": "al",
    "sigmas": (0.7, 1.5, 3.0),
    "ridge": 0.0,
    "max_noise_gain": None,
    "region": "valid",
    "normalization": "first",
    "taper": None,
}


def star(dy, dx, half):
    """An elliptical Gaussian of distortion 0.1 at 30 degrees, sampled at pixel centres."""
    size = (FWHM / 2.3548) ** 2
    e1, e2 = ELLIPTICITY * np.cos(np.pi / 3), ELLIPTICITY * np.sin(np.pi / 3)
    covariance = size * np.array([[1 - e1, e2], [e2, 1 + e1]])  # of (y, x)
    inverse = np.linalg.inv(covariance)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    y, x = y - dy, x - dx
    height = np.exp(
        -0.5 * (inverse[0, 0] * y * y + 2 * inverse[0, 1] * x * y + inverse[1, 1] * x * x)
    )
    return height / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))


def wcs_of(shape, rotation):
    s, t = SCALE / 3600, np.radians(rotation)
    cards = {
        "NAXIS": 2,
        "NAXIS1": shape[1],
        "NAXIS2": shape[0],
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 150.0,
        "CRVAL2": 2.0,
        "CRPIX1": shape[1] / 2 + 3.2,
        "CRPIX2": shape[0] / 2 - 1.7,
        "CD1_1": -s * np.cos(t),
        "CD1_2": s * np.sin(t),
        "CD2_1": s * np.sin(t),
        "CD2_2": s * np.cos(t),
    }
    return celestial_wcs(fits.Header(cards), name="simulated")


@pytest.fixture
def detector():
    """Stars without noise on a turned detector, with their PSF."""
    image = np.zeros(SHAPE, np.float32)
    positions = [
        (y + 0.37, x - 0.21)
        for y in range(STEP, SHAPE[0] - STEP, STEP)
        for x in range(STEP, SHAPE[1] - STEP, STEP)
    ]
    for y, x in positions:
        iy, ix = round(y), round(x)
        image[iy - 20 : iy + 21, ix - 20 : ix + 21] += FLUX * star(y - iy, x - ix, 20)
    return Exposure(
        image=image,
        mask=Mask.empty(SHAPE),
        variance=np.full(SHAPE, 9.0, np.float32),
        wcs=wcs_of(SHAPE, ROTATION),
        unit="adu",
        psf=ConstantPsf(star(0.0, 0.0, 12)),
        name="simulated",
    )


@pytest.fixture
def grid():
    return TargetGrid(wcs_of((280, 310), 0.0), (280, 310), name="target")


def matched(exposure, grid, **changes):
    settings = {"model": ModelPsf(fwhm=7.7), "match": PsfMatchConfig(), **changes}
    return warp_and_match_visit(
        [Detector(exposure)], grid, WarpConfig(), MatchingConfig(**settings)
    )


def stars_of(exposure, warp, half):
    """Stamps about the stars, where the warp has them whole."""
    sky = exposure.wcs.pixel_to_world_values(*star_positions())
    x, y = warp.wcs.world_to_pixel_values(*sky)
    for at_y, at_x in zip(np.rint(y).astype(int), np.rint(x).astype(int), strict=True):
        if min(at_y, at_x) < half or at_y + half >= warp.shape[0] or at_x + half >= warp.shape[1]:
            continue
        stamp = warp.image[at_y - half : at_y + half + 1, at_x - half : at_x + half + 1]
        if np.isfinite(stamp).all():
            yield stamp.astype(float)


def star_positions():
    y, x = np.mgrid[STEP : SHAPE[0] - STEP : STEP, STEP : SHAPE[1] - STEP : STEP]
    return x.ravel() - 0.21, y.ravel() + 0.37


@pytest.mark.parametrize("basis", ["wiener", "al"])
@pytest.mark.parametrize("fwhm", [4.5, 7.7])
def test_stars_of_a_matched_warp_have_the_width_of_the_model(detector, grid, fwhm, basis):
    result = matched(
        detector, grid, model=ModelPsf(fwhm=fwhm), match=PsfMatchConfig(basis=basis)
    ).matched

    model = ModelPsf(fwhm=fwhm).adaptive_fwhm()
    stamps = list(stars_of(detector, result.exposure, 24))
    moments = [adaptive_moments(stamp) for stamp in stamps]
    assert len(stamps) >= 4
    np.testing.assert_allclose([moment.fwhm for moment in moments], model, rtol=0.01)
    assert max(moment.ellipticity for moment in moments) < 0.005
    assert result.matches[0].noise_gain < 0.05
    np.testing.assert_allclose(result.matches[0].fwhm_model, model, rtol=0.01)


@pytest.mark.parametrize("fwhm", [4.5, 7.7])
def test_a_match_keeps_fluxes(detector, grid, fwhm):
    warps = matched(detector, grid, model=ModelPsf(fwhm=fwhm))

    half = 29  # half of the distance of the stars
    direct = [stamp.sum() for stamp in stars_of(detector, warps.direct.exposure, half)]
    fluxes = [stamp.sum() for stamp in stars_of(detector, warps.matched.exposure, half)]
    np.testing.assert_allclose(direct, FLUX, rtol=0.003)
    np.testing.assert_allclose(fluxes, FLUX, rtol=0.003)


def test_the_psf_of_a_matched_warp_is_that_of_its_stars(detector, grid):
    result = matched(detector, grid).matched

    psf = result.exposure.psf.kernel_image(y=100.0, x=100.0)
    half = psf.shape[0] // 2
    stamps = [stamp / FLUX for stamp in stars_of(detector, result.exposure, half)]
    powers = [np.sum(stamp**2) / np.sum(psf**2) for stamp in stamps]
    np.testing.assert_allclose(powers, 1.0, rtol=0.02)


def test_the_variance_of_a_matched_warp_is_that_of_noise(detector, grid, rng):
    exposures = [
        detector.with_values(image=rng.normal(0.0, 3.0, SHAPE).astype(np.float32)) for _ in range(4)
    ]
    results = [matched(exposure, grid, model=ModelPsf(fwhm=4.5)).matched for exposure in exposures]

    ratios = []
    for result in results:
        good = np.isfinite(result.exposure.image)
        ratios.append(np.mean(result.exposure.image[good] ** 2 / result.exposure.variance[good]))
    independent = 4 * good.sum() / (np.pi * 4.5**2)
    assert np.mean(ratios) == pytest.approx(1.0, abs=3 * np.sqrt(2 / independent))


def test_a_border_of_half_a_kernel_is_empty(detector, grid):
    config = {"match": PsfMatchConfig(kernel_size=21), "model": ModelPsf(fwhm=4.5)}
    shifted = TargetGrid(detector.wcs, SHAPE, name="same grid")
    result = matched(detector, shifted, **config).matched

    good = np.isfinite(result.exposure.image)
    rows, columns = np.flatnonzero(good.any(axis=1)), np.flatnonzero(good.any(axis=0))
    lanczos, half = 2, 10  # positions are whole pixels, of which two by the edge lack taps
    assert (rows[0], columns[0]) == (half + lanczos, half + lanczos)
    assert rows[-1] == SHAPE[0] - 1 - half - lanczos - 1
    assert columns[-1] == SHAPE[1] - 1 - half - lanczos - 1


def test_a_model_narrower_than_the_psf_is_complained_of_with_a_safe_value(detector, grid):
    with pytest.warns(SkytoolWarning, match="smallest safe value") as caught:
        matched(detector, grid, model=ModelPsf(fwhm=2.0))

    text = next(str(item.message) for item in caught if "safe" in str(item.message))
    safe = float(text.rsplit("--model-fwhm ", 1)[1].rstrip("."))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = matched(detector, grid, model=ModelPsf(fwhm=safe)).matched
    assert not [item for item in caught if "deconvolves" in str(item.message)]
    assert result.matches[0].noise_gain < 1


def test_a_kernel_too_small_is_complained_of(detector, grid):
    with pytest.warns(SkytoolWarning, match="--kernel-size 15"):
        matched(detector, grid, match=PsfMatchConfig(kernel_size=9))


def test_a_psf_that_is_missed_is_complained_of(detector, grid):
    """The rule of the LSST pipelines, a model of 7.7 pixels and the narrow Gaussians."""
    config = PsfMatchConfig(kernel_size=21, **LSST_RULE)
    with pytest.warns(SkytoolWarning, match=r"--cell 64, or --auto-pad-to 1\.6, or --no-auto-pad"):
        matched(detector, grid, match=config, model=ModelPsf(fwhm=7.7))


def test_amplified_noise_is_complained_of(detector, grid):
    """A PSF not much narrower than the model: the same rule lets narrow terms grow."""
    wide = detector.with_values(psf=AnalyticPsf.gaussian(6.5, size=41))
    config = PsfMatchConfig(kernel_size=21, **LSST_RULE)
    with pytest.warns(SkytoolWarning, match=r"amplifies noise .*--alard-sig-gauss 1\.5,3\.0,6\.0"):
        matched(wide, grid, match=config, model=ModelPsf(fwhm=7.7))


def test_a_good_match_is_not_complained_of(detector, grid):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fwhm in (4.5, 7.7):
            matched(detector, grid, model=ModelPsf(fwhm=fwhm))


def test_flags_of_few_pixels_do_not_fill_the_kernel(detector, grid):
    flagged = np.zeros(SHAPE, bool)
    flagged[150, 150] = True
    exposure = detector.with_values(mask=detector.mask.with_flagged(flagged, "CR"))

    by_weight = matched(exposure, grid).matched.exposure.mask.any_of(["CR"]).sum()
    by_reach = matched(exposure, grid, mask_fraction=0.0).matched.exposure.mask.any_of(["CR"]).sum()

    assert by_reach > 1000
    assert by_weight < by_reach / 5


def test_an_exposure_without_psf_cannot_be_matched(detector, grid):
    with pytest.raises(IncompatibleError, match="simulated has no PSF"):
        matched(detector.with_values(psf=None), grid)


def test_a_match_that_fails_leaves_the_direct_warp(detector, grid):
    config = PsfMatchConfig(kernel_size=31, auto_pad=False)

    direct, failure = matched(detector, grid, match=config)

    assert direct.covered_pixels > 0
    assert isinstance(failure, AlgorithmError)
    assert "kernel size 31 is too large" in failure.message


def test_a_match_that_fails_on_one_detector_keeps_the_others(detector, grid):
    """The first one has a PSF too small for the kernel."""
    large = detector.with_values(psf=ConstantPsf(star(0.0, 0.0, 25)), name="large")
    matching = MatchingConfig(match=PsfMatchConfig(kernel_size=31, auto_pad=False))
    with pytest.warns(SkytoolWarning, match="simulated is not matched: kernel size 31"):
        direct, both = warp_and_match_visit(
            [Detector(detector), Detector(large)], grid, WarpConfig(), matching
        )

    assert direct.detectors[0].good_pixels > 0
    assert both.matches[0] is None
    assert both.detectors[0].good_pixels == 0
    assert both.covered_pixels > 0


def test_a_kernel_that_leaves_no_pixel_is_an_error(detector, grid):
    failure = matched(detector, grid, match=PsfMatchConfig(kernel_size=601)).matched

    assert isinstance(failure, AlgorithmError)
    assert "none is 300 pixels from the edges" in failure.message


def test_an_analytic_psf_is_matched_like_its_image(detector, grid):
    image = AnalyticPsf.gaussian(FWHM, size=25)
    results = [
        matched(detector.with_values(psf=psf), grid).matched.exposure.image
        for psf in (image, ConstantPsf(image.kernel_image(y=0.0, x=0.0)))
    ]

    good = np.isfinite(results[0])
    peak = np.nanmax(results[0])
    np.testing.assert_allclose(results[1][good], results[0][good], atol=1e-3 * peak)
