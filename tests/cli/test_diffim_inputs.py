"""What users give to a difference, whole or in pieces, and what they get for it."""

import json
import re

import numpy as np
import pytest
from astropy.io import fits

from skytool.cli.diffim.command import diffim
from skytool.models.psf.kinds import ConstantPsf
from skytool.models.tables import TableColumn, table_hdu
from tests.cli.differencing import SHAPE, run, small_pair, written
from tests.stages.pairs import SCALE, SIGMA_SCIENCE, SIGMA_TEMPLATE, drawn, gaussian

# of AlardLuptonPreconvolveSubtractTask, and of its kernel
FIELDS = """
allowKernelSourceDetection badMaskPlanes badSourceFlags detectionThreshold detectionThresholdMax
doApplyExternalCalibrations doApplyFinalizedPsf doDecorrelation doScaleVariance
doSubtractBackground excludeMaskPlanes maxKernelSources minKernelSources
minTemplateFractionForExpectedSuccess preserveTemplateMask renameTemplateMask
requiredTemplateFraction restrictKernelEdgeSources preserveMaskPlanes mode
kernelBasisSet kernelSize scaleByFwhm kernelSizeFwhmScaling kernelSizeMin kernelSizeMax alardNGauss
alardDegGauss alardSigGauss alardGaussBeta alardMinSig alardMinSigDeconv alardDegGaussDeconv
spatialKernelOrder spatialBgOrder nStarPerCell maxSpatialIterations singleKernelClipping
kernelSumClipping spatialKernelClipping maxKsumSigma candidateResidualMeanMax
candidateResidualStdMax candidateCoreRadius regularizationType centralRegularizationStencil
forwardRegularizationOrders regularizationBorderPenalty lambdaType lambdaValue
numPrincipalComponents completeVarPlanePropagation nSigmaToGrow nSigmaForKernel thresholdValue
raiseOnNoDiaSources badSubtractionRatioThreshold badSubtractionVariationThreshold
doForcedMeasurement
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Science image and template, and what is in them."""
    return small_pair(tmp_path_factory.mktemp("pair"))


def metrics_of(result):
    return json.loads(result.stdout.splitlines()[0])["metrics"]


@pytest.mark.parametrize("field", FIELDS.split())
def test_every_field_of_the_lsst_task_is_an_option_of_its_name(field):
    name = re.sub("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", field).lower()

    assert f"--{name}" in {text for option in diffim.params for text in option.opts}


@pytest.mark.parametrize("which", [0, 1])
def test_the_variance_of_an_image_without_one_is_measured_and_this_is_said(files, tmp_path, which):
    names, _, exposures = files
    names = list(names)
    names[which] = str(tmp_path / "plain.fits")
    fits.writeto(names[which], exposures[which].image, exposures[which].wcs.to_header())
    star = gaussian((SIGMA_SCIENCE, SIGMA_TEMPLATE)[which], 15).astype(np.float32)
    psf = tmp_path / "psf.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(star, name="PSF")]).writeto(psf)
    given = [("--psf", "--template-psf")[which], psf]

    result = run(*names, "-o", tmp_path / "d.fits", *given, "--score", tmp_path / "s.fits")

    assert "plain.fits: variance from the scatter of the sky" in result.stderr
    with fits.open(tmp_path / "d.fits") as hdus:
        header = hdus[0].header
        assert header["KSUM"] == pytest.approx(SCALE, rel=0.02)
        assert header["VFACSCI"] == pytest.approx(1.0, abs=0.1)
    with fits.open(tmp_path / "s.fits") as hdus:
        snr = hdus["SNR"].data
    low, high = np.nanpercentile(snr, [25, 75])
    assert (high - low) / 1.349 == pytest.approx(1.0, abs=0.12)


