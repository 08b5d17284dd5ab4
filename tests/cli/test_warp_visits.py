"""What becomes of the exposures of a visit: selection, units, skies, overlaps and records."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from tests.cli.warping import (
    SCALE,
    gaussians,
    lattice,
    measure,
    moved,
    read_warp,
    run,
    sky_cards,
    warp,
    write_exposure,
    write_grid,
)
from tests.io.foreign import image_hdu, planes, primary, wcs_header, write

SHAPE = (120, 80)
GRID = (110, 180)
GOOD = {"gap": (75, 75), "overlap": (75, 75)}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_grid("grid.hdr", sky_cards(GRID), GRID, origin=(300, 700))
    return tmp_path


def detector_cards(number, distance):
    """Coordinates of a detector, the other one `distance` pixels from it, on the grid's pixels."""
    return sky_cards(SHAPE, shift=(0, (80 + distance) / 2 * (1 if number == 1 else -1)))


def write_visit(distance, *, visit=7, images=(10.0, 20.0), variances=(1.0, 4.0), **options):
    """Write two detectors side by side."""
    names = []
    for number, image, variance in zip((1, 2), images, variances, strict=True):
        names.append(f"v{visit}_d{number}.fits")
        write_exposure(
            names[-1],
            np.broadcast_to(image, SHAPE),
            sky=detector_cards(number, distance),
            variance=variance,
            **{
                "VISIT": visit,
                "DETECTOR": number,
                "FILTER": "r",
                "EXPTIME": 30.0,
                "MJD-OBS": 60700.25,
                "AIRMASS": 1.2,
                **options,
            },
        )
    return names


# first and last column that each detector can fill: its valid pixels 2 to 76, moved
FILLED = {12: ((6, 80), (98, 172)), -10: ((17, 91), (87, 161))}


def test_between_detectors_there_is_nothing():
    warped = warp(*write_visit(12), "--like", "grid.hdr")

    filled = np.zeros(GRID, bool)
    for (first, last), value, variance in zip(FILLED[12], (10, 20), (1, 4), strict=True):
        part = np.s_[:, first : last + 1]
        filled[part] = True
        assert (warped.image[part] == value).all()
        assert (warped.variance[part] == variance).all()
    np.testing.assert_array_equal(warped.empty, ~filled)
    np.testing.assert_array_equal(warped.others["NIMAGE"], filled)
    assert warped.others["CCDS"]["GOODPIX"].tolist() == [75 * 110, 75 * 110]
    assert warped.others["CCDS"]["CCD"].tolist() == [1, 2]
    assert len(warped.others["VISITS"]) == 1
    assert warped.primary["NCCD"] == 2
    assert warped.primary["GOODPIX"] == warped.primary["NCOVERED"] == 2 * 75 * 110
    assert warped.primary["NOVERLAP"] == 0
    assert (warped.header["LTV1"], warped.header["LTV2"]) == (-700, -300)


@pytest.mark.parametrize(
    ("overlap", "value", "variance"),
    [("last", 20, 4), ("first", 10, 1), ("best-variance", 10, 1), ("mean", 15, 5 / 4)],
)
@pytest.mark.parametrize("order", [1, -1])
def test_where_detectors_overlap_the_rule_decides(overlap, value, variance, order):
    names = write_visit(-10)
    options = [] if overlap == "last" else ["--overlap", overlap]

    warped = warp(*names[::order], "--like", "grid.hdr", *options)

    both = np.s_[:, 87:92]
    assert (warped.image[both] == value).all()
    assert (warped.variance[both] == variance).all()
    assert (warped.image[:, 17:87] == 10).all()
    assert (warped.image[:, 92:162] == 20).all()
    assert warped.others["NIMAGE"].max() == 2
    assert warped.others["CCDS"]["GOODPIX"].tolist() == [75 * 110, 75 * 110]
    assert warped.primary["GOODPIX"] == 2 * 75 * 110
    assert warped.primary["NOVERLAP"] == 5 * 110
    assert warped.primary["NCOVERED"] == 145 * 110


def test_detectors_that_all_see_the_same_are_hardly_one_visit():
    names = write_visit(-60)
    loud = run("warp", *names, "--like", "grid.hdr", "-o", "a.fits")
    mean = run("warp", *names, "--like", "grid.hdr", "-o", "b.fits", "--overlap", "mean")

    assert loud.exit_code == mean.exit_code == 0
    assert "WARNING" in loud.stderr
    assert "58% of its pixels are seen by several detectors" in loud.stderr
    assert "WARNING" not in mean.stderr


