"""Which inputs of a warp are used, and what is said of the others."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from skytool.models.psf.kinds import GridPsf
from tests.cli.warping import failure, gaussians, run, sky_cards, warp, write_exposure, write_grid

SHAPE = (41, 45)
SCALE = 0.25  # [arcsec] of a pixel, as of all small detectors


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_grid("grid.hdr", sky_cards(SHAPE), SHAPE)
    return tmp_path


def write_detectors(numbers=(1, 2, 3), *, visit=7, cards=None):
    """Write detectors that all see the same."""
    names = []
    for number in numbers:
        names.append(f"v{visit}_d{number}.fits")
        own = {key: values[number - 1] for key, values in (cards or {}).items()}
        write_exposure(
            names[-1],
            np.full(SHAPE, 10.0 * number),
            sky=sky_cards(SHAPE),
            VISIT=visit,
            DETECTOR=number,
            FILTER="r",
            AIRMASS=1.0 + number / 10,
            **own,
        )
    return names


def write_table(**columns):
    Table({"visit": [7, 7, 7], "detector": [1, 2, 3], **columns}).write("psf.fits", overwrite=True)
    return "psf.fits"


def used(*args):
    """Return the detectors that are used, and the reasons of the others by detector."""
    result = run("warp", *args, "--like", "grid.hdr", "-o", "w.fits", "--overwrite", "--json")
    assert result.exit_code == 0, result.output
    with fits.open("w.fits") as hdus:
        inputs = hdus["INPUTS"].data
        ccds = hdus["CCDS"].data["CCD"].tolist()
        skipped = inputs[inputs["STATUS"] == "skipped"]
        reasons = {int(row["DETECTOR"]): row["REASON"] for row in skipped}
    metrics = json.loads(result.stdout)["metrics"]
    assert len(metrics["ccds"]) == len(ccds)
    assert [entry["reason"] for entry in metrics["rejected"]] == list(reasons.values())
    for number, reason in reasons.items():
        assert f"v7_d{number}.fits is not used: {reason}" in result.stderr
    return ccds, reasons


class TestNames:
    @pytest.mark.parametrize(
        ("ids", "expected"),
        [
            (["visit=7 ccd=2"], [2]),
            (["visit=7,detector=1..3:2"], [1, 3]),
            (["visit=7 ccd=2^3"], [2, 3]),
            (["visit=7 ccd=1", "visit=07 ccd=003"], [1, 3]),
            (["visit=8", "visit=7 ccd=1"], [1]),
            (["filter=r"], [1, 2, 3]),
            (["airmass=1.2"], [2]),
        ],
    )
    def test_choose_exposures(self, ids, expected):
        options = [part for data_id in ids for part in ("--select-id", data_id)]

        assert used(*write_detectors(), *options)[0] == expected

    def test_choose_before_filters_are_compared(self):
        names = write_detectors((1, 2))
        with fits.open(names[1], mode="update") as hdus:
            hdus[0].header["FILTER"] = "g"
        assert run("warp", *names, "--like", "grid.hdr", "-o", "x").exit_code == 4
        assert used(*names, "--select-id", "band=g")[0] == [2]

    def test_that_nothing_has_leave_nothing_to_do(self):
        args = ("warp", *write_detectors(), "--like", "grid.hdr", "-o", "x")
        result = run(*args, "--select-id", "visit=9")

        assert result.exit_code == 6
        assert "no exposure is left" in result.stderr

    @pytest.mark.parametrize("text", ["7", "visit=", "=7", "visit=9..3", "visit=1..3:0", ""])
    def test_must_make_sense(self, text):
        args = ("warp", *write_detectors((1,)), "--like", "grid.hdr", "-o", "x")
        result = run(*args, "--select-id", text)

        assert result.exit_code == 2
        assert "--select-id" in failure(result)


class TestConditions:
    @pytest.mark.parametrize(
        ("conditions", "expected"),
        [
            (["AIRMASS<1.25"], [1, 2]),
            (["airmass <= 1.1"], [1]),
            (["AIRMASS>1.1", "AIRMASS!=1.3"], [2]),
            (["FILTER=='r'"], [1, 2, 3]),
        ],
    )
    def test_on_cards_choose_exposures(self, conditions, expected):
        options = [part for text in conditions for part in ("--select-expr", text)]

        assert used(*write_detectors(), *options)[0] == expected

    def test_give_a_reason(self):
        reasons = used(*write_detectors(), "--select-expr", "AIRMASS<1.25")[1]

        assert reasons == {3: "AIRMASS 1.3, with --select-expr AIRMASS<1.25"}

    def test_on_columns_of_the_table_come_first(self):
        table = write_table(airmass=[2.0, 1.0, 2.0])
        options = ("--psf-statistics", table, "--select-expr", "AIRMASS<1.5")

        assert used(*write_detectors(), *options)[0] == [2]

    def test_on_what_is_not_known_leave_out_with_a_warning(self):
        names = write_detectors(cards={"CLOUD": [0.1, 0.2, 0.3]})
        with fits.open(names[1], mode="update") as hdus:
            del hdus[0].header["CLOUD"]
        ccds, reasons = used(*names, "--select-expr", "CLOUD<0.5")

        assert ccds == [1, 3]
        assert "CLOUD unknown" in reasons[2]
        args = ("warp", *names, "--like", "grid.hdr", "-o", "x", "--select-expr", "CLOUD<0.5")
        assert run(*args, "--strict").exit_code == 5

    @pytest.mark.parametrize("text", ["AIRMASS", "AIRMASS<", "<3", "A<1<2", "__import__('os')"])
    def test_must_be_comparisons(self, text):
        args = ("warp", *write_detectors((1,)), "--like", "grid.hdr", "-o", "x")
        result = run(*args, "--select-expr", text)

        assert result.exit_code == 2
        assert "is no comparison" in failure(result)


class TestCuts:
    """Statistics as the summaries of visits of the LSST pipelines name them."""

    @pytest.mark.parametrize(
        ("option", "limit", "columns", "rejected", "reason"),
        [
            (
                "--max-ellip-residual",
                0.007,
                {
                    "psfStarDeltaE1Median": [0.0, 0.004, 0.0],
                    "psfStarDeltaE2Median": [0.006, 0.006, 0.008],
                },
                [2, 3],
                "ellip residual 0.007211, with --max-ellip-residual 0.007",
            ),
            ("--max-size-scatter", 0.05, {"psfStarDeltaSizeScatter": [0.04, 0.06, 0.05]}, [2], ""),
            (
                "--max-scaled-size-scatter",
                0.009,
                {"psfStarScaledDeltaSizeScatter": [0.0089, 0.01, 0.02]},
                [2, 3],
                "scaled size scatter 0.01, with --max-scaled-size-scatter 0.009",
            ),
            ("--max-psf-trace-radius-delta", 0.7, {"psfTraceRadiusDelta": [0.7, 0.71, 0]}, [2], ""),
            ("--max-psf-ap-flux-delta", 0.24, {"psfApFluxDelta": [0.1, 0.25, 0.2]}, [2], ""),
            (
                "--max-psf-ap-corr-sigma-scaled-delta",
                0.22,
                {"psfApCorrSigmaScaledDelta": [0.1, 0.23, 0.2]},
                [2],
                "",
            ),
            ("--max-star-e-per-band", 0.4, {"starEMedian": [0.1, 0.41, 0.2]}, [2], ""),
            ("--min-n-psf-star-per-band", 6, {"nPsfStar": [6, 5, 60]}, [2], "n psf star 5, with"),
            ("--max-fwhm", 1.8, {"psfSigma": [3.0, 3.1, 2.0]}, [2], "fwhm 1.825, with"),
            ("--max-psf-fwhm", 1.8, {"fwhm": [1.7, 1.9, 1.8]}, [2], "fwhm 1.9, with --max-fwhm"),
            ("--max-ellipticity", 0.2, {"ELLIPTICITY": [0.1, 0.21, 0.2]}, [2], ""),
        ],
    )
    def test_reject_what_is_beyond(self, option, limit, columns, rejected, reason):
        table = write_table(**columns)
        ccds, reasons = used(*write_detectors(), "--psf-statistics", table, option, limit)

        assert ccds == [number for number in (1, 2, 3) if number not in rejected]
        assert list(reasons) == rejected
        assert reason in reasons[2]

    def test_look_at_cards_without_a_table(self):
        cards = {
            "PSFSELL": [0.001, 0.01, 0.002],
            "SEEING": [1.0, 1.0, 2.0],
            "PSFNSTAR": [30, 30, 5],
            "PSFSSIZE": [0.01, 0.02, 0.01],
            "PSFFWHM": [2.3548, 2.3548, 4.7096],
        }
        names = write_detectors(cards=cards)

        for option, limit, expected in (
            ("--max-ellip-residual", 0.007, [1, 3]),
            ("--max-fwhm", 1.5, [1, 2]),
            ("--min-n-psf-star-per-band", 6, [1, 2]),
            ("--max-size-scatter", 0.015, [1]),
            ("--max-scaled-size-scatter", 0.0101, [1, 3]),
        ):
            assert used(*names, option, limit)[0] == expected

    def test_look_at_the_psf_itself(self):
        """Gaussian PSFs of 3, 4 and 3 pixels, the last one elongated."""
        names = write_detectors()
        for name, fwhm, stretch in zip(names, (3.0, 4.0, 3.0), (1.0, 1.0, 1.3), strict=True):
            y, x = np.mgrid[-15:16, -15:16] / (fwhm / 2.3548)
            stamp = np.exp(-(y**2 + (x / stretch) ** 2) / 2)
            hdu = fits.ImageHDU(stamp / stamp.sum(), name="PSF")
            hdu.header["PSFKIND"], hdu.header["SKYMVER"] = "CONSTANT", 1
            fits.append(name, hdu.data, hdu.header)
        ccds, reasons = used(*names, "--max-fwhm", 0.95)
        assert ccds == [1, 3]
        assert reasons == {2: "fwhm 1, with --max-fwhm 0.95"}
        ccds, reasons = used(*names, "--max-ellipticity", 0.1)
        assert ccds == [1, 2]
        ellipticity = (1.3**2 - 1) / (1.3**2 + 1)
        assert float(reasons[3].split()[1].rstrip(",")) == pytest.approx(ellipticity, abs=1e-3)

    def test_look_at_the_ranges_of_the_psf_itself(self):
        """The PSF of the second detector is a pixel wider on one side than on the other."""
        names = write_detectors()
        for name, widths in zip(names, [(1.5, 1.5), (1.5, 2.5), (2.5, 2.5)], strict=True):
            y, x = np.mgrid[-12:13, -12:13]
            stamps = [np.exp(-(y**2 + x**2) / (2 * width**2)) for width in widths]
            psf = GridPsf(np.array(stamps), y=np.array([20.0, 20.0]), x=np.array([4.0, 40.0]))
            for hdu in psf.to_hdus():
                fits.append(name, hdu.data, hdu.header)
        for option, limit in (
            ("--max-psf-trace-radius-delta", 0.5),
            ("--max-psf-ap-flux-delta", 0.02),
        ):
            ccds, reasons = used(*names, option, limit)
            assert ccds == [1, 3]
            assert f"{option} {limit}" in reasons[2]

    def test_on_numbers_of_no_exposure_are_refused(self):
        names = write_detectors()
        args = ("warp", *names, "--like", "grid.hdr", "-o", "x", "--max-ellip-residual", 0.007)
        result = run(*args)

        assert result.exit_code == 4
        assert "--max-ellip-residual: no exposure has this number" in failure(result)

    def test_of_a_preset_count_where_there_are_numbers(self):
        names = write_detectors()
        assert used(*names, "--config", "lsst")[0] == [1, 2, 3]
        table = write_table(psfStarScaledDeltaSizeScatter=[0.001, 0.01, 0.002])
        ccds, reasons = used(*names, "--config", "lsst", "--psf-statistics", table)
        assert ccds == [1, 3]
        assert "--max-scaled-size-scatter 0.009" in reasons[2]

    def test_leave_out_what_is_missing_in_the_table_with_a_warning(self):
        table = {"visit": [7, 7], "detector": [1, 3], "nPsfStar": [9, 8]}
        Table(table).write("psf.csv", format="ascii.csv")
        options = ("--psf-statistics", "psf.csv", "--min-n-psf-star-per-band", 6)
        ccds, reasons = used(*write_detectors(), *options)

        assert ccds == [1, 3]
        assert "n psf star unknown" in reasons[2]
        args = ("warp", *write_detectors(), "--like", "grid.hdr", "-o", "x")
        assert run(*args, *options, "--strict").exit_code == 5

    def test_of_all_exposures_leave_nothing_to_do_and_say_why(self):
        table = write_table(nPsfStar=[1, 2, 3])
        args = ("warp", *write_detectors(), "--like", "grid.hdr", "-o", "x")
        result = run(*args, "--psf-statistics", table, "--min-n-psf-star-per-band", 6)

        assert result.exit_code == 6
        assert "v7_d1.fits: n psf star 1, with --min-n-psf-star-per-band 6" in result.stderr

    @pytest.mark.parametrize("option", ["--max-fwhm", "--max-ellip-residual"])
    @pytest.mark.parametrize("limit", ["-1", "nan", "wide"])
    def test_must_be_numbers(self, option, limit):
        args = ("warp", *write_detectors((1,)), "--like", "grid.hdr", "-o", "x")
        assert run(*args, option, limit).exit_code == 2


def test_each_detector_has_a_line_of_its_own():
    names = write_detectors((1, 2))
    stars = gaussians((31, 31), [15.0], [15.0], fwhm=3.0)
    hdu = fits.ImageHDU(stars, name="PSF")
    hdu.header["PSFKIND"], hdu.header["SKYMVER"] = "CONSTANT", 1
    for name in names:
        fits.append(name, hdu.data, hdu.header)
    args = ("--like", "grid.hdr", "-d", "out", "--psf-matched", "--model-fwhm", "4.5")
    result = run("warp", *names, *args)

    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if "v7_d1.fits: " in line]
    direct = next(line for line in lines if " warp 7: " in line)
    matched = next(line for line in lines if " psfMatchedWarp 7: " in line)
    assert "pixels, scale 1" in direct
    for word in ("FWHM 3.0", "to 5.", "sum K^2 0.0", "residual", "cells"):
        assert word in matched


def test_settings_of_the_choice_are_recorded_and_read_back(folder):
    names = write_detectors()
    options = ("--select-id", "ccd=1..2", "--select-expr", "AIRMASS < 1.5")
    first = warp(*names, "--like", "grid.hdr", *options)
    settings = {row["NAME"]: row["VALUE"] for row in first.others["CONFIG"]}
    assert settings["select-id"] == '["ccd=1..2"]'
    assert settings["select-expr"] == '["AIRMASS<1.5"]'

    printed = run("warp", "--print-config", *options)
    (folder / "again.toml").write_text(printed.stdout)
    again = warp(*names, "--like", "grid.hdr", "--config", "again.toml")
    np.testing.assert_array_equal(again.image, first.image)
