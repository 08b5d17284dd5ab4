import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import IncompatibleError, InputError, SkytoolWarning
from skytool.io.sources import ReadOptions, find_sources, read_exposure
from tests.io.foreign import (
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


def flagged(**pixels):
    """Return a plane of flags: names are ``yNxM``."""
    array = np.zeros(SHAPE, np.int32)
    for where, value in pixels.items():
        y, x = where[1:].split("x")
        array[int(y), int(x)] = value
    return array


def hubble_file(path, rng, *, tables=False):
    hdus = [primary(TELESCOP="HST", INSTRUME="ACS", DETECTOR="WFC", EXPTIME=500.0)]
    chips = []
    for chip in (1, 2):
        pixels = planes(rng)
        error = np.sqrt(pixels.variance)
        error[9, 9] = 0.0
        header = wcs_header(ra=150.0 + chip / 100)
        header["BUNIT"], header["CCDCHIP"] = "ELECTRONS", 3 - chip
        if tables:
            header["D2IMDIS1"], header["D2IMERR1"] = "Lookup", 0.3
            header["D2IM1"] = "EXTVER: 1"
            header["D2IM1"] = "NAXES: 2"
            header["D2IM1"] = "AXIS.1: 1"
            header["D2IM1"] = "AXIS.2: 2"
        quality = flagged(y3x4=256, y5x6=4096 + 16).astype(np.int16)
        hdus += [
            image_hdu(pixels.image, "SCI", header=header, ver=chip),
            image_hdu(error, "ERR", ver=chip),
            image_hdu(quality, "DQ", ver=chip),
        ]
        chips.append(pixels)
    if tables:
        shift = np.full((2, 2), 0.25, np.float32)
        cards = {"CRPIX1": 1.0, "CRPIX2": 1.0, "CRVAL1": 1.0, "CRVAL2": 1.0, "CDELT1": 70.0}
        hdus.append(image_hdu(shift, "D2IMARR", ver=1, **cards, CDELT2=90.0))
    return write(path, *hdus), chips


def test_both_chips_of_a_hubble_file_are_exposures(tmp_path, rng):
    path, chips = hubble_file(tmp_path / "j_flt.fits", rng)
    sources = find_sources(path)
    assert [source.layout for source in sources] == ["hst", "hst"]
    assert [source.name for source in sources] == ["j_flt.fits[SCI]", "j_flt.fits[SCI,2]"]
    for source, pixels in zip(sources, chips, strict=True):
        exposure = source.read()
        assert_planes_agree(exposure)
        valid = np.isfinite(exposure.image)
        assert np.count_nonzero(~valid) == 1
        assert np.array_equal(exposure.image[valid], pixels.image[valid])
        assert exposure.variance[valid] == pytest.approx(pixels.variance[valid], rel=1e-6)
        assert planes_at(exposure, 3, 4) == {"SAT"}
        assert planes_at(exposure, 5, 6) == {"CR", "BAD"}
        assert planes_at(exposure, 9, 9) == {"NO_DATA"}
        assert exposure.unit == "electron"
        assert exposure.header["EXPTIME"] == 500.0
    assert sources[1].header["CCDCHIP"] == 1


def test_one_chip_is_chosen_by_name_and_version(tmp_path, rng):
    path, chips = hubble_file(tmp_path / "j_flt.fits", rng)
    exposure = read_exposure(f"{path}[SCI,2]")
    assert exposure.name == "j_flt.fits[SCI,2]"
    assert np.nanmax(np.abs(exposure.image - chips[1].image)) == 0.0
    with pytest.raises(IncompatibleError, match=r"holds 2 exposures.*\[SCI\], .*\[SCI,2\]"):
        read_exposure(path)


def test_distortion_tables_of_the_open_file_are_used(tmp_path, rng):
    path, _ = hubble_file(tmp_path / "j_flt.fits", rng, tables=True)
    plain, _ = hubble_file(tmp_path / "k_flt.fits", rng)
    source = find_sources(path)[0]
    with_tables = source.wcs().all_pix2world(30.0, 40.0, 0)
    without = find_sources(plain)[0].wcs().all_pix2world(30.0, 40.0, 0)
    # the table moves positions by 0.25 pixel of 0.25 arcsec along x, to the west
    moved = (with_tables[0] - without[0]) * np.cos(np.radians(2.3)) * 3600
    assert moved == pytest.approx(-0.25 * 0.25, rel=1e-3)
    assert np.array_equal(source.read().wcs.all_pix2world(30.0, 40.0, 0), with_tables)


def test_a_webb_exposure_keeps_its_pixel_area_and_its_highest_flag(tmp_path, rng):
    pixels = planes(rng)
    image = pixels.image.copy()
    image[11, 12] = np.nan
    image[13, 14] = np.nan
    quality = np.zeros(SHAPE, np.uint32)
    quality[1, 2] = 1 << 31
    quality[5, 6] = 4
    quality[13, 14] = 1
    header = wcs_header()
    header["BUNIT"], header["PIXAR_SR"], header["PHOTMJSR"] = "MJy/sr", 9.3e-14, 2.2
    path = write(
        tmp_path / "jw_cal.fits",
        primary(TELESCOP="JWST", INSTRUME="NIRCAM"),
        image_hdu(image, "SCI", header=header),
        image_hdu(np.sqrt(pixels.variance), "ERR"),
        image_hdu(quality, "DQ"),
    )
    (source,) = find_sources(path)
    exposure = source.read()
    assert source.layout == "jwst"
    assert_planes_agree(exposure)
    assert exposure.unit == "MJy/sr"
    assert exposure.header["PIXAR_SR"] == 9.3e-14
    assert planes_at(exposure, 1, 2) == {"NO_DATA"}
    assert planes_at(exposure, 5, 6) == set()
    assert planes_at(exposure, 11, 12) == {"NO_DATA", "UNMASKEDNAN"}
    assert planes_at(exposure, 13, 14) == {"NO_DATA", "BAD"}
    assert exposure.variance[0, 0] == pytest.approx(pixels.variance[0, 0], rel=1e-6)


def mosaic_file(path, rng, weight, *extra, **cards):
    pixels = planes(rng, sky=0.0)
    return write(
        path,
        primary(TELESCOP="HST", **cards),
        image_hdu(pixels.image, "SCI", header=wcs_header(), BUNIT="ELECTRONS/S"),
        image_hdu(weight, "WHT"),
        *extra,
    )


def test_the_error_of_a_mosaic_is_preferred_to_its_weight(tmp_path, rng):
    error = np.full(SHAPE, 3.0, np.float32)
    error[4, 4] = np.nan
    path = mosaic_file(
        tmp_path / "i2d.fits", rng, np.full(SHAPE, 900.0), image_hdu(error, "ERR"), RESWHT="exptime"
    )
    exposure = read_exposure(path)
    assert exposure.unit == "electron/s"
    assert exposure.variance[5, 5] == 9.0
    assert planes_at(exposure, 4, 4) == {"NO_DATA"}


def test_the_variances_of_a_mosaic_add_up(tmp_path, rng):
    parts = [
        image_hdu(np.full(SHAPE, value, np.float32), f"VAR_{name}")
        for name, value in (("POISSON", 1.5), ("RNOISE", 2.0), ("FLAT", 0.25))
    ]
    path = mosaic_file(tmp_path / "i2d.fits", rng, np.full(SHAPE, 900.0), *parts)
    assert read_exposure(path).variance[7, 7] == 3.75


def test_weights_that_are_inverse_variances_are_found_to_be(tmp_path, rng):
    weight = np.full(SHAPE, 1 / RMS**2, np.float32)
    weight[6, 6] = 0.0
    exposure = read_exposure(mosaic_file(tmp_path / "drz.fits", rng, weight))
    assert exposure.variance[5, 5] == pytest.approx(RMS**2)
    assert planes_at(exposure, 6, 6) == {"NO_DATA"}


@pytest.mark.parametrize("cards", [{}, {"WHT_TYPE": "EXP"}])
def test_weights_that_are_exposure_times_are_refused(tmp_path, rng, cards):
    path = mosaic_file(tmp_path / "drz.fits", rng, np.full(SHAPE, 1200.0), **cards)
    with pytest.raises(IncompatibleError, match=r"weight.*--weight-is exptime") as info:
        read_exposure(path)
    assert info.value.exit_code == 4


def test_exposure_times_are_scaled_by_the_noise_if_the_user_says_so(tmp_path, rng):
    weight = np.full(SHAPE, 1200.0, np.float32)
    weight[:, 50:] = 300.0
    path = mosaic_file(tmp_path / "drz.fits", rng, weight)
    with fits.open(path, mode="update") as hdus:
        hdus["SCI"].data[:, 50:] *= 2.0
    exposure = read_exposure(path, ReadOptions(weight_is="exptime"))
    # 6300 pixels give the noise to 1.5 percent, its square to 3
    assert exposure.variance[5, 5] == pytest.approx(RMS**2, rel=0.12)
    assert exposure.variance[5, 60] == pytest.approx(4 * exposure.variance[5, 5], rel=1e-5)


def test_weights_are_believed_if_the_user_says_so(tmp_path, rng):
    path = mosaic_file(tmp_path / "drz.fits", rng, np.full(SHAPE, 1200.0), WHT_TYPE="EXP")
    exposure = read_exposure(path, ReadOptions(weight_is="inverse-variance"))
    assert exposure.variance[5, 5] == pytest.approx(1 / 1200.0)


def test_a_file_of_the_dark_energy_survey_is_read(tmp_path, rng):
    pixels = planes(rng)
    weight = 1.0 / pixels.variance
    weight[8, 9] = 0.0
    weight[8, 10] = -1.0
    path = write(
        tmp_path / "D00.fits.fz",
        primary(),
        image_hdu(pixels.image, "SCI", header=wcs_header(), compressed=True, BUNIT="electrons"),
        image_hdu(flagged(y1x2=2 + 1024, y3x4=2048).astype(np.int16), "MSK", compressed=True),
        image_hdu(weight, "WGT", compressed=True),
    )
    (source,) = find_sources(path)
    assert source.layout == "des"
    exposure = source.read()
    assert_planes_agree(exposure)
    assert exposure.variance[0, 0] == pytest.approx(pixels.variance[0, 0], rel=1e-6)
    assert planes_at(exposure, 1, 2) == {"SAT", "STREAK"}
    assert planes_at(exposure, 3, 4) == set()
    assert planes_at(exposure, 8, 9) == planes_at(exposure, 8, 10) == {"NO_DATA"}


def test_a_file_of_las_cumbres_is_read(tmp_path, rng):
    pixels = planes(rng)
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1.0])], name="CAT")
    path = write(
        tmp_path / "coj.fits",
        primary(),
        image_hdu(pixels.image, "SCI", header=wcs_header(), BUNIT="electron"),
        table,
        image_hdu(flagged(y1x2=8, y3x4=4).astype(np.uint8), "BPM"),
        image_hdu(np.sqrt(pixels.variance), "ERR"),
    )
    (source,) = find_sources(path)
    assert source.layout == "banzai"
    exposure = source.read()
    assert planes_at(exposure, 1, 2) == {"CR"}
    assert planes_at(exposure, 3, 4) == {"BAD"}
    assert exposure.variance == pytest.approx(pixels.variance, rel=1e-6)


