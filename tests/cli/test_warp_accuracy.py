"""How well pixels, fluxes, positions, noise and flags survive a warp, from the command line."""

import numpy as np
import pytest
from astropy.wcs import WCS
from scipy import ndimage, stats

from tests.cli.warping import (
    SCALE,
    gaussians,
    lattice,
    measure,
    moved,
    sky_cards,
    warp,
    write_exposure,
    write_grid,
)

KERNELS = ("lanczos3", "lanczos4", "lanczos5", "spline3", "bilinear", "nearest")
BORDERS = {"lanczos3": 3, "lanczos4": 4, "lanczos5": 5, "spline3": 3, "bilinear": 1, "nearest": 1}
"""Half sizes n: all taps lie on the source from pixel n - 1 to n + 1 from the end."""

SHAPE = (180, 150)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def random_planes(rng, shape=SHAPE):
    """Image and variance without two equal pixels, and flags that call for no filling."""
    image = rng.normal(100, 30, shape).astype(np.float32)
    variance = rng.uniform(5, 20, shape).astype(np.float32)
    flags = {"DETECTED": rng.random(shape) < 0.1, "SUSPECT": rng.random(shape) < 0.1}
    return image, variance, {**flags, "EDGE": rng.random(shape) < 0.02}


def write(name, image, sky, **options):
    return write_exposure(name, image, sky=sky, **options)


def assert_copied(warped, image, variance, flags, at):
    """Check that the pixels `at` of a warp are a copy of planes."""
    np.testing.assert_array_equal(warped.image[at], image)
    np.testing.assert_array_equal(warped.variance[at], variance)
    for plane, where in flags.items():
        np.testing.assert_array_equal(warped.has(plane)[at], where, err_msg=plane)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_same_grid_gives_the_same_bits_inside_an_empty_border(rng, kernel):
    image, variance, flags = random_planes(rng)
    name = write("in.fits", image, sky_cards(SHAPE, kind="SIP"), variance=variance, mask=flags)

    warped = warp(name, "--like", f"{name}[IMAGE]", "--kernel", kernel)

    n = BORDERS[kernel]
    inside = np.s_[n - 1 : SHAPE[0] - n, n - 1 : SHAPE[1] - n]
    if kernel != "spline3":  # its coefficients are rounded
        assert_copied(
            warped,
            image[inside],
            variance[inside],
            {plane: where[inside] for plane, where in flags.items()},
            inside,
        )
    border = np.ones(SHAPE, bool)
    border[inside] = False
    np.testing.assert_array_equal(warped.empty, border)
    np.testing.assert_allclose(warped.image[inside], image[inside], rtol=0, atol=1e-4)


@pytest.mark.parametrize("kernel", ["lanczos3", "lanczos5", "bilinear", "nearest"])
def test_a_shift_by_whole_pixels_is_a_copy(rng, kernel):
    image, variance, flags = random_planes(rng)
    write("in.fits", image, sky_cards(SHAPE), variance=variance, mask=flags)
    grid = write_grid("g.hdr", sky_cards((200, 190), shift=(7, -11)), (200, 190))

    warped = warp("in.fits", "--like", grid, "--kernel", kernel)

    # the middles are (89.5, 74.5) and (99.5, 94.5): row 0 of the exposure is row 10 + 7
    n, y, x = BORDERS[kernel], 17, 9
    inside = np.s_[n - 1 : SHAPE[0] - n, n - 1 : SHAPE[1] - n]
    at = np.s_[y + n - 1 : y + SHAPE[0] - n, x + n - 1 : x + SHAPE[1] - n]
    copied = {plane: where[inside] for plane, where in flags.items()}
    assert_copied(warped, image[inside], variance[inside], copied, at)
    assert np.count_nonzero(~warped.empty) == image[inside].size


