import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skytool.errors import AlgorithmError, IncompatibleError
from skytool.models.background.hdus import background_from_hdus
from skytool.models.exposure import Exposure, Origin
from skytool.models.mask import Mask
from skytool.models.photometric_calibration import PhotometricCalibration
from skytool.models.psf.kinds import ConstantPsf
from skytool.models.source_catalogue import COLUMNS
from skytool.stages.diffim.check import CheckConfig, check_difference
from skytool.stages.diffim.sky_sources import empty_places
from skytool.stages.diffim.sources import find_sources
from skytool.stages.diffim.sources_config import SourcesConfig
from tests.core.points import add_stars, gaussian, lattice

SHAPE = (420, 560)
SIGMA = 2.0
VARIANCE = 4.0
ERROR = np.sqrt(VARIANCE * 4 * np.pi) * SIGMA  # of the flux of a star


def exposure(image, *, variance=VARIANCE, mask=None, sigma=SIGMA, **values):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [200.0, 100.0]
    wcs.wcs.cdelt = [-5e-5, 5e-5]
    settings = {
        "wcs": wcs,
        "unit": "adu",
        "calibration": PhotometricCalibration.from_zero_point(27.0),
        "psf": ConstantPsf.from_image(gaussian(sigma)),
        "origin": Origin(3, 7),
        "name": "difference",
        **values,
    }
    return Exposure(
        np.asarray(image, np.float32),
        Mask.empty(SHAPE) if mask is None else mask,
        np.full(SHAPE, variance, np.float32),
        **settings,
    )


def noise(rng):
    return rng.standard_normal(SHAPE) * np.sqrt(VARIANCE)


def transients(rng, snr, step=45):
    """Return noise with stars of half either sign, and the truth."""
    y, x = lattice(SHAPE, step, rng)
    flux = snr * ERROR * np.where(np.arange(y.size) % 2, -1.0, 1.0)
    return add_stars(noise(rng), y=y, x=x, flux=flux, sigma=SIGMA), y, x, flux


def matched(columns, y, x, reach=2.0):
    """Return the number of the true source next to each one that was found, -1 without any."""
    distance = np.hypot(columns["Y"][:, None] - y, columns["X"][:, None] - x)
    nearest = distance.argmin(axis=1)
    return np.where(distance.min(axis=1) < reach, nearest, -1)


def test_every_transient_is_found_once_with_its_sign_place_and_flux(rng):
    image, y, x, flux = transients(rng, 20.0)
    report = find_sources(exposure(image), SourcesConfig())
    found = report.catalogue.columns
    at = matched(found, y, x)

    assert sorted(at) == list(range(y.size))
    np.testing.assert_array_equal(found["NEGATIVE"], flux[at] < 0)
    # the error of a place is sigma / (S/N) sqrt(2)
    limit = 5 * SIGMA * np.sqrt(2) / 20
    assert np.hypot(found["Y"] - y[at], found["X"] - x[at]).max() < limit
    pull = (found["FLUX"] - flux[at]) / found["FLUXERR"]
    assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * y.size))
    # flux of the place of least squares: higher by one over the S/N, which is 0.05 sigma
    assert abs(np.mean(pull * np.sign(flux[at]))) < 4 / np.sqrt(y.size) + 0.05
    assert np.median(found["IXX"]) == pytest.approx(SIGMA**2, rel=0.1)
    aperture = (found["APFLUX"] - flux[at]) / found["APERR"]
    assert aperture.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * y.size))
    assert not found["DIPOLE"].any()
    assert not found["BADFLUX"].any()


def test_catalogue_has_places_on_the_sky_and_fluxes_in_nanojansky(rng):
    image, *_ = transients(rng, 30.0, 90)
    made = exposure(image)
    found = find_sources(made, SourcesConfig()).catalogue.columns

    ra, dec = made.wcs.all_pix2world(found["X"], found["Y"], 0)
    np.testing.assert_allclose(found["RA"], ra, rtol=0, atol=1e-11)
    np.testing.assert_allclose(found["DEC"], dec, rtol=0, atol=1e-11)
    # one unit has magnitude 27
    magnitude = 27 - 2.5 * np.log10(np.abs(found["FLUX"]))
    np.testing.assert_allclose(found["MAG"], magnitude, rtol=1e-12)
    np.testing.assert_allclose(found["FLUXNJY"], found["FLUX"] * 10 ** (0.4 * 4.4), rtol=1e-12)
    assert list(found) == [name for name in COLUMNS if name in found]