def gemini_file(path, rng, **cards):
    hdus = [primary(**cards)]
    for version in (1, 2):
        pixels = planes(rng)
        hdus += [
            image_hdu(pixels.image, "SCI", header=wcs_header(), ver=version, BUNIT="adu"),
            image_hdu(pixels.variance * version, "VAR", ver=version),
            image_hdu(flagged(y1x2=4).astype(np.uint16), "DQ", ver=version),
        ]
    return write(path, *hdus)


@pytest.mark.parametrize("telescope", [{}, {"TELESCOP": "Gemini-North"}])
def test_every_extension_of_a_gemini_file_has_its_own_planes(tmp_path, rng, telescope):
    sources = find_sources(gemini_file(tmp_path / "N2.fits", rng, **telescope))
    assert [source.layout for source in sources] == ["dragons", "dragons"]
    first, second = (source.read() for source in sources)
    assert planes_at(first, 1, 2) == {"SAT"}
    assert second.variance == pytest.approx(2 * first.variance)


def test_flags_of_an_unknown_camera_are_bad_with_a_warning(tmp_path, rng):
    path = gemini_file(tmp_path / "x.fits", rng, TELESCOP="OTHER")
    sources = find_sources(path)
    assert [source.layout for source in sources] == ["sci", "sci"]
    with pytest.warns(SkytoolWarning, match=r"x\.fits\[DQ\].*not known.*--dq-map"):
        exposure = sources[0].read()
    assert planes_at(exposure, 1, 2) == {"BAD"}
    known = find_sources(path, ReadOptions(dq_map="dragons"))[0].read()
    assert planes_at(known, 1, 2) == {"SAT"}


