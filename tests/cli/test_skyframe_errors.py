import numpy as np
import pytest
from astropy.io import fits

from tests.cli.skyframing import SHAPE, apply, build, listing, run, write_night, write_sky
from tests.cli.warping import sky_cards, write_exposure
from tests.stages.skies import pattern


@pytest.fixture
def names(tmp_path, monkeypatch, rng):
    """Be in a folder with five exposures."""
    monkeypatch.chdir(tmp_path)
    return write_night(rng)


def failing_files(rng):
    write_night(rng)
    write_sky("green.fits", rng, 900.0, VISIT=9, FILTER="g")
    write_sky("narrow.fits", rng, 900.0, truth=pattern((160, 176)), VISIT=9)
    write_exposure(
        "dark.fits", rng.normal(0, 30, SHAPE), sky=sky_cards(SHAPE), variance=900.0, VISIT=9
    )
    bad = np.ones(SHAPE, bool)
    write_sky("masked.fits", rng, 900.0, VISIT=9, mask={"BAD": bad})
    frame = fits.PrimaryHDU(np.zeros((5, 6), np.float32))
    frame.header["HIERARCH BOX.MINX"] = 0
    frame.writeto("frame.fits")


BUILD_ERRORS = [
    (["v0.fits"], 5, "needs 3 exposures and there is 1"),
    (["v0.fits", "v1.fits", "dark.fits"], 5, "has a sky level of"),
    (["v0.fits", "v1.fits", "masked.fits"], 5, "has no superpixel with data"),
    (["v0.fits", "v1.fits", "v2.fits", "green.fits"], 4, "the filters differ"),
    (["v0.fits", "v1.fits", "v2.fits", "narrow.fits"], 4, "narrow.fits has 176 x 160 pixels"),
    (["v0.fits", "missing.fits"], 3, "missing.fits does not exist"),
    (["v0.fits", "v1.fits", "v2.fits", "frame.fits"], 4, "frame.fits is a sky frame"),
    (["v0.fits", "v1.fits", "v2.fits", "--components", "3"], 5, "do not tell 3 patterns"),
    (["v0.fits", "v1.fits", "v2.fits", "--background-mask", "BAED"], 4, "unknown mask plane"),
    (["v0.fits", "v0.fits"], 2, "given twice"),
    (["v0.fits", "v1.fits", "v2.fits", "--grow", "1,2,3"], 2, "as many values"),
    (["v0.fits", "v1.fits", "v2.fits", "--large-scale-x-size", "9"], 2, "does nothing without"),
    (["v0.fits", "v1.fits", "v2.fits", "--bin-size", "900"], 0, ""),
    (["v0.fits", "v1.fits", "v2.fits", "--bin-size", "1"], 2, "is not in the range x>=2"),
]


@pytest.mark.parametrize(("args", "status", "words"), BUILD_ERRORS)
def test_builds_that_cannot_be(tmp_path, monkeypatch, rng, args, status, words):
    monkeypatch.chdir(tmp_path)
    failing_files(rng)

    result = run("skyframe", "build", *args, "-o", "sky.fits", status=status)

    assert words in result.stderr
    assert (tmp_path / "sky.fits").exists() == (status == 0)


def damaged_frames():
    with fits.open("sky.fits") as hdus:
        for name, change in (
            ("nobox.fits", lambda h: h.remove("BOX.MINX")),
            ("style.fits", lambda h: h.set("HIERARCH ALGORITHM", "CUBIC")),
            (
                "moved.fits",
                lambda h: (h.set("HIERARCH BOX.MINX", 5), h.set("HIERARCH BOX.MAXX", 196)),
            ),
        ):
            copy = fits.HDUList([hdu.copy() for hdu in hdus])
            for hdu in copy[:2]:
                for key in ("CHECKSUM", "DATASUM"):
                    hdu.header.remove(key, ignore_missing=True)
                change(hdu.header)
            copy.writeto(name)
        hdus["IMAGE"].data[:] = np.nan
        hdus.writeto("nothing.fits")


APPLY_ERRORS = [
    (["v0.fits", "--sky", "nobox.fits"], 3, "no card BOX.MINX"),
    (["v0.fits", "--sky", "style.fits"], 3, "'CUBIC' is no way to interpolate"),
    (["v0.fits", "--sky", "nothing.fits"], 3, "no superpixel is a number"),
    (["v0.fits", "--sky", "moved.fits"], 4, "covers x 0 to 191"),
    (["narrow.fits", "--sky", "sky.fits"], 4, "narrow.fits covers x 0 to 175"),
    (["green.fits", "--sky", "sky.fits"], 4, "was taken through 'g'"),
    (["masked.fits", "--sky", "sky.fits"], 5, "needs 5 samples and has 0"),
    (["v0.fits", "--sky", "v1.fits"], 3, "v1.fits is no sky frame"),
    (["v0.fits", "--sky", "gone.fits"], 3, "gone.fits does not exist"),
    (["sky.fits", "--sky", "sky.fits"], 4, "all 1 inputs are sky frames"),
    (["v0.fits", "--sky", "sky.fits", "--fit", "scale"], 2, "with --fit scale give cells"),
    (["v0.fits", "--sky", "sky.fits", "--bg-model2-x-size", "9"], 2, "does nothing without"),
    (["v0.fits"], 2, "Missing option '--sky'"),
]


@pytest.mark.parametrize(("args", "status", "words"), APPLY_ERRORS)
def test_corrections_that_cannot_be(tmp_path, monkeypatch, rng, args, status, words):
    monkeypatch.chdir(tmp_path)
    failing_files(rng)
    build("v0.fits", "v1.fits", "v2.fits", "-o", "sky.fits")
    damaged_frames()

    result = apply(*args, "-o", "flat.fits", status=status)

    assert words in result.stderr
    assert not (tmp_path / "flat.fits").exists()


def test_a_damaged_list_of_backgrounds_is_refused(names):
    build(*names, "-o", "sky.fits")
    apply(names[0], "--sky", "sky.fits", "-o", "flat.fits")
    with fits.open("flat.fits") as hdus:
        copy = fits.HDUList([hdu.copy() for hdu in hdus])
    copy["BKG", 2].header["INTERPSTYLE"] = 77
    for hdu in copy:
        for key in ("CHECKSUM", "DATASUM"):
            hdu.header.remove(key, ignore_missing=True)
    copy.writeto("broken.fits")

    for command in (("undo", "broken.fits"), ("apply", "broken.fits", "--sky", "sky.fits")):
        result = run("skyframe", *command, "-o", "no.fits", status=3)
        assert "cards of its cells are wrong" in result.stderr


def test_the_run_goes_on_after_a_failure_if_asked_to(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    failing_files(rng)
    build("v0.fits", "v1.fits", "v2.fits", "-o", "sky.fits")

    apply(
        "v3.fits",
        "masked.fits",
        "v4.fits",
        "--sky",
        "sky.fits",
        "-d",
        "flat",
        "-k",
        status=5,
    )

    assert listing("flat") == ["v3.fits", "v4.fits"]