def test_planes_of_detections_are_set_anew(rng):
    image, y, x, flux = transients(rng, 25.0, 90)
    old = Mask.empty(SHAPE).with_flagged(np.ones(SHAPE, np.bool_), "DETECTED")
    mask = find_sources(exposure(image, mask=old), SourcesConfig()).difference.mask

    at = np.round(y).astype(int), np.round(x).astype(int)
    np.testing.assert_array_equal(mask.any_of(["DETECTED"])[at], flux > 0)
    np.testing.assert_array_equal(mask.any_of(["DETECTED_NEGATIVE"])[at], flux < 0)
    assert mask.any_of(["DETECTED"]).mean() < 0.1


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_but_noise_gives_an_empty_catalogue(rng, fails):
    made = exposure(noise(rng))
    config = SourcesConfig(threshold=7.0, raise_on_no_sources=fails)
    if fails:
        with pytest.raises(AlgorithmError, match="no source above 7"):
            find_sources(made, config)
        return
    report = find_sources(made, config)

    assert len(report.catalogue) == 0
    assert report.metrics["n_sources"] == 0
    assert report.metrics["score_sky_std"] == pytest.approx(1.0, abs=0.05)
    assert len(report.catalogue.to_hdu().data) == 0


def test_image_without_pixels_gives_an_empty_catalogue():
    report = find_sources(exposure(np.full(SHAPE, np.nan)), SourcesConfig())

    assert len(report.catalogue) == 0
    assert np.isnan(report.snr).all()


@pytest.mark.parametrize("level", [0.0, 7.0])
@pytest.mark.parametrize("config", [SourcesConfig(), SourcesConfig(background_order=None)])
def test_constant_image_has_no_sources(level, config):
    report = find_sources(exposure(np.full(SHAPE, level)), config)

    assert len(report.catalogue) == 0
    assert np.nanmax(np.abs(report.snr)) < 1e-3
    assert report.metrics["score_noise_scale"] == 1.0
    np.testing.assert_allclose(report.difference.image, 0.0, atol=1e-4)


def test_image_smaller_than_its_psf_is_searched(rng):
    made = exposure(noise(rng))
    part = made.with_values(
        image=made.image[:9, :11], variance=made.variance[:9, :11], mask=Mask.empty((9, 11))
    )
    part.image[4, 5] = 500.0
    report = find_sources(part, SourcesConfig(sky_sources=5))

    assert report.snr.shape == (9, 11)
    assert len(report.catalogue.of_sky(sky=False)) == 1


def test_sky_that_is_left_is_taken_off_and_biases_no_flux(rng):
    image, y, x, flux = transients(rng, 20.0)
    rows, columns = np.indices(SHAPE) / np.array(SHAPE)[:, None, None]
    report = find_sources(exposure(image + 1.0 - 0.8 * columns * rows), SourcesConfig())
    found = report.catalogue.columns
    at = matched(found, y, x)
    pull = ((found["FLUX"] - flux[at]) / found["FLUXERR"])[at >= 0]

    level = report.background.evaluate(SHAPE)
    # ten terms on all pixels
    error = np.sqrt(VARIANCE * 10 / np.prod(SHAPE))
    assert np.sqrt(np.mean(np.square(level - 1.0 + 0.8 * columns * rows))) < 3 * error
    assert abs(pull.mean()) < 4 / np.sqrt(y.size)
    stored = [hdu for hdu in report.difference.extensions if hdu.name.startswith("BKG")]
    recorded = background_from_hdus(stored, name="difference")
    assert recorded.layers[0].operation == "SUBTRACT"
    np.testing.assert_allclose(recorded.evaluate(SHAPE), level, atol=1e-5)
    np.testing.assert_allclose(
        report.difference.image, image + 1.0 - 0.8 * columns * rows - level, atol=1e-4
    )