def test_blocks_without_values_in_both_images_stay_blocks(files, tmp_path):
    _, _, exposures = files
    images = [each.image.copy() for each in exposures]
    images[0][100:130, 40:70] = np.nan
    images[1][180:200, 200:240] = np.inf
    names = [
        written(each.with_values(image=image), tmp_path / each.name)
        for each, image in zip(exposures, images, strict=True)
    ]

    run(*names, "-o", tmp_path / "d.fits", "--score", tmp_path / "s.fits")

    with fits.open(tmp_path / "d.fits") as hdus:
        missing = hdus["MASK"].data >> hdus["MASK"].header["MP_NO_DATA"] & 1 == 1
        pixels = hdus["IMAGE"].data
    assert missing[100:130, 40:70].all()
    assert missing[180:200, 200:240].all()
    assert missing.sum() < 40**2 + 45 * 65
    assert np.isfinite(pixels[~missing]).all()
    with fits.open(tmp_path / "s.fits") as hdus:
        inner = np.s_[20:-20, 20:-20]
        assert np.isfinite(hdus["SNR"].data[inner][~missing[inner]]).mean() > 0.99


@pytest.mark.parametrize("change", ["nothing", "input", "setting", "product"])
def test_products_are_kept_with_reuse_unless_something_changed(files, tmp_path, change):
    _, _, (science, template) = files
    names = [written(each, tmp_path / each.name) for each in (science, template)]
    arguments = [*names, "-o", tmp_path / "d.fits", "--sources", tmp_path / "c.fits", "--json"]
    run(*arguments)
    before = (tmp_path / "d.fits").stat().st_ino
    if change == "input":
        (tmp_path / "science.fits").unlink()
        written(science.with_values(image=science.image + np.float32(1)), tmp_path / "science.fits")
    if change == "setting":
        arguments += ["--spatial-bg-order", "1"]
    if change == "product":
        (tmp_path / "c.fits").unlink()

    result = run(*arguments, "--reuse")

    kept = (tmp_path / "d.fits").stat().st_ino == before
    assert kept == (change == "nothing")
    assert (tmp_path / "c.fits").exists()
    assert (json.loads(result.stdout.splitlines()[0])["status"] == "reused") == kept


def test_the_number_of_processes_changes_no_byte(files, tmp_path):
    names, *_ = files
    for jobs in (1, 2):
        (tmp_path / str(jobs)).mkdir()
        run(*names, "-o", tmp_path / str(jobs) / "d.fits", "-j", jobs)

    assert (tmp_path / "1/d.fits").read_bytes() == (tmp_path / "2/d.fits").read_bytes()


