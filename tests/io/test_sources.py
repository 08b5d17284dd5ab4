import io
import logging
import pickle
import subprocess
import sys
import types

import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import IncompatibleError, InputError, SkytoolWarning
from skytool.io.layouts import layout_names
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


@pytest.fixture
def simple(tmp_path, rng):
    """A file SCI, ERR with a card in the primary, and its pixels."""
    pixels = planes(rng)
    path = write(
        tmp_path / "raw7.fits",
        primary(EXPTIME=60.0, FILTER="g", OBJECT="primary"),
        image_hdu(pixels.image, "SCI", header=wcs_header(), BUNIT="adu", OBJECT="image"),
        image_hdu(np.sqrt(pixels.variance), "ERR"),
    )
    return types.SimpleNamespace(path=path, pixels=pixels, folder=tmp_path)


def test_a_source_says_what_it_is_without_reading_pixels(simple):
    (source,) = find_sources(simple.path)
    assert (source.name, source.layout, source.shape) == ("raw7.fits", "sci", SHAPE)
    assert source.extension == "SCI"
    assert source.files == (simple.folder / "raw7.fits",)
    assert source.origin == (0, 0)
    assert source.wcs().wcs.crval == pytest.approx([150.1, 2.3])


def test_a_source_can_be_read_in_another_process(simple):
    (source,) = find_sources(simple.path, ReadOptions(saturate=4000))
    again = pickle.loads(pickle.dumps(source))  # noqa: S301
    here, there = source.read(), again.read()
    assert np.array_equal(here.image, there.image)
    assert np.array_equal(here.mask.array, there.mask.array)
    assert here.header == there.header


def test_cards_of_the_image_hide_those_of_the_primary(simple):
    (source,) = find_sources(simple.path)
    assert source.header["OBJECT"] == "image"
    assert source.header["EXPTIME"] == 60.0
    exposure = source.read()
    assert exposure.header["FILTER"] == "g"
    assert not {"NAXIS1", "CRVAL1", "BUNIT", "EXTNAME", "XTENSION"} & set(exposure.header)


def test_an_image_that_does_not_inherit_has_only_its_own_cards(tmp_path, rng):
    hdu = image_hdu(planes(rng).image, "SCI", header=wcs_header(), INHERIT=False)
    path = write(tmp_path / "a.fits", primary(EXPTIME=60.0), hdu)
    assert "EXPTIME" not in find_sources(path)[0].header


def test_coordinates_of_the_primary_do_not_mix_with_those_of_the_image(tmp_path, rng):
    header = wcs_header()
    del header["CD1_2"], header["CD2_1"]
    hdu = image_hdu(planes(rng).image, "SCI", header=header)
    path = write(tmp_path / "a.fits", primary(CD1_2=0.3, CRVAL1=10.0, PV1_1=2.0, RA=1.0), hdu)
    (source,) = find_sources(path)
    assert source.wcs().wcs.crval[0] == 150.1
    assert "PV1_1" not in source.header
    assert source.header["RA"] == 1.0


def test_coordinates_of_the_primary_hold_where_the_image_has_none(tmp_path, rng):
    path = write(
        tmp_path / "a.fits",
        fits.PrimaryHDU(header=wcs_header()),
        image_hdu(planes(rng).image, "SCI"),
    )
    assert find_sources(path)[0].wcs().wcs.crval[0] == 150.1


def test_the_layout_is_said_in_one_line(simple, caplog):
    with caplog.at_level(logging.INFO, "skytool"):
        find_sources(simple.path)
    assert [record.getMessage() for record in caplog.records] == ["raw7.fits: layout sci"]


@pytest.mark.parametrize("extension", ["SCI", "1", "SCI,1", "sci"])
def test_brackets_choose_an_exposure_with_its_planes(simple, extension):
    (source,) = find_sources(f"{simple.path}[{extension}]")
    assert source.name == "raw7.fits[SCI]"
    assert source.read().variance == pytest.approx(simple.pixels.variance, rel=1e-6)


@ESTIMATED
def test_the_primary_has_its_name_even_without_a_card(tmp_path, rng):
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(planes(rng).image))
    (source,) = find_sources(f"{path}[primary]")
    assert source.shape == source.read().shape == planes(rng).image.shape


def test_an_option_can_name_the_extension(simple):
    assert find_sources(simple.path, ReadOptions(hdu="SCI"))[0].layout == "sci"
    named = find_sources(simple.path, ReadOptions(hdu="2"))[0]
    assert (named.layout, named.name) == ("bare", "raw7.fits[ERR]")


