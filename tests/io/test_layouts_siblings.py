import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import IncompatibleError, InputError, SkytoolWarning
from skytool.io.sources import ReadOptions, find_sources, read_exposure
from tests.io.foreign import (
    ESTIMATED,
    RMS,
    SHAPE,
    assert_planes_agree,
    image_hdu,
    planes,
    planes_at,
    primary,
    wcs_header,
    write,
)

CHIPS = ("N4", "S29")


def decam_trio(
    folder, rng, *, version="V4.8.2", suffix=".fits.fz", weight_chips=CHIPS, weight=None
):
    """Write image, weight and data quality of two detectors; return the path of the image."""
    files = {letter: [primary(PLVER=version)] for letter in "iwd"}
    if version is None:
        files = {letter: [primary()] for letter in "iwd"}
    truth = {}
    for chip in CHIPS:
        pixels = planes(rng)
        inverse = (1.0 / pixels.variance).astype(np.float32) if weight is None else weight
        inverse[6, 7] = 0.0
        quality = np.zeros(SHAPE, np.int32)
        quality[1, 2] = 4
        header = wcs_header()
        header["MAGZERO"], header["CCDNUM"] = 29.5, CHIPS.index(chip)
        options = {"compressed": suffix.endswith("fz")}
        files["i"].append(image_hdu(pixels.image, chip, header=header, **options))
        if chip in weight_chips:
            files["w"].append(image_hdu(inverse, chip, **options))
        files["d"].append(image_hdu(quality, chip, **options))
        truth[chip] = pixels
    for letter, hdus in files.items():
        write(folder / f"c4d_170316_062107_oo{letter}_z_v1{suffix}", *hdus)
    return str(folder / f"c4d_170316_062107_ooi_z_v1{suffix}"), truth


@pytest.mark.parametrize("suffix", [".fits.fz", ".fits"])
def test_weights_and_flags_beside_a_decam_image_are_found(tmp_path, rng, suffix):
    path, truth = decam_trio(tmp_path, rng, suffix=suffix)
    sources = find_sources(path)
    assert [source.layout for source in sources] == ["decam", "decam"]
    assert [source.name.partition("[")[2] for source in sources] == ["N4]", "S29]"]
    assert len(sources[0].files) == 3
    for source, chip in zip(sources, CHIPS, strict=True):
        exposure = source.read()
        assert_planes_agree(exposure)
        valid = np.isfinite(exposure.image)
        assert np.array_equal(exposure.image[valid], truth[chip].image[valid])
        assert exposure.variance[valid] == pytest.approx(truth[chip].variance[valid], rel=1e-5)
        assert planes_at(exposure, 6, 7) == {"NO_DATA"}
        assert exposure.header["CCDNUM"] == CHIPS.index(chip)


@pytest.mark.parametrize(
    ("version", "planes"), [("V4.8.2", {"SAT"}), ("V3.5", {"SAT"}), ("V3.4.1", {"INTRP"})]
)
def test_the_pipeline_version_says_whether_flags_are_codes_or_bits(tmp_path, rng, version, planes):
    path, _ = decam_trio(tmp_path, rng, version=version)
    assert planes_at(read_exposure(f"{path}[N4]"), 1, 2) == planes


def test_flags_of_an_unknown_pipeline_version_are_refused(tmp_path, rng):
    path, _ = decam_trio(tmp_path, rng, version=None)
    with pytest.raises(InputError, match=r"ood.*PLVER = ''.*--dq-map decam-codes"):
        find_sources(path)
    exposure = read_exposure(f"{path}[N4]", ReadOptions(dq_map="decam-bits"))
    assert planes_at(exposure, 1, 2) == {"INTRP"}


@ESTIMATED
def test_a_detector_without_weights_is_estimated_with_a_warning(tmp_path, rng):
    path, _ = decam_trio(tmp_path, rng, weight_chips=CHIPS[:1])
    with pytest.warns(SkytoolWarning, match=r"\[S29\]: .*oow.* has no weights for it"):
        sources = find_sources(path)
    assert [source.recipe.variance.kind for source in sources] == ["weight", "estimate"]
    assert np.sqrt(sources[1].read().variance[70, 60]) == pytest.approx(RMS, rel=0.1)


def test_a_detector_that_is_not_asked_for_does_no_harm(tmp_path, rng):
    path, _ = decam_trio(tmp_path, rng, weight_chips=CHIPS[:1])
    (source,) = find_sources(f"{path}[N4]")
    assert (source.layout, source.recipe.variance.kind) == ("decam", "weight")


