import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skytool.models.psf.kinds import AnalyticPsf, psf_from_hdus
from skytool.models.psf.stars import PsfStars
from tests.cli.warping import run, sky_cards, write_exposure
from tests.models.psfex import psfex_table
from tests.stages.star_fields import compared, crowd, field, varying

SHAPE = (230, 260)
TRUTH = varying(2.8, shape=SHAPE)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, exposure, **cards):
    return write_exposure(
        path,
        exposure.image,
        sky=sky_cards(exposure.shape),
        variance=exposure.variance,
        **cards,
    )


def stars(path, rng, n=40, *, extensions=(), **cards):
    """Write a field of stars and return its name."""
    exposure = crowd(rng, TRUTH, n, shape=SHAPE, apart=12.0)
    return write(path, exposure, extensions=extensions, **cards)


def done(*args):
    result = run("psf", *args)
    assert result.exit_code == 0, result.stderr
    return result


def failed(status, *args):
    """Run, expect a failure that is one line and leaves no file, and return the line."""
    before = sorted(Path.cwd().iterdir())
    result = run("-q", "psf", *args)
    assert result.exit_code == status, result.output
    line, _, rest = result.stderr.partition("\n")
    assert line.startswith("skytool: error: ")
    assert rest == ""
    assert sorted(Path.cwd().iterdir()) == before
    return line


def psf_of(path):
    with fits.open(path) as hdus:
        return psf_from_hdus(list(hdus), name=str(path))


def test_an_exposure_gets_its_psf_and_keeps_its_pixels(rng):
    name = stars("raw.fits", rng, VISIT=7)
    result = done(name, "-o", "out.fits")

    path, fwhm, ellipticity, used, reserved, order, residual = result.stdout.strip().split("\t")
    assert path == "out.fits"
    assert float(fwhm) == pytest.approx(2.9, abs=0.15)
    assert float(ellipticity) < 0.15
    assert int(used) + int(reserved) <= 40
    assert int(reserved) >= 5
    assert int(order) >= 1
    assert float(residual) < 1e-3
    check_planes(name, "out.fits")
    errors = compared(psf_of("out.fits"), TRUTH, SHAPE, n=2)
    assert errors["size"] < 0.02
    assert errors["residual"] < 1e-3


def check_planes(one, other):
    with fits.open(one) as before, fits.open(other) as after:
        for plane in ("IMAGE", "MASK", "VARIANCE"):
            np.testing.assert_array_equal(before[plane].data, after[plane].data)
        assert after[0].header["SKYSTAGE"] == "psf"
        assert after[0].header.get("VISIT") == before[0].header.get("VISIT")


def test_header_and_table_say_how_good_the_psf_is(rng):
    name = stars("raw.fits", rng)
    row = json.loads(done(name, "-o", "out.fits", "--json").stdout)["metrics"]

    with fits.open("out.fits") as hdus:
        header, table = hdus[0].header, PsfStars.from_hdu(hdus["PSFSTARS"], name="out.fits")
        unit = hdus["PSFSTARS"].columns["FLUX"].unit
    for card, key in (
        ("PSFFWHM", "fwhm"),
        ("PSFELL", "ellipticity"),
        ("PSFNSTAR", "stars"),
        ("PSFNRES", "reserved"),
        ("PSFORDER", "order"),
        ("PSFRESID", "residual"),
        ("PSFDSIZE", "size_offset"),
        ("PSFSSIZE", "size_scatter"),
        ("PSFSELL", "ellipticity_scatter"),
    ):
        assert header[card] == pytest.approx(row[key], rel=1e-6)
    assert table.used.sum() == row["stars"]
    assert table.reserved.sum() == row["reserved"]
    assert unit == "adu"
    assert row["sources"] >= 30
    assert row["fwhm_min"] < row["fwhm"] < row["fwhm_max"]
    assert run("info", "--check", "out.fits").exit_code == 0


def test_the_psf_in_the_file_is_a_few_lines_of_numpy(rng):
    done(stars("raw.fits", rng), "-o", "out.fits", "--oversampling", "1")
    y, x = 61.0, 190.0
    with fits.open("out.fits") as hdus:
        basis, factors, header = hdus["PSF"].data, hdus["PSFCOEFF"].data, hdus["PSFCOEFF"].header
        sides = header["DOMAINY"], header["DOMAINX"]
    v, u = ((2 * at + 1) / side - 1 for at, side in zip((y, x), sides, strict=True))
    rows, columns = (
        np.polynomial.chebyshev.chebvander([at], factors.shape[1] - 1)[0] for at in (v, u)
    )
    star = np.einsum("p,npq,q,nhw->hw", rows, factors, columns, basis)

    assert sides == SHAPE
    np.testing.assert_allclose(
        star / star.sum(), psf_of("out.fits").kernel_image(y=y, x=x), atol=1e-12
    )