def test_flags_of_another_hubble_camera_are_not_guessed(tmp_path, rng):
    path, _ = hubble_file(tmp_path / "o_flt.fits", rng)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["INSTRUME"] = "STIS"
    with pytest.warns(SkytoolWarning, match="not known"):
        assert planes_at(find_sources(path)[0].read(), 3, 4) == {"BAD"}


def scene_file(path, rng, *, psf=None, **cards):
    pixels = planes(rng)
    mask = image_hdu(flagged(y1x2=2, y3x4=256), "MASK")
    for name, bit in (("BAD", 0), ("SAT", 1), ("NO_DATA", 8), ("DETECTED_NEGATIVE", 6)):
        mask.header[f"HIERARCH MP_{name}"] = bit
    header = wcs_header()
    header.update(cards)
    hdus = [
        primary(GAIN=2.0),
        image_hdu(pixels.image, "SCI", header=header),
        image_hdu(pixels.variance, "VAR"),
        mask,
    ]
    return write(path, *hdus, *(psf or [])), pixels


def test_planes_with_names_in_the_header_are_read(tmp_path, rng):
    path, pixels = scene_file(tmp_path / "scene.fits", rng)
    (source,) = find_sources(path)
    assert source.layout == "sci-var-mask"
    exposure = source.read()
    assert_planes_agree(exposure)
    assert planes_at(exposure, 1, 2) == {"SAT"}
    assert planes_at(exposure, 3, 4) == {"NO_DATA"}
    assert exposure.variance[0, 0] == pixels.variance[0, 0]
    assert exposure.header["GAIN"] == 2.0


