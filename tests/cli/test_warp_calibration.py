"""Calibrations that come from tables and text headers, in place of those in the inputs."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from tests.cli.warping import failure, read_warp, run, sky_cards, warp, write_exposure, write_grid

SHAPE = (60, 70)
GRID = (50, 110)
GAP = 6  # [pixel] between the detectors


def detector_cards(number, *, shift=0.0):
    """Coordinates of one of two detectors beside each other, falsified by some pixels."""
    x = (SHAPE[1] + GAP) / 2 * (1 if number == 1 else -1)
    return sky_cards(SHAPE, shift=(0.0, x + shift))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_grid("grid.hdr", sky_cards(GRID), GRID)
    return tmp_path


def write_visit(stem="v7", *, shift=0.0, zero_points=(None, None), pixels=(3.0, 5.0)):
    names = []
    for number, zero_point, value in zip((1, 2), zero_points, pixels, strict=True):
        cards = {} if zero_point is None else {"MAGZERO": zero_point}
        names.append(f"{stem}_d{number}.fits")
        write_exposure(
            names[-1],
            np.broadcast_to(value, SHAPE),
            sky=detector_cards(number, shift=shift),
            variance=4.0,
            VISIT=7,
            DETECTOR=number,
            **cards,
        )
    return names


def write_table(name, **columns):
    kind = {"fits": "fits", "ecsv": "ascii.ecsv", "csv": "ascii.csv"}[name.rpartition(".")[2]]
    Table(columns).write(name, format=kind, overwrite=True)
    return name


def same(first, second):
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.variance, second.variance)
    np.testing.assert_array_equal(first.mask, second.mask)


class TestPhotometry:
    @pytest.mark.parametrize("kind", ["fits", "ecsv", "csv"])
    def test_a_table_counts_as_the_header_would(self, kind):
        expected = warp(*write_visit("a", zero_points=(25.0, 27.0)), "--like", "grid.hdr")
        table = write_table(
            f"cal.{kind}",
            visit=[7, 8, 7],
            Detector=[2, 1, 1],
            zeroPoint=[27.0, 20.0, 25.0],
        )
        names = write_visit(zero_points=(30.0, None))

        warped = warp(*names, "--like", "grid.hdr", "--photocal", table)

        same(warped, expected)
        assert warped.primary["MAGZERO"] == pytest.approx(31.4)
        np.testing.assert_allclose(warped.others["CCDS"]["ZEROPNT"], [25, 27], rtol=1e-12)
        settings = {row["NAME"]: row["VALUE"] for row in warped.others["CONFIG"]}
        assert settings["photocal"] == f'"{table}"'

    @pytest.mark.parametrize(
        ("columns", "scale"),
        [
            ({"CALIBRATION": [2.0, 4.0]}, (2.0, 4.0)),
            ({"FLUXMAG0": [10**9.0, 10**10.0]}, (10 ** (0.4 * (31.4 - 22.5)), 10**2.56)),
        ],
    )
    def test_scales_are_per_unit(self, columns, scale):
        table = write_table("cal.fits", VISIT=[7, 7], CCD=[1, 2], **columns)
        warped = warp(*write_visit(), "--like", "grid.hdr", "--photocal", table)

        np.testing.assert_allclose(warped.others["CCDS"]["SCALE"], scale, rtol=1e-9)
        assert warped.image[25, 20] == pytest.approx(3.0 * scale[0], rel=1e-6)
        assert warped.image[25, 90] == pytest.approx(5.0 * scale[1], rel=1e-6)
        assert warped.variance[25, 20] <= 4.0 * scale[0] ** 2 * (1 + 1e-6)

    def test_their_errors_are_added_to_the_variance_on_demand(self):
        table = write_table(
            "cal.fits", VISIT=[7, 7], CCD=[1, 2], CALIBRATION=[2.0, 4.0], CALIBRATION_ERR=[0.1, 0.5]
        )
        names = write_visit(pixels=(100.0, 100.0))
        grid = ("--like", f"{names[0]}[1]")

        plain = warp(names[0], *grid, "--photocal", table)
        added = warp(names[0], *grid, "--photocal", table, "--include-calib-var")

        assert plain.variance[30, 30] == pytest.approx(4.0 * 4)
        assert added.variance[30, 30] == pytest.approx(4.0 * 4 + (0.1 * 100) ** 2, rel=1e-6)

    def test_a_scale_that_varies_is_taken_out(self):
        """The field 1 + 0.2 u, with u from -1 to 1 along x, times a scale of 3."""
        u = (2 * np.arange(SHAPE[1]) + 1) / SHAPE[1] - 1
        name = write_visit(pixels=(100.0 / (1 + 0.2 * u), 1.0))[0]
        table = write_table(
            "cal.fits", VISIT=[7], CCD=[1], CALIBRATION=[3.0], FIELD=[[1.0, 0.2, 0.0, 0.0]]
        )

        warped = warp(name, "--like", f"{name}[1]", "--photocal", table)

        np.testing.assert_allclose(warped.image[~warped.empty], 300.0, rtol=1e-6)

    def test_one_row_serves_a_camera_of_one_detector(self):
        name = write_visit()[0]
        table = write_table("cal.csv", visit=[7], zp=[31.4])

        assert warp(name, "--like", "grid.hdr", "--photocal", table).primary["MAGZERO"] == 31.4

    def test_a_warp_has_the_table_for_another_one(self):
        warp(*write_visit("a", zero_points=(25.0, 27.0)), "--like", "grid.hdr", output="a.fits")
        names = write_visit(shift=40.0)
        tables = ("--photocal", "a.fits[CCDS]", "--wcs", "a.fits[CCDS]")

        warped = warp(*names, "--like", "grid.hdr", *tables)

        with fits.open("a.fits") as hdus:
            np.testing.assert_array_equal(warped.image, hdus["IMAGE"].data)


class TestCoordinates:
    """Headers that are 400 pixels off: without the external coordinates nothing is seen."""

    shift = 400.0

    @pytest.fixture
    def names(self):
        return write_visit(shift=self.shift, zero_points=(25.0, 25.0))

    @pytest.fixture
    def expected(self):
        names = write_visit("a", zero_points=(25.0, 25.0))
        return warp(*names, "--like", "grid.hdr", output="a.fits")

    def test_without_them_nothing_is_seen(self, names):
        assert run("warp", *names, "--like", "grid.hdr", "-o", "x.fits").exit_code == 6

    def test_a_table_may_hold_cards(self, names, expected):
        texts = [detector_cards(n).tostring(endcard=False, padding=False) for n in (1, 2)]
        table = write_table("wcs.fits", VISIT=[7, 7], DETECTOR=[1, 2], WCSHDR=texts)

        same(warp(*names, "--like", "grid.hdr", "--wcs", table), expected)

    @pytest.mark.parametrize("kind", ["fits", "ecsv"])
    def test_a_table_may_have_a_column_for_each_keyword(self, names, expected, kind):
        cards = [detector_cards(number) for number in (1, 2)]
        columns = {key: [header[key] for header in cards] for key in cards[0]}
        table = write_table(f"wcs.{kind}", VISIT=[7, 7], DETECTOR=[1, 2], **columns)

        same(warp(*names, "--like", "grid.hdr", "--wcs", table), expected)

    @pytest.mark.parametrize(
        "wcs", ["heads", "heads/{stem}.head", "heads/v{visit}_d{detector}.head"]
    )
    def test_text_headers_are_found_by_the_names_of_the_inputs(self, folder, names, expected, wcs):
        (folder / "heads").mkdir()
        for number, name in ((1, "v7_d1"), (2, "v7_d2")):
            text = detector_cards(number).tostring(sep="\n", padding=False)
            (folder / "heads" / f"{name}.head").write_text(f"{text}\nEND\n")

        warped = warp(*names, "--like", "grid.hdr", "--wcs", wcs)

        same(warped, expected)
        np.testing.assert_allclose(
            warped.others["CCDS"]["RACORN"], expected.others["CCDS"]["RACORN"], rtol=1e-12
        )

    def test_they_are_those_that_auto_encloses(self, names):
        texts = [detector_cards(n).tostring(endcard=False, padding=False) for n in (1, 2)]
        table = write_table("wcs.fits", VISIT=[7, 7], DETECTOR=[1, 2], WCSHDR=texts)

        moved = warp(*names, "--auto", "--wcs", table)
        plain = warp(*write_visit("a", zero_points=(25.0, 25.0)), "--auto")

        assert moved.header["CRVAL1"] == plain.header["CRVAL1"]
        same(moved, plain)

    def test_a_changed_table_makes_a_warp_anew(self, names):
        def table(shift):
            cards = [detector_cards(number, shift=shift) for number in (1, 2)]
            columns = {key: [header[key] for header in cards] for key in cards[0]}
            return write_table("wcs.fits", VISIT=[7, 7], DETECTOR=[1, 2], **columns)

        args = ("warp", *names, "--like", "grid.hdr", "-o", "w.fits", "--reuse", "--json")
        statuses = []
        for shift in (0.0, 0.0, 1.0):
            result = run(*args, "--wcs", table(shift))
            statuses.append("reused" in result.stdout)
        assert statuses == [False, True, False]


class TestRowsThatAreMissing:
    @pytest.mark.parametrize("zero_points", [[25.0], [25.0, np.nan]])
    def test_leave_the_detector_out_with_a_warning(self, zero_points):
        numbers = list(range(1, 1 + len(zero_points)))
        table = write_table("cal.fits", VISIT=[7] * len(numbers), CCD=numbers, ZP=zero_points)
        names = write_visit()
        args = ("warp", *names, "--like", "grid.hdr", "--photocal", table)

        result = run(*args, "-o", "w.fits")

        reason = "cal.fits has no photometric calibration of visit 7, detector 2"
        assert result.exit_code == 0
        assert f"v7_d2.fits is left out: {reason}" in result.stderr
        inputs = read_warp("w.fits").others["INPUTS"]
        assert inputs["STATUS"].tolist() == ["used", "skipped"]
        assert inputs["REASON"].tolist() == ["", reason]
        strict = run(*args, "-o", "x.fits", "--strict")
        assert strict.exit_code == 5
        assert reason in failure(strict)

    def test_of_all_detectors_leave_nothing_to_do(self):
        table = write_table("cal.fits", VISIT=[8, 8], CCD=[1, 2], ZP=[25.0, 25.0])
        result = run("warp", *write_visit(), "--like", "grid.hdr", "-o", "w", "--photocal", table)

        assert result.exit_code == 6
        assert "no exposure is left" in result.stderr

    def test_of_coordinates_are_the_same(self, folder):
        (folder / "heads").mkdir()
        text = detector_cards(1).tostring(sep="\n", padding=False)
        (folder / "heads" / "v7_d1.head").write_text(text)
        warped = warp(*write_visit(), "--like", "grid.hdr", "--wcs", "heads")

        assert warped.others["CCDS"]["CCD"].tolist() == [1]
        assert warped.others["INPUTS"]["REASON"].tolist()[1].startswith("heads/v7_d2.head has no")


class TestTablesThatAreNone:
    def refused(self, option, table, status, *words):
        result = run("warp", *write_visit(), "--like", "grid.hdr", "-o", "x.fits", option, table)
        assert result.exit_code == status, result.output
        line = failure(result)
        for word in words:
            assert word in line

    @pytest.mark.parametrize("option", ["--photocal", "--wcs", "--psf-statistics"])
    def test_missing_truncated_and_garbled(self, folder, option):
        whole = write_table("t.fits", VISIT=[7] * 900, CCD=range(900), ZP=[25.0] * 900)
        data = (folder / whole).read_bytes()
        (folder / "cut.fits").write_bytes(data[: len(data) // 2])
        (folder / "empty.fits").touch()
        (folder / "noise.csv").write_text("a,b\n1,2,3\n'\n")
        (folder / "bad.ecsv").write_text("# %ECSV 1.0\n# ---\n# datatype: 5\nVISIT\n7\n")
        write_visit("image")
        for name in (
            "none.fits",
            "cut.fits",
            "empty.fits",
            "noise.csv",
            "bad.ecsv",
            "image_d1.fits",
        ):
            self.refused(option, name, 3, name)

    def test_without_the_columns_they_need(self):
        ccds = {"VISIT": [7, 7], "CCD": [1, 2]}
        for option in ("--photocal", "--wcs"):
            self.refused(option, write_table("t.fits", **ccds), 3, "t.fits", "column")
        bare = write_table("u.csv", CCD=[1, 2], ZP=[25.0, 26.0])
        self.refused("--photocal", bare, 3, "u.csv has no column VISIT", "CCD, ZP")

    def test_with_two_rows_of_one_detector(self):
        table = write_table("t.csv", VISIT=[7, 7, 7], CCD=[1, 2, 1], ZP=[25.0, 26.0, 25.0])
        words = "t.csv has two rows, 1 and 3, for visit 7, detector 1."
        self.refused("--photocal", table, 3, words)

    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            ({"ZP": ["bright", "faint"]}, "row 1 has bright where a number is wanted"),
            ({"CALIBRATION": [-2.0, 1.0]}, "row 1 is impossible"),
            ({"CALIBRATION": [2.0, 1.0], "CALIBRATION_ERR": [-1.0, 0.0]}, "row 1 is impossible"),
            ({"FLUXMAG0": [0.0, 1e9]}, "row 1 is impossible"),
            ({"ZP": [25.0, 25.0], "FIELD": [[1.0, 2.0, 3.0]] * 2}, "no square"),
        ],
    )
    def test_with_values_that_cannot_be(self, columns, words):
        table = write_table("t.fits", VISIT=[7, 7], CCD=[1, 2], **columns)
        self.refused("--photocal", table, 3, "t.fits", words)

    @pytest.mark.parametrize(
        ("text", "status", "words"),
        [("no header at all", 3, "no header"), (" " * 60, 6, "no coordinates")],
    )
    def test_with_coordinates_that_cannot_be(self, text, status, words):
        table = write_table("t.fits", VISIT=[7, 7], CCD=[1, 2], WCSHDR=[text, text])
        result = run("warp", *write_visit(), "--like", "grid.hdr", "-o", "x", "--wcs", table)
        assert result.exit_code == status, result.output
        assert words in result.stderr

    def test_of_tracts_need_a_tract(self):
        columns = {"VISIT": [7, 7, 7], "CCD": [1, 2, 1], "TRACT": [3, 3, 4], "ZP": [25.0] * 3}
        self.refused("--photocal", write_table("t.fits", **columns), 4, "rows for each tract")

    def test_of_tracts_count_for_theirs(self):
        assert run("skymap", "make", *write_visit("a"), "-o", "map.fits").exit_code == 0
        patch = ("--skymap", "map.fits", "--tract", 0, "--patch", "0,0")
        columns = {"VISIT": [7] * 4, "CCD": [1, 2, 1, 2], "TRACT": [0, 0, 1, 1]}
        table = write_table("t.fits", ZP=[25.0, 26.0, 20.0, 20.0], **columns)
        warped = warp(*write_visit(), *patch, "--photocal", table)

        np.testing.assert_allclose(warped.others["CCDS"]["ZEROPNT"], [25, 26], rtol=1e-12)
        other = write_table("u.fits", VISIT=[7], CCD=[1], TRACT=[5], ZP=[25.0])
        result = run("warp", *write_visit(), *patch, "-o", "x.fits", "--photocal", other)
        assert result.exit_code == 4
        assert "no row of tract 0" in failure(result)


class TestFlatRatios:
    def test_models_count_in_the_flat_of_the_background(self):
        """Image / r + b - s, times r, is image + r (b - s)."""
        name = write_visit()[0]
        u = np.broadcast_to(1 + 0.1 * np.linspace(-1, 1, SHAPE[1]), SHAPE)
        models = {
            "ratio.fits": u,
            "back.fits": np.full(SHAPE, 50.0),
            "sky.fits": np.full(SHAPE, 20.0),
        }
        for file, pixels in models.items():
            hdu = fits.PrimaryHDU(np.asarray(pixels, np.float32))
            if file != "ratio.fits":
                hdu.header["BUNIT"] = "adu"
            hdu.writeto(file)
        args = ("--add-background", "back.fits", "--sky-correction", "sky.fits")
        grid = ("--like", f"{name}[1]")

        plain = warp(name, *grid, *args)
        flat = warp(name, *grid, *args, "--flat-background-ratio", "ratio.fits")

        inside = ~flat.empty
        np.testing.assert_allclose(plain.image[inside], 3.0 + 30.0, rtol=1e-6)
        np.testing.assert_allclose(flat.image[inside], (3.0 + 30.0 * u)[inside], rtol=1e-6)
        np.testing.assert_array_equal(flat.variance, plain.variance)
        assert "flat-ratio" in flat.others["INPUTS"]["ROLE"].tolist()

    def test_alone_they_do_nothing(self):
        name = write_visit()[0]
        ratio = ("--flat-background-ratio", "ratio.fits")
        result = run("warp", name, "--like", "grid.hdr", "-o", "x.fits", *ratio)

        assert result.exit_code == 2
        assert "does nothing without --add-background" in failure(result)
