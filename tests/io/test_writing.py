import bz2
import errno
import gzip
import io
import lzma
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from numpy.testing import assert_array_equal

from skytool.errors import OutputError
from skytool.io.filespec import FileSpec
from skytool.io.fits import check_outputs, image_array, integer_array, opened, write_hdus
from skytool.io.writing import write_bytes
from tests.io.files import SHAPE, as_bytes, extensions, plane

KINDS = ["none", "gzip", "rice"]


def fitsverify(path):
    program = shutil.which("fitsverify")
    if program is None:
        pytest.skip("fitsverify is not installed")
    done = subprocess.run([program, "-q", path], check=False, capture_output=True, text=True)
    return done.returncode, done.stdout


def fitscheck(path):
    program = Path(sys.executable).with_name("fitscheck")
    done = subprocess.run([program, path], check=False, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["none", "gzip"])
def test_what_is_written_comes_back(tmp_path, rng, kind):
    hdus = extensions(rng)
    expected = [hdu.data.copy() for hdu in hdus]
    output = tmp_path / "a.fits"

    write_hdus(output, hdus, primary=fits.Header([("OBJECT", "M 31")]), compress=kind)

    with opened(output, verify=True) as read:
        assert read[0].header["OBJECT"] == "M 31"
        assert read[0].header["NEXTEND"] == 4
        assert read[0].header["CREATOR"].startswith("skytool ")
        assert_array_equal(image_array(read["IMAGE"]), expected[0])
        assert_array_equal(integer_array(read["MASK"]), expected[1])
        assert_array_equal(image_array(read["VARIANCE"]), expected[2])
        assert_array_equal(read["INPUTS"].data["NAME"], ["one", "three"])
        assert_array_equal(read["INPUTS"].data["X"], [1.5, -2.25])
    for hdu, data in zip(hdus, expected, strict=True):
        assert_array_equal(hdu.data, data)  # writing changes no pixel


def test_the_lossy_kind_loses_less_than_a_tenth_of_the_noise(tmp_path, rng):
    noise = rng.normal(100, 5, size=(64, 48)).astype("f4")
    noise[10, 4:9] = np.nan
    variance = rng.normal(25, 0.5, size=noise.shape).astype("f4")
    mask = rng.integers(0, 4, noise.shape).astype("i4")
    hdus = [
        fits.ImageHDU(array, name=name)
        for array, name in ((noise, "IMAGE"), (mask, "MASK"), (variance, "VARIANCE"))
    ]
    output = tmp_path / "a.fits"

    write_hdus(output, hdus, compress="rice")

    with opened(output) as read:
        pixels = image_array(read["IMAGE"])
        assert_array_equal(np.isnan(pixels), np.isnan(noise))
        # sixteen steps in a standard deviation: half a step at most, 12 % for its estimate
        assert np.nanmax(np.abs(pixels - noise)) < 1.12 * 5 / 32
        assert_array_equal(integer_array(read["MASK"]), mask)
        spread = image_array(read["VARIANCE"])
        assert 0 < np.abs(spread - variance).max() < 1.12 * 0.5 / 32


def test_the_lossy_kind_keeps_a_variance_with_infinity_as_it_is(tmp_path, rng):
    hdus = extensions(rng)
    variance = hdus[2].data.copy()
    assert np.isinf(variance).any()

    write_hdus(tmp_path / "a.fits", hdus, compress="rice")

    with opened(tmp_path / "a.fits") as read:
        assert_array_equal(image_array(read["VARIANCE"]), variance)


@pytest.mark.parametrize("kind", KINDS)
def test_runs_a_second_apart_write_equal_bytes(tmp_path, kind):
    for name in ("a.fits", "b.fits"):
        if name == "b.fits":
            time.sleep(1.1)
        write_hdus(tmp_path / name, extensions(np.random.default_rng(7)), compress=kind)

    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_fitsverify_finds_no_fault(tmp_path, rng, kind):
    output = tmp_path / "a.fits"
    write_hdus(output, extensions(rng), compress=kind)

    code, text = fitsverify(output)

    assert code == 0, text
    assert text.startswith("verification OK")


