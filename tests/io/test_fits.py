import bz2
import gzip
import io
import lzma
import os
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from numpy.testing import assert_array_equal

from skytool.errors import InputError, SkytoolWarning
from skytool.io.filespec import FileSpec
from skytool.io.fits import (
    adopted_warnings,
    content_key,
    data_sums,
    image_array,
    list_extensions,
    opened,
    selected,
    write_hdus,
)
from tests.io.files import SHAPE, as_bytes, extensions, plane

PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.fixture
def file(tmp_path, rng):
    path = tmp_path / "a.fits"
    write_hdus(path, extensions(rng), primary=fits.Header([("SKYFMT", 1)]))
    return path


def image_of(path):
    with opened(path) as hdus:
        return image_array(hdus["IMAGE"])


def names_of(spec, **options):
    with opened(spec, **options) as hdus:
        return [hdu.name for hdu in hdus]


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_file_is_closed_behind_the_block(file, tmp_path, suffix):
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("no list of open files here")
    packed = written(tmp_path / "packed", PACKERS[suffix](file.read_bytes()))
    before = len(list(descriptors.iterdir()))
    with opened(packed) as hdus:
        pixels = image_array(hdus["IMAGE"])

    assert len(list(descriptors.iterdir())) == before
    assert pixels.dtype == np.float32
    assert pixels.dtype.isnative


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("name", ["a.fits", "without-suffix"])
def test_packed_files_are_recognised_by_their_content(file, tmp_path, suffix, name):
    packed = tmp_path / f"packed-{name}{suffix if name == 'a.fits' else ''}"
    packed.write_bytes(PACKERS[suffix](file.read_bytes()))

    assert_array_equal(image_of(packed), image_of(file))


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"])
def test_tile_compressed_extensions_are_read(tmp_path, rng, kind):
    pixels = plane(rng, "i2")
    tiles = fits.CompImageHDU(pixels, compression_type=kind, name="IMAGE")
    path = tmp_path / "a.fits.fz"
    path.write_bytes(as_bytes(tiles))

    assert_array_equal(image_of(path), pixels)


@pytest.mark.parametrize(
    ("extension", "name"),
    [("IMAGE", "IMAGE"), (2, "MASK"), (("VARIANCE", 1), "VARIANCE"), ("image", "IMAGE")],
)
def test_an_extension_is_selected(file, extension, name):
    spec = FileSpec(file, extension)

    with opened(spec) as hdus:
        assert selected(hdus, spec).name == name


def test_without_an_extension_the_primary_is_meant(file):
    spec = FileSpec(file)

    with opened(spec) as hdus:
        assert selected(hdus, spec) is hdus[0]


@pytest.mark.parametrize("extension", ["SCI", 7, ("IMAGE", 2)])
def test_a_missing_extension_is_an_error_that_lists_the_others(file, extension):
    with pytest.raises(InputError, match=r"1 \(IMAGE\), 2 \(MASK\), 3 \(VARIANCE\)") as caught:
        names_of(FileSpec(file, extension))
    assert str(file) in str(caught.value)


def test_extensions_of_one_name_are_listed_with_their_versions(tmp_path, rng):
    path = tmp_path / "a.fits"
    hdus = [fits.ImageHDU(plane(rng), name="SCI", ver=version) for version in (1, 2)]
    write_hdus(path, hdus)

    with pytest.raises(InputError, match=r"1 \(SCI,1\), 2 \(SCI,2\)"):
        names_of(FileSpec(path, ("SCI", 3)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello\n", "not a FITS file"),
        (b"SIMPLE", "not a FITS file"),
        (b"SIMPLE  =                    T", "truncated"),
        (bytes(10_000), "not a FITS file"),
        (b"\x1f\x8b", "truncated or damaged"),
        (b"\x1f\x8bnonsense", "cannot be read|damaged"),
        (b"BZhnonsense", "cannot be read|damaged"),
        (gzip.compress(b"hello", mtime=0), "not a FITS file"),
        (gzip.compress(b"", mtime=0), "is empty"),
    ],
)
def test_what_is_no_fits_file_is_an_error_that_names_it(tmp_path, content, reason):
    path = tmp_path / "a.fits"
    path.write_bytes(content)

    with pytest.raises(InputError, match=reason) as caught:
        names_of(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.fits does not exist\.$"):
        names_of(tmp_path / "a.fits")
    with pytest.raises(InputError, match="No file matches"):
        names_of(tmp_path / "*.fits")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="folder"):
        names_of(tmp_path)


