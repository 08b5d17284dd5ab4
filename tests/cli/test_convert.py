import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skytool.io.sources import read_exposure
from skytool.models.records.provenance import read_config, read_inputs
from tests.cli.broken import BROKEN, make_broken
from tests.cli.warping import run
from tests.io.foreign import image_hdu, planes, primary, wcs_header, write
from tests.io.ours import exposure, write_ours

FIXTURES = Path(__file__).parents[2] / "data" / "fixtures" / "night"


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """Be in a folder of files that cannot be read, and of two that can."""
    monkeypatch.chdir(tmp_path)
    make_broken(tmp_path, rng)
    return tmp_path


@pytest.fixture
def mosaic(folder, rng):
    """A file of two detectors and its planes."""
    pixels = [planes(rng), planes(rng)]
    hdus = []
    for version, part in enumerate(pixels, 1):
        hdus += [
            image_hdu(part.image, "SCI", ver=version, header=wcs_header(ra=150.0 + version)),
            image_hdu(part.variance, "VAR", ver=version),
        ]
    write(folder / "mosaic.fits", primary(EXPTIME=30.0), *hdus)
    return pixels


def test_a_foreign_file_becomes_one_of_ours(folder):
    result = run("convert", "good.fits", "-o", "ours.fits")

    assert result.exit_code == 0, result.stderr
    assert result.stdout == "ours.fits\tsci\t70x90\t1\n"
    before, after = read_exposure("good.fits"), read_exposure("ours.fits")
    np.testing.assert_array_equal(after.image, before.image)
    np.testing.assert_array_equal(after.variance, before.variance)
    assert after.wcs.wcs.crval.tolist() == before.wcs.wcs.crval.tolist()
    with fits.open("ours.fits", checksum=True) as hdus:
        assert [hdu.name for hdu in hdus[1:4]] == ["IMAGE", "MASK", "VARIANCE"]
        assert (hdus[0].header["SKYTYPE"], hdus[0].header["SKYSTAGE"]) == ("EXPOSURE", "convert")
        assert str(hdus[0].header["HISTORY"]).endswith("convert: good.fits, sci to skytool")
        records = read_inputs(hdus["INPUTS"], name="ours.fits")
        settings = read_config(hdus["CONFIG"], name="ours.fits")
    assert [(r.role, r.file, r.extname) for r in records] == [
        ("science", "good.fits", "SCI"),
        ("variance", "good.fits", "VAR"),
    ]
    with fits.open("good.fits", checksum=True) as hdus:
        hdus["SCI"].add_datasum()
        assert records[0].datasum == hdus["SCI"].header["DATASUM"]
    assert ("to", '"skytool"') in {(s.name, s.value) for s in settings}
    assert run("info", "--check", "ours.fits").exit_code == 0


def test_a_file_of_ours_keeps_all_it_has(folder, rng):
    made = exposure(rng, sip=True)
    write_ours("rich.fits", made)
    result = run("convert", "rich.fits", "-o", "copy.fits", "--compress", "gzip")

    assert result.exit_code == 0, result.stderr
    with fits.open("rich.fits") as before, fits.open("copy.fits") as after:
        assert {hdu.name for hdu in before} == {hdu.name for hdu in after}
        for name in ("IMAGE", "MASK", "VARIANCE", "BKG"):
            np.testing.assert_array_equal(before[name].data, after[name].data)
        np.testing.assert_allclose(before["PSF"].data, after["PSF"].data, rtol=1e-15)
        assert before[0].header["MAGZERO"] == after[0].header["MAGZERO"]
        assert len(after[0].header["HISTORY"]) == 2
        stages = [s.stage for s in read_config(after["CONFIG"], name="copy.fits")]
        assert read_inputs(after["INPUTS"], name="")[0].file == "raw12.fits"
    assert list(dict.fromkeys(stages)) == ["warp", "convert"]


