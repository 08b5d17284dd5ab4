import json

import numpy as np
import pytest
from astropy.io import fits
from scipy.optimize import brentq

from skytool.core.matching.model_psf import ModelPsf
from skytool.errors import AlgorithmError, IncompatibleError, InputError
from skytool.models.exposure import Origin
from skytool.models.psf.kinds import AnalyticPsf, BasisPsf, ConstantPsf, GridPsf, psf_from_hdus

ZERO = Origin(0, 0)


def star(fwhm, shape=(31, 25), *, dy=0.0, dx=0.0, ratio=1.0, samples=1):
    y, x = ((np.arange(n) - (n - 1) / 2) / samples for n in shape)
    return np.exp(
        -4 * np.log(2) / fwhm**2 * ((x - dx) ** 2 * ratio + (y[:, None] - dy) ** 2 / ratio)
    )


def lattice_psf(oversampling=(1, 1)):
    """Stars whose width grows linearly with x, and elongation with y."""
    x, y = np.meshgrid([10.0, 110.0, 260.0], [-20.0, 180.0])
    shape = (31 * oversampling[0] | 1, 25 * oversampling[1] | 1)
    scale_y, scale_x = oversampling
    stamps = []
    for yy, xx in zip(y.ravel(), x.ravel(), strict=True):
        rows, columns = ((np.arange(n) - (n - 1) / 2) for n in shape)
        width, ratio = 4.0 + xx / 200, 1.0 + yy / 1000
        r = (rows[:, None] / scale_y) ** 2 / ratio + (columns / scale_x) ** 2 * ratio
        stamps.append(np.exp(-4 * np.log(2) / width**2 * r))
    return GridPsf(np.array(stamps), y.ravel(), x.ravel(), oversampling)


def basis_psf(start=ZERO):
    coefficients = np.zeros((2, 2, 3))
    coefficients[0, 0, 0] = 1.0
    coefficients[1] = [[0.3, 0.1, -0.05], [0.2, 0.02, 0.0]]
    basis = np.array([star(4.0), star(4.0, ratio=0.7) - star(4.0)])
    return BasisPsf(basis, coefficients, (90, 130), start)


def every_kind():
    return [
        ConstantPsf(star(3.0, ratio=0.8)),
        lattice_psf(),
        lattice_psf((3, 2)),
        GridPsf(np.array([star(3.0), star(5.0)]), [4.0, 60.0], [9.0, 9.5]),
        basis_psf(),
        basis_psf(Origin(y=-7, x=40)),
        AnalyticPsf.gaussian(3.1, axis_ratio=0.8, angle=25.0),
        AnalyticPsf.moffat(3.4, beta=2.7, integrated=True),
        AnalyticPsf.double_gaussian(7.7),
    ]


@pytest.mark.parametrize("psf", every_kind())
def test_every_kind_gives_normalised_stars_of_its_shape(psf):
    for y, x in ((20.3, 60.8), (-500.0, 1e4)):
        for stamp in (psf.kernel_image(y=y, x=x), psf.image(y=y, x=x)):
            assert stamp.dtype == np.float64
            assert stamp.shape == psf.shape
            assert all(n % 2 for n in stamp.shape)
            assert stamp.sum() == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("psf", every_kind())
def test_every_kind_survives_its_extensions(psf):
    saved = fits.HDUList([fits.PrimaryHDU(), *psf.to_hdus()])
    again = fits.HDUList.fromstring(_bytes(saved))
    read = psf_from_hdus(again, name="a.fits")
    assert type(read) is type(psf)
    for y, x in ((20.3, 60.8), (-30.0, 300.0)):
        np.testing.assert_allclose(read.image(y=y, x=x), psf.image(y=y, x=x), rtol=0, atol=1e-16)


def _bytes(hdus):
    from io import BytesIO

    stream = BytesIO()
    hdus.writeto(stream)
    return stream.getvalue()


@pytest.mark.parametrize("psf", every_kind())
def test_a_cutout_has_the_same_stars(psf):
    cut = psf.shifted(-13, -40)
    np.testing.assert_allclose(
        cut.kernel_image(y=7.0, x=12.0), psf.kernel_image(y=20.0, x=52.0), rtol=1e-14
    )


