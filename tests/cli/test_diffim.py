import json

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from skytool.cli.main import cli
from skytool.models.exposure_hdus import to_hdus
from tests.stages.pairs import SCALE, SIGMA_SCIENCE, exposure, pair, wcs_of

SHAPE = (260, 300)


def written(exposure, path):
    """Write an exposure and return the path as text."""
    primary = fits.PrimaryHDU(header=exposure.header)
    fits.HDUList([primary, *to_hdus(exposure)]).writeto(path)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Science image and template, and what is in them."""
    folder = tmp_path_factory.mktemp("pair")
    rng = np.random.default_rng(5)
    science, template, stars = pair(rng, shape=SHAPE, count=30, fluxes=(3.3, 4.3))
    names = [
        written(each, folder / name)
        for each, name in ((science, "science.fits"), (template, "template.fits"))
    ]
    return names, stars, (science, template)


def run(*args, status=0):
    """Run the command and return what it printed."""
    result = CliRunner().invoke(cli, ["diffim", *map(str, args)], standalone_mode=True)
    assert result.exit_code == status, (result.output, result.stderr, result.exception)
    return result


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
        assert {"PSF", "KERNEL", "KBASIS", "KCOEFF", "KBACK", "KSTARS"} <= set(names)


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
    assert len(numbers) > 20
    assert np.all(np.isfinite(numbers))
    assert metrics["convolved"] == "template"
    assert metrics["template_coverage"] == 1.0
    assert metrics["noise_factor"] == pytest.approx(1.0, abs=0.05)


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
    with fits.open(folder / "m.fits") as hdus:
        assert hdus["IMAGE"].data[row, column] == pytest.approx(matched, abs=5e-3)


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
        "moved.fits is not on the grid of science.fits: pixels are up to 0.5 pixels off"
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


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["--kernel-size-min", "20"], 2, "odd"),
        (["--alard-n-gauss", "2"], 2, "2 Gaussians but 3 degrees"),
        (["--mode", "both"], 2, "both"),
        (["--catalog", "none.csv"], 3, "none.csv does not exist"),
        (["--kernel-in", "none.fits"], 3, "none.fits"),
        (["--min-kernel-sources", "500"], 5, "500 are required"),
    ],
)
def test_what_cannot_be_is_refused(files, tmp_path, args, status, message):
    names, *_ = files

    result = run(*names, "-o", tmp_path / "d.fits", *args, status=status)

    assert message in result.stderr
    assert not (tmp_path / "d.fits").exists()


def test_a_file_without_a_kernel_is_no_kernel(files, tmp_path):
    names, *_ = files

    result = run(*names, "-o", tmp_path / "d.fits", "--kernel-in", names[1], status=3)

    assert "holds no matching kernel: KERNEL, KBASIS" in result.stderr


def test_a_list_without_positions_is_refused(files, tmp_path):
    names, *_ = files
    (tmp_path / "list.csv").write_text("id,flux\n1,2.0\n")

    result = run(*names, "-o", tmp_path / "d.fits", "--catalog", tmp_path / "list.csv", status=3)

    assert "no columns with positions" in result.stderr
    assert "ID, FLUX" in result.stderr


def test_exposures_of_two_filters_are_refused(files, tmp_path):
    names, _, (_, template) = files
    header = template.header.copy()
    header["FILTER"] = "g"
    other = written(template.with_values(header=header), tmp_path / "g.fits")

    assert "filters differ" in run(names[0], other, "-o", tmp_path / "d.fits", status=4).stderr


def test_a_bad_subtraction_is_an_error_after_the_file_is_written(files, tmp_path):
    names, *_ = files

    result = run(
        *names, "-o", tmp_path / "d.fits", "--bad-subtraction-ratio-threshold", "1e-6", status=5
    )

    assert "bad subtraction" in result.stderr
    assert (tmp_path / "d.fits").exists()


def test_the_preset_of_lsst_runs(files, tmp_path):
    names, *_ = files

    result = run(*names, "-o", tmp_path / "d.fits", "--config", "lsst", "--json")

    assert json.loads(result.stdout)["metrics"]["kernel_order"] == 1