def test_every_fixture_goes_there_and_back(tmp_path):
    for to in ("swarp", "jwst", "ccddata"):
        there = run(
            "convert", FIXTURES / "v102_d2.fits", "--to", to, "-o", tmp_path / "x.fits", "-q"
        )
        back = run("convert", tmp_path / "x.fits", "-o", tmp_path / f"{to}.fits", "-q")
        assert (there.exit_code, back.exit_code) == (0, 0), there.stderr + back.stderr
        for path in (tmp_path / "x.fits", tmp_path / "x.weight.fits"):
            path.unlink(missing_ok=True)
        before, after = (
            read_exposure(FIXTURES / "v102_d2.fits"),
            read_exposure(tmp_path / f"{to}.fits"),
        )
        bad = before.mask.any_of(["BAD", "SAT", "CR", "NO_DATA"])
        np.testing.assert_array_equal(after.mask.any_of(["BAD", "NO_DATA"]), bad)
        np.testing.assert_array_equal(after.image[~bad], before.image[~bad])
        np.testing.assert_allclose(after.variance[~bad], before.variance[~bad], rtol=2.5e-7)


def test_all_exposures_of_a_file_go_into_a_folder(mosaic):
    result = run("convert", "mosaic.fits", "-d", "out", "--suffix", "_c")

    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "mosaic-SCI-2_c.fits",
        "mosaic-SCI_c.fits",
    ]
    np.testing.assert_array_equal(read_exposure("out/mosaic-SCI-2_c.fits").image, mosaic[1].image)


def test_one_output_takes_one_exposure(mosaic):
    refused = run("convert", "mosaic.fits", "-o", "out.fits")
    taken = run("convert", "mosaic.fits[SCI,2]", "-o", "out.fits")

    assert refused.exit_code == 4
    assert "holds 2 exposures" in refused.stderr
    assert "mosaic.fits[SCI,2]" in refused.stderr
    assert taken.exit_code == 0, taken.stderr
    np.testing.assert_array_equal(read_exposure("out.fits").image, mosaic[1].image)