def test_fitscheck_finds_all_sums(tmp_path, rng):
    output = tmp_path / "a.fits"
    write_hdus(output, extensions(rng))

    assert fitscheck(output) == (0, "")


@pytest.mark.parametrize("kind", ["gzip", "rice"])
def test_astropy_finds_the_sums_of_compressed_files(tmp_path, rng, kind):
    output = tmp_path / "a.fits"
    write_hdus(output, extensions(rng), compress=kind)

    # a sum that differs is a warning, which is an error here
    with fits.open(output, checksum=True, disable_image_compression=True) as hdus:
        assert all("CHECKSUM" in hdu.header and hdu.data is not None for hdu in hdus[1:])


def test_models_and_tables_are_never_compressed(tmp_path, rng):
    model = fits.ImageHDU(rng.normal(size=(5, 9)), name="PSF")
    cube = fits.ImageHDU(rng.normal(size=(2, *SHAPE)), name="BASIS")
    counts = fits.ImageHDU(rng.integers(0, 9, SHAPE).astype("i2"), name="NIMAGE")
    bytes_ = fits.ImageHDU(rng.integers(0, 9, SHAPE).astype("u1"), name="COUNT")
    output = tmp_path / "a.fits"

    write_hdus(output, [*extensions(rng), model, cube, counts, bytes_], compress="gzip")

    with fits.open(output) as hdus:
        kinds = {hdu.name: type(hdu).__name__ for hdu in hdus[1:]}
        assert_array_equal(hdus["NIMAGE"].data, counts.data)
        assert_array_equal(hdus["COUNT"].data, bytes_.data)
        assert_array_equal(hdus["PSF"].data, model.data)
    assert kinds == {
        **dict.fromkeys(["IMAGE", "MASK", "VARIANCE", "NIMAGE", "COUNT"], "CompImageHDU"),
        "INPUTS": "BinTableHDU",
        "PSF": "ImageHDU",
        "BASIS": "ImageHDU",
    }