def test_a_file_nobody_may_read_is_named(file, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr("pathlib.Path.open", refuse)

    with pytest.raises(InputError, match="cannot be read: permission denied"):
        names_of(file)


def positions(size):
    """Return lengths at which a file is cut: around every block and in between."""
    blocks = range(0, size, 2880)
    return sorted(
        {
            at
            for block in blocks
            for at in (block - 1, block, block + 1, block + 77, block + 1443)
            if 0 <= at < size
        }
    )


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_file_cut_anywhere_is_refused(file, tmp_path, suffix):
    whole = PACKERS[suffix](file.read_bytes())
    cut = tmp_path / "cut.fits"
    lengths = (
        positions(len(whole)) if not suffix else np.linspace(0, len(whole) - 1, 40).astype(int)
    )
    assert len(lengths) > 30

    for length in lengths:
        cut.write_bytes(whole[:length])
        with pytest.raises(InputError) as caught:
            names_of(cut)
        assert "cut.fits" in str(caught.value), length


def test_a_foreign_file_cut_within_an_extension_is_refused(tmp_path, rng):
    whole = as_bytes(*extensions(rng))
    ends = {extent.end for extent in list_extensions(written(tmp_path / "a.fits", whole))}
    cut = tmp_path / "cut.fits"

    for length in positions(len(whole)):
        if length not in ends:  # a file may always end behind an extension
            with pytest.raises(InputError):
                names_of(written(cut, whole[:length]))


def written(path, content):
    path.write_bytes(content)
    return path


def test_blanks_and_other_bytes_behind_the_last_extension_are_no_harm(file, tmp_path, caplog):
    for tail in (bytes(2880), b" " * 2880, b"special records" * 400):
        path = written(tmp_path / "tail.fits", file.read_bytes() + tail)
        assert_array_equal(image_of(path), image_of(file))
    for tail in (b"X", b"XTENSIO", b"XTENSION= 'IMAGE"):
        path = written(tmp_path / "tail.fits", file.read_bytes() + tail)
        with pytest.raises(InputError, match="truncated"):
            names_of(path)


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        (("NAXIS1", 2_000_000_000_000), "bytes too early"),
        (("NAXIS2", -5), "axes of the lengths"),
        (("NAXIS", 1000), "1000 axes"),
        (("NAXIS", 3), "no card NAXIS3"),
        (("BITPIX", 17), "BITPIX = 17"),
        (("BITPIX", "x"), "the card BITPIX"),
        (("PCOUNT", -1), "PCOUNT = -1"),
        (("GCOUNT", 1 << 40), "bytes too early"),
    ],
)
def test_impossible_sizes_are_refused_before_memory_is_taken(tmp_path, rng, card, reason):
    hdu = fits.ImageHDU(plane(rng), name="IMAGE")
    data = as_bytes(hdu)[2880:]
    size = len(data) // 2880 * 2880 - 2880
    header = fits.Header.fromstring(data[: len(data) - size])
    header[card[0]] = card[1]
    path = tmp_path / "a.fits"
    path.write_bytes(
        fits.PrimaryHDU().header.tostring().encode() + header.tostring().encode() + data[-size:]
    )

    with pytest.raises(InputError, match=reason) as caught:
        names_of(path)
    assert "1 (IMAGE)" in str(caught.value)


