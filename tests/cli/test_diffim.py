import json
import re

import numpy as np
import pytest
from astropy.io import fits

from skytool.models.photometry import PhotometricCalibration
from skytool.models.psf.kinds import psf_from_hdus
from tests.cli.differencing import SHAPE, run, small_pair, written
from tests.stages.pairs import SCALE, SIGMA_SCIENCE, SIGMA_TEMPLATE, exposure, pair, wcs_of


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Science image and template, and what is in them."""
    return small_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def made(files, tmp_path_factory):
    """All products of a run."""
    folder = tmp_path_factory.mktemp("made")
    names, *_ = files
    result = run(
        *names,
        "-o",
        folder / "d.fits",
        "--kernel-out",
        folder / "k.fits",
        "--matched-template",
        folder / "m.fits",
        "--score",
        folder / "s.fits",
        "--sources",
        folder / "c.fits",
        "--json",
    )
    return folder, [json.loads(line) for line in result.stdout.splitlines()]


def test_every_product_has_its_layout_and_is_whole(made):
    folder, _ = made
    kinds = {"d": "DIFFERENCE", "k": "KERNEL", "m": "EXPOSURE", "s": "SCORE", "c": "SOURCES"}
    first = {"k": "KERNEL", "c": "SOURCES"}

    for name, kind in kinds.items():
        with fits.open(folder / f"{name}.fits", checksum=True) as hdus:
            assert hdus[0].header["SKYTYPE"] == kind
            assert hdus[1].name == first.get(name, "IMAGE")
            assert {"INPUTS", "CONFIG"} <= {hdu.name for hdu in hdus}
    with fits.open(folder / "d.fits") as hdus:
        names = [hdu.name for hdu in hdus]
        assert names[1:4] == ["IMAGE", "MASK", "VARIANCE"]
        kernel = {"KERNEL", "KBASIS", "KCOEFF", "KBACK", "KTERM", "KSTARS", "PSFIN"}
        assert {"PSF", *kernel} <= set(names)
    with fits.open(folder / "k.fits") as hdus:
        assert kernel <= {hdu.name for hdu in hdus}


def test_the_header_is_that_of_the_science_image(made, files):
    folder, _ = made
    _, _, (science, _) = files
    with fits.open(folder / "d.fits") as hdus:
        primary, image = hdus[0].header, hdus["IMAGE"].header
        for key in ("FILTER", "EXPTIME", "DATE-OBS"):
            assert primary[key] == science.header[key]
        for number in (1, 2):
            assert image[f"CRPIX{number}"] == science.wcs.wcs.crpix[number - 1]
            assert image[f"CRVAL{number}"] == science.wcs.wcs.crval[number - 1]
        assert (image["LTV1"], image["LTV2"]) == (-110, -70)
        assert primary["KSUM"] == pytest.approx(SCALE, rel=0.02)


def test_the_metrics_are_finite_and_in_the_report(made):
    _, lines = made
    metrics = lines[0]["metrics"]

    assert [line["path"].rpartition("/")[2] for line in lines] == [
        "d.fits",
        "m.fits",
        "k.fits",
        "s.fits",
        "c.fits",
    ]
    numbers = [value for value in metrics.values() if isinstance(value, int | float)]
    assert len(numbers) > 40
    assert np.all(np.isfinite(numbers))
    unknown = {name for name, value in metrics.items() if value is None}
    # there is neither a zero point nor a place without sources that was asked for
    limits = {f"{name}_limit" for name in ("science", "template", "difference")}
    assert unknown == {
        *limits,
        "scale_offset_mmag",
        "preconvolved_fwhm",
        "empty_ratio",
        "empty_scatter",
    }
    assert all(re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", name) for name in metrics)
    assert metrics["kernel_sums"] == pytest.approx([SCALE] * 9, rel=0.02)
    width = SIGMA_SCIENCE**2 - SIGMA_TEMPLATE**2
    assert metrics["kernel_moments_yy"][4] == pytest.approx(width, rel=0.1)
    assert metrics["kernel_moments_xx"][4] == pytest.approx(width, rel=0.1)
    assert metrics["basis_degrees"] == [4, 2, 2]
    assert metrics["n_interpolated"] == 0
    assert metrics["convolved"] == "template"
    assert metrics["template_coverage"] == 1.0
    assert metrics["noise_factor"] == pytest.approx(1.0, abs=0.05)


def test_the_depth_is_known_with_a_zero_point(files, tmp_path):
    _, _, exposures = files
    scales = 50.0, 50.0 * SCALE  # nJy per unit
    names = [
        written(each.with_values(calibration=PhotometricCalibration(scale)), tmp_path / each.name)
        for each, scale in zip(exposures, scales, strict=True)
    ]
    args = "-o", tmp_path / "d.fits", "--sources", tmp_path / "c.fits", "--sky-sources", "30"

    metrics = json.loads(run(*names, *args, "--json").stdout.splitlines()[0])["metrics"]

    flux = {}
    for name, each, scale in zip(("science", "template"), exposures, scales, strict=True):
        star = each.psf.kernel_image(y=0, x=0)
        flux[name] = 5 * scale / np.sqrt(np.sum(star**2))
        assert metrics[f"{name}_limit"] == pytest.approx(
            31.4 - 2.5 * np.log10(flux[name]), abs=0.05
        )
    both = 31.4 - 2.5 * np.log10(np.hypot(*flux.values()))
    assert metrics["difference_limit"] == pytest.approx(both, abs=0.05)
    assert abs(metrics["scale_offset_mmag"]) < 20
    assert [name for name, value in metrics.items() if value is None] == ["preconvolved_fwhm"]
    with fits.open(tmp_path / "d.fits") as hdus:
        assert hdus[0].header["MAGLIM"] == pytest.approx(metrics["difference_limit"])
        noise = np.sqrt(np.median(hdus["VARIANCE"].data))
    # noise of the difference over that of the science image, which has the variance one
    assert metrics["empty_ratio"] == pytest.approx(noise, rel=0.1)


def evaluated(path, y, x):
    """The kernel at a position, from the arrays of the file alone."""
    with fits.open(path) as hdus:
        basis, coefficients = hdus["KBASIS"].data, hdus["KCOEFF"].data
        ny, nx = hdus["KCOEFF"].header["DOMAINY"], hdus["KCOEFF"].header["DOMAINX"]
    v, u = (2 * y + 1) / ny - 1, (2 * x + 1) / nx - 1
    factors = [np.polynomial.chebyshev.chebval2d(v, u, table) for table in coefficients]
    return np.tensordot(factors, basis, axes=1)


def test_the_kernel_can_be_evaluated_from_its_file(made, files):
    folder, _ = made
    _, _, (_, template) = files
    row, column = 130, 150
    with fits.open(folder / "k.fits") as hdus:
        middle = hdus["KERNEL"].data
        at = hdus["KERNEL"].header["KCENY"], hdus["KERNEL"].header["KCENX"]
    kernel = evaluated(folder / "k.fits", row, column)
    half = kernel.shape[0] // 2
    window = np.s_[row - half : row + half + 1, column - half : column + half + 1]
    matched = np.sum(template.image[window].astype(float) * kernel[::-1, ::-1])

    np.testing.assert_allclose(evaluated(folder / "k.fits", *at), middle, atol=1e-12 * middle.max())
    with fits.open(folder / "k.fits") as hdus:
        table, domain = hdus["KTERM"].data, hdus["KTERM"].header
    v, u = (2 * row + 1) / domain["DOMAINY"] - 1, (2 * column + 1) / domain["DOMAINX"] - 1
    again = np.polynomial.chebyshev.chebval2d(v, u, table)
    np.testing.assert_allclose(again, kernel, atol=1e-12 * middle.max())
    with fits.open(folder / "m.fits") as hdus:
        assert hdus["IMAGE"].data[row, column] == pytest.approx(matched, abs=5e-3)


def evaluated_psf(hdus, version, y, x):
    """The star at a position, by numpy alone."""
    hdu = hdus["PSFIN", version]
    if hdu.header["PSFKIND"] == "CONSTANT":
        return hdu.data
    coefficients = hdus["PSFINCOEFF", version]
    ny, nx = coefficients.header["DOMAINY"], coefficients.header["DOMAINX"]
    v, u = (2 * y + 1) / ny - 1, (2 * x + 1) / nx - 1
    factors = [np.polynomial.chebyshev.chebval2d(v, u, table) for table in coefficients.data]
    star = np.tensordot(factors, hdu.data, axes=1)
    return star / star.sum()


@pytest.mark.parametrize("file", ["d", "k"])
def test_the_psfs_of_both_images_can_be_evaluated_from_the_file(made, files, file):
    folder, _ = made
    _, _, exposures = files

    with fits.open(folder / f"{file}.fits") as hdus:
        for version, (role, given) in enumerate(
            zip(("science", "template"), exposures, strict=True), 1
        ):
            assert hdus["PSFIN", version].header["ROLE"] == role
            expected = given.psf.kernel_image(y=0, x=0)
            np.testing.assert_allclose(evaluated_psf(hdus, version, 9, 30), expected, atol=1e-15)


def test_psfs_are_measured_if_there_are_none_and_are_in_the_file(tmp_path):
    rng = np.random.default_rng(3)
    science, template, _ = pair(rng, shape=(400, 440), count=50, fluxes=(3.6, 4.6), apart=30)
    names = [
        written(each.with_values(psf=None), tmp_path / each.name) for each in (science, template)
    ]

    run(*names, "-o", tmp_path / "d.fits")

    y, x = 90, 310
    with fits.open(tmp_path / "d.fits") as hdus:
        for version, given in enumerate((science, template), 1):
            star = given.psf.kernel_image(y=y, x=x)
            found = evaluated_psf(hdus, version, y, x)
            # 50 stars of S/N 300 to 4000 tell the peak far better than this
            assert found.max() == pytest.approx(star.max(), rel=0.02)
            stored = psf_from_hdus(hdus, name="d", extname="PSFIN", extver=version)
            np.testing.assert_allclose(found, stored.kernel_image(y=y, x=x), atol=1e-9)


def test_a_stored_kernel_makes_the_same_bits(made, files, tmp_path):
    folder, _ = made
    names, *_ = files

    run(
        *names,
        "-o",
        tmp_path / "d.fits",
        "--kernel-in",
        folder / "k.fits",
        "--score",
        tmp_path / "s.fits",
    )

    with fits.open(folder / "d.fits") as first, fits.open(tmp_path / "d.fits") as second:
        for name in ("IMAGE", "MASK", "VARIANCE", "PSF", "KCOEFF", "KBACK"):
            np.testing.assert_array_equal(first[name].data, second[name].data)


def test_two_runs_write_the_same_bytes(files, tmp_path):
    names, *_ = files
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run(*names, "-o", tmp_path / name / "d.fits")

    assert (tmp_path / "a/d.fits").read_bytes() == (tmp_path / "b/d.fits").read_bytes()


@pytest.mark.parametrize("form", ["zero", "one", "sky", "fits"])
def test_listed_sources_are_used_whatever_their_positions_are(files, tmp_path, form):
    names, (y, x, flux), (science, _) = files
    path = tmp_path / ("list.fits" if form == "fits" else "list.csv")
    columns = {"zero": ("x", "y"), "one": ("X_IMAGE", "Y_IMAGE"), "sky": ("ra", "dec")}
    if form == "fits":
        table = fits.BinTableHDU.from_columns(
            [
                fits.Column(name, "D", array=values)
                for name, values in (("x", x), ("y", y), ("snr", flux / 9))
            ]
        )
        table.writeto(path)
    else:
        first, second = x, y
        if form == "one":
            first, second = x + 1, y + 1
        if form == "sky":
            first, second = science.wcs.all_pix2world(x, y, 0)
        rows = [",".join([*columns[form], "flux", "flux_err"])]
        rows += [
            f"{a!r},{b!r},{f!r},9.0"
            for a, b, f in zip(first.tolist(), second.tolist(), flux.tolist(), strict=True)
        ]
        path.write_text("\n".join(rows) + "\n")

    run(*names, "-o", tmp_path / "d.fits", "--catalog", path)

    with fits.open(tmp_path / "d.fits") as hdus:
        stars = hdus["KSTARS"].data
        assert len(stars) == len(y)
        near = np.hypot(stars["X"][:, None] - x, stars["Y"][:, None] - y).min(axis=1)
        assert near.max() < 1e-4
        assert np.count_nonzero(stars["STATUS"] == "used") > 15


def test_a_template_on_another_grid_is_refused_with_the_remedy_and_aligned_if_asked(
    files, tmp_path
):
    names, _, (_, template) = files
    moved = template.with_values(wcs=wcs_of(SHAPE, (0.4, -0.3)))
    other = written(moved, tmp_path / "moved.fits")

    refused = run(names[0], other, "-o", tmp_path / "d.fits", status=4)
    run(names[0], other, "-o", tmp_path / "d.fits", "--align")

    assert (
        "moved.fits is not on the grid of science.fits: the middles of its pixels are up to 0.5 pixels beside"
        in refused.stderr
    )
    assert "skytool warp moved.fits --like science.fits" in refused.stderr
    with fits.open(tmp_path / "d.fits") as hdus:
        assert hdus["IMAGE"].shape == SHAPE


def test_a_larger_template_leaves_no_edge(tmp_path):
    rng = np.random.default_rng(8)
    science, template, _ = pair(rng, shape=SHAPE, count=30, fluxes=(3.3, 4.3))
    part = np.s_[20:-20, 24:-24]
    inner = exposure(
        science.image[part], 1.0, SIGMA_SCIENCE, name="science.fits", shift=(-20, -24), shape=SHAPE
    )
    names = written(inner, tmp_path / "science.fits"), written(template, tmp_path / "template.fits")

    run(*names, "-o", tmp_path / "d.fits")

    with fits.open(tmp_path / "d.fits") as hdus:
        mask = hdus["MASK"].data
        assert not np.any(mask & (1 << hdus["MASK"].header["MP_EDGE"]))
        assert np.isfinite(hdus["IMAGE"].data).all()


def test_the_preset_of_lsst_runs(files, tmp_path):
    names, *_ = files

    result = run(*names, "-o", tmp_path / "d.fits", "--config", "lsst", "--json")

    assert json.loads(result.stdout)["metrics"]["kernel_order"] == 1