@pytest.mark.parametrize(
    ("kernel", "factor", "tolerance"),
    [("lanczos3", 0.61744, 1e-4), ("bilinear", 0.25, 1e-6), ("lanczos5", 0.75393, 1e-4)],
)
def test_half_a_pixel_keeps_a_constant_and_lowers_its_variance(kernel, factor, tolerance):
    write("in.fits", np.full(SHAPE, 1000.0), sky_cards(SHAPE), variance=7.0)
    grid = write_grid("g.hdr", sky_cards(SHAPE, shift=(0.5, 0.5)), SHAPE)

    warped = warp("in.fits", "--like", grid, "--kernel", kernel)

    good = ~warped.empty
    assert np.count_nonzero(good) == (SHAPE[0] - 2 * BORDERS[kernel] + 1) * (
        SHAPE[1] - 2 * BORDERS[kernel] + 1
    )
    assert (warped.image[good] == 1000.0).all()
    np.testing.assert_allclose(warped.variance[good] / 7.0, factor, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("kernel", "position"), [("lanczos3", 0.012), ("lanczos5", 0.012), ("spline3", 0.003)]
)
@pytest.mark.parametrize("fwhm", [3.0, 4.0])
def test_a_sub_pixel_shift_moves_stars_and_keeps_their_flux(rng, kernel, position, fwhm):
    y, x = lattice(SHAPE, step=36, margin=22, rng=rng)
    write("in.fits", gaussians(SHAPE, y, x, fwhm=fwhm, flux=1e4), sky_cards(SHAPE))
    grid = write_grid("g.hdr", sky_cards(SHAPE, shift=(0.37, -0.21)), SHAPE)

    warped = warp("in.fits", "--like", grid, "--kernel", kernel)

    stars = measure(warped.image, y + 0.37, x - 0.21, half_size=17, fwhm=fwhm)
    np.testing.assert_allclose(stars.y, y + 0.37, rtol=0, atol=position)
    np.testing.assert_allclose(stars.x, x - 0.21, rtol=0, atol=position)
    # single precision: 1225 pixels, each right to half a unit in the last place
    np.testing.assert_allclose(stars.flux, 1e4, rtol=2e-7 if kernel != "spline3" else 1e-6)


@pytest.mark.parametrize(
    ("kernel", "fwhm", "scale", "rotation", "tolerance"),
    [
        ("lanczos3", 2.5, 0.8, 31, 3e-4),
        ("lanczos3", 4.0, 0.8, 31, 3e-4),
        ("lanczos3", 2.5, 0.97, 12, 5e-3),
        ("lanczos3", 2.5, 1.05, 12, 5e-3),
        ("lanczos3", 4.0, 0.97, 12, 1.5e-3),
        ("lanczos3", 4.0, 1.05, 12, 1.5e-3),
        ("spline3", 2.0, 0.97, 12, 1e-4),
        ("spline3", 2.0, 1.05, 4, 1e-4),
        ("spline3", 4.0, 0.8, 31, 1e-4),
    ],
)
def test_star_fluxes_survive_rotation_and_scaling(rng, kernel, fwhm, scale, rotation, tolerance):
    shape = (260, 230)
    y, x = lattice(shape, step=36, margin=22, rng=rng)
    source = sky_cards(shape)
    write("in.fits", gaussians(shape, y, x, fwhm=fwhm, flux=1e4), source)
    target = sky_cards((480, 440), scale=scale * SCALE, rotation=rotation)

    warped = warp("in.fits", "--like", write_grid("g.hdr", target, (480, 440)), "--kernel", kernel)

    at = moved(y, x, WCS(source), WCS(target))
    stars = measure(warped.image, *at, half_size=round(13 / scale), fwhm=fwhm / scale)
    np.testing.assert_allclose(stars.flux, 1e4, rtol=tolerance)