@ESTIMATED
def test_a_missing_weight_file_is_said(tmp_path, rng):
    path, _ = decam_trio(tmp_path, rng)
    next(tmp_path.glob("*_oow_*")).unlink()
    with pytest.warns(SkytoolWarning, match=r"no file c4d_.*_oow_.* with the weights"):
        sources = find_sources(path)
    assert planes_at(sources[0].read(), 1, 2) == {"SAT"}
    with (
        pytest.warns(SkytoolWarning, match="weights"),
        pytest.raises(IncompatibleError, match="brings no variance"),
    ):
        find_sources(path, ReadOptions(require_variance=True))


def test_a_weight_image_with_a_row_less_is_refused(tmp_path, rng):
    path, _ = decam_trio(tmp_path, rng, weight=np.full((89, 70), 0.01, np.float32))
    with pytest.raises(IncompatibleError, match=r"oow.*\[N4\] has 70 x 89 .* 70 x 90"):
        find_sources(path)


def test_weights_that_compression_scattered_about_zero_are_zero(tmp_path, rng):
    weight = np.full(SHAPE, 1.0 / RMS**2, np.float32)
    weight[20:30, 20:40] = rng.uniform(-4e-4, 4e-4, (10, 20))
    weight[50, 50] = 1.5e-3  # a star that is ten times as noisy as the sky
    path, _ = decam_trio(tmp_path, rng, suffix=".fits", weight=weight)
    exposure = read_exposure(f"{path}[S29]")
    nothing = exposure.mask.any_of(["NO_DATA"])
    assert nothing[20:30, 20:40].all()
    assert np.count_nonzero(nothing) == 10 * 20 + 1
    assert exposure.variance[50, 50] == pytest.approx(1 / 1.5e-3)


def legacy_brick(folder, rng, band="r", *, flags=True):
    pixels = planes(rng, sky=0.0)
    image, inverse = pixels.image.copy(), (1.0 / pixels.variance).astype(np.float32)
    image[:, :5] = inverse[:, :5] = 0.0
    quality = np.zeros(SHAPE, np.int32)
    quality[3, 20], quality[4, 20], quality[5, 20] = 8, 4, 1
    head = "legacysurvey-0001m002"
    write(
        folder / f"{head}-image-{band}.fits.fz",
        primary(),
        image_hdu(image, header=wcs_header(), compressed=True),
    )
    write(folder / f"{head}-invvar-{band}.fits.fz", primary(), image_hdu(inverse, compressed=True))
    if flags:
        other = image_hdu(np.ones(SHAPE, np.uint8), "WISEM1", compressed=True)
        named = image_hdu(quality, "MASKBITS", compressed=True)
        write(folder / f"{head}-maskbits.fits.fz", primary(), named, other)
    return str(folder / f"{head}-image-{band}.fits.fz"), pixels


def test_a_coadd_of_the_legacy_surveys_is_read(tmp_path, rng):
    path, pixels = legacy_brick(tmp_path, rng)
    (source,) = find_sources(path)
    assert source.layout == "legacy"
    exposure = source.read()
    assert_planes_agree(exposure)
    assert exposure.unit == "nmgy"
    assert np.isnan(exposure.image[:, :5]).all()
    assert np.isfinite(exposure.image[:, 5:]).all()
    assert exposure.variance[:, 5:] == pytest.approx(pixels.variance[:, 5:], rel=1e-5)
    assert [planes_at(exposure, y, 20) for y in (3, 4, 5)] == [{"SAT"}, set(), set()]
    assert exposure.calibration.scale == pytest.approx(3630.78, rel=1e-5)  # AB zero point 22.5


def panstarrs_files(folder, rng, *, stack=True, scaled=True, drop=None):
    pixels = planes(rng, sky=0.0)
    head = "rings.v3.skycell.1725.051." + ("stk.g.unconv" if stack else "wrp.g.55000_12345")
    quality = np.zeros(SHAPE, np.uint16)
    quality[2, 3], quality[4, 5] = 0x8 | 0x100, 0x20
    variance = pixels.variance.copy()
    variance[8, 8] = np.nan
    for suffix, data in (("", pixels.image), (".wt", variance)):
        header = wcs_header() if not suffix else fits.Header()
        stored = data
        if scaled:
            offset, soften = (12.5, 40.0) if not suffix else (60.0, 9.0)
            header["BOFFSET"], header["BSOFTEN"] = offset, soften
            stored = 1.0857362 * np.arcsinh((data - offset) / (2.0 * soften))
        if drop and not suffix:
            del header[drop]
        header["EXPTIME"] = 900.0
        hdu = image_hdu(stored.astype(np.float32), header=header, compressed=True)
        write(folder / f"{head}{suffix}.fits", primary(), hdu)
    write(folder / f"{head}.mask.fits", primary(), image_hdu(quality, compressed=True))
    return str(folder / f"{head}.fits"), pixels