def test_a_detector_fills_what_another_one_lacks():
    names = write_visit(-10)
    part = np.s_[40:60, :]
    write_exposure(
        names[1],
        np.full(SHAPE, 20.0),
        sky=detector_cards(2, -10),
        mask={"NO_DATA": part},
        VISIT=7,
        DETECTOR=2,
    )

    warped = warp(*names, "--like", "grid.hdr")

    assert (warped.image[35:55, 87:92] == 10).all()
    assert (warped.image[:35, 87:92] == 20).all()
    assert warped.empty[35:55, 92:162].all()


def test_bad_planes_leave_a_pixel_to_the_other_detector():
    names = write_visit(-10)
    write_exposure(
        names[1],
        np.full(SHAPE, 20.0),
        sky=detector_cards(2, -10),
        mask={"SUSPECT": np.s_[40:60, :]},
        VISIT=7,
        DETECTOR=2,
    )

    kept = warp(*names, "--like", "grid.hdr")
    warped = warp(*names, "--like", "grid.hdr", "--bad-planes", "NO_DATA,SUSPECT")

    assert (kept.image[35:55, 87:92] == 20).all()
    assert (warped.image[35:55, 87:92] == 10).all()
    assert warped.empty[35:55, 92:162].all()
    assert warped.others["CCDS"]["GOODPIX"].tolist() == [75 * 110, 75 * 90]
    # the area is one of pixels, whether they are used or not
    np.testing.assert_allclose(warped.others["CCDS"]["AREA"], 1, rtol=1e-6)


def test_planes_are_matched_by_name():
    names = write_visit(12)
    for number, bits in ((1, {"CROSSTALK": 1, "GHOST": 0}), (2, {"GHOST": 17, "CROSSTALK": 30})):
        write_exposure(
            names[number - 1],
            np.ones(SHAPE),
            sky=detector_cards(number, 12),
            mask={"CROSSTALK": np.s_[50, 40], "GHOST": np.s_[70, 30:33]},
            bits=bits,
            VISIT=7,
            DETECTOR=number,
        )

    warped = warp(*names, "--like", "grid.hdr")

    assert np.argwhere(warped.has("CROSSTALK")).tolist() == [[45, 44], [45, 136]]
    assert np.count_nonzero(warped.has("GHOST")) == 6
    assert warped.bits["CROSSTALK"] == 11