@pytest.mark.parametrize("psf", every_kind())
@pytest.mark.parametrize("at", [(20.3, 60.8), (20.5, 60.5), (19.999, 61.25)])
def test_the_image_is_centred_on_the_position(psf, at):
    y, x = at
    stamp = psf.image(y=y, x=x)
    weight = np.clip(stamp, 0, None) ** 3  # a compact weight: the wings are cut unevenly
    rows, columns = (np.arange(n) - n // 2 for n in stamp.shape)
    mean_y = (weight.sum(axis=1) @ rows) / weight.sum() + np.floor(y + 0.5)
    mean_x = (weight.sum(axis=0) @ columns) / weight.sum() + np.floor(x + 0.5)
    # interpolation of a star of 2.7 pixels FWHM is good to 2e-3 of the peak
    assert (mean_y, mean_x) == pytest.approx(at, abs=3e-3)


@pytest.mark.parametrize("psf", every_kind())
def test_a_larger_stamp_has_the_same_middle(psf):
    h, w = psf.shape
    small = psf.kernel_image(y=20.0, x=60.0)
    large = psf.kernel_image(y=20.0, x=60.0, shape=(h + 8, w + 2))
    middle = large[4:-4, 1:-1]
    np.testing.assert_allclose(middle / middle.sum(), small, rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match="odd"):
        psf.kernel_image(y=20.0, x=60.0, shape=(h + 1, w))


def test_a_shifted_gaussian_is_the_gaussian_at_its_new_place():
    psf = ConstantPsf(star(3.0))
    expected = star(3.0, dy=0.3, dx=-0.4)
    # interpolation between samples of a star of 3 pixels: 1.1e-3 of the peak
    peak = expected.max() / expected.sum()
    got = psf.image(y=12.3, x=56.6)
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=0, atol=1.1e-3 * peak)


def test_an_image_with_even_sides_is_centred_by_its_light():
    # middle at n / 2 along y, between the two middle pixels along x
    even = star(4.0, (30, 24), dy=0.5)
    psf = ConstantPsf.from_image(even)
    assert psf.shape == (31, 25)
    truth = star(4.0, (31, 25))
    got = psf.kernel_image(y=0.0, x=0.0)
    # along x it was interpolated: 2e-4 of the peak for 4 pixels
    np.testing.assert_allclose(got, truth / truth.sum(), rtol=0, atol=3e-4 * got.max())


@pytest.mark.parametrize(
    "stamp", [np.ones((4, 5)), np.full((3, 5), np.nan), np.zeros((3, 5)), np.ones(5)]
)
def test_images_that_are_no_psf_are_refused(stamp):
    with pytest.raises(InputError):
        ConstantPsf(stamp)


@pytest.mark.parametrize("oversampling", [(1, 1), (3, 2)])
def test_stars_of_a_grid_are_those_of_photutils(oversampling):
    psf = lattice_psf(oversampling)
    model = psf.to_photutils()
    # at points, between, and beyond; photutils interpolates samples with a cubic spline instead,
    # which for 4 pixels FWHM differs by 1e-3 of the peak, and not at all at the samples
    for y, x, error in (
        (180.0, 110.0, 1e-12),
        (-20.0, 60.0, 1e-12),
        (55.0, 200.0, 1e-12),
        (55.3, 200.6, 2e-3),
        (-300.0, 999.0, 1e-12),
        (900.0, 47.0, 1e-12),
    ):
        stamp = psf.image(y=y, x=x)
        h, w = stamp.shape
        yy = np.floor(y + 0.5) + np.arange(h)[:, None] - h // 2
        xx = np.floor(x + 0.5) + np.arange(w) - w // 2
        yy, xx = np.broadcast_arrays(yy, xx)
        expected = model.evaluate(xx, yy, 1.0, x, y)
        expected /= expected.sum()
        np.testing.assert_allclose(stamp, expected, rtol=0, atol=error * stamp.max())