def test_a_second_measurement_takes_the_place_of_the_first(rng):
    done(stars("raw.fits", rng), "-o", "a.fits")
    done("a.fits", "-o", "b.fits", "--spatial-order", "0")

    with fits.open("b.fits") as hdus:
        names = [hdu.name for hdu in hdus]
        settings = hdus["CONFIG"].data
    assert names.count("PSFSTARS") == names.count("PSF") == 1
    assert psf_of("b.fits").coefficients.shape[1:] == (1, 1)
    values = {row["NAME"]: row["VALUE"] for row in settings if row["STAGE"] == "psf"}
    assert values["spatial-order"] == "0"


def test_a_warp_stays_a_warp_with_its_records_and_loses_the_psf_of_its_inputs(rng):
    name = stars("raw.fits", rng, VISIT=7, DETECTOR=1)
    done(name, "-o", "a.fits")
    assert run("warp", "a.fits", "--like", "a.fits", "-o", "warp.fits").exit_code == 0
    done("warp.fits", "-o", "out.fits")

    with fits.open("out.fits") as hdus:
        names = [hdu.name for hdu in hdus]
        assert hdus[0].header["SKYTYPE"] == "WARP"
    assert {"CCDS", "VISITS", "PSF", "PSFSTARS"} <= set(names)
    assert not {"PSFCCDS", "CCDPSF"} & set(names)
    # the resampling widens the PSF by a few per cent
    widths = [psf_of(path).fwhm(y=100, x=100) for path in ("a.fits", "out.fits")]
    assert 0.98 < widths[1] / widths[0] < 1.06


def test_workers_change_no_byte(rng):
    names = [stars(f"v{i}.fits", rng) for i in range(3)]
    done(*names, "-d", "one")
    done(*names, "-d", "two", "-j", "2")

    for name in names:
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


def test_several_detectors_in_a_file_become_files(rng):
    hdus = [fits.PrimaryHDU()]
    for name in ("N1", "N2"):
        exposure = crowd(rng, TRUTH, 20, shape=SHAPE, apart=20.0)
        hdus.append(fits.ImageHDU(exposure.image, sky_cards(SHAPE), name=name))
    fits.HDUList(hdus).writeto("raw.fits")
    result = done("raw.fits", "-d", "out", "--gain", "1", "--read-noise", "1", "--sky", "60")

    assert [line.split("\t")[0] for line in result.stdout.splitlines()] == [
        "out/raw_N1.fits",
        "out/raw_N2.fits",
    ]


@pytest.mark.parametrize("kind", ["image", "stack", "ours", "psfex"])
def test_a_psf_from_another_file_is_attached(rng, kind):
    name = stars("raw.fits", rng)
    given = AnalyticPsf.moffat(2.9, 3.0)
    stamp = given.kernel_image(y=0, x=0)
    hdus = {
        "image": [fits.ImageHDU(stamp)],
        "stack": [
            fits.ImageHDU(np.stack([stamp, stamp]), name="PSF"),
            fits.BinTableHDU.from_columns(
                [fits.Column("X", "D", array=[0, 99]), fits.Column("Y", "D", array=[0, 99])],
                name="PSFPOS",
            ),
        ],
        "ours": given.to_hdus(),
        "psfex": [psfex_table(stamp[None], degree=0)],
    }[kind]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto("raw.psf")
    row = json.loads(done(name, "-o", "out.fits", "--psf-from", "{stem}.psf", "--json").stdout)

    star = psf_of("out.fits").kernel_image(y=100, x=100)
    np.testing.assert_allclose(star, stamp / stamp.sum(), atol=1e-9)
    assert row["metrics"]["stars"] == 0
    assert row["metrics"]["reserved"] > 20
    assert sorted(row["inputs"]) == ["raw.fits", "raw.psf"]
    check_planes(name, "out.fits")


def test_a_psf_that_is_not_that_of_the_stars_is_doubted(rng):
    name = stars("raw.fits", rng)
    fits.HDUList([fits.PrimaryHDU(), *AnalyticPsf.gaussian(4.5).to_hdus()]).writeto("wide.fits")
    result = done(name, "-o", "out.fits", "--psf-from", "wide.fits")

    assert "% narrower than the PSF" in result.stderr
    assert "--strict" in failed(5, name, "-o", "b.fits", "--psf-from", "wide.fits", "--strict")