class TestUnits:
    def test_zero_points_are_made_one(self, rng):
        y, x = lattice(SHAPE, step=35, margin=24, rng=rng)
        for number, zero_point in ((1, 25.0), (2, 27.0)):
            counts = 10 ** (0.4 * (zero_point - 20))
            write_exposure(
                f"d{number}.fits",
                gaussians(SHAPE, y, x, fwhm=3.0, flux=counts),
                sky=detector_cards(number, 13.4),
                variance=counts**2,
                VISIT=7,
                DETECTOR=number,
                MAGZERO=zero_point,
            )
        expected = {  # flux of magnitude 20 in the units of each
            "auto": (31.4, "nJy"),
            "njy": (31.4, "nJy"),
            "input": (25.0, "adu"),
            "zeropoint": (27.0, None),
        }
        for units, (zero_point, unit) in expected.items():
            options = ["--zeropoint", 27] if units == "zeropoint" else []
            warped = warp("d1.fits", "d2.fits", "--like", "grid.hdr", "--units", units, *options)
            flux = 10 ** (0.4 * (zero_point - 20))
            for number in (1, 2):
                at = moved(y, x, WCS(detector_cards(number, 13.4)), warped.wcs)
                stars = measure(warped.image, *at, half_size=11, fwhm=3.0)
                np.testing.assert_allclose(stars.flux, flux, rtol=1e-3)
            assert warped.primary["MAGZERO"] == pytest.approx(zero_point, abs=1e-9)
            assert warped.primary["FLUXMAG0"] == pytest.approx(10 ** (0.4 * zero_point))
            assert warped.header.get("BUNIT") == unit
            scales = [10 ** (0.4 * (zero_point - zp)) for zp in (25, 27)]
            np.testing.assert_allclose(warped.others["CCDS"]["SCALE"], scales, rtol=1e-9)
            np.testing.assert_allclose(warped.others["CCDS"]["ZEROPNT"], [25, 27], atol=1e-9)
            # variances are 0.55 to 1 of those before, at half a pixel from the nodes
            good = ~warped.empty
            ratio = warped.variance[good] / flux**2
            assert ratio.min() > 0.5
            assert ratio.max() < 1.001

    def test_values_without_calibration_stay_as_they_are(self):
        names = write_visit(12)
        warped = warp(*names, "--like", "grid.hdr")

        assert warped.header["BUNIT"] == "adu"
        assert "MAGZERO" not in warped.primary
        assert np.isnan(warped.others["CCDS"]["ZEROPNT"]).all()
        assert run("warp", *names, "--like", "grid.hdr", "-o", "x", "--units", "njy").exit_code == 4

    def test_what_has_no_common_unit_is_refused(self):
        names = write_visit(12, MAGZERO=27.0)
        write_exposure(
            names[1],
            np.ones(SHAPE),
            sky=detector_cards(2, 12),
            VISIT=7,
            DETECTOR=2,
            unit="electron",
        )
        for units in ("auto", "njy", "input"):
            result = run("warp", *names, "--like", "grid.hdr", "-o", "x", "--units", units)
            assert result.exit_code == 4, units
            assert "v7_d2.fits" in result.output

    def test_surface_brightness_becomes_flux_per_pixel(self):
        pixel = (SCALE / 3600 * np.pi / 180) ** 2  # [sr]
        name = write_exposure(
            "in.fits",
            np.full(SHAPE, 3e-4),
            sky=sky_cards(SHAPE),
            variance=1e-10,
            unit="MJy/sr",
            PIXAR_SR=pixel,
        )
        write_grid("fine.hdr", sky_cards((150, 110), scale=0.20, rotation=20), (150, 110))

        flux = warp(name, "--like", "fine.hdr")
        same = warp(name, "--like", "fine.hdr", "--units", "input")

        assert flux.header["BUNIT"] == "nJy"
        good = ~flux.empty
        np.testing.assert_allclose(flux.image[good], 3e-4 * 1e15 * pixel * 0.8**2, rtol=1e-5)
        assert same.header["BUNIT"] == "MJy/sr"
        np.testing.assert_allclose(same.image[good], 3e-4, rtol=1e-6)
        # one unit is that of a pixel of the grid, as the pixel area is
        one = 10 ** (0.4 * (31.4 - same.primary["MAGZERO"]))
        assert one == pytest.approx(1e15 * pixel * 0.8**2, rel=1e-5)
        assert same.primary["PIXAR_SR"] == pytest.approx(pixel * 0.8**2, rel=1e-5)
        assert flux.primary["PIXAR_SR"] == pytest.approx(pixel * 0.8**2, rel=1e-5)
        assert flux.primary["MAGZERO"] == pytest.approx(31.4)
        ratio = flux.variance[good] / same.variance[good]
        np.testing.assert_allclose(ratio, (1e15 * pixel * 0.8**2) ** 2, rtol=1e-5)

    def test_surface_brightnesses_need_no_common_pixel_area(self):
        names = write_visit(12, images=(3e-4, 3e-4), unit="MJy/sr", PIXAR_SR=1.5e-12)
        with fits.open(names[1], mode="update") as hdus:
            hdus[0].header["PIXAR_SR"] = 1.4e-12

        warped = warp(*names, "--like", "grid.hdr", "--units", "input")

        assert (warped.image[~warped.empty] == np.float32(3e-4)).all()

    def test_the_error_of_the_calibration_is_added_on_demand(self):
        name = write_exposure(
            "in.fits", np.full(SHAPE, 500.0), sky=sky_cards(SHAPE), MAGZERO=31.4, MAGZERR=0.02
        )
        plain = warp(name, "--like", f"{name}[1]")
        added = warp(name, "--like", f"{name}[1]", "--calib-variance")

        assert plain.variance[60, 40] == 1
        relative = 0.02 * 0.4 * np.log(10)
        assert added.variance[60, 40] == pytest.approx(1 + (relative * 500) ** 2, rel=1e-5)

    def test_the_factor_that_makes_a_variance_right_is_recorded(self, rng):
        name = write_exposure(
            "in.fits", rng.normal(0, 3.0, SHAPE), sky=sky_cards(SHAPE), variance=4.5
        )
        plain = warp(name, "--like", f"{name}[1]")
        scaled = warp(name, "--like", f"{name}[1]", "--scale-variance")

        assert "VARSCALE" not in plain.primary
        # 9000 pixels; the mean of a cell of 32 x 32 takes a thousandth of the variance
        assert scaled.primary["VARSCALE"] == pytest.approx(2.0, rel=3 * 2.33 / np.sqrt(9000))
        assert scaled.variance[60, 40] == pytest.approx(4.5 * scaled.primary["VARSCALE"])

    def test_a_variance_far_from_the_scatter_is_refused(self, rng):
        name = write_exposure(
            "in.fits", rng.normal(0, 3.0, SHAPE), sky=sky_cards(SHAPE), variance=0.1
        )
        args = ("warp", name, "--like", f"{name}[1]", "-o", "x.fits", "--scale-variance")
        result = run(*args)

        assert result.exit_code == 5
        assert "the variance of the warp cannot be scaled" in result.stderr


