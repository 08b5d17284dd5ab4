"""Inputs that cannot be warped, or look as if they could not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from tests.cli.warping import (
    assert_planes_agree,
    failure,
    gaussians,
    read_warp,
    run,
    sky_cards,
    warp,
    write_exposure,
    write_grid,
)

SHAPE = (90, 70)
GRID = (80, 100)
TARGET = ("--like", "grid.hdr")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_grid("grid.hdr", sky_cards(GRID, rotation=10), GRID)
    return tmp_path


def bare(data, *, cards=(), header=None, name="in.fits", **options):
    """Write an image without anything beside it but coordinates."""
    sky = sky_cards(np.shape(data)[-2:] if np.ndim(data) > 1 else SHAPE)
    hdu = fits.PrimaryHDU(data, header=sky if header is None else header, **options)
    for key, value in dict(cards).items():
        if value is None:
            del hdu.header[key]
        else:
            hdu.header[key] = value
    hdu.writeto(name)
    return name


def noise(rng, shape=SHAPE):
    return rng.normal(200, 3, shape).astype(np.float32)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(folder, *args, status, words, output="out.fits"):
    """Check that a run fails with one line, and leaves the folder as it was."""
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}
    result = run("warp", *args, "-o", output, "--noise-from-sky")
    assert result.exit_code == status, result.output
    for word in [words] if isinstance(words, str) else words:
        assert word in failure(result)
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.is_file()}
    assert after == before
    planned = run("warp", *args, "-o", output, "--noise-from-sky", "-n")
    return planned.exit_code


class TestFiles:
    def test_missing(self, folder):
        refused(folder, "none.fits", *TARGET, status=3, words="none.fits does not exist")

    def test_a_pattern_that_matches_nothing(self, folder):
        refused(folder, "none*.fits", *TARGET, status=3, words="none*.fits")

    def test_empty(self, folder):
        (folder / "in.fits").touch()
        refused(folder, "in.fits", *TARGET, status=3, words="in.fits is empty")

    def test_not_fits(self, folder):
        (folder / "in.fits").write_text("no FITS at all\n" * 1000)
        refused(folder, "in.fits", *TARGET, status=3, words="in.fits is not a FITS file")

    def test_a_folder(self, folder):
        (folder / "in.fits").mkdir()
        refused(folder, "in.fits", *TARGET, status=3, words="in.fits")

    @pytest.mark.parametrize("kept", [1000, 2880, 10000, 40000, -2880, -3])
    def test_truncated(self, folder, rng, kept):
        name = write_exposure("whole.fits", noise(rng), sky=sky_cards(SHAPE))
        data = Path(name).read_bytes()
        (folder / "in.fits").write_bytes(data[:kept])
        # cut between two extensions it is a file of skytool that lacks some
        refused(folder, "in.fits", *TARGET, status=3, words="in.fits")

    def test_truncated_after_compression(self, folder, rng):
        fits.CompImageHDU(noise(rng), sky_cards(SHAPE)).writeto("whole.fits.fz")
        data = Path("whole.fits.fz").read_bytes()
        (folder / "in.fits.fz").write_bytes(data[: len(data) - 3000])
        refused(folder, "in.fits.fz", *TARGET, status=3, words="in.fits.fz")

    def test_gzip_cut_short(self, folder, rng):
        import gzip

        bare(noise(rng), name="whole.fits")
        data = gzip.compress(Path("whole.fits").read_bytes())
        (folder / "in.fits.gz").write_bytes(data[: len(data) // 2])
        refused(folder, "in.fits.gz", *TARGET, status=3, words="in.fits.gz")

    @pytest.mark.parametrize("extension", ["SCI", "9", "IMAGE,2"])
    def test_an_extension_that_is_not_there(self, folder, rng, extension):
        name = write_exposure("in.fits", noise(rng), sky=sky_cards(SHAPE))
        refused(folder, f"{name}[{extension}]", *TARGET, status=3, words="no such extension")

    def test_an_extension_that_is_a_table(self, folder):
        table = fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])], name="T")
        fits.HDUList([fits.PrimaryHDU(), table]).writeto("in.fits")
        refused(folder, "in.fits[T]", *TARGET, status=3, words="table")
        refused(folder, "in.fits", *TARGET, status=3, words="in.fits")

    def test_the_same_one_twice(self, folder, rng):
        bare(noise(rng))
        refused(folder, "in.fits", "./in.fits", *TARGET, status=2, words="in.fits")

    def test_an_unreadable_one(self, folder, rng):
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        Path(bare(noise(rng))).chmod(0)
        refused(folder, "in.fits", *TARGET, status=3, words="in.fits")


class TestCoordinates:
    @pytest.mark.parametrize(
        ("cards", "words"),
        [
            ({"CTYPE1": None, "CTYPE2": None}, "no celestial WCS"),
            ({"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}, "no celestial WCS"),
            ({"CRVAL1": "NaN"}, "CRVAL1"),
            ({"CD1_1": 0.0, "CD2_2": 0.0}, "singular"),
            ({"CD1_1": 1e-5, "CD1_2": 1e-5, "CD2_1": 1e-5, "CD2_2": 1e-5}, "singular"),
            ({"CRVAL2": 95.0}, "in.fits"),
            ({"CTYPE1": "RA---TAN", "CTYPE2": "RA---TAN"}, "WCS"),
            ({"CTYPE1": "RA---QQQ", "CTYPE2": "DEC--QQQ"}, "WCS"),
            ({"CUNIT1": "kg"}, "WCS"),
        ],
    )
    def test_that_are_none(self, folder, rng, cards, words):
        bare(noise(rng), cards=cards)
        planned = refused(folder, "in.fits", *TARGET, status=4, words=["in.fits", words])
        assert planned == 4
        assert run("warp", "in.fits", "--auto", "-o", "x", "--noise-from-sky").exit_code == 4

    def test_zero_scale(self, folder, rng):
        header = sky_cards(SHAPE)
        for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
            del header[key]
        header["CDELT1"], header["CDELT2"] = 0.0, 7e-5
        bare(noise(rng), header=header)
        refused(folder, "in.fits", *TARGET, status=4, words="in.fits")

    def test_a_distortion_without_inverse_ends_and_keeps_the_pixels_that_have_one(self, rng):
        """The polynomial folds back on itself: far from the middle no iteration converges."""
        fold = {"A_ORDER": 2, "A_2_0": 8e-3, "A_0_2": 9e-3, "B_ORDER": 2, "B_2_0": -9e-3}
        header = sky_cards(SHAPE, kind="SIP", distortion=fold)
        bare(noise(rng), header=header)
        result = run("warp", "in.fits", *TARGET, "-o", "out.fits", "--noise-from-sky")

        assert result.exit_code in {0, 4, 6}
        assert "Traceback" not in result.stderr
        if result.exit_code == 0:
            read_warp("out.fits")

    def test_a_mirrored_and_a_tiny_and_a_huge_scale_are_fine(self, rng):
        bare(noise(rng), cards={"CD1_1": 0.25 / 3600})
        assert not warp("in.fits", *TARGET, "--noise-from-sky").empty.all()
        for scale in (1e-4, 3600.0):
            cards = sky_cards(SHAPE, scale=scale)
            bare(noise(rng), header=cards, name=f"{scale}.fits")
            assert not warp(f"{scale}.fits", "--auto", "--noise-from-sky").empty.all()


class TestPixels:
    @pytest.mark.parametrize(("shape", "words"), [((0, 5), "0"), ((70,), "in.fits")])
    def test_of_no_image(self, folder, shape, words):
        header = sky_cards(SHAPE)
        data = np.ones(shape, np.float32)
        fits.PrimaryHDU(data if data.size else None, header).writeto("in.fits")
        if not data.size:
            with open("in.fits", "r+b") as stream:  # noqa: PTH123
                text = stream.read(2880).decode()
                axes = (
                    f"{'NAXIS   =                    2':<80}{'NAXIS1  =                    5':<80}"
                )
                axes += f"{'NAXIS2  =                    0':<80}"
                at = text.index("NAXIS   =")
                text = text[:at] + axes + text[at + 80 :]
                stream.seek(0)
                stream.write(text[:2880].encode())
        refused(folder, "in.fits", *TARGET, status=3, words=words)

    def test_in_three_axes(self, folder, rng):
        bare(np.stack([noise(rng)] * 3))
        refused(folder, "in.fits", *TARGET, status=3, words="in.fits")

    def test_in_a_third_axis_of_length_one(self, rng):
        image = noise(rng)
        bare(image[np.newaxis])
        bare(image, name="flat.fits")
        cube, flat = (warp(n, *TARGET, "--noise-from-sky") for n in ("in.fits", "flat.fits"))
        np.testing.assert_array_equal(cube.image, flat.image)

    @pytest.mark.parametrize(
        "kind", ["uint8", "int16", "int32", "int64", "uint16", "float64", "BSCALE", "RICE", "GZIP"]
    )
    def test_of_any_type_are_those_of_the_same_numbers(self, rng, kind):
        counts = np.round(noise(rng))
        bare(counts.astype(np.float32), name="float.fits")
        header = sky_cards(SHAPE)
        if kind == "BSCALE":
            stored = ((counts - 100) / 0.25).astype(np.int16)
            fits.PrimaryHDU(stored, header).writeto("in.fits")
            with fits.open("in.fits", mode="update", do_not_scale_image_data=True) as hdus:
                hdus[0].header["BSCALE"], hdus[0].header["BZERO"] = 0.25, 100.0
        elif kind in {"RICE", "GZIP"}:
            options = {"RICE": {}, "GZIP": {"quantize_level": 0.0}}[kind]
            data = counts.astype(np.int32 if kind == "RICE" else np.float32)
            hdu = fits.CompImageHDU(data, header, compression_type=f"{kind}_1", **options)
            hdu.writeto("in.fits")
        else:
            fits.PrimaryHDU(counts.astype(kind), header).writeto("in.fits")

        expected = warp("float.fits", *TARGET, "--noise-from-sky")
        warped = warp("in.fits", *TARGET, "--noise-from-sky", output="out.fits")

        np.testing.assert_array_equal(warped.image, expected.image)
        np.testing.assert_array_equal(warped.variance, expected.variance)

    def test_marked_by_blank_are_lost(self, rng):
        counts = np.round(noise(rng)).astype(np.int16)
        counts[40, 30] = -32768
        bare(counts, cards={"BLANK": -32768})

        warped = warp("in.fits", *TARGET, "--noise-from-sky", "--fill", "none")
        filled = warp("in.fits", *TARGET, "--noise-from-sky")

        middle = np.s_[30:52, 35:65]
        assert 30 <= np.count_nonzero(warped.empty[middle]) <= 40
        assert 1 <= np.count_nonzero(filled.empty[middle]) <= 6
        assert np.nanmin(filled.image) > 150

    @pytest.mark.parametrize("what", ["nan", "inf", "masked", "no variance", "zero variance"])
    def test_none_of_which_is_usable(self, folder, rng, what):
        image = noise(rng)
        options = {"variance": 9.0}
        if what in {"nan", "inf"}:
            image[:] = float(what)
        elif what == "masked":
            options["mask"] = {"NO_DATA": np.s_[:, :]}
        else:
            options["variance"] = np.nan if what == "no variance" else 0.0
        write_exposure("in.fits", image, sky=sky_cards(SHAPE), **options)
        before = files_in(folder)
        result = run("warp", "in.fits", *TARGET, "-o", "out.fits")

        assert result.exit_code in {4, 6}, result.output
        assert "in.fits" in failure(result)
        assert files_in(folder) == before

    def test_all_bad_but_with_values_are_filled_from_nothing(self, folder, rng):
        write_exposure("in.fits", noise(rng), sky=sky_cards(SHAPE), mask={"BAD": np.s_[:, :]})
        before = files_in(folder)
        result = run("warp", "in.fits", *TARGET, "-o", "out.fits")

        assert result.exit_code == 6, result.output
        assert "in.fits has no usable pixel" in failure(result)
        assert files_in(folder) == before

    def test_of_unusable_variance_are_lost(self, rng):
        image, variance = noise(rng), np.full(SHAPE, 9.0)
        variance[20, 30], variance[45, 30], variance[70, 30] = 0.0, -1.0, np.nan
        write_exposure("in.fits", image, sky=sky_cards(SHAPE), variance=variance)
        image[[20, 45, 70], 30] = np.nan
        write_exposure("nan.fits", image, sky=sky_cards(SHAPE), variance=9.0)

        warped, lost = (warp(name, *TARGET) for name in ("in.fits", "nan.fits"))

        np.testing.assert_array_equal(warped.empty, lost.empty)
        np.testing.assert_array_equal(warped.image, lost.image)
        assert np.count_nonzero(warped.empty[10:-10, 20:-20]) >= 3

    def test_with_planes_of_another_shape_are_refused(self, folder, rng):
        name = write_exposure("in.fits", noise(rng), sky=sky_cards(SHAPE))
        for plane in ("MASK", "VARIANCE"):
            with fits.open(name) as hdus:
                hdus[plane].data = hdus[plane].data[:-1]
                hdus.writeto("bad.fits", overwrite=True)
            refused(folder, "bad.fits", *TARGET, status=3, words=["bad.fits", "shape"])
        fits.PrimaryHDU(np.zeros((3, 4), np.int32)).writeto("mask.fits")
        bare(noise(rng), name="bare.fits")
        args = ("bare.fits", *TARGET, "--mask", "mask.fits")
        refused(folder, *args, status=4, words=["mask.fits", "bare.fits"])

    def test_with_a_mask_nobody_explains_are_refused(self, folder, rng):
        name = write_exposure("in.fits", noise(rng), sky=sky_cards(SHAPE))
        with fits.open(name, mode="update") as hdus:
            hdus["MASK"].data[3, 4] = 1 << 20
        refused(folder, name, *TARGET, status=3, words="1048576")

    @pytest.mark.parametrize("option", ["--fill-planes", "--bad-planes", "--grow-planes"])
    def test_are_not_chosen_by_planes_that_do_not_exist(self, folder, rng, option):
        write_exposure("in.fits", noise(rng), sky=sky_cards(SHAPE))
        words = ["unknown mask plane 'SATT'", "Did you mean SAT?"]
        refused(folder, "in.fits", *TARGET, option, "SATT", status=4, words=words)
        refused(folder, "in.fits", *TARGET, option, "3", status=4, words="unknown mask plane '3'")

    def test_without_variance_need_a_word_of_the_user(self, folder, rng):
        bare(noise(rng))
        before = files_in(folder)
        result = run("warp", "in.fits", *TARGET, "-o", "out.fits", "--require-variance")
        assert result.exit_code == 4
        assert "variance" in failure(result)
        assert files_in(folder) == before

    def test_of_a_psf_are_named_once(self, folder, rng):
        bare(noise(rng))
        fits.PrimaryHDU(-np.ones((5, 5))).writeto("neg.fits")
        args = ("in.fits", *TARGET, "--psf", "neg.fits[0]")
        refused(folder, *args, status=3, words="neg.fits[PRIMARY]")


class TestSettings:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--kernel", "lanczos2"], "lanczos2"),
            (["--kernel", "bilinear", "--mask-kernel", "lanczos3"], "larger than the kernel"),
            (["--kernel", "exact", "--oversample", "2"], "--oversample does nothing"),
            (["--kernel", "adaptive", "--mask-kernel", "nearest"], "--mask-kernel does nothing"),
            (["--oversample", "0"], "--oversample"),
            (["--oversample", "many"], "--oversample"),
            (["--units", "zeropoint"], "--zeropoint"),
            (["--zeropoint", "27"], "--zeropoint"),
            (["--zeropoint", "nan", "--units", "zeropoint"], "zeropoint"),
            (["--overlap", "median"], "median"),
            (["--wcs-step", "-3"], "wcs-step"),
            (["--wcs-tolerance", "nan"], "wcs-tolerance"),
            (["--rotation", "nan"], "rotation"),
            (["--compress", "zip"], "zip"),
            (["-d", "also"], "--output"),
            (["--variance", "a.fits", "--weight", "b.fits"], "both give the variance"),
        ],
    )
    def test_that_make_no_sense_are_usage_errors(self, folder, rng, options, words):
        write_exposure("in.fits", noise(rng), sky=sky_cards(SHAPE))
        before = files_in(folder)
        result = run("warp", "in.fits", *TARGET, "-o", "out.fits", *options)

        assert result.exit_code == 2, result.output
        assert words in failure(result)
        assert files_in(folder) == before


class TestOutputs:
    @pytest.fixture(autouse=True)
    def exposure(self, rng):
        return write_exposure("in.fits", noise(rng), sky=sky_cards(SHAPE))

    def test_that_exist_stay(self, folder):
        (folder / "out.fits").write_text("precious")
        refused(folder, "in.fits", *TARGET, status=3, words="out.fits exists")
        assert (folder / "out.fits").read_text() == "precious"

    @pytest.mark.parametrize("kind", ["itself", "dot", "symbolic", "hard", "grid", "grid link"])
    def test_that_are_inputs_are_refused_even_with_overwrite(self, folder, kind):
        source = folder / ("grid.hdr" if "grid" in kind else "in.fits")
        output = {"itself": "in.fits", "dot": "./in.fits", "grid": "grid.hdr"}.get(kind, "link")
        if kind in {"symbolic", "grid link"}:
            (folder / "link").symlink_to(source)
        elif kind == "hard":
            (folder / "link").hardlink_to(source)
        before = source.read_bytes()
        result = run("warp", "in.fits", *TARGET, "-o", output, "--overwrite")

        assert result.exit_code == 3
        failure(result)
        assert source.read_bytes() == before

    def test_in_a_file(self, folder):
        refused(folder, "in.fits", *TARGET, status=3, words="in.fits", output="in.fits/out.fits")

    def test_in_a_folder_that_may_not_be_written(self, folder):
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        (folder / "locked").mkdir(mode=0o555)
        refused(folder, "in.fits", *TARGET, status=3, words="locked", output="locked/out.fits")

    def test_in_a_folder_that_takes_no_file(self, folder):
        if not Path("/proc/self").is_dir():
            pytest.skip("no folder known that even root cannot write to")
        refused(folder, "in.fits", *TARGET, status=3, words="/proc", output="/proc/out.fits")

    @pytest.mark.parametrize("extra", [[], ["--compress", "gzip"]])
    def test_on_a_full_disk_leave_nothing(self, folder, small_disk, extra):
        args = ("in.fits", *TARGET, *extra)
        refused(folder, *args, status=3, words="out.fits", output=str(small_disk / "out.fits"))
        assert files_in(small_disk) == []

    def test_on_a_full_disk_do_not_take_the_old_one_away(self, small_disk):
        (small_disk / "out.fits").write_text("old")
        result = run("warp", "in.fits", *TARGET, "-o", small_disk / "out.fits", "--overwrite")

        assert result.exit_code == 3
        assert files_in(small_disk) == ["out.fits"]
        assert (small_disk / "out.fits").read_text() == "old"

    def test_to_a_device_leave_the_device(self):
        before = Path(os.devnull).stat()
        assert run("warp", "in.fits", *TARGET, "-o", os.devnull).exit_code == 0
        assert Path(os.devnull).stat().st_rdev == before.st_rdev


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["not FITS", "no WCS", "truncated"])
def test_the_program_itself_says_one_line(folder, rng, kind):
    """The same as above, in a process of its own: no traceback, no warning of a library."""
    if kind == "not FITS":
        (folder / "in.fits").write_text("x" * 9000)
    elif kind == "no WCS":
        bare(noise(rng), cards={"CTYPE1": None, "CTYPE2": None})
    else:
        bare(noise(rng))
        os.truncate("in.fits", 20000)
    command = [sys.executable, "-m", "skytool", "warp", "in.fits", *TARGET, "-o", "out.fits", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == (4 if kind == "no WCS" else 3)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "out.fits").exists()


def test_values_beyond_single_precision_do_not_spoil_the_rest(rng):
    """What a float32 cannot hold is lost, as NaN is."""
    image = noise(rng).astype(np.float64)
    image[40, 30] = 1e300
    bare(image)

    warped = warp("in.fits", *TARGET, "--noise-from-sky")

    assert_planes_agree(warped)
    assert np.nanmax(np.abs(warped.image)) < 1e3


def test_a_huge_grid_is_refused_before_memory_is_taken(folder, rng):
    bare(gaussians(SHAPE, [40.0], [30.0], fwhm=3.0, flux=1e4).astype(np.float32))
    write_grid("huge.hdr", sky_cards((300000, 300000)), (300000, 300000))
    planned = run("warp", "in.fits", "--like", "huge.hdr", "-o", "out.fits", "-n")
    assert planned.exit_code in {0, 4}
    result = run("warp", "in.fits", "--like", "huge.hdr", "-o", "out.fits", "--noise-from-sky")

    assert result.exit_code in {4, 5}
    failure(result)
    assert not (folder / "out.fits").exists()


def test_a_pipe_that_breaks_is_no_traceback(rng):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    write_exposure("in.fits", noise(rng), sky=sky_cards(SHAPE))
    script = f"{sys.executable} -m skytool warp in.fits {' '.join(TARGET)} -o - -q | head -c 100"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=False)

    assert len(done.stdout) == 100
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--layout", "lsts", "no layout 'lsts'. Did you mean lsst"),
        ("--gain", "-3", "--gain: -3 is impossible"),
        ("--fwhm", "0", "--fwhm: 0 is impossible"),
    ],
)
def test_impossible_ways_to_read_are_mistakes_of_the_command_line(option, value, words):
    result = run("warp", "any.fits", "--auto", "-o", "warp.fits", option, value)

    assert result.exit_code == 2
    assert words in failure(result)