def test_score_is_that_of_the_difference_without_sky(rng):
    image, *_ = transients(rng, 20.0)
    with_sky = find_sources(exposure(image + 0.5), SourcesConfig())
    without = find_sources(exposure(image), SourcesConfig(subtract_background=False))

    inner = np.s_[20:-20, 20:-20]
    # ten terms on all pixels, times sum P / sqrt(sum P^2); at the corners three times the mean
    typical = np.sqrt(10 / np.prod(SHAPE) * 4 * np.pi) * SIGMA
    assert np.abs(with_sky.snr - without.snr)[inner].max() < 4 * 3 * typical
    signal = with_sky.score.image / np.sqrt(with_sky.score.variance)
    np.testing.assert_array_equal(signal[inner], with_sky.snr[inner])


@pytest.mark.parametrize("plane", ["BAD", "SAT_TEMPLATE", "CR"])
def test_masked_pixels_are_no_holes_but_lower_the_weight(rng, plane):
    image, y, x, flux = transients(rng, 30.0, 60)
    column = round(x[5])
    bad = np.zeros(SHAPE, np.bool_)
    bad[:, column + 3] = True
    image[bad] = 1e5
    mask = Mask.empty(SHAPE).with_flagged(bad, plane)
    found = find_sources(exposure(image, mask=mask), SourcesConfig()).catalogue.columns
    near = np.abs(x - column) < 3
    at = matched(found, y[near], x[near])

    assert np.count_nonzero(at >= 0) == near.sum()
    assert len(found["ID"]) == y.size
    pull = ((found["FLUX"] - flux[near][at]) / found["FLUXERR"])[at >= 0]
    assert np.abs(pull).max() < 4.5
    bits = found["FLAGS"][at >= 0] & int(mask.bitmask([plane]))
    assert (bits != 0).all()


@pytest.mark.parametrize(("plane", "rule"), [("SAT", "peak"), ("SAT_TEMPLATE", "centre")])
def test_sources_on_bad_planes_are_left_out_and_counted(rng, plane, rule):
    image, y, x, _ = transients(rng, 30.0, 60)
    near = np.zeros(SHAPE, np.bool_)
    near[int(y[3]) - 3 : int(y[3]) + 4, int(x[3]) - 3 : int(x[3]) + 4] = True
    mask = Mask.empty(SHAPE).with_flagged(near, plane)
    # the pixels count, so that there is a peak on them
    config = SourcesConfig(bad_planes=("NO_DATA",))
    report = find_sources(exposure(image, mask=mask), config)

    assert len(report.catalogue) == y.size - 1
    counts = (
        report.metrics["n_rejected_bad_mask_planes"],
        report.metrics["n_removed_bad_flagged_sources"],
    )
    assert counts == ((1, 0) if rule == "peak" else (0, 1))


def test_nan_and_missing_variance_are_left_out(rng):
    image, y, x, _ = transients(rng, 30.0, 60)
    image[100:140, 200:260] = np.nan
    made = exposure(image)
    made.variance[300:310, 50:90] = np.inf
    report = find_sources(made, SourcesConfig())

    assert np.isfinite(report.catalogue.columns["FLUX"]).all()
    inside = (y > 95) & (y < 145) & (x > 195) & (x < 265)
    assert len(report.catalogue) >= y.size - inside.sum() - 2
    assert np.isnan(report.snr[110:130, 215:245]).all()


def test_shifted_stars_are_one_dipole_each(rng):
    y, x = lattice(SHAPE, 60, rng)
    flux = np.full(y.size, 6e4)
    science = add_stars(noise(rng), y=y, x=x, flux=flux, sigma=SIGMA)
    template = add_stars(noise(rng), y=y, x=x + 1.0, flux=flux, sigma=SIGMA)
    report = find_sources(
        exposure(science - template, variance=2 * VARIANCE),
        SourcesConfig(),
        science=exposure(science),
        template=exposure(template),
    )
    found = report.catalogue.columns

    assert len(report.catalogue) == y.size
    assert found["DIPOLE"].all()
    assert not found["NEGATIVE"].any()
    assert report.metrics["n_merged_dia_sources"] == y.size
    assert report.metrics["n_unmerged_dia_sources"] == 2 * y.size
    np.testing.assert_allclose(found["DIPSEP"], 1.0, atol=0.1)
    np.testing.assert_allclose(np.abs(found["DIPANGLE"]), np.pi, atol=0.1)
    at = matched(found, y, x + 0.5)
    assert (at >= 0).all()
    np.testing.assert_allclose(found["X"], x[at] + 0.5, atol=0.1)