class TestSkies:
    """A background is added and a sky correction subtracted, before everything else."""

    factor = 10 ** (0.4 * (31.4 - 27.0))

    def layer(self, values, unit="adu"):
        hdu = fits.ImageHDU(np.asarray(values, np.float32), name="IMAGE")
        if unit:
            hdu.header["BUNIT"] = unit
        return hdu

    def stored(self, slope):
        """Layer 100 + slope * u with u from -1 to 1 along x, that was subtracted."""
        hdu = fits.ImageHDU(np.array([[100.0, slope], [0.0, 0.0]]), name="BKG")
        cards = {"SKYMVER": 1, "SKYMODEL": "CHEBYSHEV2D", "BKGOP": "SUBTRACT", "BUNIT": "adu"}
        hdu.header.update({**cards, "SKYSCALE": 1.0, "DOMAINX": SHAPE[1], "DOMAINY": SHAPE[0]})
        return hdu

    def write(self, rng):
        names = []
        for number in (1, 2):
            names.append(f"v7_d{number}.fits")
            write_exposure(
                names[-1],
                rng.normal(0, 1, SHAPE),
                sky=detector_cards(number, 12.6),
                extensions=[self.stored(5.0 * number)],
                VISIT=7,
                DETECTOR=number,
                MAGZERO=27.0,
            )
        return names

    def sky(self, number):
        u = (2 * np.arange(SHAPE[1]) + 1) / SHAPE[1] - 1
        return np.broadcast_to(100.0 + 5.0 * number * u, SHAPE)

    def warp_of_sky(self):
        for number in (1, 2):
            write_exposure(
                f"sky{number}.fits",
                self.sky(number),
                sky=detector_cards(number, 12.6),
                VISIT=7,
                DETECTOR=number,
                MAGZERO=27.0,
            )
        return warp("sky1.fits", "sky2.fits", "--like", "grid.hdr", output="sky.fits")

    def test_stored_layers_come_back(self, rng):
        names = self.write(rng)
        without = warp(*names, "--like", "grid.hdr")
        restored = warp(*names, "--like", "grid.hdr", "--add-background", "stored")
        sky = self.warp_of_sky()

        good = ~without.empty
        difference = (restored.image - without.image)[good].astype(float)
        np.testing.assert_allclose(difference, sky.image[good], rtol=1e-5)
        np.testing.assert_array_equal(restored.variance, without.variance)
        np.testing.assert_array_equal(restored.mask, without.mask)
        np.testing.assert_allclose(restored.others["CCDS"]["SKYADD"], 100, rtol=1e-6)
        assert (without.others["CCDS"]["SKYADD"] == 0).all()

    def test_the_name_of_lsst_for_it_does_the_same(self, rng):
        names = self.write(rng)
        restored = warp(*names, "--like", "grid.hdr", "--add-background", "stored")
        same = warp(*names, "--like", "grid.hdr", "--no-bg-subtracted")
        np.testing.assert_array_equal(same.image, restored.image)
        both = ("--bg-subtracted", "--add-background", "stored")
        assert run("warp", *names, "--like", "grid.hdr", "-o", "x", *both).exit_code == 2

    @pytest.mark.parametrize("unit", ["adu", "nJy", ""])
    def test_models_from_files_are_in_counts_or_nanojanskys(self, rng, unit):
        names = self.write(rng)
        scale = self.factor if unit == "nJy" else 1.0
        for number in (1, 2):
            fits.HDUList([fits.PrimaryHDU(), self.layer(self.sky(number) * scale, unit)]).writeto(
                f"sky-7-{number}-v7_d{number}.fits"
            )
        without = warp(*names, "--like", "grid.hdr")
        model = "sky-{visit}-{detector}-{stem}.fits"
        added = warp(*names, "--like", "grid.hdr", "--add-background", model)
        corrected = warp(*names, "--like", "grid.hdr", "--sky-correction", model)
        neither = warp(
            *names, "--like", "grid.hdr", "--add-background", "stored", "--sky-correction", model
        )
        sky = self.warp_of_sky()

        good = ~without.empty
        for warped, sign in ((added, 1), (corrected, -1)):
            difference = (warped.image - without.image)[good].astype(float)
            np.testing.assert_allclose(difference, sign * sky.image[good], rtol=1e-5)
            np.testing.assert_array_equal(warped.variance, without.variance)
        np.testing.assert_allclose(neither.image[good], without.image[good], atol=1e-5 * 6000)
        np.testing.assert_allclose(corrected.others["CCDS"]["SKYSUB"], 100, rtol=1e-6)
        used = corrected.others["INPUTS"]
        assert used["ROLE"].tolist() == ["warp-input"] * 2 + ["sky"] * 2
        assert used["FILE"].tolist()[2:] == ["sky-7-1-v7_d1.fits", "sky-7-2-v7_d2.fits"]

    def test_what_cannot_be_converted_is_refused(self, rng):
        names = self.write(rng)
        fits.HDUList([fits.PrimaryHDU(), self.layer(np.ones(SHAPE), "K")]).writeto("k.fits")
        fits.HDUList([fits.PrimaryHDU(), self.layer(np.ones((3, 4)))]).writeto("small.fits")
        bare = write_visit(12)
        common = ["--like", "grid.hdr", "-o", "x.fits"]
        for inputs, model, status, words in (
            (names, "k.fits", 4, "is in K"),
            (names, "small.fits", 4, "4 x 3"),
            (names, "none.fits", 3, "none.fits does not exist"),
            (bare, "stored", 4, "stores no background"),
        ):
            result = run("warp", *inputs, *common, "--add-background", model)
            assert result.exit_code == status, result.output
            assert words in result.stderr
        for extra in (["-n"], []):
            result = run("warp", *names, *common, "--sky-correction", "{stem}.txt", *extra)
            assert result.exit_code == 3


