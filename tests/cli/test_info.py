import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skytool.cli.info.text import as_text
from skytool.io.dqmap import shipped_dq_maps
from skytool.io.fits import write_hdus
from skytool.models.mask import Mask
from tests.cli.broken import BROKEN, make_broken
from tests.cli.warping import run
from tests.io.foreign import image_hdu, planes, primary, wcs_header, write
from tests.io.ours import FLAGS, exposure, write_ours

FIXTURES = Path(__file__).parents[2] / "data" / "fixtures"


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """Be in a folder of files that cannot be read, two that can, and one that has everything."""
    monkeypatch.chdir(tmp_path)
    make_broken(tmp_path, rng)
    write_ours("rich.fits", exposure(rng, sip=True))
    return tmp_path


def described(*args):
    result = run("info", *args, "--json")
    assert result.exit_code == 0, result.stderr
    lines = [json.loads(line, parse_constant=pytest.fail) for line in result.stdout.splitlines()]
    return {line["path"]: line["metrics"] for line in lines}


def blocks(text):
    """Return what follows each label of a description."""
    found, label = {}, ""
    for line in text.splitlines()[1:]:
        label = line[2:16].strip() or label
        found.setdefault(label, []).append(line[16:])
    return found


def test_all_that_a_file_of_ours_holds_is_said(folder, rng):
    (told,) = described("rich.fits").values()
    truth = exposure(rng)

    assert (told["layout"], told["kind"], told["stage"]) == ("skytool", "EXPOSURE", "match-bg")
    assert (told["shape"], told["dtype"], told["unit"]) == ([90, 70], "float32", "adu")
    assert told["origin"] == {"y": 17, "x": -4}
    assert told["file"]["checksums"] == "all"
    assert told["file"]["size"] == Path("rich.fits").stat().st_size
    seen = told["observation"]
    assert (seen["visit"], seen["detector"], seen["filter"]) == ("12", "3", "r")
    assert (seen["exposure_time"], seen["airmass"], seen["target"]) == (30.0, 1.25, "field 7")
    assert told["calibration"]["zero_point"] == pytest.approx(27.25)
    assert told["calibration"]["relative_error"] == pytest.approx(0.01 * 0.4 * np.log(10), rel=1e-6)
    counts = {plane["name"]: plane["pixels"] for plane in told["planes"]}
    for name, where in FLAGS.items():
        assert counts[name] == truth.mask.array[where].size
    assert counts["STREAK"] == 0
    assert told["image"]["coverage"] == 1 - counts["NO_DATA"] / 6300
    # 6300 pixels of noise 8 about 120 adu, and one star
    assert told["image"]["sky"] == pytest.approx(120, abs=0.5)
    assert told["image"]["sky_rms"] == pytest.approx(8, rel=0.05)
    assert told["variance"]["sky_rms_over_predicted"] == pytest.approx(1, abs=0.05)
    assert told["psf"]["kind"] == "GridPsf"
    assert told["psf"]["stamps"] == 2
    # stars at 10 and 80 of 90 rows, linear between them, looked at in thirds of the image
    assert told["psf"]["fwhm_range"] == pytest.approx([2.12 * 2.3548, 2.38 * 2.3548], rel=0.01)
    (layer,) = told["backgrounds"]
    assert (layer["model"], layer["operation"], layer["scale"]) == ("Chebyshev", "SUBTRACT", 1.5)
    assert layer["range"] == pytest.approx([90, 110], rel=0.01)
    assert told["inputs"][0]["file"] == "raw12.fits"
    assert {s["name"]: s["source"] for s in told["settings"]} == {
        "kernel": "command line",
        "fill": "default",
    }
    assert told["history"] == ["skytool 0.1.0 x: y"]
    assert [entry["name"] for entry in told["extensions"]][:5] == [
        "",
        "IMAGE",
        "MASK",
        "VARIANCE",
        "PSF",
    ]