def test_a_grid_survives_the_way_through_photutils():
    psf = lattice_psf((3, 2))
    again = GridPsf.from_photutils(psf.to_photutils())
    assert again.oversampling == (3, 2)
    np.testing.assert_allclose(
        again.image(y=55.3, x=200.6), psf.image(y=55.3, x=200.6), rtol=0, atol=1e-16
    )


def test_a_grid_that_photutils_cannot_have_is_refused():
    with pytest.raises(IncompatibleError, match="photutils"):
        GridPsf(np.array([star(3.0), star(5.0)]), [4.0, 60.0], [9.0, 9.5]).to_photutils()


def test_scattered_points_give_the_nearest_star():
    narrow, wide = star(3.0), star(5.0)
    psf = GridPsf(np.array([narrow, wide]), [4.0, 60.0], [9.0, 9.5])
    np.testing.assert_allclose(psf.kernel_image(y=30.0, x=0.0), narrow / narrow.sum())
    np.testing.assert_allclose(psf.kernel_image(y=35.0, x=90.0), wide / wide.sum())


def test_oversampled_stars_of_a_grid_are_right_between_pixels():
    psf = lattice_psf((3, 2))
    stamp = psf.image(y=179.6, x=110.3)
    rows, columns = (np.arange(n) - n // 2 for n in stamp.shape)
    width, ratio = 4.0 + 110.0 / 200, 1.0 + 180 / 1000
    # between the points at 110 and 260 by 0.3 / 150, at 180 and -20 by 0.4 / 200
    exact = np.exp(
        -4
        * np.log(2)
        / width**2
        * ((rows[:, None] + 0.4) ** 2 / ratio + (columns - 0.3) ** 2 * ratio)
    )
    np.testing.assert_allclose(stamp, exact / exact.sum(), rtol=0, atol=2e-3 * stamp.max())


@pytest.mark.parametrize(
    "arguments",
    [
        (np.ones((2, 3, 5)), [1.0], [2.0, 3.0]),
        (np.ones((2, 3, 5)), [1.0, 1.0], [2.0, 2.0]),
        (np.ones((2, 3, 5)), [1.0, np.nan], [2.0, 3.0]),
        (np.ones((2, 3, 5)), [1.0, 2.0], [2.0, 3.0], (0, 1)),
        (np.ones((3, 5)), [1.0, 2.0, 3.0], [2.0, 3.0, 4.0]),
    ],
)
def test_inconsistent_grids_are_refused(arguments):
    with pytest.raises(InputError):
        GridPsf(*arguments)


def test_the_factors_of_a_basis_are_the_polynomials_over_the_pixel_edges():
    psf = basis_psf(Origin(y=-7, x=40))
    cheb = np.polynomial.chebyshev.chebval2d
    y, x = 22.25, 77.5
    scaled_y, scaled_x = 2 * (y + 7 + 0.5) / 90 - 1, 2 * (x - 40 + 0.5) / 130 - 1
    expected = [cheb(scaled_y, scaled_x, c) for c in psf.coefficients]
    np.testing.assert_allclose(psf.factors(y=y, x=x), expected, rtol=1e-13)
    np.testing.assert_allclose(psf.factors(y=1e5, x=-1e5), psf.factors(y=82.5, x=39.5), rtol=1e-13)


def test_a_basis_is_evaluated_from_its_file_by_numpy_alone():
    psf = basis_psf()
    hdus = fits.HDUList.fromstring(_bytes(fits.HDUList([fits.PrimaryHDU(), *psf.to_hdus()])))
    basis, coefficients = hdus["PSF"].data, hdus["PSFCOEFF"].data
    nx, ny = (hdus["PSFCOEFF"].header[f"DOMAIN{axis}"] for axis in "XY")
    y, x = 20.0, 60.0
    u, v = (2 * x + 1) / nx - 1, (2 * y + 1) / ny - 1
    factors = [np.polynomial.chebyshev.chebval2d(v, u, c) for c in coefficients]
    stamp = np.tensordot(factors, basis, axes=1)
    np.testing.assert_allclose(stamp / stamp.sum(), psf.kernel_image(y=y, x=x), rtol=1e-12)


@pytest.mark.parametrize(
    "arguments",
    [
        (np.ones((2, 4, 5)), np.ones((2, 1, 1)), (9, 8)),
        (np.ones((2, 3, 5)), np.ones((3, 1, 1)), (9, 8)),
        (np.ones((2, 3, 5)), np.full((2, 1, 1), np.nan), (9, 8)),
        (np.ones((2, 3, 5)), np.ones((2, 1, 1)), (0, 8)),
    ],
)
def test_inconsistent_bases_are_refused(arguments):
    with pytest.raises(InputError):
        BasisPsf(*arguments)


def test_a_basis_moves_by_whole_pixels_only():
    with pytest.raises(ValueError, match="whole pixel"):
        basis_psf().shifted(0.5, 0.0)


def test_an_empty_star_is_an_error_with_its_place():
    basis = np.array([star(4.0)])
    psf = BasisPsf(basis, np.array([[[0.0, -1.0]]]), (90, 130))
    with pytest.raises(AlgorithmError, match=r"\(129, 4\)"):
        psf.kernel_image(y=4.0, x=129.0)


def test_the_double_gaussian_is_the_model_of_psf_matching():
    for fwhm in (3.0, 7.7, 11.0):
        psf, model = AnalyticPsf.double_gaussian(fwhm), ModelPsf(fwhm=fwhm)
        assert psf.size == model.stamp_size
        np.testing.assert_allclose(psf.kernel_image(y=3, x=4), model.image(), rtol=1e-12)
    assert [AnalyticPsf.double_gaussian(f).size for f in (7.7, 11.0, 3.0)] == [23, 33, 9]
    psf = AnalyticPsf.double_gaussian(7.7, size=71)
    # the published width of the whole over that of the core
    assert psf.fwhm(y=0, x=0) == pytest.approx(1.056 * 7.7, rel=1e-3)

    def excess(variance):
        """Return twice the weighted moment of two Gaussians, over the variance of the weight."""
        widths = [1 / (1 / variance + 1 / (f * 7.7) ** 2 * 8 * np.log(2)) for f in (1.0, 2.5)]
        light = [a * w for a, w in zip((1.0, 0.1), widths, strict=True)]
        return 2 * np.dot(light, widths) / np.sum(light) - variance

    exact = np.sqrt(brentq(excess, 5.0, 50.0) * 8 * np.log(2))
    assert psf.adaptive_fwhm(y=0, x=0) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("make", [AnalyticPsf.gaussian, AnalyticPsf.moffat])
@pytest.mark.parametrize("options", [{}, {"axis_ratio": 0.7, "angle": 40.0}])
def test_the_width_of_a_formula_is_its_half_maximum(make, options):
    assert make(5.0, **options).fwhm(y=0, x=0) == pytest.approx(5.0, rel=1e-3)


def test_integration_over_pixels_is_the_error_function():
    from scipy.special import erf

    psf = AnalyticPsf.gaussian(1.2, size=9, integrated=True)
    sigma = 1.2 / np.sqrt(8 * np.log(2))
    edges = (np.arange(10) - 4.5 - np.array([[0.3], [-0.4]])) / (np.sqrt(2) * sigma)
    strips = np.diff(0.5 * erf(edges), axis=1)
    expected = np.outer(*strips)
    got = psf.image(y=20.3, x=59.6)
    np.testing.assert_allclose(got, expected / expected.sum(), rtol=0, atol=1e-10)


def test_the_long_axis_has_its_direction():
    stamp = AnalyticPsf.gaussian(6.0, axis_ratio=0.6, angle=30.0).kernel_image(y=0, x=0)
    y, x = np.indices(stamp.shape) - stamp.shape[0] // 2
    xx, yy, xy = ((stamp * m).sum() for m in (x * x, y * y, x * y))
    assert np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)) == pytest.approx(30.0, abs=0.01)
    long, short = np.sqrt(np.linalg.eigvalsh([[xx, xy], [xy, yy]])[::-1])
    assert short / long == pytest.approx(0.6, rel=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"width": 0.0},
        {"width": np.nan},
        {"size": 4},
        {"axis_ratio": 1.5},
        {"axis_ratio": 0.0},
        {"beta": 1.0},
        {"function": "SINC"},
        {"angle": np.inf},
    ],
)
def test_impossible_formulas_are_refused(options):
    with pytest.raises(InputError):
        AnalyticPsf(**{"function": "MOFFAT", "width": 3.0, "size": 11, **options})