class TestSelection:
    def grid(self, y, x):
        """Grid whose first corner is at a pixel of the exposure."""
        cards = sky_cards(SHAPE)
        cards["CRPIX1"] -= x
        cards["CRPIX2"] -= y
        return write_grid("corner.hdr", cards, (40, 60))

    def test_what_touches_a_corner_is_selected_and_what_does_not_is_left_out(self):
        name = write_exposure("in.fits", np.ones(SHAPE), sky=sky_cards(SHAPE))

        # the last pixel with a value is (116, 76); the detector ends at (119.5, 79.5)
        assert np.count_nonzero(~warp(name, "--like", self.grid(115, 75)).empty) == 4
        seen = run("warp", name, "--like", self.grid(119, 79), "-o", "x.fits", "-n")
        assert seen.exit_code == 0
        empty = run("warp", name, "--like", self.grid(119, 79), "-o", "x.fits")
        assert empty.exit_code == 6
        beside = run("warp", name, "--like", self.grid(125, 85), "-o", "x.fits", "-n")
        assert beside.exit_code == 6
        assert "no exposure overlaps corner.hdr" in beside.stderr

    def test_a_detector_without_a_good_pixel_has_no_record(self):
        """The second one sees the grid with its edge only, where no footprint is whole."""
        names = write_visit(12)
        cards = detector_cards(1, 12)
        cards["CRPIX1"] += 20
        write_grid("left.hdr", cards, (100, SHAPE[1] + 20 + 13))

        result = run("warp", *names, "--like", "left.hdr", "-o", "w.fits", "--json")
        warped = read_warp("w.fits")

        assert result.exit_code == 0
        assert json.loads(result.stdout)["metrics"]["detectors"] == 1
        assert warped.others["CCDS"]["CCD"].tolist() == [1]
        assert warped.primary["NCCD"] == 1
        assert warped.others["INPUTS"]["STATUS"].tolist() == ["used", "skipped"]
        assert warped.others["INPUTS"]["REASON"].tolist() == ["", "no good pixel"]

    @pytest.mark.parametrize("name", ["--write-empty", "--do-write-empty-warps"])
    def test_a_warp_without_any_value_is_written_on_demand(self, name):
        source = write_exposure("in.fits", np.ones(SHAPE), sky=sky_cards(SHAPE))
        warped = warp(source, "--like", self.grid(119, 79), name)

        assert warped.empty.all()
        assert warped.primary["GOODPIX"] == 0
        assert warped.others["CCDS"]["GOODPIX"].tolist() == [0]

    def test_the_others_of_a_visit_are_listed_as_skipped(self):
        names = write_visit(12)
        write_grid("left.hdr", detector_cards(1, 12), (100, 60))

        warped = warp(*names, "--like", "left.hdr")

        inputs = warped.others["INPUTS"]
        assert inputs["FILE"].tolist() == names
        assert inputs["STATUS"].tolist() == ["used", "skipped"]
        assert inputs["REASON"].tolist() == ["", "no overlap"]
        assert warped.others["CCDS"]["FILE"].tolist() == names[:1]

    def test_an_unusable_wcs_is_a_failure_that_k_goes_on_from(self):
        names = write_visit(12)
        for cards in ({"CD1_1": 0.0, "CD2_2": 0.0}, {"CTYPE1": "", "CTYPE2": ""}):
            write_exposure(
                names[1],
                np.ones(SHAPE),
                sky=detector_cards(2, 12) + fits.Header(cards),
                VISIT=7,
                DETECTOR=2,
            )
            with fits.open(names[1], mode="update") as hdus:
                for hdu in hdus[1:]:
                    hdu.header.update(cards)
            stopped = run("warp", *names, "--like", "grid.hdr", "-o", "w.fits")
            assert stopped.exit_code == 4
            assert "v7_d2.fits" in stopped.stderr

            result = run("warp", *names, "--like", "grid.hdr", "-o", "w.fits", "-k", "--overwrite")
            assert result.exit_code == 4
            assert "v7_d2.fits" in result.stderr
            warped = read_warp("w.fits")
            assert warped.others["CCDS"]["CCD"].tolist() == [1]
            assert warped.others["INPUTS"]["STATUS"].tolist() == ["used", "skipped"]