def test_forced_fluxes_are_those_of_the_images(rng):
    y, x = lattice(SHAPE, 60, rng)
    before, after = np.full(y.size, 3000.0), np.full(y.size, 9000.0)
    science = add_stars(noise(rng), y=y, x=x, flux=after, sigma=SIGMA)
    template = add_stars(noise(rng), y=y, x=x, flux=before, sigma=SIGMA)
    report = find_sources(
        exposure(science - template, variance=2 * VARIANCE),
        SourcesConfig(),
        science=exposure(science),
        template=exposure(template, psf=None),
    )
    found = report.catalogue.columns

    for prefix, truth in (("SCI", 9000.0), ("TPL", 3000.0)):
        pull = (found[f"{prefix}FLUX"] - truth) / found[f"{prefix}ERR"]
        assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * y.size))
        # places are those of the difference, where the flux of the star is lower by their error
        assert abs(pull.mean()) < 4 / np.sqrt(y.size) + 0.1
        assert not found[f"BAD{prefix}"].any()


def test_difference_without_psf_is_refused(rng):
    with pytest.raises(IncompatibleError, match="no PSF"):
        find_sources(exposure(noise(rng), psf=None), SourcesConfig())


def test_given_score_is_searched_as_it_is(rng):
    image, *_ = transients(rng, 20.0, 90)
    own = find_sources(exposure(image), SourcesConfig(subtract_background=False))
    signal = own.score.image.copy()
    signal[200, 300] = 12 * np.sqrt(own.score.variance[200, 300])
    score = exposure(signal).with_values(variance=own.score.variance)
    given = find_sources(exposure(image), SourcesConfig(subtract_background=False), score=score)

    peaks = set(
        zip(given.catalogue.columns["PEAKY"], given.catalogue.columns["PEAKX"], strict=True)
    )
    expected = zip(own.catalogue.columns["PEAKY"], own.catalogue.columns["PEAKX"], strict=True)
    assert peaks == {*expected, (200, 300)}


def test_gaussian_filter_finds_what_the_psf_finds(rng):
    image, y, *_ = transients(rng, 20.0, 60)
    report = find_sources(exposure(image), SourcesConfig(filter="gaussian"))

    assert len(report.catalogue) == y.size


def test_empty_places_scatter_by_their_errors(rng):
    image, *_ = transients(rng, 20.0, 80)
    report = find_sources(exposure(image), SourcesConfig(sky_sources=60))
    sky = report.catalogue.of_sky(sky=True).columns
    pull = sky["FLUX"] / sky["FLUXERR"]

    assert len(sky["ID"]) == 60
    assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * 60))
    assert report.metrics["n_sky_sources"] == 60
    assert report.metrics["sky_source_pull_std"] == pytest.approx(pull.std(ddof=1))
    assert report.catalogue.columns["ID"].tolist() == list(range(1, len(report.catalogue) + 1))


def test_empty_places_are_empty_apart_and_repeatable():
    occupied = np.zeros(SHAPE, np.bool_)
    occupied[100:200, 100:400] = True
    arguments = {"n": 30, "radius": 8.0, "border": 9, "tries": 500, "seed": 5}
    y, x = empty_places(occupied, **arguments)
    again = empty_places(occupied, **arguments)

    assert y.size == 30
    np.testing.assert_array_equal([y, x], again)
    for row, column in zip(np.round(y).astype(int), np.round(x).astype(int), strict=True):
        assert not occupied[row - 5 : row + 6, column - 5 : column + 6].any()
    apart = np.hypot(y[:, None] - y, x[:, None] - x)[np.triu_indices(30, 1)]
    assert apart.min() >= 16.0
    assert empty_places(np.ones(SHAPE, np.bool_), **arguments)[0].size == 0