@pytest.mark.parametrize(
    ("card", "value", "reason"),
    [
        ("ZNAXIS1", 1 << 40, "which cannot be"),
        ("ZNAXIS2", 1 << 40, "tiles where an image"),
        ("ZTILE1", 0, "tiles of"),
        ("ZBITPIX", 5, "ZBITPIX = 5"),
        ("ZNAXIS", 3, "no card ZNAXIS3"),
    ],
)
def test_impossible_sizes_of_compressed_images_are_refused(tmp_path, rng, card, value, reason):
    tiles = as_bytes(fits.CompImageHDU(plane(rng), name="IMAGE"))
    path = tmp_path / "a.fits"
    path.write_bytes(tiles)
    with fits.open(path, mode="update", disable_image_compression=True) as hdus:
        hdus[1].header[card] = value

    if card == "ZNAXIS1":  # the tiles span the width: as many as before
        with fits.open(path, mode="update", disable_image_compression=True) as hdus:
            hdus[1].header["ZTILE1"] = value
    with pytest.raises(InputError, match=reason):
        names_of(path)


def test_a_stream_that_never_ends_is_left_at_once():
    with pytest.raises(InputError, match="not a FITS file"):
        names_of("/dev/zero")
    with pytest.raises(InputError, match="empty"):
        names_of("/dev/null")


@pytest.mark.parametrize("suffix", PACKERS)
def test_standard_input_is_read_once_and_opened_often(file, suffix):
    script = (
        "from skytool.io.fits import opened, image_array, selected\n"
        "from skytool.io.filespec import FileSpec\n"
        "for extension in (1, 'VARIANCE'):\n"
        "    spec = FileSpec.parse(f'-[{extension}]')\n"
        "    with opened(spec) as hdus:\n"
        "        print(float(image_array(selected(hdus, spec))[2, 7]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=PACKERS[suffix](file.read_bytes()),
        capture_output=True,
        check=True,
    )

    with opened(file) as hdus:
        expected = [float(image_array(hdus[index])[2, 7]) for index in (1, 3)]
    assert [float(line) for line in done.stdout.split()] == expected


def test_another_standard_input_is_not_mistaken_for_the_one_before(tmp_path, monkeypatch):
    for fill in (3.0, 4.0):
        path = tmp_path / f"{fill}.fits"
        write_hdus(path, [fits.ImageHDU(np.full((5, 7), fill, np.float32), name="IMAGE")])
        stream = io.TextIOWrapper(io.BytesIO(path.read_bytes()))
        monkeypatch.setattr("sys.stdin", stream)
        for _ in range(2):
            assert (image_of("-") == fill).all()


def test_a_terminal_is_no_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))

    with pytest.raises(InputError, match="terminal"):
        names_of("-")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_named_pipe_is_read_and_may_be_opened_again(file, tmp_path, suffix):
    pipe = tmp_path / f"pipe{suffix}"
    os.mkfifo(pipe)
    content = PACKERS[suffix](file.read_bytes())
    writer = threading.Thread(target=lambda: pipe.write_bytes(content))
    writer.start()

    assert_array_equal(image_of(pipe), image_of(file))
    writer.join(timeout=30)
    assert_array_equal(image_of(pipe), image_of(file))


def test_process_substitution_is_read(file):
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    script = "import sys; from skytool.io.fits import data_sums; print(*data_sums(sys.argv[1]))"
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c '{script}' <(cat {file})"],
        capture_output=True,
        check=True,
        text=True,
    )

    assert done.stdout.split() == data_sums(file)


def test_checksums_are_compared_when_asked(file, tmp_path):
    content = bytearray(file.read_bytes())
    extents = list_extensions(file)
    with opened(file, verify=True):
        pass

    for extent in extents:
        for position in {extent.start + 40, extent.end - 1}:  # a comment, and the last byte
            damaged = bytearray(content)
            damaged[position] ^= 0x01
            path = written(tmp_path / "damaged.fits", damaged)
            with pytest.raises(InputError, match=rf"extension {extent.index} .*(DATA|CHECK)SUM"):
                names_of(path, verify=True)


def test_a_datasum_that_is_no_number_differs(tmp_path, rng):
    hdu = fits.ImageHDU(plane(rng), name="IMAGE")
    hdu.header["DATASUM"] = "none"
    path = written(tmp_path / "a.fits", as_bytes(hdu))

    with pytest.raises(InputError, match="DATASUM"), opened(path, verify=True):
        pass


def test_files_without_checksums_pass(tmp_path, rng):
    path = written(tmp_path / "a.fits", as_bytes(*extensions(rng)))

    with opened(path, verify=True) as hdus:
        assert "CHECKSUM" not in hdus[1].header