def test_pixel_values_go_with_the_area_of_pixels():
    write("in.fits", np.full(SHAPE, 90.0), sky_cards(SHAPE, scale=0.30), variance=9.0)
    grid = write_grid("g.hdr", sky_cards((250, 200), scale=0.20, rotation=20), (250, 200))

    warped = warp("in.fits", "--like", grid)
    kept = warp("in.fits", "--like", grid, "--surface-brightness", output="s.fits")

    # a TAN pixel shrinks on the sky by cos^3 of its distance: 1e-9 here
    np.testing.assert_allclose(warped.image[~warped.empty], 40.0, rtol=1e-6)
    np.testing.assert_allclose(kept.image[~kept.empty], 90.0, rtol=1e-6)
    np.testing.assert_array_equal(warped.empty, kept.empty)
    ratio = warped.variance[~kept.empty] / kept.variance[~kept.empty]
    np.testing.assert_allclose(ratio, (4 / 9) ** 2, rtol=1e-6)
    assert warped.others["CCDS"]["AREA"][0] == pytest.approx(4 / 9, rel=1e-6)


def test_the_sum_over_a_star_does_not_depend_on_the_pixel_scale(rng):
    y, x = lattice(SHAPE, step=40, margin=26, rng=rng)
    source = sky_cards(SHAPE, scale=0.30)
    write("in.fits", gaussians(SHAPE, y, x, fwhm=4.0, flux=1e4), source)
    target = sky_cards((270, 225), scale=0.20)

    warped = warp("in.fits", "--like", write_grid("g.hdr", target, (270, 225)))

    stars = measure(warped.image, *moved(y, x, WCS(source), WCS(target)), half_size=27, fwhm=6.0)
    np.testing.assert_allclose(stars.flux, 1e4, rtol=1e-3)


DISTORTED = {
    "SIP": sky_cards((420, 380), kind="SIP", rotation=17),
    "TPV": sky_cards((420, 380), kind="TPV", rotation=-74),
    "ZPN": sky_cards(
        (420, 380), kind="ZPN", shift=(900, -700), distortion={"PV2_1": 1.0, "PV2_3": 40.0}
    ),
    "far": sky_cards((420, 380), kind="SIP", shift=(-640, 560), rotation=140),
}


@pytest.mark.parametrize("kind", DISTORTED)
def test_stars_lie_where_the_coordinates_say(rng, kind):
    shape = (420, 380)
    y, x = lattice(shape, step=40, margin=24, rng=rng)
    source = DISTORTED[kind]
    write("in.fits", gaussians(shape, y, x, fwhm=3.5, flux=1e4), source)

    warped = warp("in.fits", "--auto")

    stars = measure(warped.image, *moved(y, x, WCS(source), warped.wcs), half_size=12, fwhm=3.5)
    at_y, at_x = moved(y, x, WCS(source), warped.wcs)
    assert np.hypot(stars.y - at_y, stars.x - at_x).max() < 0.02
    assert warped.primary["WCSERR"] <= 1e-6