def test_a_list_of_nothing_but_positions_is_enough(files, tmp_path):
    names, (y, x, _), _ = files
    rows = [f"{a!r} {b!r}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    (tmp_path / "list.txt").write_text("\n".join(["x y", *rows]) + "\n")

    metrics = metrics_of(
        run(*names, "-o", tmp_path / "d.fits", "--catalog", tmp_path / "list.txt", "--json")
    )

    assert metrics["kernel_candidates"] == len(x)
    assert metrics["kernel_stars"] > 15


def test_positions_from_the_wrong_first_pixel_can_be_told(files, tmp_path):
    names, (y, x, flux), _ = files
    rows = [
        f"{a + 1!r},{b + 1!r},{f / 9!r}"
        for a, b, f in zip(x.tolist(), y.tolist(), flux.tolist(), strict=True)
    ]
    (tmp_path / "list.csv").write_text("\n".join(["x,y,snr", *rows]) + "\n")
    arguments = ["--catalog", tmp_path / "list.csv", "--catalog-first-pixel", "1"]

    run(*names, "-o", tmp_path / "d.fits", *arguments)

    stars = fits.getdata(tmp_path / "d.fits", "KSTARS")
    assert np.hypot(stars["X"][:, None] - x, stars["Y"][:, None] - y).min(axis=1).max() < 1e-6


def listed(path, y, x, flux, **columns):
    table = [TableColumn("X", x), TableColumn("Y", y), TableColumn("SNR", flux / 9)]
    table += [TableColumn(name.upper(), values) for name, values in columns.items()]
    fits.HDUList([fits.PrimaryHDU(), table_hdu("LIST", table)]).writeto(path)
    return path


def test_sources_with_a_flag_that_is_named_are_left_out(files, tmp_path):
    names, (y, x, flux), _ = files
    faulty = np.arange(x.size) < 4
    path = listed(tmp_path / "list.fits", y, x, flux, deblend=faulty.astype(np.int16))
    arguments = ["--catalog", path, "--bad-source-flags", "deblend,no_such_flag", "--json"]

    result = run(*names, "-o", tmp_path / "d.fits", *arguments)

    assert metrics_of(result)["kernel_rejected"]["listed flag"] == 4
    assert "list.fits has no column no_such_flag" in json.loads(result.stdout)["warnings"][0]


def test_sources_are_searched_if_those_of_a_list_will_not_do_and_this_is_allowed(files, tmp_path):
    names, (y, x, flux), _ = files
    path = listed(tmp_path / "list.fits", y[:2], x[:2], flux[:2])
    arguments = [*names, "-o", tmp_path / "d.fits", "--catalog", path, "--json"]

    refused = run(*arguments, status=5)
    result = run(*arguments, "--allow-kernel-source-detection")

    assert "are fit for the kernel, 3 are required" in refused.stderr
    assert "are searched instead" in json.loads(result.stdout)["warnings"][0]
    assert metrics_of(result)["kernel_stars"] > 15


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_the_number_of_kernel_sources_need_not_be_limited(files, tmp_path, limit):
    names, *_ = files

    def stars(most):
        arguments = ["--max-kernel-sources", most, "--overwrite", "--json"]
        return metrics_of(run(*names, "-o", tmp_path / "d.fits", *arguments))["kernel_stars"]

    assert stars(limit) > stars("8") > 3


def test_a_psf_of_another_file_takes_the_place_of_that_of_the_science_image(files, tmp_path):
    names, _, (science, _) = files
    wide = science.with_values(psf=ConstantPsf(gaussian(3.0, 20)))
    other = written(wide, tmp_path / "wide.fits")
    arguments = [*names, "-o", tmp_path / "d.fits", "--json"]

    widths = [
        metrics_of(run(*arguments, "--overwrite", *more))["science_fwhm"]
        for more in ((), ("--do-apply-external-calibrations", other))
    ]
    refused = run(*arguments, "--external-calibrations", other, "--psf", other, status=2)

    assert widths == pytest.approx([2.3548 * SIGMA_SCIENCE, 2.3548 * 3.0], rel=1e-3)
    assert "both give a PSF" in refused.stderr


def test_the_quality_all_over_the_image_is_a_table(files, tmp_path):
    names, _, (science, _) = files
    image = science.image + drawn(SHAPE, [70.0], [80.0], [900.0], SIGMA_SCIENCE)
    other = written(science.with_values(image=image.astype(np.float32)), tmp_path / "new.fits")
    path = tmp_path / "l.fits"
    arguments = ["--location-metrics", path, "--n-locations", "40", "--location-size", "60"]

    metrics = metrics_of(run(other, names[1], "-o", tmp_path / "d.fits", *arguments, "--json"))

    with fits.open(path, checksum=True) as hdus:
        assert hdus[0].header["SKYTYPE"] == "LOCATIONS"
        table = hdus["LOCATIONS"].data
    assert len(table) == 40
    assert table["X"].max() - table["X"].min() > 0.8 * SHAPE[1]
    assert table["Y"].max() - table["Y"].min() > 0.8 * SHAPE[0]
    np.testing.assert_allclose(table["KSUM"], metrics["kernel_sum"], rtol=0.02)
    with fits.open(tmp_path / "d.fits") as hdus:
        difference, variance = hdus["IMAGE"].data, hdus["VARIANCE"].data
    near = (np.abs(table["X"] - 80) < 29) & (np.abs(table["Y"] - 70) < 29)
    assert near.any()
    assert (table["SOURCES"][near] > 0).all()
    row = table[np.argmin(np.hypot(table["X"] - 150, table["Y"] - 130))]
    top, left = (int(np.floor(row[name] + 0.5)) - 30 for name in ("Y", "X"))
    box = np.s_[top : top + 60, left : left + 60]
    assert row["DIFFMED"] == pytest.approx(np.median(difference[box]), rel=1e-6)
    assert row["DIFFVAR"] == pytest.approx(np.median(variance[box]), rel=1e-6)
    assert row["SCIVAR"] == pytest.approx(1.0, rel=0.1)