def test_metrics_tell_correlated_noise(rng):
    white = noise(rng)
    mixed = (white + 0.6 * np.roll(white, 1, axis=1)) / np.sqrt(1.36)
    reports = [find_sources(exposure(image), SourcesConfig()) for image in (white, mixed)]
    (x_white, y_white), (x_mixed, y_mixed) = (
        [report.metrics[f"autocorrelation_{axis}1"] for axis in "xy"] for report in reports
    )

    limit = 5 / np.sqrt(16 * 128**2)
    assert max(abs(x_white), abs(y_white), abs(y_mixed)) < limit
    assert x_mixed == pytest.approx(0.6 / 1.36, abs=limit)
    assert reports[0].metrics["difference_sky_std"] == pytest.approx(1.0, abs=0.01)
    assert reports[0].metrics["score_noise_scale"] == 1.0
    # sums of correlated pixels scatter by sqrt(1 + 2 * 0.44) at most
    assert 1.15 < reports[1].metrics["score_noise_scale"] < 1.38
    assert reports[1].metrics["score_sky_std"] == pytest.approx(1.0, abs=0.02)
    unscaled = find_sources(exposure(mixed), SourcesConfig(scale_score=False))
    assert unscaled.metrics["score_sky_std"] > 1.15


def test_errors_follow_a_variance_that_is_wrong(rng):
    image, y, x, flux = transients(rng, 30.0)
    found = find_sources(exposure(image, variance=VARIANCE / 1.5**2), SourcesConfig())
    columns = found.catalogue.columns
    at = matched(columns, y, x)
    pull = ((columns["FLUX"] - flux[at]) / columns["FLUXERR"])[at >= 0]

    assert found.metrics["score_noise_scale"] == pytest.approx(1.5, rel=0.05)
    assert pull.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * y.size) + 0.05)


def test_check_of_an_ideal_difference_reports_nothing_wrong(rng):
    made = exposure(noise(rng))
    config = SourcesConfig()
    report = find_sources(made, config)

    numbers = check_difference(
        made, made, report, lambda science: science, config, CheckConfig(n_sources=120)
    )

    assert numbers["check_sources"] == 120
    assert abs(numbers["check_flux_bias"]) < 1e-4
    assert numbers["check_flux_scatter"] < 1e-4
    assert abs(numbers["check_pull_mean"]) < 4 / np.sqrt(120)
    assert numbers["check_pull_std"] == pytest.approx(1.0, abs=4 * numbers["check_pull_std_error"])
    assert numbers["check_found_10_to_20"] == 1.0
    assert numbers["check_found_3_5_to_5"] < 0.7
    expected = numbers["check_peaks_expected_3_5"]
    assert abs(numbers["check_peaks_positive_3_5"] - expected) < 4 * np.sqrt(expected)


def test_check_sees_lost_flux_and_a_variance_that_is_wrong(rng):
    made = exposure(noise(rng), variance=VARIANCE / 1.5**2)
    config = SourcesConfig(scale_score=False)
    report = find_sources(made, config)

    def dim(science):
        image = made.image + 0.9 * (science.image - made.image)
        return science.with_values(image=image.astype(np.float32))

    numbers = check_difference(made, made, report, dim, config, CheckConfig(n_sources=120))

    assert numbers["check_flux_bias"] == pytest.approx(-0.1, abs=1e-3)
    assert numbers["check_pull_std"] > 1.3
    assert numbers["check_peaks_positive_4"] > 5 * numbers["check_peaks_expected_4"]


def test_check_without_room_or_psf_is_refused(rng):
    made = exposure(noise(rng))
    config = SourcesConfig(subtract_background=False)
    empty = find_sources(exposure(np.full(SHAPE, np.nan)), config)
    full = find_sources(made, config)

    with pytest.raises(AlgorithmError, match="no room"):
        check_difference(made, made, empty, lambda e: e, config, CheckConfig())
    with pytest.raises(IncompatibleError, match="no PSF"):
        check_difference(made.with_values(psf=None), made, full, lambda e: e, config, CheckConfig())


def test_table_keeps_what_was_found(rng):
    image, *_ = transients(rng, 20.0, 90)
    catalogue = find_sources(exposure(image), SourcesConfig()).catalogue
    found = type(catalogue).from_hdu(catalogue.to_hdu(), name="x.fits")

    assert isinstance(catalogue.to_hdu(), fits.BinTableHDU)
    for name, values in catalogue.columns.items():
        np.testing.assert_array_equal(found.columns[name], values)