def test_an_extension_that_is_a_plane_is_read_as_a_bare_image(simple):
    exposure = read_exposure(f"{simple.path}[ERR]", ReadOptions(gain=2.0, read_noise=3.0))
    assert np.array_equal(exposure.image, np.sqrt(simple.pixels.variance))


def test_an_image_that_does_not_scatter_has_no_variance(simple):
    with pytest.raises(IncompatibleError, match=r"raw7\.fits\[ERR\] .*no variance anywhere"):
        read_exposure(f"{simple.path}[ERR]")


@pytest.mark.parametrize(
    ("extension", "message"),
    [
        ("DQ", "no such extension.*1 SCI"),
        ("7", "no such extension"),
        ("0", "is no image: 0 .*no data"),
    ],
)
def test_an_extension_that_cannot_be_read_lists_those_there(simple, extension, message):
    with pytest.raises(InputError, match=rf"raw7\.fits\[{extension}\].*{message}"):
        find_sources(f"{simple.path}[{extension}]")


def test_a_layout_can_be_forced(simple):
    assert find_sources(simple.path, ReadOptions(layout="sci"))[0].layout == "sci"
    with pytest.raises(InputError, match=r"cannot be read with the layout lsst.*1 SCI"):
        find_sources(simple.path, ReadOptions(layout="lsst"))
    with pytest.raises(InputError, match=r"no layout 'lsts'\. Did you mean lsst"):
        find_sources(simple.path, ReadOptions(layout="lsts"))


def test_every_layout_has_a_name_of_its_own():
    names = layout_names()
    assert len(set(names)) == len(names)
    assert {"skytool", "lsst", "hst", "jwst", "decam", "legacy", "ccddata", "swarp"} <= set(names)


@pytest.mark.parametrize(("option", "power"), [("variance", 1.0), ("weight", -1.0), ("error", 0.5)])
def test_a_noise_plane_of_another_file_replaces_that_of_the_image(simple, option, power):
    variance = np.full(SHAPE, 25.0, np.float32)
    other = simple.folder / "noise.fits"
    fits.PrimaryHDU(variance**power).writeto(other)
    if option == "weight":
        with pytest.warns(SkytoolWarning, match="times what its weights say"):
            read_exposure(simple.path, ReadOptions(weight=str(other)))
    weight_is = "inverse-variance" if option == "weight" else None
    (source,) = find_sources(simple.path, ReadOptions(**{option: str(other)}, weight_is=weight_is))
    assert source.read().variance == pytest.approx(25.0, rel=1e-6)
    assert source.files[1] == other


def test_a_plane_of_another_file_can_be_named_by_extension(simple):
    other = simple.folder / "both.fits"
    hdus = [
        image_hdu(np.full(SHAPE, value, np.float32), name) for name, value in (("A", 4), ("B", 9))
    ]
    write(other, primary(), *hdus)
    exposure = read_exposure(simple.path, ReadOptions(variance=f"{other}[B]"))
    assert exposure.variance[1, 1] == 9.0
    with pytest.raises(InputError, match=r"--variance .*no extension goes with raw7\.fits.*1 A"):
        find_sources(simple.path, ReadOptions(variance=str(other)))


def test_a_mask_of_another_file_is_read_by_names_or_by_map(simple):
    other = simple.folder / "mask.fits"
    array = np.zeros(SHAPE, np.int16)
    array[4, 5] = 8
    write(other, fits.PrimaryHDU(array))
    by_map = read_exposure(simple.path, ReadOptions(mask=str(other), dq_map="banzai"))
    assert planes_at(by_map, 4, 5) == {"CR"}
    with fits.open(other, mode="update") as hdus:
        hdus[0].header["HIERARCH MP_SUSPECT"] = 3
    by_name = read_exposure(simple.path, ReadOptions(mask=str(other)))
    assert planes_at(by_name, 4, 5) == {"SUSPECT"}


def test_a_plane_of_another_shape_is_refused_before_pixels_are_read(simple):
    other = simple.folder / "noise.fits"
    fits.PrimaryHDU(np.ones((70, 90), np.float32)).writeto(other)
    with pytest.raises(
        IncompatibleError, match=r"noise\.fits\[0\] has 90 x 70 .*raw7\.fits has 70 x 90"
    ):
        find_sources(simple.path, ReadOptions(variance=str(other)))


