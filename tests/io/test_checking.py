import re

import numpy as np
import pytest
from astropy.io import fits

from skytool.io.checking import file_problems
from skytool.io.fits import checksum_problems, write_hdus
from skytool.io.options import ReadOptions
from skytool.models.psf.kinds import BasisPsf, ConstantPsf
from tests.io.foreign import image_hdu, planes, primary, wcs_header, write
from tests.io.ours import exposure, gaussians, write_ours


def problems(path, **options):
    return file_problems(str(path), ReadOptions(**options))


def spoilt(path, made, spoil):
    """Write an exposure, change its HDUs, and make the checksums right again."""
    write_ours(path, made)
    with fits.open(path, memmap=False) as hdus:
        spoil(hdus)
        header = hdus[0].header
        for key in ("CHECKSUM", "DATASUM", "NEXTEND"):
            header.remove(key)
        content = [hdu.copy() for hdu in hdus[1:]]
    write_hdus(path, content, primary=header, overwrite=True)
    return path


@pytest.mark.parametrize("compress", ["none", "gzip", "rice"])
def test_what_the_program_writes_has_no_problems(tmp_path, rng, compress):
    made = exposure(rng, sip=True)

    assert problems(write_ours(tmp_path / "a.fits", made, compress=compress)) == []


@pytest.mark.parametrize(
    "psf",
    [
        None,
        ConstantPsf(gaussians(2.0)[0]),
        BasisPsf(gaussians(1.5, 3.0), np.array([[[3.0, 0.1]], [[1.0, -0.2]]]), (90, 70)),
    ],
    ids=["none", "constant", "basis"],
)
def test_every_kind_of_psf_is_fine(tmp_path, rng, psf):
    assert problems(write_ours(tmp_path / "a.fits", exposure(rng, psf=psf))) == []


def test_a_changed_byte_is_found_in_its_extension(tmp_path, rng):
    path = tmp_path / "a.fits"
    write_ours(path, exposure(rng))
    with fits.open(path) as hdus:
        place = hdus["VARIANCE"].fileinfo()["datLoc"]
    content = bytearray(path.read_bytes())
    content[place + 2000] ^= 1
    path.write_bytes(content)

    (problem,) = [text for text in problems(path) if "DATASUM" in text]
    assert problem == "a.fits: the pixels of extension 3 (VARIANCE) differ from DATASUM."
    assert checksum_problems(path) == [problem]


def test_sums_that_are_missing_are_a_problem_of_our_files_only(tmp_path, rng):
    pixels = planes(rng)
    bare = write(tmp_path / "bare.fits", primary(), image_hdu(pixels.image, header=wcs_header()))
    assert problems(bare, noise_from_sky=True) == []

    path = tmp_path / "a.fits"
    write_ours(path, exposure(rng))
    with fits.open(path) as hdus:
        where = hdus["MASK"].fileinfo()
    content = path.read_bytes()
    header = content[where["hdrLoc"] : where["datLoc"]]
    for key in (b"CHECKSUM", b"DATASUM "):
        header = header.replace(key + b"=", b"COMMENT  ")
    path.write_bytes(content[: where["hdrLoc"]] + header + content[where["datLoc"] :])
    assert problems(path) == [
        "extension 2 (MASK) has no CHECKSUM.",
        "extension 2 (MASK) has no DATASUM.",
    ]


def set_pixel(plane, y, x, value):
    def change(hdus):
        hdus[plane].data[y, x] = value

    return change


def set_card(extension, **cards):
    return lambda hdus: hdus[extension].header.update(cards)


def drop(extension):
    return lambda hdus: hdus.pop(extension)


def swap(hdus):
    hdus[1], hdus[2] = hdus[2].copy(), hdus[1].copy()


def shrink(hdus):
    hdus["VARIANCE"].data = hdus["VARIANCE"].data[:-1]


def as_double(hdus):
    hdus["IMAGE"].data = hdus["IMAGE"].data.astype(np.float64)


def double_psf(hdus):
    hdus["PSF"].data = hdus["PSF"].data * np.array([1.0, 2.0])[:, None, None]