@pytest.mark.parametrize(("name", "status", "text"), BROKEN)
@pytest.mark.parametrize("dry", [False, True])
def test_what_cannot_be_read_gives_one_line_and_nothing_else(folder, name, status, text, dry):
    before = sorted(folder.rglob("*"))
    result = run("convert", name, "-o", "out/new.fits", *(["-n"] if dry else []))

    assert result.exit_code == status
    assert sorted(folder.rglob("*")) == before
    assert len([line for line in result.stderr.splitlines() if "error" in line]) == 1
    assert text in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("args", "status", "text"),
    [
        (["good.fits"], 2, "give --output FILE or --output-dir DIR"),
        (["good.fits", "other.fits", "-o", "x.fits"], 2, "--output is for one input"),
        (["good.fits", "./good.fits", "-d", "out"], 2, "is given twice"),
        (["good.fits", "sub/good.fits", "-d", "out"], 2, "would both become out/good.fits"),
        (["good.fits", "-o", "good.fits", "--overwrite"], 3, "is an input, too"),
        (["good.fits", "-o", "link.fits", "--overwrite"], 3, "is an input, too"),
        (["good.fits", "-o", "other.fits"], 3, "other.fits exists. Give --overwrite"),
        (["good.fits", "-o", "text.fits/x.fits"], 3, "text.fits is not a folder"),
        (["good.fits", "-o", "x.fits", "--to", "fits"], 2, "'fits' is not one of"),
        (["good.fits", "-o", "x.fits", "--bad-planes", "SAT"], 2, "--bad-planes is for --to"),
        (["good.fits", "-o", "-", "--to", "swarp"], 2, "--to swarp writes 2 files"),
        (["good.fits", "-o", "x.fits", "--to", "ccddata", "--compress", "gzip"], 2, "--compress"),
        (["good.fits", "-o", "x.fits.fz", "--to", "ccddata"], 2, "which .fz promises"),
        (["good.fits", "-o", "x.fits.Z"], 3, "x.fits.Z names a compression that is not written"),
        (["good.fits", "-o", "x.fits", "--to", "jwst", "--bad-planes", "SATT"], 4, "Did you mean"),
        (["good.fits", "-o", "x.fits", "--to", "lsst-background"], 4, "no extension BKG"),
        (["good.fits", "-o", "x.fits", "--layout", "lst"], 2, "Did you mean lsst?"),
        (["good.fits", "-o", "x.fits", "--dq-map", "jwts"], 3, "no data-quality map jwts"),
        (["good.fits", "-o", "x.fits", "--gain", "1", "--weight", "w.fits"], 2, "both give the"),
        (["good.fits", "-o", "x.fits", "--gain", "!NOSUCH"], 4, "the header has no number NOSUCH"),
        (["good.fits", "-o", "x.fits", "--mask", "cube.fits"], 3, "--mask cube.fits"),
        (["line.fits", "-o", "x.fits", "--require-variance"], 3, "line.fits"),
        (["@list", "-d", "out"], 2, "line 2: no file nothing.fits"),
    ],
)
def test_mistakes_give_one_line_and_no_output(folder, args, status, text):
    (folder / "sub").mkdir()
    (folder / "sub" / "good.fits").write_bytes(Path("good.fits").read_bytes())
    (folder / "link.fits").symlink_to("good.fits")
    Path("list").write_text("good.fits  # fine\nnothing.fits\n")
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    result = run("convert", *args)

    assert result.exit_code == status, result.stderr
    assert text in result.stderr
    assert len([line for line in result.stderr.splitlines() if "error" in line]) == 1
    assert {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")} == before


def test_a_weight_that_exists_stops_the_image_too(folder):
    Path("x.weight.fits").write_text("old")
    result = run("convert", "good.fits", "-o", "x.fits", "--to", "swarp")

    assert result.exit_code == 3
    assert "x.weight.fits exists" in result.stderr
    assert not Path("x.fits").exists()


def test_a_list_is_read_and_failures_do_not_stop_the_rest(folder):
    Path("list").write_text("good.fits\ntruncated.fits\nother.fits\n")
    stopped = run("convert", "@list", "-d", "stopped")
    result = run("convert", "@list", "-d", "out", "-k", "--json")

    assert stopped.exit_code == result.exit_code == 3
    assert not Path("stopped").exists()
    assert sorted(path.name for path in Path("out").iterdir()) == ["good.fits", "other.fits"]
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted(line["status"] for line in lines) == ["done", "done", "failed"]
    assert "1 of 3 failed" in result.stderr
    done = next(line for line in lines if line["path"] == "out/good.fits")
    assert done["metrics"]["unit"] == "adu"
    assert done["metrics"]["wcs"] is True


def test_a_plan_names_layout_and_shape_and_writes_nothing(folder):
    result = run("convert", "good.fits", "-o", "x.fits", "--to", "swarp", "-n", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]

    assert [line["path"] for line in lines] == ["x.fits", "x.weight.fits"]
    assert lines[0]["status"] == "planned"
    assert lines[0]["metrics"] == {"layout": "sci", "shape": [90, 70], "to": "swarp"}
    assert not Path("x.fits").exists()


def test_reuse_looks_at_all_products(folder):
    """The weights of another image do not do."""
    args = ["convert", "good.fits", "-o", "x.fits", "--to", "swarp", "--reuse", "--json"]
    assert run(*args).exit_code == 0
    right = Path("x.weight.fits").read_bytes()
    run("convert", "good.fits", "-o", "y.fits", "--to", "swarp", "--saturate", 5000)
    Path("x.weight.fits").write_bytes(Path("y.weight.fits").read_bytes())

    again = run(*args)

    assert json.loads(again.stdout.splitlines()[0])["status"] == "done"
    assert Path("x.weight.fits").read_bytes() == right


@pytest.mark.parametrize("to", ["skytool", "swarp", "jwst"])
def test_reuse_looks_at_input_settings_and_product(folder, to):
    args = ["convert", "good.fits", "-o", "x.fits", "--to", to, "--reuse", "--json"]

    def status(*more):
        result = run(*args, *more)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout.splitlines()[0])["status"]

    assert [status(), status()] == ["done", "reused"]
    assert status("--saturate", 5000) == "done"
    assert status() == "done"
    with fits.open("good.fits", mode="update") as hdus:
        hdus["VAR"].data[3, 4] *= 2
    assert [status(), status()] == ["done", "reused"]
    content = bytearray(Path("x.fits").read_bytes())
    content[-3000] ^= 1
    Path("x.fits").write_bytes(content)
    assert status() == "done"


def test_bytes_do_not_depend_on_workers_or_the_folder(folder, mosaic):
    run("convert", "mosaic.fits", "good.fits", "-d", "one")
    Path("elsewhere").mkdir()
    result = run(
        "convert", folder / "mosaic.fits", folder / "good.fits", "-d", "elsewhere/two", "-j", 2
    )

    assert result.exit_code == 0, result.stderr
    for path in Path("one").iterdir():
        assert path.read_bytes() == Path("elsewhere/two", path.name).read_bytes()