class TestGroups:
    def test_every_visit_gets_a_file_in_its_name(self):
        names = write_visit(12, visit=7) + write_visit(12, visit=12)
        result = run("warp", *names[::-1], "--like", "grid.hdr", "-d", "out")

        assert result.exit_code == 0
        rows = [line.split("\t") for line in result.stdout.splitlines()]
        assert [row[0] for row in rows] == ["out/warp-12.fits", "out/warp-7.fits"]
        assert [row[1] for row in rows] == ["2", "2"]
        warped = read_warp("out/warp-7.fits")
        assert str(warped.primary["VISIT"]) == "7"
        assert warped.others["VISITS"]["ID"].tolist() == [7]

    def test_other_keywords_name_visits(self):
        names = write_visit(12, visit=7, NIGHT="mon") + write_visit(12, visit=8, NIGHT="mon")
        args = ["warp", *names[::2], "--like", "grid.hdr", "-d"]

        assert run(*args, "a", "--group-by", "NIGHT").exit_code == 0
        assert len(read_warp("a/warp-mon.fits").others["CCDS"]) == 2
        assert run(*args, "b", "--group-by", "NIGHT,VISIT").exit_code == 0
        assert len(read_warp("b/warp-mon-8.fits").others["CCDS"]) == 1
        assert run(*args, "c", "--group-by", "none").exit_code == 0
        assert len(read_warp("c/warp-v8_d1.fits").others["CCDS"]) == 1
        missing = run(*args, "d", "--group-by", "RUN")
        assert missing.exit_code == 4
        assert "RUN" in missing.stderr

    def test_with_one_output_all_inputs_are_one_visit(self):
        names = write_visit(12, visit=7)[:1] + write_visit(12, visit=8)[1:]
        assert len(warp(*names, "--like", "grid.hdr").others["CCDS"]) == 2

    @pytest.mark.parametrize("target", [["-o", "x.fits"], ["-d", "x"]])
    def test_filters_are_never_mixed(self, target):
        names = write_visit(12)[:1] + write_visit(12, visit=7, FILTER="g")[1:]
        with fits.open(names[0], mode="update") as hdus:
            hdus[0].header["FILTER"] = "r"
        result = run("warp", *names, "--like", "grid.hdr", *target)

        assert result.exit_code == 4
        assert "'r'" in result.stderr
        assert "'g'" in result.stderr