def test_a_foreign_image_and_a_foreign_stack_are_read():
    plain = psf_from_hdus([fits.PrimaryHDU(star(3.0).astype(">f4"))], name="psf.fits")
    np.testing.assert_allclose(plain.fwhm(y=0, x=0), 3.0, rtol=1e-3)
    stack = fits.ImageHDU(np.array([star(3.0), star(5.0)]), name="PSF")
    where = np.rec.fromarrays([[9.0, 80.0], [4.0, 4.0]], names="x,y")
    both = psf_from_hdus([stack, fits.BinTableHDU(where, name="PSFPOS")], name="b.fits")
    assert both.fwhm(y=4.0, x=80.0) == pytest.approx(5.0, rel=1e-3)
    with pytest.raises(InputError, match=r"b\.fits.*positions"):
        psf_from_hdus([stack], name="b.fits")


@pytest.mark.parametrize("what", ["sky", "star in a corner"])
def test_a_foreign_image_of_something_else_is_no_psf(what, rng):
    image = rng.normal(1200.0, 20.0, (61, 91))
    if what == "sky":
        image[28:33, 43:48] += 6e4
    else:
        image = image - 1200.0 + np.pad(1e5 * star(3.0), ((0, 40), (0, 70)))[:61, :91]

    with pytest.raises(InputError, match=r"psf\.fits.*no image of a star in its middle"):
        psf_from_hdus([fits.PrimaryHDU(image)], name="psf.fits")