def test_the_place_on_the_sky_is_that_of_the_coordinates(folder, rng):
    (told,) = described("rich.fits").values()
    truth = exposure(rng, sip=True).wcs
    wcs = told["wcs"]

    assert (wcs["projection"], wcs["frame"], wcs["mirrored"]) == ("TAN", "ICRS", False)
    centre = truth.all_pix2world(34.5, 44.5, 0)
    assert [wcs["ra"], wcs["dec"]] == pytest.approx([float(v) for v in centre], abs=1e-9)
    assert wcs["pixel_scale"] == pytest.approx(0.25, rel=1e-2)
    assert wcs["distortion"]["kind"] == "SIP of order 2"
    corner = truth.all_pix2world(69, 89, 0)
    assert wcs["corners"][2] == pytest.approx([float(v) for v in corner], abs=1e-9)
    moved = np.array(truth.all_pix2world(69, 0, 0)) - truth.wcs_pix2world(69, 0, 0)
    largest = 3600 / 0.25 * np.hypot(*moved)
    assert wcs["distortion"]["largest"] >= largest * 0.999
    assert wcs["distortion"]["largest"] < 2 * largest


def test_people_read_it_in_aligned_lines(folder):
    result = run("info", "rich.fits")
    told = blocks(result.stdout)

    assert result.exit_code == 0
    assert result.stdout.startswith("rich.fits\n")
    assert told["layout"][0].startswith("skytool EXPOSURE, written by match-bg of skytool 0.1.0; ")
    assert told["observation"] == ["visit 12, detector 3, filter r, 30 s, airmass 1.250, field 7"]
    assert told["image"] == [
        "70 x 90 pixels, float32, unit adu, first pixel at (-4, 17) of the parent frame"
    ]
    assert told["sky"][0].startswith("TAN ICRS, distorted by SIP of order 2, up to 0.")
    assert "arcsec/pixel, y axis to the north" in told["sky"][2]
    assert told["calibration"][0].startswith("1 adu is 45.7")
    assert told["calibration"][0].endswith("zero point 27.250 AB mag")
    assert told["mask"][0].split() == ["bit", "plane", "pixels", "share"]
    assert "3 CR 20 0.317 %" in [" ".join(line.split()) for line in told["mask"]]
    assert told["background"] == [
        "subtracted by match-bg: Chebyshev, times 1.5, median 100 adu, 90.121 to 109.88"
    ]
    assert told["inputs"] == ["warp-input  raw12.fits  used  scale 2.5  weight 1"]
    assert told["settings"] == ['warp: kernel = "lanczos5"; 1 defaults']
    assert told["history"] == ["skytool 0.1.0 x: y"]
    assert not any(line.endswith(" ") for line in result.stdout.splitlines())


def test_foreign_and_empty_exposures_are_described_too(folder):
    told = described("good.fits")["good.fits"]

    assert told["layout"] == "sci"
    assert told["file"]["checksums"] == "none"
    assert told["variance"]["from"] == "variance"
    assert (told["psf"], told["calibration"], told["backgrounds"]) == (None, None, [])
    assert "inputs" not in told
    text = run("info", "good.fits").stdout
    assert "no pixel is flagged; there are 22 planes" in text
    assert "none: nothing says what one unit is" in text


def test_a_variance_that_follows_each_pixel_does_not_hide_the_noise(folder, rng):
    made = exposure(rng)
    image = rng.poisson(1000.0, made.shape).astype(np.float32)
    counted = made.with_values(image=image, mask=Mask.empty(made.shape), variance=image.copy())
    write_ours("counted.fits", counted)
    (told,) = described("counted.fits").values()

    # 12000 differences; with the sky in it, the pull of such an image scatters by a half
    assert told["variance"]["sky_rms_over_predicted"] == pytest.approx(1, abs=0.05)


def test_an_exposure_without_values_is_described(folder, rng):
    made = exposure(rng)
    image = np.full(made.shape, np.nan, np.float32)
    mask = made.mask.with_flagged(np.isnan(image), "NO_DATA")
    empty = made.with_values(image=image, mask=mask, variance=np.full_like(image, np.inf), wcs=None)
    write_ours("empty-exposure.fits", empty)
    text = run("info", "empty-exposure.fits").stdout

    assert "values        none" in text
    assert "no coordinates" in text
    assert described("empty-exposure.fits")["empty-exposure.fits"]["image"] == {"coverage": 0.0}


def test_every_detector_of_a_file_is_described(folder, rng):
    hdus = []
    for version in (1, 2):
        part = planes(rng)
        hdus.append(
            image_hdu(part.image, "SCI", ver=version, header=wcs_header(ra=150.0 + version))
        )
        hdus.append(image_hdu(part.variance, "VAR", ver=version))
    write(folder / "mosaic.fits", primary(), *hdus)
    told = described("mosaic.fits", "good.fits[SCI]")

    assert list(told) == ["mosaic.fits[SCI]", "mosaic.fits[SCI,2]", "good.fits[SCI]"]
    assert round(told["mosaic.fits[SCI,2]"]["wcs"]["ra"]) == 152


