import json

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

from skytool.cli.main import cli
from tests.cli.refracting import BAND, HOURS, NOISE, Field, write, write_night
from tests.stages.chromatic import stamp

HELD_OUT = -3.2


@pytest.fixture(scope="module")
def field():
    return Field()


@pytest.fixture(scope="module")
def night(tmp_path_factory, field):
    return write_night(tmp_path_factory.mktemp("night") / "warps", field)


def run(*args, code=0):
    """Run the program, and return its result."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result


def assembled(files, output, *options, code=0):
    return run("dcr-assemble", *files, "-o", output, *BAND, *options, code=code)


@pytest.fixture(scope="module")
def model(night, tmp_path_factory):
    output = tmp_path_factory.mktemp("model") / "model.fits"
    assembled(night, output)
    return output


@pytest.fixture(scope="module")
def science(field, tmp_path_factory):
    return write(field.exposure(HELD_OUT, seed=99), tmp_path_factory.mktemp("new") / "new.fits")


def residual(image, truth):
    inside = truth > 4 * NOISE
    return float(np.sqrt(np.nanmean(np.square(image - truth)[inside])))


def test_template_of_a_new_exposure_is_much_better_than_the_mean(
    field, night, model, science, tmp_path
):
    run("dcr-template", model, "--for", science, "-o", tmp_path / "t.fits")

    truth = field.truth(HELD_OUT)
    mean = np.mean([fits.getdata(path, "IMAGE") for path in night], axis=0)
    with fits.open(tmp_path / "t.fits") as hdus:
        template, variance = hdus["IMAGE"].data, hdus["VARIANCE"].data
        flags = hdus["MASK"].data
        assert hdus[0].header["FILTER"] == "g"
        assert "PSF" in hdus
    assert residual(template, truth) < residual(mean, truth) / 8
    assert not flags.any()
    blank = truth < 0.3
    assert (template - truth)[blank].var() < 1.3 * np.median(variance[blank])


def test_model_file_says_everything(model, night):
    with fits.open(model) as hdus:
        header = hdus[0].header
        assert header["SKYTYPE"] == "DCRCOADD"
        assert [header[key] for key in ("DCRNUM", "DCRLAMBD", "DCRWIDTH")] == [3, 478.5, 147.0]
        assert (header["SOLVER"], header["NEXP"]) == ("lsq", len(night))
        assert header["CONV1"] < 0.1 * header["CONV0"]
        total = sum(hdus["DCR", number].data for number in (1, 2, 3))
        np.testing.assert_allclose(total, hdus["IMAGE"].data, atol=1e-2)
        assert hdus["DCR", 1].header["DCRWAVE1"] == pytest.approx(405.0)
        assert hdus["DCR", 3].header["DCRWAVE2"] == pytest.approx(552.0)
        assert (hdus["NIMAGE"].data == len(night)).all()
        assert hdus["SLOPE"].header["BUNIT"] == "nm-1"
        inputs = hdus["INPUTS"].data
        assert list(inputs["FILE"]) == [path.name for path in night]
        np.testing.assert_array_less(inputs["CHI2_1"], inputs["CHI2_0"])
        assert inputs["AIRMASS"].max() > 1.5
        steps = hdus["CONVERGENCE"].data
        assert steps["METRIC"][-1] < steps["METRIC"][0]
        settings = dict(zip(hdus["CONFIG"].data["NAME"], hdus["CONFIG"].data["VALUE"], strict=True))
        assert settings["bandwidth"] == "147.0"


def test_flat_curve_changes_nothing_and_another_is_kept(night, model, science, tmp_path):
    (tmp_path / "flat.dat").write_text("405 0.6\n552 0.6\n")
    (tmp_path / "red.dat").write_text("4050 0.1\n5520 0.7\n")
    for name in ("flat", "red"):
        file, curve = tmp_path / f"{name}.fits", tmp_path / f"{name}.dat"
        run("dcr-assemble", *night, "-o", file, "--throughput", curve)
        run("dcr-template", file, "--for", science, "-o", tmp_path / f"{name}-t.fits")

    with fits.open(model) as plain, fits.open(tmp_path / "flat.fits") as flat:
        np.testing.assert_allclose(flat["DCR", 1].data, plain["DCR", 1].data, atol=1e-3)
        assert "DCRBAND" in flat
        assert "DCRBAND" not in plain
    with fits.open(tmp_path / "red.fits") as red, fits.open(model) as plain:
        # the mean of 0 to 1 under a line from 1 to 7 is 0.625
        assert red[0].header["DCRREF"] == pytest.approx(405 + 147 * 0.625, abs=0.1)
        assert red["DCRBAND"].data["WAVELEN"] == pytest.approx([405.0, 552.0])
        assert np.abs(red["DCR", 1].data - plain["DCR", 1].data).max() > 10 * NOISE
    templates = [fits.getdata(tmp_path / f"{name}-t.fits", "IMAGE") for name in ("flat", "red")]
    assert np.abs(templates[1] - templates[0]).max() > NOISE


def test_slope_of_stars_is_that_of_their_spectra(field, model):
    found, error, true = [], [], []
    with fits.open(model) as hdus:
        slope, slope_error = hdus["SLOPE"].data * 73.5, hdus["SLOPEERR"].data * 73.5
    sky = field.sky
    for number, (y, x) in enumerate(zip(sky.y, sky.x, strict=True)):
        apart = np.hypot(sky.y - y, sky.x - x)
        apart[number] = np.inf
        if apart.min() > 14:
            place = round(y), round(x)
            found.append(slope[place])
            error.append(slope_error[place])
            true.append(sky.slope[number])

    assert len(found) >= 4
    deviation = (np.array(found) - true) / np.hypot(error, 0.03)
    assert np.abs(deviation).max() < 5


@pytest.mark.slow
def test_worker_processes_change_nothing(night, tmp_path):
    pieces = "--subregion-size", "70,64"

    assembled(night, tmp_path / "one.fits", *pieces)
    assembled(night, tmp_path / "two.fits", *pieces, "-j", 2)

    assert (tmp_path / "one.fits").read_bytes() == (tmp_path / "two.fits").read_bytes()


def test_pieces_have_no_seams(night, model, tmp_path):
    assembled(night, tmp_path / "pieces.fits", "--subregion-size", "60,64", "--accuracy", 0.005)

    with fits.open(tmp_path / "pieces.fits") as pieces, fits.open(model) as whole:
        for number in (1, 2, 3):
            difference = pieces["DCR", number].data - whole["DCR", number].data
            assert np.abs(difference).max() < 3e-3 * whole["DCR", number].data.max() + NOISE / 10


def test_iterative_solution_is_better_than_the_mean(field, night, science, tmp_path):
    output, template = tmp_path / "m.fits", tmp_path / "t.fits"
    result = assembled(
        night,
        output,
        "--solver",
        "iterative",
        "--max-num-iter",
        15,
        "--convergence-threshold",
        0.01,
    )
    run("dcr-template", output, "--for", science, "-o", template)

    truth = field.truth(HELD_OUT)
    mean = np.mean([fits.getdata(path, "IMAGE") for path in night], axis=0)
    assert residual(fits.getdata(template, "IMAGE"), truth) < residual(mean, truth) / 2
    with fits.open(output) as hdus:
        assert hdus[0].header["SOLVER"] == "iterative"
        assert "SLOPE" not in hdus
        gains = hdus["CONVERGENCE"].data["GAIN"]
        assert gains[1] == 0.5
    assert result.stdout.split("\t")[0] == "path" or "m.fits" in result.stdout


def test_iterative_solution_begins_with_the_template(night, model, tmp_path):
    options = "--solver", "iterative", "--max-num-iter", 0, "--min-num-iter", 0

    assembled(night, tmp_path / "a.fits", *options, "--template", model)
    assembled(night, tmp_path / "b.fits", *options)

    with fits.open(tmp_path / "a.fits") as a, fits.open(tmp_path / "b.fits") as b:
        assert np.abs(a["DCR", 1].data - b["DCR", 1].data).max() > 10


def test_direct_solution_begins_with_the_template(night, model, tmp_path):
    # where one step is all, the result is near what it begins with
    options = "--max-solver-steps", 1, "--robust-rounds", 0
    bright = tmp_path / "bright.fits"
    with fits.open(model) as hdus:
        hdus["IMAGE"].data *= 3
        hdus.writeto(bright)

    assembled(night, tmp_path / "a.fits", *options, "--template", bright)
    assembled(night, tmp_path / "b.fits", *options)

    with fits.open(tmp_path / "a.fits") as a, fits.open(tmp_path / "b.fits") as b:
        assert np.abs(a["IMAGE"].data - b["IMAGE"].data).max() > 10
        inputs = a["INPUTS"].data
        assert inputs["FILE"][inputs["ROLE"] == "template"].tolist() == ["bright.fits"]


def test_direct_solution_is_that_without_a_template(night, model, tmp_path):
    # a template that is wrong, and has no value here and there
    odd = tmp_path / "odd.fits"
    with fits.open(model) as hdus:
        hdus["IMAGE"].data *= 0.7
        hdus["IMAGE"].data[40:45, 60:70] = np.nan
        hdus.writeto(odd)

    assembled(night, tmp_path / "m.fits", "--template", odd)

    with fits.open(tmp_path / "m.fits") as found, fits.open(model) as expected:
        for number in (1, 2, 3):
            difference = found["DCR", number].data - expected["DCR", number].data
            sigma = np.sqrt(expected["DCRVAR", number].data)
            # both stop 0.01 standard deviations of the data from the solution
            assert np.sqrt(np.mean(np.square(difference / sigma))) < 0.1


def test_model_becomes_an_exposure_for_each_subfilter_and_back(model, science, tmp_path):
    run("convert", model, "--to", "dcr-subfilters", "-o", tmp_path / "m.fits")

    parts = [tmp_path / f"m.subfilter{number}.fits" for number in range(3)]
    assert sorted(tmp_path.iterdir()) == parts
    run("info", "--check", *parts)
    with fits.open(model) as whole:
        for number, path in enumerate(parts):
            with fits.open(path) as hdus:
                valued = np.isfinite(hdus["IMAGE"].data)
                assert valued.all()
                np.testing.assert_array_equal(hdus["IMAGE"].data, whole["DCR", number + 1].data)
                np.testing.assert_array_equal(
                    hdus["VARIANCE"].data, whole["DCRVAR", number + 1].data
                )
                assert hdus[0].header["SUBFILT"] == number
                assert hdus[0].header["SKYSTAGE"] == "convert"

    run("dcr-template", model, "--for", science, "-o", tmp_path / "a.fits")
    run("dcr-template", *parts, "--for", science, "-o", tmp_path / "b.fits")
    a, b = (fits.getdata(tmp_path / name, "IMAGE") for name in ("a.fits", "b.fits"))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--base-gain", 0.5), "--base-gain is for --solver iterative"),
        (("--solver", "iterative", "--psf-aware"), "--psf-aware is for --solver lsq"),
        (("--config", "lsst", "--robust-sigma", 3), "--robust-sigma is for --solver lsq"),
        (
            ("--solver", "iterative", "--max-num-iter", 1, "--min-num-iter", 5),
            "--max-num-iter 1 is less than --min-num-iter 5",
        ),
        (("--reference-wavelength", 3000), "--reference-wavelength"),
    ],
)
def test_options_that_would_do_nothing_are_refused(night, tmp_path, options, message):
    result = assembled(night, tmp_path / "m.fits", *options, code=2)

    assert message in result.stderr


def test_remedies_are_those_that_the_command_has(night, model, tmp_path):
    # a model has a site, but no time
    alone = run("dcr-template", model, "--for", model, "-o", tmp_path / "t.fits", code=4)
    several = assembled([*night, model], tmp_path / "m.fits", code=4)

    assert "without the time of the exposure" in alone.stderr
    assert "--site" not in alone.stderr
    assert "--drop-incomplete" not in alone.stderr
    assert "--drop-incomplete" in several.stderr


def test_what_is_no_model_has_no_subfilters(night, tmp_path):
    result = run("convert", night[0], "--to", "dcr-subfilters", "-o", tmp_path / "m.fits", code=4)

    assert "is no DCR model" in result.stderr
    assert night[0].name in result.stderr
    assert not list(tmp_path.iterdir())


def test_lsst_preset_is_iterative(night, tmp_path):
    result = run("dcr-assemble", "--config", "lsst", "--print-config", *night, "-o", "x.fits")

    assert 'solver = "iterative"' in result.stdout
    assert "image-interp-order = 1" in result.stdout


def test_number_of_subfilters_follows_from_the_smear(night, tmp_path):
    assembled(night, tmp_path / "m.fits", "--num-subfilters", "auto")

    number = fits.getheader(tmp_path / "m.fits")["DCRNUM"]
    assert number == 5  # 3.9 pixels between the ends of the band, half a pixel each, 5 at most


def test_unequal_psfs_are_warned_of_and_can_be_modelled(field, tmp_path):
    files = []
    for number, (hours, fwhm) in enumerate(
        zip(HOURS, (3.6, 4.8, 4.0, 5.0, 4.2, 3.8, 4.5), strict=True)
    ):
        field.sky.fwhm = fwhm
        exposure = field.exposure(hours, seed=number)
        psf = type(exposure.psf)(stamp(fwhm))
        files.append(write(exposure, tmp_path / f"{number}.fits", psf=psf))
    field.sky.fwhm = 4.0

    blind = assembled(files, tmp_path / "blind.fits")
    assert "--psf-aware" in blind.stderr
    assembled(files, tmp_path / "aware.fits", "--psf-aware")

    blind, aware = (fits.getheader(tmp_path / f"{name}.fits") for name in ("blind", "aware"))
    assert aware["CONV1"] < 1.4
    assert blind["CONV1"] > 10 * aware["CONV1"]


def test_reuse_keeps_what_is_current(night, tmp_path):
    assembled(night, tmp_path / "m.fits")
    before = (tmp_path / "m.fits").stat().st_ino

    again = assembled(night, tmp_path / "m.fits", "--reuse", "--json")
    assert json.loads(again.stdout)["status"] == "reused"
    other = assembled(night[:-1], tmp_path / "m.fits", "--reuse", "--json")
    assert json.loads(other.stdout)["status"] != "reused"
    assert (tmp_path / "m.fits").stat().st_ino != before


class TestBadInput:
    def test_exposures_at_one_airmass_and_angle_are_warned_of(self, field, tmp_path):
        files = write_night(tmp_path / "same", field, hours=(2.0, 2.01, 2.02, 2.0))

        result = assembled(files, tmp_path / "m.fits")

        assert "cannot constrain colours" in result.stderr

    def test_single_epoch_is_warned_of(self, night, tmp_path):
        result = assembled(night[:1], tmp_path / "m.fits")

        assert "1 exposures are few" in result.stderr

    def test_exposures_in_the_zenith_are_warned_of(self, field, tmp_path):
        files = write_night(tmp_path / "zenith", field, hours=(-0.05, 0.0, 0.05))

        result = assembled(files, tmp_path / "m.fits")

        assert "plain coadd" in result.stderr

    @pytest.mark.parametrize(
        ("cards", "message"),
        [
            ({"BORE-ALT": None, "BORE-AZ": None}, "zenith"),
            ({"AIRMASS": 2.9}, "airmass"),
        ],
    )
    def test_exposures_that_do_not_say_where_the_zenith_was_are_named_together(
        self, field, night, tmp_path, cards, message
    ):
        bad = [
            write(field.exposure(1.0, seed=number, **cards), tmp_path / f"bad{number}.fits")
            for number in (1, 2)
        ]

        result = assembled([*night, *bad], tmp_path / "m.fits", code=4)

        assert all(name in result.stderr for name in ("bad1.fits", "bad2.fits", message))
        assert not (tmp_path / "m.fits").exists()

    def test_incomplete_exposures_can_be_dropped(self, field, night, tmp_path):
        bad = write(
            field.exposure(1.0, **{"BORE-ALT": None, "BORE-AZ": None}), tmp_path / "bad.fits"
        )

        assembled([*night, bad], tmp_path / "m.fits", "--drop-incomplete")

        rows = fits.getdata(tmp_path / "m.fits", "INPUTS")
        assert list(rows["STATUS"]) == ["used"] * len(night) + ["skipped"]
        assert rows["REASON"][-1]

    def test_band_that_is_not_known_is_an_error(self, field, tmp_path):
        files = write_night(tmp_path / "odd", field, hours=(1.0, 3.0, -2.0), FILTER="odd-17")

        result = run("dcr-assemble", *files, "-o", tmp_path / "m.fits", code=4)

        assert "--effective-wavelength" in result.stderr

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"unit": "adu", "calibration": None}, "calibration"),
            ({"grid": (96, 117)}, "grid"),
            ({"filter": "r"}, "filters differ"),
            ({"wcs": None}, ""),
        ],
    )
    def test_exposures_that_do_not_fit_together_are_refused(
        self, field, night, tmp_path, change, message
    ):
        odd = field.exposure(1.0)
        if "grid" in change:
            ny, nx = change.pop("grid")
            odd = odd.with_values(
                image=odd.image[:ny, :nx],
                variance=odd.variance[:ny, :nx],
                mask=type(odd.mask)(odd.mask.array[:ny, :nx], odd.mask.bits),
            )
        if "filter" in change:
            odd.header["FILTER"] = change.pop("filter")
        path = write(odd, tmp_path / "odd.fits", **change)

        result = assembled([*night, path], tmp_path / "m.fits", code=4)

        assert message in result.stderr
        assert "odd.fits" in result.stderr

    def test_nothing_but_masked_pixels_is_nothing_to_do(self, field, tmp_path):
        files = []
        for number in range(3):
            exposure = field.exposure(number)
            exposure.mask.array[:] = exposure.mask.bitmask(["SAT"])
            files.append(write(exposure, tmp_path / f"{number}.fits"))

        assembled(files, tmp_path / "m.fits", code=6)

        assert not (tmp_path / "m.fits").exists()

    def test_transient_in_one_epoch_does_not_get_into_the_model(self, field, night, tmp_path):
        spoilt = field.exposure(HOURS[2], seed=2)
        spoilt.image[:] += 4000 * np.exp(
            -np.square(np.mgrid[-50:46, -60:58]).sum(axis=0) / 6
        ).astype("f4")
        files = [*night[:2], write(spoilt, tmp_path / "spoilt.fits"), *night[3:]]

        assembled(files, tmp_path / "m.fits")

        with fits.open(tmp_path / "m.fits") as hdus:
            flags, header = hdus["MASK"].data, hdus["MASK"].header
            assert flags[50, 60] >> header["MP_CLIPPED"] & 1
            truth = field.sky.exposure(1.0, 0.0)
            assert abs(hdus["IMAGE"].data - truth)[44:57, 54:67].mean() < 3 * NOISE