def test_an_unknown_compression_is_refused_before_anything_is_written(tmp_path, rng):
    with pytest.raises(ValueError, match="not 'zip'"):
        write_hdus(tmp_path / "a.fits", extensions(rng), compress="zip")

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8", "f4", "f8", ">f4", ">i2", "u2", "u4"])
def test_every_type_is_stored_as_astropy_stores_it(tmp_path, rng, dtype):
    pixels = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)
    output = tmp_path / "a.fits"

    write_hdus(output, [fits.ImageHDU(pixels)])

    with fits.open(output, checksum=True) as hdus:
        assert_array_equal(hdus[1].data, pixels)
    stored = as_bytes(fits.ImageHDU(pixels))
    size = -(-pixels.nbytes // 2880) * 2880
    assert output.read_bytes()[-size:] == stored[-size:]


def test_arrays_of_any_memory_layout_are_written(tmp_path, rng):
    pixels = plane(rng, "f8")
    views = [pixels.T, pixels[::2, ::-3], np.asfortranarray(pixels)]
    frozen = pixels.copy()
    frozen.flags.writeable = False
    cube = rng.normal(size=(3, 5, 4))
    line = rng.normal(size=70_000)
    output = tmp_path / "a.fits"

    write_hdus(output, [fits.ImageHDU(array) for array in (*views, frozen, cube, line)])

    with fits.open(output) as hdus:
        for hdu, array in zip(hdus[1:], (*views, frozen, cube, line), strict=True):
            assert_array_equal(hdu.data, array)


def test_an_extension_without_pixels_is_written(tmp_path):
    output = tmp_path / "a.fits"

    write_hdus(output, [fits.ImageHDU(header=fits.Header([("GAIN", 1.5)]), name="EMPTY")])

    with fits.open(output, checksum=True) as hdus:
        assert hdus["EMPTY"].header["GAIN"] == 1.5
        assert hdus["EMPTY"].data is None


def test_long_strings_and_names_survive(tmp_path, rng):
    header = fits.Header([("FILES", "x" * 200), ("HIERARCH a long name", 3)])
    header.add_history("y" * 100)
    output = tmp_path / "a.fits"

    write_hdus(output, [fits.ImageHDU(plane(rng), header, name="IMAGE")], primary=header)

    with fits.open(output, checksum=True) as hdus:
        for hdu in hdus:
            assert hdu.header["FILES"] == "x" * 200
            assert hdu.header["a long name"] == 3
            assert "".join(hdu.header["HISTORY"]) == "y" * 100
    assert fitscheck(output) == (0, "")


def test_ccddata_reads_the_planes(tmp_path, rng):
    hdus = extensions(rng)
    hdus[0].header["BUNIT"] = "nJy"
    hdus[2].header["BUNIT"] = "nJy2"
    hdus[2].header["UTYPE"] = "VarianceUncertainty"
    output = tmp_path / "a.fits"
    write_hdus(output, hdus)

    read = CCDData.read(
        output, hdu="IMAGE", hdu_uncertainty="VARIANCE", hdu_mask=None, hdu_flags="MASK"
    )

    assert_array_equal(read.data, hdus[0].data)
    assert_array_equal(read.uncertainty.array, hdus[2].data)
    assert_array_equal(read.flags, hdus[1].data)
    assert str(read.unit) == "nJy"


def test_an_existing_output_is_kept_unless_asked(tmp_path, rng):
    output = tmp_path / "a.fits"
    output.write_bytes(b"old")

    with pytest.raises(OutputError, match="--overwrite"):
        write_hdus(output, extensions(rng))
    assert output.read_bytes() == b"old"

    write_hdus(output, extensions(rng), overwrite=True)
    assert output.read_bytes().startswith(b"SIMPLE")


def test_a_failed_write_leaves_nothing(tmp_path, rng, monkeypatch):
    written = []

    def full(_, piece):
        written.append(len(piece))
        if len(written) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("skytool.io.encoding.write_all", full)

    with pytest.raises(OutputError, match=r"a\.fits cannot be written: no space left"):
        write_hdus(tmp_path / "a.fits", extensions(rng))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_leaves_nothing(small_disk, rng, kind):
    large = fits.ImageHDU(rng.normal(size=(600, 400)).astype("f4"), name="IMAGE")

    with pytest.raises(OutputError, match="no space left"):
        write_hdus(small_disk / "a.fits", [large], compress=kind)
    assert not list(small_disk.iterdir())


def test_devices_and_pipes_are_written(tmp_path, rng):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()
    hdus = extensions(rng)

    write_hdus(pipe, hdus)
    write_hdus("/dev/null", hdus)
    reader.join(timeout=30)
    write_hdus(tmp_path / "a.fits", hdus)

    assert received == [(tmp_path / "a.fits").read_bytes()]
    assert pipe.is_fifo()
    assert Path("/dev/null").is_char_device()


def test_standard_output_takes_a_file(tmp_path):
    script = (
        "import numpy as np\n"
        "from astropy.io import fits\n"
        "from skytool.io.fits import write_hdus\n"
        "write_hdus('-', [fits.ImageHDU(np.arange(12.0).reshape(3, 4))])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)

    with fits.open(io.BytesIO(done.stdout), checksum=True) as hdus:
        assert_array_equal(hdus[1].data, np.arange(12.0).reshape(3, 4))


def test_a_terminal_takes_no_file(monkeypatch, rng):
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True))

    with pytest.raises(OutputError, match="terminal"):
        write_hdus("-", extensions(rng))


def test_outputs_that_can_be_written_pass(tmp_path):
    source = tmp_path / "in.fits"
    source.touch()

    check_outputs([tmp_path / "new" / "a.fits", "-", "/dev/null", "/dev/null"], [source])

    assert not (tmp_path / "new").exists()


def test_all_existing_outputs_are_named_at_once(tmp_path):
    outputs = [tmp_path / f"{index}.fits" for index in range(7)]
    for output in outputs[:6]:
        output.touch()

    with pytest.raises(OutputError, match="--overwrite") as caught:
        check_outputs(outputs)
    check_outputs(outputs, overwrite=True)

    message = str(caught.value)
    assert all(str(output) in message for output in outputs[:5])
    assert "1 more" in message
    assert str(outputs[6]) not in message