def test_files_of_models_only_are_described(folder, rng):
    layers = [hdu for hdu in exposure(rng).extensions if hdu.name.startswith("BKG")]
    header = fits.Header([("SKYFMT", 1), ("SKYTYPE", "BACKGROUND"), ("SKYSTAGE", "match-bg")])
    write_hdus("model.fits", layers, primary=header)
    told = described("model.fits")["model.fits"]

    assert told["kind"] == "BACKGROUND"
    assert told["extensions"][1]["model"] == "CHEBYSHEV2D"
    text = run("info", "model.fits").stdout
    assert "skytool BACKGROUND, written by match-bg" in text
    assert "2 x 2 float64, CHEBYSHEV2D" in text


def test_visits_and_detectors_of_a_warp_are_listed(folder):
    night = sorted((FIXTURES / "night").glob("v105_*.fits"))
    warped = run("warp", *night, "--like", FIXTURES / "target.hdr", "-o", "warp.fits", "-q")
    assert warped.exit_code == 0, warped.stderr
    told = described("warp.fits")["warp.fits"]

    assert told["kind"] == "WARP"
    assert [row["file"] for row in told["ccds"]] == ["v105_d1.fits", "v105_d2.fits"]
    assert told["visits"][0]["name"] == "105"
    assert told["visits"][0]["goodpix"] == sum(row["goodpix"] for row in told["ccds"])
    assert all("wcshdr" not in row for row in told["ccds"])
    text = blocks(run("info", "warp.fits").stdout)
    assert text["visits"][0].split()[:3] == ["name", "filter", "goodpix"]
    assert len(text["ccds"]) == 3
    assert run("info", "--check", "warp.fits").stdout == "warp.fits\tok\n"


def test_headers_alone_are_enough_for_a_dry_run(folder):
    content = bytearray(Path("rich.fits").read_bytes())
    with fits.open("rich.fits") as hdus:
        place = hdus["MASK"].fileinfo()["datLoc"]
    content[place : place + 4] = b"\x7f\xff\xff\xff"  # flags that nobody named
    Path("rich.fits").write_bytes(content)

    assert run("info", "rich.fits").exit_code == 3
    told = described("rich.fits", "-n")["rich.fits"]
    assert told["calibration"]["zero_point"] == pytest.approx(27.25)
    assert told["wcs"]["pixel_scale"] == pytest.approx(0.25, rel=1e-2)
    assert "planes" not in told
    assert "extensions" in run("info", "rich.fits", "-n").stdout


@pytest.mark.parametrize(("name", "status", "text"), BROKEN)
@pytest.mark.parametrize("dry", [[], ["-n"]], ids=["run", "dry"])
def test_what_cannot_be_read_gives_one_line(folder, name, status, text, dry):
    before = sorted(folder.rglob("*"))
    result = run("info", name, *dry)

    assert result.exit_code == status
    assert text in result.stderr
    assert len([line for line in result.stderr.splitlines() if "error" in line]) == 1
    assert result.stdout == ""
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("args", "status", "text"),
    [
        ([], 2, "Missing argument 'FILE...'"),
        (["good.fits", "./good.fits"], 2, "is given twice"),
        (["@list"], 2, "line 2: no file nothing.fits"),
        (["good.fits", "--report", "other.fits"], 3, "other.fits exists"),
        (["good.fits", "--report", "good.fits", "--overwrite"], 3, "is an input, too"),
        (["--dq-map", "jwts"], 3, "no data-quality map jwts"),
        (["good.fits", "--jobs", "2"], 2, "No such option"),
    ],
)
def test_mistakes_give_one_line(folder, args, status, text):
    Path("list").write_text("good.fits\nnothing.fits\n")
    result = run("info", *args)

    assert result.exit_code == status, result.stderr
    assert text in result.stderr
    assert result.stdout == ""