def test_standard_streams_carry_files(folder):
    def pipe(*args, data=None):
        done = subprocess.run(
            [sys.executable, "-m", "skytool", "convert", *args],
            input=data,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    product = pipe("good.fits", "-o", "-")
    Path("piped.fits").write_bytes(product)
    np.testing.assert_array_equal(
        read_exposure("piped.fits").image, read_exposure("good.fits").image
    )
    again = pipe("-", "-o", "-", "--to", "ccddata", data=product)
    Path("ccd.fits").write_bytes(again)
    np.testing.assert_array_equal(read_exposure("ccd.fits").image, read_exposure("good.fits").image)
    assert run("convert", "-", "-d", "out", input=product).exit_code == 2
    assert pipe("good.fits", "-o", "/dev/null") == b"/dev/null\tsci\t70x90\t1\n"


@pytest.mark.parametrize("to", ["skytool", "swarp", "jwst", "ccddata"])
def test_a_full_disk_leaves_nothing(folder, small_disk, rng, to):
    pixels = planes(rng, shape=(120, 90))  # of the two files of SWarp the first has room
    hdus = [image_hdu(pixels.image, "SCI"), image_hdu(pixels.variance, "VAR")]
    write(folder / "large.fits", primary(), *hdus)
    result = run("convert", "large.fits", "-o", small_disk / "x.fits", "--to", to)

    assert result.exit_code == 3
    assert "o space left on device" in result.stderr
    assert list(small_disk.iterdir()) == []


def test_an_exposure_whose_pixels_are_all_flagged_is_converted(folder, rng):
    made = exposure(rng)
    flagged = made.with_values(mask=made.mask.with_flagged(made.image > -1e9, "BAD"))
    write_ours("flagged.fits", flagged)
    result = run("convert", "flagged.fits", "-o", "x.fits", "--to", "jwst")

    assert result.exit_code == 0, result.stderr
    with fits.open("x.fits") as hdus:
        assert (hdus["DQ"].data & 1).all()


@pytest.mark.skipif(shutil.which("source-extractor") is None, reason="it is not installed")
def test_source_extractor_measures_an_export(folder, rng):
    write_ours("rich.fits", exposure(rng))
    run("convert", "rich.fits", "-o", "x.fits", "--to", "swarp")
    Path("p.param").write_text("X_IMAGE\nY_IMAGE\nFLUX_AUTO\n")
    command = "source-extractor x.fits -PARAMETERS_NAME p.param -FILTER N -CATALOG_NAME c.txt"
    options = "-CATALOG_TYPE ASCII -WEIGHT_TYPE MAP_WEIGHT -WEIGHT_IMAGE x.weight.fits"
    subprocess.run([*command.split(), *options.split()], check=True, capture_output=True)
    x, y, _ = np.atleast_2d(np.loadtxt("c.txt"))[0]

    # the star is at (y, x) = (40, 31), counted from 0
    assert (y, x) == (pytest.approx(41, abs=0.1), pytest.approx(32, abs=0.1))


def test_printed_settings_make_the_same_bytes_again(folder):
    args = ["--to", "ccddata", "--bad-planes", "SAT,CR", "--saturate", "5000"]
    printed = run("convert", "good.fits", "-o", "a.fits", *args, "--print-config")
    Path("my.toml").write_text(printed.stdout)
    assert not Path("a.fits").exists()

    run("convert", "good.fits", "-o", "a.fits", *args)
    run("convert", "good.fits", "-o", "b.fits", "--config", "my.toml")
    assert Path("a.fits").read_bytes() == Path("b.fits").read_bytes()
    Path("my.toml").write_text('[convert]\nbad-plane = "SAT"\n')
    result = run("convert", "good.fits", "-o", "c.fits", "--config", "my.toml")
    assert result.exit_code == 2
    assert "Did you mean 'bad-planes'?" in result.stderr


@pytest.mark.parametrize("command", ["info", "convert", "show"])
def test_help_and_talk_keep_their_places(folder, command):
    code = (
        "import sys; from skytool.cli.main import main\n"
        f"sys.argv = ['skytool', {command!r}, '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'astropy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert f"skytool {command}" in done.stdout

    output = {"info": [], "convert": ["-o", "x.fits"], "show": ["-o", "x.png"]}[command]
    quiet = run(command, "good.fits", *output, "--json", "--overwrite", "-q")
    loud = run(command, "good.fits", *output, "--json", "--overwrite", "-vv")
    assert loud.stdout == quiet.stdout
    assert all(json.loads(line) for line in loud.stdout.splitlines())
    assert quiet.stderr == ""
    assert "layout sci" in loud.stderr