def test_two_psfs_are_told_apart_by_version():
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for version, fwhm in ((1, 3.0), (2, 5.0)):
        hdus += lattice_psf().to_hdus(extname="PSFIN", extver=version)[:0]
        hdus += GridPsf(np.array([star(fwhm)]), [fwhm], [fwhm]).to_hdus(
            extname="PSFIN", extver=version
        )
    second = psf_from_hdus(hdus, name="a", extname="PSFIN", extver=2)
    assert second.fwhm(y=0, x=0) == pytest.approx(5.0, rel=1e-3)
    assert second.y.tolist() == [5.0]


def damaged(**cards):
    hdus = basis_psf().to_hdus()
    for key, value in cards.items():
        target = hdus[1] if key.startswith("DOMAIN") else hdus[0]
        if value is None:
            del target.header[key]
        else:
            target.header[key] = value
    return hdus


@pytest.mark.parametrize(
    "hdus",
    [
        [],
        [fits.PrimaryHDU()],
        damaged(SKYMVER=2),
        damaged(SKYMVER=None),
        damaged(PSFKIND="SHAPELETS"),
        damaged(DOMAINX=None),
        basis_psf().to_hdus()[:1],
        lattice_psf().to_hdus()[:1],
        [fits.ImageHDU(np.full((3, 5), np.nan), name="PSF")],
        [fits.ImageHDU(np.ones(5), name="PSF")],
    ],
)
def test_files_without_a_usable_psf_are_refused_by_name(hdus):
    with pytest.raises(InputError, match=r"bad\.fits"):
        psf_from_hdus(hdus, name="bad.fits")


@pytest.mark.parametrize("case", ["gauss2", "moffat3_fwhm4", "moffat2.5_fwhm5", "ell", "double"])
def test_adaptive_widths_are_those_of_lsst_golden_data(shared, case):
    folder = shared / "golden" / "10-primitives"
    stamp = np.load(folder / "output.npz")[f"psf_{case}"]
    wanted = json.loads((folder / "params.json").read_text())["results"]["psf_shapes"][case]
    # That program ends the weight at 4 sigma, where that of a Gaussian is exp(-8) = 3e-4 of the
    # peak; what is beyond counts 16-fold in the moments of a star with wings and half in the width.
    got = ConstantPsf(stamp).adaptive_fwhm(y=0.0, x=0.0)
    assert got == pytest.approx(wanted["getPsfFwhm"], rel=1e-3)