def no_column(table, name):
    def change(hdus):
        hdus[table].columns.del_col(name)

    return change


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (set_pixel("IMAGE", 50, 7, np.nan), r"1 pixel has NaN without NO_DATA, .*\(7, 50\)"),
        (set_pixel("IMAGE", 50, 7, np.inf), r"1 pixel has an infinite value"),
        (set_pixel("IMAGE", 1, slice(61, 63), 2.0), r"2 pixels have NO_DATA and a value"),
        (set_pixel("MASK", 60, 9, 1 << 30), r"the mask value 1073741824, which no MP_ card names"),
        (set_pixel("VARIANCE", 60, 9, np.inf), r"an infinite variance without NO_DATA"),
        (set_pixel("VARIANCE", 1, 61, 9.0), r"NO_DATA and a variance that is not infinite"),
        (set_pixel("VARIANCE", 60, 9, 0.0), r"a variance that is not positive"),
        (set_pixel("VARIANCE", 60, 9, np.nan), r"a variance that is NaN"),
        (set_card("MASK", MP_CR=1), r"mask planes SAT and CR have the same bit 1"),
        (set_card("MASK", MSKM0003=2), r"MSKN0003 names the plane CR of value 2, MP_CR is 3"),
        (set_card("MASK", CRVAL1=150.2), r"coordinates of MASK differ from those of IMAGE: CRVAL1"),
        (set_card("IMAGE", CD1_1=0.0, CD2_2=0.0), r"the matrix is singular: CD1_1 = 0"),
        (set_card("IMAGE", LTV1=5), r"LTV1 = 5 contradicts CRVAL1A = -4"),
        (set_card("VARIANCE", BUNIT="adu"), r"unit of VARIANCE is 'adu', that of IMAGE 'adu'"),
        (set_card("IMAGE", EXTTYPE="SCI"), r"IMAGE has EXTTYPE = 'SCI'"),
        (set_card(0, FLUXMAG0=1.0), r"FLUXMAG0 = 1 contradicts MAGZERO = 27.25"),
        (set_card(0, SKYFMT=99), r"written by a newer skytool"),
        (set_card("BKG", SKYMVER=99), r"newer skytool"),
        (set_card("BKG", DOMAINX=71), r"71 x 90 pixels does not go with an image of 70 x 90"),
        (set_card("PSF", PSFKIND="MAGIC"), r"PSFKIND 'MAGIC' is not known"),
        (double_psf, r"the PSF has the sum 2, not 1"),
        (drop("PSFGRID"), r"needs their positions"),
        (drop("VARIANCE"), r"there is no extension VARIANCE"),
        (swap, r"IMAGE is extension 2, not 1"),
        (shrink, r"the planes differ in shape: IMAGE 70 x 90, MASK 70 x 90, VARIANCE 70 x 89"),
        (as_double, r"IMAGE has BITPIX = -64, not -32"),
        (no_column("INPUTS", "ROLE"), r"the table INPUTS has no column ROLE"),
        (no_column("CONFIG", "VALUE"), r"the table CONFIG has no column VALUE"),
    ],
)
def test_every_contradiction_is_named(tmp_path, rng, spoil, expected):
    path = spoilt(tmp_path / "a.fits", exposure(rng), spoil)

    assert any(re.search(expected, text) for text in problems(path)), problems(path)


def test_a_file_of_another_layout_is_tried(tmp_path, rng):
    pixels = planes(rng)
    sci = image_hdu(pixels.image, "SCI", header=wcs_header())
    good = write(tmp_path / "good.fits", primary(), sci, image_hdu(pixels.variance, "VAR"))
    small = image_hdu(pixels.variance[:-1], "VAR")
    bad = write(tmp_path / "bad.fits", primary(), sci.copy(), small)

    assert problems(good) == []
    (problem,) = problems(bad)
    assert "bad.fits[VAR] has 70 x 89 pixels, but bad.fits[SCI] has 70 x 90" in problem


@pytest.mark.parametrize("content", [b"", b"no FITS at all", None])
def test_what_cannot_be_read_is_one_problem(tmp_path, content):
    path = tmp_path / "a.fits"
    if content is not None:
        path.write_bytes(content)

    (problem,) = problems(path)
    assert "a.fits" in problem


def test_a_file_of_models_only_is_checked_too(tmp_path, rng):
    made = exposure(rng)
    header = fits.Header([("SKYFMT", 1), ("SKYTYPE", "BACKGROUND")])
    layers = [hdu for hdu in made.extensions if hdu.name.startswith("BKG")]
    path = tmp_path / "model.fits"
    write_hdus(path, layers, primary=header)
    assert problems(path) == []

    layers[0].header["BKGOP"] = "MULTIPLY"
    write_hdus(path, layers, primary=header, overwrite=True)
    assert "MULTIPLY" in problems(path)[0]