def test_records_name_extensions_as_a_user_does(rng):
    chips = [primary(ROOTNAME="j8", TELESCOP="HST", INSTRUME="ACS")]
    for version, x0 in ((1, 0), (2, 80)):
        pixels, cards = planes(rng), wcs_header(x0=x0)
        for name, plane in (("SCI", pixels.image), ("ERR", np.sqrt(pixels.variance))):
            cards["CCDCHIP"], cards["BUNIT"] = version, "ELECTRONS"
            chips.append(image_hdu(plane, name, header=cards, ver=version))
    write("chips.fits", *chips)
    warped = warp("chips.fits", "--auto")

    assert warped.others["CCDS"]["EXTNAME"].tolist() == ["SCI", "SCI,2"]


def test_records_say_what_was_done_with_each_detector():
    names = write_visit(12, MAGZERO=27.0)
    write_exposure(
        names[1],
        np.ones(SHAPE),
        sky=detector_cards(2, 12),
        mask={"BAD": np.s_[10:22, :]},
        **{"VISIT": 7, "DETECTOR": 2, "FILTER": "r", "EXPTIME": 30.0, "MJD-OBS": 60700.25},
        MAGZERO=26.0,
        AIRMASS=1.2,
    )
    warped = warp(*names, "--like", "grid.hdr")

    ccds = warped.others["CCDS"]
    assert ccds["FILE"].tolist() == names
    np.testing.assert_allclose(ccds["FILLED"], [0, 0.1])
    np.testing.assert_allclose(ccds["ZEROPNT"], [27, 26])
    np.testing.assert_allclose(ccds["EXPTIME"], 30)
    np.testing.assert_allclose(ccds["MJD"], 60700.25 + 15 / 86400, atol=1e-9)
    np.testing.assert_allclose(ccds["AIRMASS"], 1.2)
    assert ccds["BBOX"].tolist() == [[0, 0, 80, 120]] * 2
    for number, row in enumerate(ccds, 1):
        wcs = WCS(detector_cards(number, 12))
        corners = wcs.all_pix2world([[-0.5, -0.5], [79.5, -0.5], [79.5, 119.5], [-0.5, 119.5]], 0)
        np.testing.assert_allclose(row["RACORN"], corners[:, 0], atol=1e-9)
        np.testing.assert_allclose(row["DECCORN"], corners[:, 1], atol=1e-9)
        stored = WCS(fits.Header.fromstring(row["WCSHDR"]))
        np.testing.assert_allclose(
            stored.all_pix2world([[13.0, 91.0]], 0),
            wcs.all_pix2world([[13.0, 91.0]], 0),
            atol=1e-12,
        )
    visit = warped.others["VISITS"][0]
    assert (visit["ID"], visit["FILTER"], visit["GOODPIX"]) == (7, "r", 2 * 75 * 110)
    assert visit["BBOX"].tolist() == [700, 300, 180, 110]
    for name in names:
        with fits.open(name, checksum=True) as hdus:
            hdus[1].add_datasum()
            expected = hdus[1].header["DATASUM"]
        inputs = warped.others["INPUTS"]
        assert inputs["DATASUM"][inputs["FILE"] == name].tolist() == [expected]
    config = {row["NAME"]: row["VALUE"] for row in warped.others["CONFIG"]}
    assert config["kernel"] == '"lanczos3"'
    assert config["overlap"] == '"last"'


def test_cards_about_the_psf_of_detectors_are_not_those_of_the_warp():
    names = write_visit(30, PSFFWHM=3.3, PSFELL=0.02, OBJECT="a field")

    done = warp(*names, "--like", "grid.hdr")

    assert done.primary["OBJECT"] == "a field"
    assert not {"PSFFWHM", "PSFELL"} & set(done.primary)