@pytest.mark.parametrize("how", ["same", "dotted", "symbolic", "hard", "extension"])
def test_an_input_is_never_an_output(tmp_path, how):
    source = tmp_path / "in.fits"
    source.write_bytes(b"raw")
    output = tmp_path / "out.fits"
    if how == "symbolic":
        output.symlink_to(source)
    elif how == "hard":
        output.hardlink_to(source)
    elif how == "dotted":
        output = tmp_path / "." / "x" / ".." / "in.fits"
        (tmp_path / "x").mkdir()
    else:
        output = source
    argument = FileSpec(source, "SCI") if how == "extension" else source

    with pytest.raises(OutputError, match="is an input"):
        check_outputs([tmp_path / "b.fits", output], ["-", argument], overwrite=True)


@pytest.mark.parametrize("other", ["a.fits", "./a.fits", "sub/../a.fits", "link/a.fits"])
def test_two_outputs_of_one_place_are_refused(tmp_path, monkeypatch, other):
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(OutputError, match="twice"):
        check_outputs(["a.fits", "b.fits", other], overwrite=True)


def test_two_outputs_to_standard_output_are_refused():
    with pytest.raises(OutputError, match="twice"):
        check_outputs(["-", "-"])


def test_a_folder_is_no_output(tmp_path):
    with pytest.raises(OutputError, match="is a folder"):
        check_outputs([tmp_path], overwrite=True)


def test_a_file_is_no_folder_for_outputs(tmp_path):
    (tmp_path / "a").touch()

    with pytest.raises(OutputError, match="is not a folder"):
        check_outputs([tmp_path / "a" / "b" / "c.fits"])


def test_a_folder_nobody_may_write_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)

    with pytest.raises(OutputError, match="cannot be written to"):
        check_outputs([tmp_path / "a.fits"])


UNPACK = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".XZ": lzma.decompress}


@pytest.mark.parametrize("ending", UNPACK)
def test_a_name_that_promises_compression_keeps_it(tmp_path, rng, ending):
    plain, packed, again = (tmp_path / name for name in ("a.fits", f"b.fits{ending}", f"c{ending}"))
    hdus = extensions(rng)
    write_hdus(plain, hdus)
    write_hdus(packed, hdus)
    write_hdus(again, hdus)

    assert UNPACK[ending](packed.read_bytes()) == plain.read_bytes()
    assert packed.read_bytes() == again.read_bytes(), "neither name nor time are in it"
    with opened(packed, verify=True) as read:
        assert_array_equal(image_array(read["IMAGE"]), hdus[0].data)


def test_fz_is_compression_by_tiles(tmp_path, rng):
    hdus = extensions(rng)
    write_hdus(tmp_path / "a.fits.fz", hdus)
    write_hdus(tmp_path / "b.fits", hdus, compress="gzip")
    write_hdus(tmp_path / "c.fz", hdus, compress="rice")

    assert (tmp_path / "a.fits.fz").read_bytes() == (tmp_path / "b.fits").read_bytes()
    with fits.open(tmp_path / "c.fz", disable_image_compression=True) as read:
        assert read[1].header["ZCMPTYPE"] == "RICE_1"


def test_other_files_are_compressed_too_if_they_are_named_so(tmp_path):
    write_bytes(tmp_path / "a.reg.gz", b"circle")

    assert gzip.decompress((tmp_path / "a.reg.gz").read_bytes()) == b"circle"


@pytest.mark.parametrize("ending", ["Z", "zip", "zst"])
def test_a_compression_that_is_not_written_is_refused(tmp_path, ending):
    with pytest.raises(OutputError, match=rf"a\.fits\.{ending} names a compression .*\.fits"):
        check_outputs([tmp_path / f"a.fits.{ending}"])


def test_a_full_disk_leaves_no_compressed_file(small_disk, rng):
    image = fits.ImageHDU(rng.normal(0, 1, (300, 211)), name="IMAGE")
    with pytest.raises(OutputError, match="no space left"):
        write_hdus(small_disk / "a.fits.gz", [image])

    assert list(small_disk.iterdir()) == []