def test_failures_do_not_stop_the_rest_if_asked(folder):
    Path("list").write_text("good.fits\ntruncated.fits\nrich.fits\n")
    result = run("info", "@list", "-k", "--report", "report.jsonl")
    lines = [json.loads(line) for line in Path("report.jsonl").read_text().splitlines()]

    assert result.exit_code == 3
    assert [line["status"] for line in lines] == ["done", "failed", "done"]
    assert result.stdout.startswith("good.fits\n")
    assert "\n\nrich.fits\n" in result.stdout
    assert "1 of 3 failed" in result.stderr
    assert result.stderr.count("truncated.fits") == 1


@pytest.mark.parametrize("name", shipped_dq_maps())
def test_maps_of_data_quality_are_printed_as_toml(name):
    result = run("info", "--dq-map", name)

    assert result.exit_code == 0
    assert tomllib.loads(result.stdout)["kind"] in {"bits", "codes", "names"}
    assert (
        result.stdout
        == (
            Path(sys.modules["skytool"].__file__).parent / "io" / "dq_maps" / f"{name}.toml"
        ).read_text()
    )


def test_a_printed_map_can_be_changed_and_used(folder, rng):
    quality = np.zeros((90, 70), np.int16)
    quality[3, 4] = 64
    sci = image_hdu(planes(rng).image, "SCI", header=wcs_header())
    write(folder / "dq.fits", primary(), sci, image_hdu(quality, "DQ"))
    text = run("info", "--dq-map", "hst").stdout
    Path("mine.toml").write_text(text.replace("64, ", "").replace("SUSPECT = [", "SUSPECT = [64, "))
    told = described("dq.fits", "--dq-map", "mine.toml", "--noise-from-sky")["dq.fits"]

    counts = {plane["name"]: plane["pixels"] for plane in told["planes"] if plane["pixels"]}
    assert counts == {"SUSPECT": 1}


def test_a_check_has_one_line_for_each_problem_and_looks_at_every_file(folder):
    with fits.open("rich.fits", mode="update") as hdus:
        hdus["VARIANCE"].data[5, 6] = 0
        hdus["IMAGE"].data[5, 8] = np.nan
    result = run("info", "--check", "missing.fits", "rich.fits", "good.fits")
    rows = [line.split("\t") for line in result.stdout.splitlines()]

    assert result.exit_code == 3
    assert [row[0] for row in rows] == [
        "missing.fits",
        *["rich.fits"] * (len(rows) - 2),
        "good.fits",
    ]
    assert rows[0][1] == "missing.fits does not exist."
    assert any("1 pixel has NaN without NO_DATA" in row[1] for row in rows)
    assert any("1 pixel has a variance that is not positive" in row[1] for row in rows)
    assert rows[-1][1] == "ok"
    assert result.stderr.splitlines()[-1] == (
        "skytool: error: 2 of 3 files have problems: missing.fits, rich.fits."
    )


def test_a_check_of_good_files_is_quick_to_read(folder):
    result = run("info", "--check", "good.fits", "rich.fits", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]

    assert result.exit_code == 0
    assert [(line["path"], line["status"]) for line in lines] == [
        ("good.fits", "ok"),
        ("rich.fits", "ok"),
    ]