def test_a_panstarrs_stack_is_made_linear(tmp_path, rng):
    path, pixels = panstarrs_files(tmp_path, rng)
    (source,) = find_sources(path)
    assert source.layout == "panstarrs"
    exposure = source.read()
    assert_planes_agree(exposure)
    valid = np.isfinite(exposure.image)
    # float32 keeps the scaled value to 6e-8, and an error of it grows by its size times alpha
    assert exposure.image[valid] == pytest.approx(pixels.image[valid], rel=1e-5, abs=1e-4)
    assert exposure.variance[valid] == pytest.approx(pixels.variance[valid], rel=1e-5, abs=1e-4)
    assert planes_at(exposure, 2, 3) == {"NO_DATA", "CR"}
    assert planes_at(exposure, 4, 5) == {"SAT"}
    assert planes_at(exposure, 8, 8) == {"NO_DATA"}
    assert source.header["MAGZERO"] == pytest.approx(25 + 2.5 * np.log10(900.0))


def test_a_panstarrs_warp_is_linear_already(tmp_path, rng):
    path, pixels = panstarrs_files(tmp_path, rng, stack=False, scaled=False)
    (source,) = find_sources(path)
    assert "MAGZERO" not in source.header
    assert source.header["TIMESYS"] == "TAI"
    exposure = source.read()
    valid = np.isfinite(exposure.image)
    assert np.array_equal(exposure.image[valid], pixels.image[valid])
    assert np.array_equal(exposure.variance[valid], pixels.variance[valid])


@pytest.mark.parametrize(("scaled", "drop"), [(False, None), (True, "BSOFTEN"), (True, "BOFFSET")])
def test_a_panstarrs_stack_without_its_scale_is_refused(tmp_path, rng, scaled, drop):
    path, _ = panstarrs_files(tmp_path, rng, scaled=scaled, drop=drop)
    with pytest.raises(InputError, match="lacks the cards BSOFTEN and BOFFSET"):
        find_sources(path)


def test_a_ztf_image_gets_its_flags_and_an_estimated_variance(tmp_path, rng):
    pixels = planes(rng)
    quality = np.zeros(SHAPE, np.int16)
    quality[1, 2], quality[3, 4] = 2, 256 + 2048
    header = wcs_header()
    header["GAIN"], header["READNOI"], header["MAGZP"] = 6.2, 10.0, 26.3
    path = tmp_path / "ztf_2018_zg_c01_o_q1_sciimg.fits"
    fits.PrimaryHDU(pixels.image, header=header).writeto(path)
    fits.PrimaryHDU(quality).writeto(tmp_path / "ztf_2018_zg_c01_o_q1_mskimg.fits")
    (source,) = find_sources(path)
    assert source.layout == "ztf"
    exposure = source.read()
    assert planes_at(exposure, 1, 2) == set()
    assert planes_at(exposure, 3, 4) == {"SAT"}


def swarp_pair(folder, rng, factor=1.0):
    pixels = planes(rng)
    weight = np.full(SHAPE, factor / RMS**2, np.float32)
    weight[:3] = 0.0
    path = folder / "coadd.fits"
    fits.PrimaryHDU(pixels.image, header=wcs_header()).writeto(path)
    fits.PrimaryHDU(weight).writeto(folder / "coadd.weight.fits")
    return str(path), pixels


def test_a_weight_map_beside_the_image_is_found(tmp_path, rng):
    path, pixels = swarp_pair(tmp_path, rng)
    (source,) = find_sources(path)
    assert source.layout == "swarp"
    exposure = source.read()
    assert_planes_agree(exposure)
    assert np.isnan(exposure.image[:3]).all()
    assert np.array_equal(exposure.image[3:], pixels.image[3:])
    assert exposure.variance[3:] == pytest.approx(RMS**2, rel=1e-6)


@pytest.mark.parametrize("factor", [0.5, 1.7])
def test_weights_that_disagree_with_the_noise_are_warned_of(tmp_path, rng, factor):
    path, _ = swarp_pair(tmp_path, rng, factor)
    ratio = np.sqrt(factor)
    with pytest.warns(SkytoolWarning, match="times what its weights say") as caught:
        read_exposure(path)
    measured = float(str(caught[0].message).split(" is ")[1].split(" times")[0])
    assert measured == pytest.approx(ratio, rel=0.05)


def test_drizzled_weights_in_a_file_of_their_own_are_found(tmp_path, rng):
    pixels = planes(rng, sky=0.0)
    path = tmp_path / "field_f160w_sci.fits"
    fits.PrimaryHDU(pixels.image, header=wcs_header()).writeto(path)
    fits.PrimaryHDU(np.full(SHAPE, 1 / RMS**2)).writeto(tmp_path / "field_f160w_wht.fits")
    (source,) = find_sources(path)
    assert source.layout == "drizzled-pair"
    assert source.read().variance == pytest.approx(RMS**2)