def test_sums_agree_with_those_of_astropy(tmp_path, rng):
    hdus = extensions(rng)
    path = written(tmp_path / "a.fits", as_bytes(*hdus))

    assert data_sums(path) == ["0", *(str(hdu.add_datasum()) for hdu in hdus)]


def test_the_content_key_is_that_of_the_content(file, tmp_path):
    key = content_key(file)
    packed = written(tmp_path / "b.fits.gz", gzip.compress(file.read_bytes()))
    changed = bytearray(file.read_bytes())
    changed[changed.index(b"IMAGE")] = ord("j")

    assert content_key(packed) == key
    assert content_key(written(tmp_path / "c.fits", changed)) != key


def test_warnings_of_astropy_become_ours_each_once_with_the_name_of_the_file():
    with warnings.catch_warnings(record=True) as seen, adopted_warnings("a.fits"):
        warnings.simplefilter("always")
        warnings.warn("odd\n  card", AstropyUserWarning, stacklevel=1)
        warnings.warn("odd card", AstropyUserWarning, stacklevel=1)

    assert [str(each.message) for each in seen] == ["a.fits: odd card"]


def test_other_warnings_stay_warnings():
    with pytest.warns(SkytoolWarning, match="mine"), adopted_warnings("a.fits"):
        warnings.warn("mine", SkytoolWarning, stacklevel=1)


def test_a_header_that_astropy_cannot_read_is_an_input_error(tmp_path, rng):
    hdu = fits.ImageHDU(plane(rng), name="IMAGE")
    hdu.header["GAIN"] = 1.25
    content = as_bytes(hdu).replace(
        b"GAIN    =                 1.25", b"GAIN    =              1.2.5.3"
    )
    path = written(tmp_path / "a.fits", content)

    with pytest.raises(InputError, match=r"a\.fits cannot be read"), opened(path) as hdus:
        _ = hdus[1].header["GAIN"]


def test_a_damaged_description_of_tiles_is_an_input_error(tmp_path, rng):
    content = as_bytes(fits.CompImageHDU(plane(rng), name="IMAGE", quantize_method=1))
    damaged = content.replace(b"SUBTRACTIVE_DITHER_1", b"SUBTRACTIVE_DOTHER_1")
    path = written(tmp_path / "a.fits", damaged)
    assert damaged != content

    with pytest.raises(InputError, match=r"a\.fits cannot be read: 'SUBTRACTIVE_DOTHER_1'"):
        names_of(path)


def test_mistakes_of_the_program_stay_what_they_are(file):
    def mistake():
        with opened(file):
            return {}["no such key"]

    with pytest.raises(KeyError, match="no such key"):
        mistake()


def test_extensions_are_listed_without_reading_them(file):
    listed = list_extensions(file)

    assert [(extent.index, extent.name, extent.version) for extent in listed] == [
        (0, "", 1),
        (1, "IMAGE", 1),
        (2, "MASK", 1),
        (3, "VARIANCE", 1),
        (4, "INPUTS", 1),
    ]
    assert listed[1].data_size == 4 * SHAPE[0] * SHAPE[1]
    assert listed[-1].end == file.stat().st_size


@pytest.mark.parametrize(
    "name",
    [
        "allsky/frame_00.fits",
        "bulge/frame_0020.fits",
        "decam-epochs/epoch2016_a.fits",
        "decam-stamps/c4d_170316_062107_ood_z_ls9.N2.fits",
        "infrared-chip/visit_1.fits",
        "infrared-tiles/scan_135_tile_0080.fits.gz",
        "rgb-airmass/frame_A01.fits.gz",
    ],
)
def test_real_files_are_read_as_astropy_reads_them(shared, name):
    path = shared / "data" / name
    compared = 0
    with opened(path) as hdus, fits.open(path) as expected:
        assert len(hdus) == len(expected)
        for hdu, other in zip(hdus, expected, strict=True):
            if other.is_image and other.data is not None and other.data.ndim == 2:
                assert_array_equal(image_array(hdu), other.data.astype(np.float32))
                compared += 1
    assert compared