def test_standard_input_is_described_and_checked(folder):
    content = Path("rich.fits").read_bytes()
    for args in (["-"], ["--check", "-"]):
        done = subprocess.run(
            [sys.executable, "-m", "skytool", "info", *args],
            input=content,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(b"-")
        assert b"ok" in done.stdout or b"FWHM" in done.stdout


def test_all_fixtures_are_fine_and_described():
    night = sorted((FIXTURES / "night").glob("*.fits"))
    checked = run("info", "--check", *night)

    assert checked.exit_code == 0, checked.stdout
    text = run("info", night[1]).stdout
    assert "images at 4 places, 39 x 39 pixels; FWHM" in text or "the same image everywhere" in text
    assert "distorted by SIP" in run("info", night[3]).stdout


@pytest.mark.parametrize("folder_name", ["allsky", "bulge", "decam-stamps", "infrared-tiles"])
def test_real_files_are_described(shared, folder_name):
    files = sorted((shared / "data" / folder_name).glob("*.fits*"))
    first = next(file for file in files if "_ood_" not in file.name and "_oow_" not in file.name)
    result = run("info", first)

    assert result.exit_code == 0, result.stderr
    assert "variance" in result.stdout
    assert run("info", "--check", first).exit_code == 0


def test_long_tables_are_cut():
    row = {"role": "warp-input", "file": "a.fits", "extension": "IMAGE", "status": "skipped"}
    records = [{**row, "reason": "no overlap", "scale": float("nan"), "weight": 1.0}] * 30
    told = {
        "layout": "skytool",
        "file": {"size": 999_999, "compressed": False, "checksums": "some"},
        "observation": {},
        "extensions": [{"number": 0, "name": "", "version": 1, "type": "empty"}],
        "inputs": records,
        "history": [f"line {number}" for number in range(20)],
    }
    text = blocks(as_text("x.fits", told))

    assert len(text["inputs"]) == 13
    assert text["inputs"][-1] == "and 18 more"
    assert text["inputs"][0] == "warp-input  a.fits[IMAGE]  skipped: no overlap    weight 1"
    assert text["history"][0] == "(12 earlier lines)"
    assert text["history"][-1] == "line 19"


@pytest.mark.parametrize("shape", [(50, 70), (1, 1), (3, 1)])
def test_an_image_that_does_not_scatter_is_described(folder, shape):
    fits.PrimaryHDU(np.full(shape, 7.5, np.float32)).writeto("flat.fits")
    told = described("flat.fits")["flat.fits"]

    assert told["image"]["coverage"] == 1.0
    assert {told["image"][key] for key in ("median", "min", "max")} == {7.5}
    if shape == (50, 70):
        assert (told["image"]["sky"], told["image"]["sky_rms"]) == (7.5, 0.0)
    assert told["variance"] == {"from": "estimate"}
    text = blocks(run("info", "flat.fits").stdout)
    assert text["variance"] == ["none"]
    assert "nan" not in text["values"][0]


@pytest.mark.parametrize(
    ("dtype", "cards", "name"),
    [
        (np.uint16, {}, "uint16"),
        (np.uint32, {}, "uint32"),
        (np.int8, {}, "int8"),
        (np.int16, {}, "int16"),
        (np.int16, {"BSCALE": 0.5, "BZERO": 7.0}, "scaled int16"),
        (np.int16, {"BZERO": 7.0}, "scaled int16"),
    ],
)
@pytest.mark.parametrize("kind", [fits.ImageHDU, fits.CompImageHDU])
def test_types_of_pixels_are_those_that_they_stand_for(folder, rng, dtype, cards, name, kind):
    hdu = kind(rng.integers(5, 120, (40, 30)).astype(dtype))
    write(Path("raw.fits"), primary(), hdu)
    if cards:
        with fits.open("raw.fits", mode="update", do_not_scale_image_data=True) as hdus:
            hdus[1].header.update(cards)
    told = described("raw.fits[1]", "-n")["raw.fits[1]"]

    assert told["dtype"] == told["extensions"][1]["dtype"] == name


def test_the_flux_scale_of_a_file_of_ours_can_be_chosen(folder):
    scale = described("rich.fits", "--flux-keyword", "EXPTIME=njy")["rich.fits"]["calibration"]
    same = described("rich.fits", "--flux-keyword", "MAGZERO")["rich.fits"]["calibration"]

    assert scale["nJy_per_unit"] == 30.0
    assert same["zero_point"] == pytest.approx(27.25)
    refused = run("info", "rich.fits", "--flux-keyword", "NOSUCH")
    assert refused.exit_code == 4
    assert "rich.fits has no keyword NOSUCH" in refused.stderr


def test_an_image_in_nanojansky_is_not_said_to_be_itself(folder, rng):
    write_ours("njy.fits", exposure(rng).with_values(unit="nJy", calibration=None))

    assert blocks(run("info", "njy.fits").stdout)["calibration"] == [
        "flux in nJy, zero point 31.400 AB mag"
    ]


def test_what_is_warned_of_is_reported_and_strict_refuses_it(folder, rng):
    fits.PrimaryHDU(rng.normal(100, 3, (40, 30)).astype(np.float32)).writeto("bare.fits")
    (line,) = [json.loads(text) for text in run("info", "bare.fits", "--json").stdout.splitlines()]
    refused = run("info", "bare.fits", "--strict")

    assert "bare.fits: variance from the scatter of the sky" in line["warnings"][0]
    assert refused.exit_code == 5
    assert "bare.fits: variance from the scatter of the sky" in refused.stderr
    assert refused.stdout == ""