def test_settings_in_a_file_give_the_same_product(rng):
    name = stars("raw.fits", rng)
    done(name, "-o", "a.fits", "--min-snr", "40", "--size", "17", "--reserve-fraction", "0.3")
    shown = run(
        "psf",
        name,
        "-o",
        "a.fits",
        "--min-snr",
        "40",
        "--size",
        "17",
        "--reserve-fraction",
        "0.3",
        "--print-config",
    ).stdout
    Path("psf.toml").write_text(shown)
    done(name, "-o", "b.fits", "--config", "psf.toml")

    first, second = psf_of("a.fits"), psf_of("b.fits")
    np.testing.assert_array_equal(first.basis, second.basis)
    assert first.shape == (17, 17)


def test_products_are_reused_until_something_changes(rng):
    name = stars("raw.fits", rng)
    args = (name, "-o", "out.fits", "--reuse")
    states = [
        json.loads(done(*args, *more, "--json").stdout)["status"]
        for more in ((), (), ("--min-snr", "30"))
    ]

    assert states == ["done", "reused", "done"]


def test_a_dry_run_writes_nothing(rng):
    name = stars("raw.fits", rng)
    result = done(name, "-o", "out.fits", "-n")

    assert "out.fits" in result.stdout
    assert not Path("out.fits").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--psf-from", "raw.psf", "--method", "grid"), "--method is for measuring a PSF"),
        (("--psf-from", "raw.psf", "--min-stars", 5), "--min-stars is for measuring a PSF"),
        (("--spatial-order", 1, "--max-spatial-order", 3), "leaves no degree to choose"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options, message):
    assert message in failed(2, "raw.fits", "-o", "out.fits", *options)


def test_a_degree_with_more_terms_than_stars_is_refused(rng):
    name = stars("raw.fits", rng)
    line = failed(5, name, "-o", "out.fits", "--max-stars", 12, "--spatial-order", 5)

    assert "degree 5 has 21 terms" in line
    assert "--spatial-order" in line


def test_no_stars_are_status_5_and_one_line(rng):
    name = write("empty.fits", field(rng, TRUTH, [], [], [], shape=SHAPE))

    line = failed(5, name, "-o", "out.fits")
    assert "empty.fits: no star to measure a PSF with" in line
    assert "--psf-from" in line


def test_one_bad_file_of_several_is_left_out_with_keep_going(rng):
    names = [
        stars("a.fits", rng),
        write("empty.fits", field(rng, TRUTH, [], [], [], shape=SHAPE)),
        stars("b.fits", rng),
    ]
    result = run("psf", *names, "-d", "out", "-k")

    assert result.exit_code == 5
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.fits", "b.fits"]


def test_files_that_cannot_be_are_refused(rng):
    name = stars("raw.fits", rng)
    Path("text.psf").write_text("no FITS")
    fits.HDUList([fits.PrimaryHDU()]).writeto("nothing.psf")

    assert "none.fits does not exist" in failed(3, "none.fits", "-o", "out.fits")
    assert "is an input" in failed(3, name, "-o", name, "--overwrite")
    assert "text.psf" in failed(3, name, "-o", "out.fits", "--psf-from", "text.psf")
    assert "nothing.psf has no image" in failed(
        3, name, "-o", "out.fits", "--psf-from", "nothing.psf"
    )
    shutil.copy(name, "out.fits")
    assert "--overwrite" in failed(3, name, "-o", "out.fits")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--grid", "2,2"), "--grid goes with --method grid"),
        (("--method", "grid", "--grid", "10m,5m"), "has units"),
        (("--size", "20"), "odd"),
        (("--min-snr", "50", "--max-snr", "20"), "empty"),
        (("--min-stars", "20", "--max-stars", "10"), "no range"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_options_that_exclude_each_other_are_usage_errors(rng, options, words):
    name = stars("raw.fits", rng, 3)

    assert words in failed(2, name, "-o", "out.fits", *options)


def test_an_unknown_plane_is_status_4(rng):
    name = stars("raw.fits", rng, 3)

    assert "NOSUCH" in failed(4, name, "-o", "out.fits", "--bad-planes", "NOSUCH")


@pytest.mark.parametrize(("name", "fwhm"), [("v101_d2", 5.4), ("v104_d2", 3.3)])
def test_few_stars_among_saturated_ones_are_enough(name, fwhm):
    night = Path(__file__).parents[2] / "data" / "fixtures" / "night"
    row = json.loads(done(night / f"{name}.fits", "-o", "out.fits", "--json").stdout)["metrics"]

    assert row["fwhm"] == pytest.approx(fwhm, rel=0.03)
    assert row["stars"] >= 5
    assert row["left_out"]["saturated"] >= 2
    assert row["residual"] < 3e-3