@pytest.mark.parametrize(
    ("kind", "frame"), [("SIP", "ICRS"), ("TPV", "ICRS"), ("ZPN", "ICRS"), ("SIP", "galactic")]
)
def test_every_pixel_is_taken_from_where_astropy_finds_it(kind, frame):
    """A cubic spline reproduces a ramp, so that the warp of a ramp says where its pixels come from."""
    shape = (420, 380)
    source = DISTORTED[kind]
    rows, columns = np.indices(shape, dtype=float)
    write("y.fits", rows - 210, source)
    write("x.fits", columns - 190, source)
    size = (250, 210)
    target = sky_cards(size, scale=0.31, rotation=50)
    if kind == "ZPN":
        middle = WCS(source).all_pix2world([[190.0, 210.0]], 0)[0]
        target["CRVAL1"], target["CRVAL2"] = middle
    if frame == "galactic":
        target["CTYPE1"], target["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
        del target["RADESYS"]
        target["CRVAL1"], target["CRVAL2"] = galactic(source["CRVAL1"], source["CRVAL2"])
    options = [
        "--kernel",
        "spline3",
        "--surface-brightness",
        "--like",
        write_grid("g", target, size),
    ]

    v, u = (warp(f"{axis}.fits", *options).image for axis in "yx")

    i, j = np.indices(size)
    ra, dec = WCS(target).all_pix2world(j, i, 0)
    if frame == "galactic":
        ra, dec = galactic(ra, dec, back=True)
    exact_u, exact_v = WCS(source).all_world2pix(ra, dec, 0, tolerance=1e-10, maxiter=60)
    inside = (abs(exact_v - 210) < 190) & (abs(exact_u - 190) < 170)
    assert inside.mean() > 0.5
    # the ramp itself is rounded to 1.5e-5 in single precision, and so is the result
    np.testing.assert_allclose(u[inside] + 190, exact_u[inside], rtol=0, atol=5e-5)
    np.testing.assert_allclose(v[inside] + 210, exact_v[inside], rtol=0, atol=5e-5)


def galactic(longitude, latitude, *, back=False):
    from astropy.coordinates import SkyCoord

    if back:
        there = SkyCoord(longitude, latitude, unit="deg", frame="galactic").icrs
        return there.ra.deg, there.dec.deg
    there = SkyCoord(longitude, latitude, unit="deg").galactic
    return there.l.deg, there.b.deg


def test_interpolated_coordinates_change_no_pixel_by_more_than_their_tolerance(rng):
    shape = (420, 380)
    y, x = lattice(shape, step=30, margin=20, rng=rng)
    image = gaussians(shape, y, x, fwhm=3.0, flux=1e5)
    write("in.fits", image, DISTORTED["SIP"])
    exact, on_grid = (
        warp("in.fits", "--auto", "--wcs-step", step, output=f"{step}.fits") for step in (0, 64)
    )

    np.testing.assert_array_equal(exact.mask, on_grid.mask)
    good = ~exact.empty
    # the steepest flank of the stars, times a distance
    slope = np.abs(np.gradient(image)).max()
    difference = np.abs(exact.image[good] - on_grid.image[good]).max()
    assert difference < 1e-5 * slope
    assert exact.primary["WCSERR"] == 0
    assert 0 < on_grid.primary["WCSERR"] < 1e-6


class TestNoiseFreeStars:
    """A small rotation is the hard case: the sub-pixel phase hardly changes across a star."""

    shape = (720, 680)

    def residuals(self, rng, kernel, rotation, fwhm=4.0):
        y, x = lattice(self.shape, step=38, margin=24, rng=rng)
        source = sky_cards(self.shape, kind="SIP")
        write("in.fits", gaussians(self.shape, y, x, fwhm=fwhm, flux=1e6), source)
        shape = (1000, 980)
        target = sky_cards(shape, rotation=rotation)
        warped = warp("in.fits", "--like", write_grid("g.hdr", target, shape), "--kernel", kernel)
        at_y, at_x = moved(y, x, WCS(source), WCS(target))
        stars = measure(warped.image, at_y, at_x, half_size=15, fwhm=fwhm)
        flux = np.sqrt(np.mean((stars.flux / 1e6 - 1) ** 2))
        place = np.sqrt(np.mean((stars.y - at_y) ** 2 + (stars.x - at_x) ** 2) / 2)
        return flux, place

    @pytest.mark.parametrize(
        ("kernel", "rotation", "flux", "place"),
        [
            ("lanczos3", 5.0, 9e-4, 5e-3),
            ("lanczos3", 40.0, 9e-5, 5e-4),
            ("lanczos5", 5.0, 5e-4, 0.8e-3),
            ("spline3", 5.0, 9e-6, 0.5e-3),
        ],
    )
    def test_stay_as_bright_and_where_they_are(self, rng, kernel, rotation, flux, place):
        measured = self.residuals(rng, kernel, rotation)

        assert measured[0] < flux
        assert measured[1] < place


@pytest.mark.parametrize("kernel", ["lanczos3", "lanczos5", "spline3", "bilinear"])
def test_the_scatter_of_pure_noise_is_what_the_variance_says(rng, kernel):
    shape = (460, 420)
    variance = np.broadcast_to(np.linspace(1, 9, shape[1]), shape)
    write(
        "in.fits", rng.normal(0, np.sqrt(variance)), sky_cards(shape, kind="SIP"), variance=variance
    )
    target = sky_cards((500, 470), rotation=29)

    warped = warp("in.fits", "--like", write_grid("g.hdr", target, (500, 470)), "--kernel", kernel)

    pull = (warped.image / np.sqrt(warped.variance))[~warped.empty]
    width = stats.norm.ppf([0.25, 0.75])
    robust = np.subtract(*np.percentile(pull, [75, 25])) / (width[1] - width[0])
    # 170000 pixels: 0.2 % is one sigma of either width; correlated ones of bilinear, 0.3 %
    assert np.std(pull) == pytest.approx(1.0, abs=0.01)
    assert robust == pytest.approx(1.0, abs=0.01)
    assert np.mean(pull) == pytest.approx(0.0, abs=0.02)


def test_a_flag_spreads_to_the_pixels_that_use_it_and_edges_to_the_whole_footprint():
    write(
        "in.fits",
        np.ones(SHAPE),
        sky_cards(SHAPE),
        mask={"SAT": np.s_[90, 60], "EDGE": np.s_[40, 30]},
    )
    shifted = write_grid("s.hdr", sky_cards(SHAPE, shift=(0.3, 0.6)), SHAPE)
    whole = write_grid("w.hdr", sky_cards(SHAPE, shift=(1.0, -2.0)), SHAPE)

    warped = warp("in.fits", "--like", shifted)
    for plane, count, first in (("SAT", 2, (90, 60)), ("EDGE", 6, (38, 28))):
        where = np.argwhere(warped.has(plane))
        assert len(where) == count**2, plane
        assert tuple(where[0]) == first
        assert tuple(where[-1]) == (first[0] + count - 1, first[1] + count - 1)

    warped = warp("in.fits", "--like", whole)
    assert np.argwhere(warped.has("SAT")).tolist() == [[91, 58]]
    assert np.argwhere(warped.has("EDGE")).tolist() == [[41, 28]]

    warped = warp("in.fits", "--like", shifted, "--grow-planes", "", "--mask-kernel", "")
    assert np.count_nonzero(warped.has("SAT")) == 36
    warped = warp("in.fits", "--like", shifted, "--grow-planes", "SAT,EDGE", "--kernel", "lanczos5")
    assert np.count_nonzero(warped.has("SAT")) == 100


@pytest.mark.parametrize("kernel", ["lanczos3", "lanczos5", "spline3"])
def test_a_lost_pixel_leaves_stars_at_a_distance_alone(rng, kernel):
    y, x = np.array([60.2, 61.4, 120.3]), np.array([40.3, 95.7, 60.1])
    image = gaussians(SHAPE, y, x, fwhm=3.0, flux=1e4)
    source = sky_cards(SHAPE)
    target = sky_cards((210, 200), rotation=7)
    grid = write_grid("g.hdr", target, (210, 200))
    write("whole.fits", image, source)
    image = image.copy()
    image[60, 68] = image[90, 55] = np.nan  # 27 pixels from the nearest star
    write("lost.fits", image, source)
    at = moved(y, x, WCS(source), WCS(target))

    whole, lost = (
        measure(
            warp(f"{name}.fits", "--like", grid, "--kernel", kernel).image,
            *at,
            half_size=14,
            fwhm=3.0,
        )
        for name in ("whole", "lost")
    )

    np.testing.assert_allclose(lost.flux, whole.flux, rtol=1e-6)
    np.testing.assert_allclose(lost.y, whole.y, rtol=0, atol=1e-6)


def test_lost_and_flawed_pixels_are_filled_unless_filling_is_off(rng):
    image = rng.normal(100, 1, SHAPE)
    image[60, 68] = np.nan
    write("in.fits", image, sky_cards(SHAPE), mask={"CR": np.s_[90, 40]})
    grid = write_grid("g.hdr", sky_cards(SHAPE, shift=(0.4, 0.3)), SHAPE)
    inside = np.s_[3:-3, 3:-3]

    filled = warp("in.fits", "--like", grid)
    bare = warp("in.fits", "--like", grid, "--fill", "none")
    zero = warp("in.fits", "--like", grid, "--fill", "zero")

    # what was lost stays without a value, but spoils no pixel that it hardly contributes to
    assert [*np.argwhere(filled.empty[inside]).sum(axis=0) / 4 + 3] == [60.5, 68.5]
    assert np.count_nonzero(filled.empty[inside]) == 4
    np.testing.assert_allclose(filled.image[inside][~filled.empty[inside]], 100, atol=6)
    for warped in (filled, zero):
        assert np.argwhere(warped.has("INTRP")).tolist() == [[90, 40], [90, 41], [91, 40], [91, 41]]
        np.testing.assert_array_equal(warped.has("INTRP"), warped.has("CR"))
    assert np.count_nonzero(bare.empty[inside]) == 36
    assert not bare.has("INTRP").any()
    assert np.count_nonzero(bare.has("CR")) == 4
    assert zero.image[90, 40] < 80


def test_large_target_pixels_keep_flux_and_average_noise(rng):
    shape = (400, 360)
    y, x = lattice(shape, step=40, margin=30, rng=rng)
    source = sky_cards(shape)
    write("stars.fits", gaussians(shape, y, x, fwhm=1.8, flux=1e4), source)
    write("noise.fits", rng.normal(0, 2, shape), source, variance=4.0)
    target = sky_cards((280, 260), scale=2 * SCALE, rotation=13)
    grid = write_grid("g.hdr", target, (280, 260))
    at = moved(y, x, WCS(source), WCS(target))

    def fluxes(*options):
        return measure(
            warp("stars.fits", "--like", grid, *options).image, *at, half_size=8, fwhm=1.3
        ).flux

    averaged, sampled = fluxes(), fluxes("--oversample", 1)
    noise = warp("noise.fits", "--like", grid)
    sampled_noise = warp("noise.fits", "--like", grid, "--oversample", 1)

    # of a Gaussian sampled every 2 pixels, aliases are 2 exp(-2 (pi sigma / 2)^2) = 11 % of it
    np.testing.assert_allclose(averaged, 1e4, rtol=5e-3)
    assert np.std(sampled) > 5 * np.std(averaged)
    assert np.std(noise.image[~noise.empty]) < 0.6 * np.std(
        sampled_noise.image[~sampled_noise.empty]
    )
    for warped in (noise, sampled_noise):
        pull = (warped.image / np.sqrt(warped.variance))[~warped.empty]
        # 30000 pixels
        assert np.std(pull) == pytest.approx(1.0, abs=0.02)


def test_oversampling_begins_where_target_pixels_are_half_as_wide_again():
    write("in.fits", np.ones(SHAPE), sky_cards(SHAPE))
    for scale, samples in ((1.4, 1), (1.6, 2), (2.6, 3)):
        target = sky_cards((90, 80), scale=scale * SCALE)
        grid = write_grid("g.hdr", target, (90, 80))
        auto = warp("in.fits", "--like", grid)
        np.testing.assert_array_equal(
            auto.variance, warp("in.fits", "--like", grid, "--oversample", samples).variance
        )
        other = warp("in.fits", "--like", grid, "--oversample", samples + 1)
        assert not np.array_equal(auto.variance, other.variance)


def test_the_masked_fraction_is_the_share_of_unusable_pixels(rng):
    bad = rng.random(SHAPE) < 0.05
    bad[100:120, 40:70] = True
    write("in.fits", np.ones(SHAPE), sky_cards(SHAPE), mask={"BAD": bad})
    grid = write_grid("g.hdr", sky_cards(SHAPE, shift=(0.25, 0.5)), SHAPE)

    warped = warp("in.fits", "--like", grid, "--masked-fraction")

    fraction = warped.others["FRACMASK"]
    expected = ndimage.shift(bad.astype(float), (0.25, 0.5), order=1)
    good = ~warped.empty
    np.testing.assert_allclose(fraction[good], expected[good], atol=1e-5)
    assert (fraction[~good] == 1).all()
    assert fraction[110, 60] == 1


@pytest.mark.parametrize(("kernel", "widening"), [("exact", 1.03), ("adaptive", 1.08)])
@pytest.mark.parametrize("scale", [0.7, 1.0, 2.0])
def test_kernels_by_area_keep_flux_and_widen_stars(rng, kernel, widening, scale):
    shape = (240, 200)
    y, x = lattice(shape, step=40, margin=36, rng=rng)
    source = sky_cards(shape, kind="SIP")
    write("in.fits", gaussians(shape, y, x, fwhm=4.0, flux=1e4), source, variance=4.0)
    size = round(340 / scale), round(310 / scale)
    target = sky_cards(size, scale=scale * SCALE, rotation=21)

    warped = warp("in.fits", "--like", write_grid("g.hdr", target, size), "--kernel", kernel)

    at = moved(y, x, WCS(source), WCS(target))
    stars = measure(warped.image, *at, half_size=round(18 / scale), fwhm=4 / scale)
    # reproject's weights are exact for no single star: see the accuracy its authors state
    np.testing.assert_allclose(stars.flux, 1e4, rtol=1e-4 if kernel == "exact" else 3e-3)
    assert np.hypot(stars.y - at[0], stars.x - at[1]).max() < 0.02
    assert warped.primary["KERNEL"] == kernel
    peaks = [warped.image[round(a), round(b)] for a, b in zip(*at, strict=True)]
    peak = 1e4 * scale**2 / (1.133 * 16)
    assert max(peaks) < peak
    if scale == 1.0:
        assert max(peaks) == pytest.approx(peak / widening**2, rel=0.05)


@pytest.mark.parametrize("kernel", ["exact", "adaptive"])
def test_kernels_by_area_have_the_variance_of_their_noise(rng, kernel):
    shape = (300, 260)
    source = sky_cards(shape, kind="SIP")
    write("in.fits", rng.normal(0, 2, shape), source, variance=4.0)
    target = sky_cards((330, 300), rotation=21)

    warped = warp("in.fits", "--like", write_grid("g.hdr", target, (330, 300)), "--kernel", kernel)

    pull = (warped.image / np.sqrt(warped.variance))[~warped.empty]
    # pixels are correlated over a width of two: 60000 are worth some 10000
    assert np.std(pull) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("kernel", ["exact", "adaptive"])
def test_kernels_by_area_flag_what_they_touch(kernel):
    write("in.fits", np.ones(SHAPE), sky_cards(SHAPE), mask={"SUSPECT": np.s_[90, 60]})
    grid = write_grid("s.hdr", sky_cards(SHAPE, shift=(0.3, 0.6)), SHAPE)

    warped = warp("in.fits", "--like", grid, "--kernel", kernel, "--masked-fraction")

    flagged = np.argwhere(warped.has("SUSPECT"))
    assert {(90, 60), (90, 61), (91, 60), (91, 61)} <= {tuple(at) for at in flagged.tolist()}
    assert len(flagged) <= 9
    assert (warped.others["FRACMASK"][~warped.empty] == 0).all()