def test_coordinates_of_the_parent_frame_are_moved_to_the_array(tmp_path, rng):
    path, _ = scene_file(tmp_path / "patch.fits", rng, X0=20, Y0=-7)
    exposure = read_exposure(path)
    assert exposure.origin == (-7, 20)
    assert exposure.wcs.all_pix2world(12.0, 58.0, 0) == pytest.approx([150.1, 2.3], abs=1e-9)
    assert find_sources(path)[0].wcs().wcs.crpix == pytest.approx([13.0, 59.0])


def gaussian(fwhm, size=15):
    y, x = np.indices((size, size)) - size // 2
    stamp = np.exp(-4 * np.log(2) * (y**2 + x**2) / fwhm**2)
    return stamp / stamp.sum()


def test_a_psf_image_in_the_file_is_attached(tmp_path, rng):
    psf = [image_hdu(gaussian(3.0), "PSF")]
    path, _ = scene_file(tmp_path / "scene.fits", rng, psf=psf)
    exposure = read_exposure(path)
    kernel = exposure.psf.kernel_image(y=30.0, x=20.0)
    assert kernel.sum() == pytest.approx(1.0)
    assert exposure.psf.fwhm(y=30.0, x=20.0) == pytest.approx(3.0, rel=0.02)


def test_a_cube_of_psfs_varies_over_the_image(tmp_path, rng):
    widths = [2.5, 2.5, 4.0, 4.0]
    cube = np.stack([gaussian(width) for width in widths]).astype(np.float32)
    columns = [
        fits.Column("x", "D", array=[0.0, 0.0, 69.0, 69.0]),
        fits.Column("y", "D", array=[0.0, 89.0, 0.0, 89.0]),
    ]
    psf = [image_hdu(cube, "PSF"), fits.BinTableHDU.from_columns(columns, name="PSFPOS")]
    path, _ = scene_file(tmp_path / "scene.fits", rng, psf=psf)
    exposure = read_exposure(path)
    assert exposure.psf.fwhm(y=45.0, x=0.0) == pytest.approx(2.5, rel=0.03)
    assert exposure.psf.fwhm(y=45.0, x=69.0) == pytest.approx(4.0, rel=0.03)


def test_a_plane_of_another_shape_is_refused(tmp_path, rng):
    pixels = planes(rng)
    path = write(
        tmp_path / "a.fits",
        primary(),
        image_hdu(pixels.image, "SCI"),
        image_hdu(pixels.variance[1:], "VAR"),
    )
    with pytest.raises(IncompatibleError, match=r"a\.fits\[VAR\] has 70 x 89 .* 70 x 90"):
        find_sources(path)


def test_a_cube_called_sci_is_no_exposure(tmp_path):
    path = write(tmp_path / "cube.fits", primary(), image_hdu(np.zeros((3, 8, 9)), "SCI"))
    with pytest.raises(InputError, match="3-d image of 9 x 8 x 3 pixels"):
        find_sources(path)


def test_an_extension_called_image_with_a_variance_is_an_exposure(tmp_path, rng):
    pixels = planes(rng)
    path = write(
        tmp_path / "a.fits",
        primary(),
        image_hdu(pixels.image, "IMAGE", header=wcs_header()),
        image_hdu(pixels.variance, "VARIANCE"),
    )
    (source,) = find_sources(path)
    assert source.layout == "sci"
    assert np.array_equal(source.read().variance, pixels.variance)