def test_pixels_from_the_saturation_level_on_are_flagged(simple):
    exposure = read_exposure(simple.path, ReadOptions(saturate="4000"))
    saturated = exposure.mask.any_of(["SAT"])
    assert saturated.any()
    assert np.array_equal(saturated, simple.pixels.image >= 4000)
    with fits.open(simple.path, mode="update") as hdus:
        hdus[0].header["SATURATE"] = 3000.0
    exposure = read_exposure(simple.path, ReadOptions(saturate="!SATURATE"))
    assert np.array_equal(exposure.mask.any_of(["SAT"]), simple.pixels.image >= 3000)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("high", InputError, "--saturate: 'high' is no number"),
        ("nan", InputError, "--saturate: 'nan' is no number"),
        ("!NOTHING", IncompatibleError, "no number NOTHING"),
        ("!FILTER", IncompatibleError, "no number FILTER"),
    ],
)
def test_a_level_that_is_no_number_is_refused(simple, value, error, message):
    with pytest.raises(error, match=message):
        read_exposure(simple.path, ReadOptions(saturate=value))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"gain": "0"}, InputError, "--gain: 0 is impossible"),
        ({"gain": "-1.5"}, InputError, "--gain: -1.5 is impossible"),
        ({"gain": "2", "read_noise": "-3"}, InputError, "--read-noise: -3 is impossible"),
        ({"fwhm": "0"}, InputError, "--fwhm: 0 is impossible"),
        ({"gain": "!GAIN"}, IncompatibleError, "--gain !GAIN: GAIN = 0.0 is impossible"),
    ],
)
def test_impossible_properties_of_a_detector_are_refused(simple, options, error, message):
    with fits.open(simple.path, mode="update") as hdus:
        hdus[0].header["GAIN"] = 0.0
    with pytest.raises(error, match=message):
        read_exposure(simple.path, ReadOptions(**options))


def test_the_scatter_of_the_sky_can_replace_the_error_of_the_file(simple):
    exposure = read_exposure(simple.path, ReadOptions(noise_from_sky=True))
    assert np.median(exposure.variance) == pytest.approx(RMS**2, rel=0.1)


def test_a_width_gives_a_gaussian_psf(simple):
    exposure = read_exposure(simple.path, ReadOptions(fwhm=3.2))
    assert exposure.psf.fwhm(y=10.0, x=20.0) == pytest.approx(3.2, rel=0.01)


def test_a_psf_of_another_file_replaces_that_of_the_image(simple):
    stamp = np.zeros((7, 7))
    stamp[2:5, 2:5] = 1.0
    other = simple.folder / "psf.fits"
    fits.PrimaryHDU(stamp).writeto(other)
    exposure = read_exposure(simple.path, ReadOptions(psf=str(other)))
    assert exposure.psf.kernel_image(y=0.0, x=0.0).max() == pytest.approx(1 / 9)


def test_an_image_without_any_variance_is_refused(simple):
    with fits.open(simple.path, mode="update") as hdus:
        hdus["ERR"].data[:] = 0.0
    with pytest.raises(IncompatibleError, match="no variance anywhere"):
        read_exposure(simple.path)


@pytest.mark.parametrize("value", [0.0, -3.0, np.nan, np.inf])
def test_pixels_without_a_variance_have_no_value(simple, value):
    with fits.open(simple.path, mode="update") as hdus:
        hdus["ERR"].data[8, 3:6] = value
    exposure = read_exposure(simple.path)
    assert_planes_agree(exposure)
    assert planes_at(exposure, 8, 4) == {"NO_DATA"}
    assert np.count_nonzero(exposure.mask.array) == 3


def test_an_image_of_nothing_but_nan_is_read(simple):
    with fits.open(simple.path, mode="update") as hdus:
        hdus["SCI"].data[:] = np.nan
    exposure = read_exposure(simple.path)
    assert exposure.mask.any_of(["NO_DATA"]).all()


def test_coordinates_that_cannot_be_are_refused_with_the_file(simple):
    with fits.open(simple.path, mode="update") as hdus:
        hdus["SCI"].header["CD1_1"] = 0.0
    (source,) = find_sources(simple.path)
    for use in (source.wcs, source.read):
        with pytest.raises(IncompatibleError, match=r"raw7\.fits: unusable WCS: .*CD1_1 = 0"):
            use()


@ESTIMATED
def test_an_image_without_coordinates_is_read(tmp_path, rng):
    path = write(tmp_path / "a.fits", fits.PrimaryHDU(planes(rng).image))
    assert find_sources(path)[0].wcs() is None
    assert read_exposure(path).wcs is None


@pytest.mark.parametrize("compressed", [False, True])
def test_the_datasum_is_that_of_the_bytes_and_not_of_a_card(tmp_path, rng, compressed):
    hdu = image_hdu(planes(rng).image, "SCI", compressed=compressed)
    path = tmp_path / "a.fits"
    fits.HDUList([primary(), hdu]).writeto(path, checksum=True)
    with fits.open(path, disable_image_compression=True) as hdus:
        expected = hdus[1].header["DATASUM"]
        stored = hdus[1].add_datasum()
    assert expected == str(stored) or not compressed
    (source,) = find_sources(path)
    assert source.datasum() == str(stored)
    with path.open("r+b") as file:
        file.seek(-3000, io.SEEK_END)
        file.write(b"\x01\x02\x03\x04")
    assert source.datasum() != str(stored)


def test_the_digest_changes_with_any_plane_and_any_card(simple):
    def digest():
        (source,) = find_sources(simple.path)
        return source.digest()

    first = digest()
    assert digest() == first
    changes = [("ERR", "data"), ("SCI", "CRVAL1"), ("SCI", "data"), ("PRIMARY", "EXPTIME")]
    for name, what in changes:
        before = digest()
        with fits.open(simple.path, mode="update") as hdus:
            if what == "data":
                hdus[name].data[4, 4] += 1.0
            else:
                hdus[name].header[what] += 1.0
        assert digest() != before


@pytest.mark.parametrize(
    "options",
    [{"dq_map": "hst"}, {"weight_is": "exptime"}, {"read_noise": 3.0}, {"sky": 100.0}],
)
def test_an_option_without_use_is_warned_of(simple, options):
    (option,) = options
    with pytest.warns(SkytoolWarning, match=rf"--{option.replace('_', '-')} has no use") as caught:
        find_sources(simple.path, ReadOptions(**options))
    assert len(caught) == 1


def test_a_map_that_does_not_exist_is_refused_before_pixels_are_read(simple):
    with pytest.raises(InputError, match="no data-quality map nothing"):
        find_sources(simple.path, ReadOptions(dq_map="nothing"))


def test_a_map_of_the_user_is_one_of_the_files_read(simple):
    dq_map = simple.folder / "my.toml"
    dq_map.write_text('kind = "bits"\nBAD = [1]\n')
    mask = simple.folder / "mask.fits"
    fits.PrimaryHDU(np.ones(SHAPE, np.uint8)).writeto(mask)
    (source,) = find_sources(simple.path, ReadOptions(mask=str(mask), dq_map=str(dq_map)))
    assert source.files == (simple.folder / "raw7.fits", mask, dq_map)


def test_a_variance_that_is_asked_for_is_not_refused(simple):
    options = ReadOptions(noise_from_sky=True, require_variance=True)
    assert find_sources(simple.path, options)[0].recipe.variance.kind == "estimate"


def test_checksums_are_compared_if_asked(tmp_path, rng):
    path = tmp_path / "a.fits"
    fits.HDUList([primary(), image_hdu(planes(rng).image, "SCI")]).writeto(path, checksum=True)
    find_sources(path, ReadOptions(verify=True))
    with path.open("r+b") as file:
        file.seek(-3000, io.SEEK_END)
        file.write(b"\x01\x02\x03\x04")
    with pytest.raises(InputError, match="DATASUM"):
        find_sources(path, ReadOptions(verify=True))
    find_sources(path)


def test_a_file_on_standard_input_is_read_once_and_used_twice(simple):
    script = (
        "from skytool.io.sources import find_sources\n"
        "source, = find_sources('-')\n"
        "print(source.name, source.read().image.sum(dtype=float), source.datasum())\n"
    )
    with (simple.folder / "raw7.fits").open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", script], stdin=file, capture_output=True, text=True, check=True
        )
    (source,) = find_sources(simple.path)
    total = simple.pixels.image.sum(dtype=float)
    assert done.stdout.split() == ["standard", "input", str(total), source.datasum()]


def test_a_missing_file_is_an_input_error():
    with pytest.raises(InputError, match=r"nothing\.fits does not exist"):
        find_sources("nothing.fits")


def test_the_usual_layouts_need_no_scipy(simple):
    script = (
        "import sys\n"
        "from skytool.io.sources import read_exposure\n"
        f"read_exposure({simple.path!r})\n"
        "print([name for name in ('scipy', 'numba', 'photutils', 'reproject') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
