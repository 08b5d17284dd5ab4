import io

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.psf.adaptive_moments import adaptive_moments
from skytool.core.resampling.pixel_map import Window
from skytool.errors import AlgorithmError, InputError
from skytool.models.exposure import Exposure, Origin
from skytool.models.exposure_hdus import from_hdus, primary_header, to_hdus
from skytool.models.mask import Mask
from skytool.models.psf.coadd import CoaddPsf, NoInputsError, merged_psf
from skytool.models.psf.input import PsfInput
from skytool.models.psf.kinds import AnalyticPsf, BasisPsf, ConstantPsf, GridPsf, psf_from_hdus

AREA = (260, 310)
DETECTOR = (150, 120)
EVERYWHERE = Window(0, *AREA[:1], 0, AREA[1])
WHOLE = (-0.5, DETECTOR[0] - 0.5, -0.5, DETECTOR[1] - 0.5)


def gaussian(sigma, shape=(25, 27), ratio=1.0):
    down, right = np.indices(shape)
    down, right = down - shape[0] // 2, right - shape[1] // 2
    stamp = np.exp(-((down / sigma) ** 2 + (right / sigma / ratio) ** 2) / 2)
    return ConstantPsf(stamp)


def placed(y, x, degrees=0.0):
    """Return the map to a detector whose first pixel is at (y, x), turned about it."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))

    def positions(rows, columns):
        columns, rows = np.meshgrid(columns - x, rows - y)
        return c * columns + s * rows, -s * columns + c * rows

    return positions


def detector(psf, y, x, degrees=0.0, region=WHOLE, **values):
    positions = placed(y, x, degrees)
    return PsfInput.of_detector(psf, positions, EVERYWHERE, DETECTOR, region, **values)


@pytest.fixture
def left():
    return detector(gaussian(1.7), 40.3, 30.8, 4, id=3, good_pixels=100)


@pytest.fixture
def right():
    return detector(gaussian(2.4, (31, 29)), 35.1, 120.4, -3, id=4, good_pixels=300, weight=1.0)


def test_one_input_gives_its_star_as_resampled(left):
    psf = CoaddPsf((left,), AREA)

    star = psf.kernel_image(y=100, x=90)

    assert star.shape == psf.shape == (27, 29)
    assert star.sum() == pytest.approx(1, abs=1e-12)
    found = adaptive_moments(star)
    assert (found.y, found.x) == pytest.approx((13, 14), abs=0.01)
    assert found.yy == pytest.approx(1.7**2, rel=0.01)


def test_the_kernel_image_is_that_of_the_middle_of_the_pixel(left):
    psf = CoaddPsf((left,), AREA)

    np.testing.assert_array_equal(psf.kernel_image(y=100.4, x=89.6), psf.kernel_image(y=100, x=90))


@pytest.mark.parametrize(("y", "x"), [(100.3, 90.4), (99.5, 90.49), (101.9, 88.0)])
def test_the_image_of_a_star_is_centred_on_it(left, y, x):
    psf = CoaddPsf((left,), AREA)

    found = adaptive_moments(psf.image(y=y, x=x))

    # Lanczos weights do not keep a slope: centres are off by up to 0.01 pixels
    assert found.y - 13 == pytest.approx(y - np.floor(y + 0.5), abs=0.01)
    assert found.x - 14 == pytest.approx(x - np.floor(x + 0.5), abs=0.01)


def test_inputs_without_ranks_are_averaged(left, right):
    psf = CoaddPsf((left, right), AREA)
    alone = [CoaddPsf((entry,), AREA) for entry in (left, right)]

    both = psf.kernel_image(y=110, x=135)

    shape = psf.shape
    expected = sum(one.kernel_image(y=110, x=135, shape=shape) for one in alone) / 2
    np.testing.assert_allclose(both, expected, rtol=0, atol=1e-12)
    assert shape == (33, 31)


def test_of_a_group_the_highest_rank_counts(left, right):
    ranked = tuple(
        PsfInput(**{**vars(entry), "rank": rank}) for entry, rank in ((left, 2), (right, 1))
    )
    psf = CoaddPsf(ranked, AREA)

    assert [entry.id for entry, _ in psf.contributions(y=110, x=135)] == [3]
    assert [entry.id for entry, _ in psf.contributions(y=110, x=220)] == [4]
    expected = CoaddPsf((left,), AREA).kernel_image(y=110, x=135, shape=psf.shape)
    np.testing.assert_allclose(psf.kernel_image(y=110, x=135), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("shares", "weights"), [(True, [0.5, 0.5, 3.0]), (False, [1, 1, 3])])
def test_equal_ranks_share_the_weight_of_a_group_or_do_not(left, right, shares, weights):
    other = PsfInput(**{**vars(left), "group": 7, "weight": 3.0, "id": 9})
    inputs = [PsfInput(**{**vars(entry), "shares": shares}) for entry in (left, right)]

    found = CoaddPsf((*inputs, other), AREA).contributions(y=110, x=135)

    assert sorted((entry.id, weight) for entry, weight in found) == list(
        zip((3, 4, 9), weights, strict=True)
    )


def test_weights_decide_between_groups(left, right):
    inputs = [
        PsfInput(**{**vars(left), "weight": 3.0}),
        PsfInput(**{**vars(right), "group": 1}),
    ]
    psf = CoaddPsf(tuple(inputs), AREA)
    alone = [
        CoaddPsf((entry,), AREA).kernel_image(y=110, x=135, shape=psf.shape) for entry in inputs
    ]

    np.testing.assert_allclose(
        psf.kernel_image(y=110, x=135), (3 * alone[0] + alone[1]) / 4, rtol=0, atol=1e-12
    )


def test_where_no_input_sees_a_position_there_is_no_star(left, right):
    psf = CoaddPsf((left, right), AREA)

    for y, x in ((20, 20), (1000, 90), (100, 299)):
        with pytest.raises(NoInputsError, match=rf"no input image sees \(x, y\) = \({x}, {y}\)"):
            psf.image(y=y, x=x)
    assert issubclass(NoInputsError, AlgorithmError)


def test_an_input_without_weight_does_not_count(left):
    with pytest.raises(NoInputsError):
        CoaddPsf((PsfInput(**{**vars(left), "weight": 0.0}),), AREA).kernel_image(y=100, x=90)
    with pytest.raises(InputError, match="the weight -1"):
        PsfInput(**{**vars(left), "weight": -1.0})


def test_the_region_limits_what_an_input_sees():
    entry = detector(gaussian(2.0), 40.0, 30.0, region=(2.0, 147.0, 2.0, 117.0))

    assert entry.sees(y=42, x=32)
    assert not entry.sees(y=41.9, x=32)
    assert entry.sees(y=187, x=147)
    assert not entry.sees(y=187, x=147.1)


def test_a_detector_off_the_image_is_no_input():
    assert detector(gaussian(2.0), 4000.0, 30.0) is None
    nothing = Window(0, 0, 5, 5)
    assert PsfInput.of_detector(gaussian(2.0), placed(0, 0), nothing, DETECTOR, WHOLE) is None


def test_an_impossible_transform_is_an_error_that_names_the_input():
    def far(rows, columns):
        columns, rows = np.meshgrid(columns, rows)
        return 300.0 * (columns - 100), 300.0 * (rows - 100)

    window = Window(100, 101, 100, 101)
    entry = PsfInput.of_detector(gaussian(2.0), far, window, DETECTOR, WHOLE, id=77)

    with pytest.raises(AlgorithmError, match=r"PSF of input 77 .* unexpectedly large transform"):
        entry.star(y=100, x=100, rows=np.arange(-3.0, 4), columns=np.arange(-3.0, 4))


def test_a_star_without_light_is_an_error():
    class Dark(ConstantPsf):
        def image(self, **_position):
            return np.zeros((9, 9))

    entry = detector(Dark(gaussian(2.0, (9, 9)).stamp), 40.0, 30.0, id=5)

    with pytest.raises(AlgorithmError, match=r"PSF of input 5 at .* has the sum 0"):
        CoaddPsf((entry,), AREA).image(y=100, x=90)


def test_the_shift_by_lanczos_differs_from_the_model_by_little(left):
    moved = PsfInput(**{**vars(left), "shift": "lanczos5"})

    stars = [CoaddPsf((entry,), AREA).kernel_image(y=100, x=90) for entry in (left, moved)]

    difference = np.abs(stars[1] - stars[0]).max() / stars[0].max()
    assert 1e-6 < difference < 5e-3


def test_the_average_position_is_seen_by_an_input(left, right):
    psf = CoaddPsf((left, right), AREA)
    apart = CoaddPsf((left, detector(gaussian(2), 40, 260, good_pixels=250)), AREA)

    y, x = psf.average_position()

    assert y == pytest.approx((100 * left.center[0] + 300 * right.center[0]) / 400)
    assert x == pytest.approx((100 * left.center[1] + 300 * right.center[1]) / 400)
    # between two detectors that do not meet, the one with fewer pixels is left out
    assert apart.average_position() == pytest.approx(apart.inputs[1].center)
    assert left.center == pytest.approx((119, 85), abs=6)


def test_the_simple_form_has_a_star_everywhere(left, right):
    psf = CoaddPsf((left, right), AREA)

    grid = psf.gridded(step=64)

    assert len(grid.y) == 6 * 6
    seen = [(y, x) for y, x in zip(grid.y, grid.x, strict=True) if psf.inputs[0].sees(y=y, x=x)]
    for y, x in seen:
        np.testing.assert_allclose(
            grid.kernel_image(y=y, x=x), psf.kernel_image(y=y, x=x), rtol=0, atol=1e-12
        )
    nearest = min(seen, key=lambda point: point[0] ** 2 + point[1] ** 2)
    np.testing.assert_allclose(
        grid.kernel_image(y=0, x=0), psf.kernel_image(y=nearest[0], x=nearest[1]), atol=1e-12
    )
    assert isinstance(psf.everywhere(), GridPsf)
    assert grid.everywhere() is grid


def test_the_simple_form_of_what_is_between_its_points_is_the_star_in_the_middle():
    window = Window(60, 90, 75, 95)
    entry = PsfInput.of_detector(
        gaussian(2.0), placed(60, 75), window, (30, 20), (2.0, 27.0, 2.0, 17.0), good_pixels=9
    )
    psf = CoaddPsf((entry,), AREA)

    grid = psf.gridded()

    assert len(grid.y) == 1
    y, x = psf.average_position()
    np.testing.assert_allclose(
        grid.kernel_image(y=200, x=10), psf.kernel_image(y=y, x=x), atol=1e-12
    )


def test_a_shifted_psf_has_the_same_stars_elsewhere(left, right):
    psf = CoaddPsf((left, right), AREA).with_grid()

    moved = psf.shifted(-30, 12)

    np.testing.assert_allclose(
        moved.image(y=80.3, x=147.2), psf.image(y=110.3, x=135.2), rtol=0, atol=1e-10
    )
    assert moved.start == Origin(-30, 12)
    assert moved.average_position() == pytest.approx(
        np.add(psf.average_position(), (-30, 12)), abs=1e-9
    )
    np.testing.assert_array_equal(moved.grid.y, psf.grid.y - 30)
    with pytest.raises(ValueError, match="do not move"):
        psf.shifted(0.5, 0)


def test_an_image_on_the_grid_keeps_its_own_psf():
    own = gaussian(2.1)
    psf = CoaddPsf((PsfInput.of_image(own, AREA),), AREA)

    np.testing.assert_allclose(
        psf.image(y=100.3, x=57.8), own.image(y=100.3, x=57.8), rtol=0, atol=1e-12
    )
    assert psf.average_position() == (129.5, 154.5)


def test_an_input_whose_own_psf_ends_somewhere_brings_the_simple_form(left):
    warp = CoaddPsf((left,), DETECTOR)

    entry = detector(warp, 40.0, 30.0)

    assert isinstance(entry.psf, GridPsf)


def test_merged_warps_keep_the_ratio_of_their_weights(left, right):
    warps = [CoaddPsf((left, right), AREA), CoaddPsf((left,), AREA)]

    merged = merged_psf(zip(warps, (2.0, 5.0), strict=True), AREA)

    assert [entry.group for entry in merged.inputs] == [0, 0, 1]
    assert [entry.weight for entry in merged.inputs] == [2.0, 2.0, 5.0]
    again = merged_psf([(merged, 1.0), (warps[1], 3.0)], AREA)
    assert [entry.group for entry in again.inputs] == [0, 0, 1, 2]
    np.testing.assert_allclose([entry.weight for entry in again.inputs], [2 / 7, 2 / 7, 5 / 7, 3])


def test_a_psf_without_inputs_is_refused():
    with pytest.raises(InputError, match="has no inputs"):
        CoaddPsf((), AREA)


def various():
    """Return PSFs of every kind for the inputs."""
    stamps = np.stack([gaussian(s).stamp for s in (1.6, 1.8, 2.0, 2.3)])
    points = np.array([0.0, 0, 149, 149]), np.array([0.0, 119, 0, 119])
    coefficients = np.zeros((2, 2, 2))
    coefficients[0, 0, 0], coefficients[1, 1, 0], coefficients[1, 0, 1] = 1.0, 0.1, -0.05
    basis = np.stack([gaussian(2.0).stamp, gaussian(1.5).stamp - gaussian(2.5).stamp])
    return (
        gaussian(1.9),
        GridPsf(stamps, *points),
        BasisPsf(basis, coefficients, DETECTOR),
        AnalyticPsf.gaussian(4.5),
    )


@pytest.fixture
def stored():
    """A PSF of four inputs of all kinds, and the file that holds it."""
    inputs = [
        detector(
            psf,
            30.0 + 9 * k,
            25.0 + 33 * k,
            2.0 * k,
            id=1000 + k,
            group=k // 2,
            rank=k % 2,
            weight=1.0 + k,
            kernel=("lanczos3", "lanczos5", "spline3", "bilinear")[k],
            oversample=1 + k % 2,
            shift="lanczos5" if k == 0 else "model",
            shares=k < 3,
            good_pixels=100 * k,
        )
        for k, psf in enumerate(various())
    ]
    psf = CoaddPsf(tuple(inputs), AREA, Origin(0, 0))
    whole = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *psf.to_hdus()]).writeto(whole)
    return psf, whole.getvalue()


POSITIONS = [(100.0, 100.0), (120.3, 90.7), (60.2, 140.0), (150.0, 190.5), (110.4, 60.1)]


def test_a_stored_psf_is_the_same(stored):
    psf, content = stored

    with fits.open(io.BytesIO(content)) as hdus:
        found = psf_from_hdus(hdus, name="x.fits")

    assert isinstance(found, CoaddPsf)
    assert (found.area, found.start) == (psf.area, psf.start)
    for old, new in zip(psf.inputs, found.inputs, strict=True):
        for name in ("region", "weight", "id", "group", "rank", "shares", "kernel", "oversample"):
            assert getattr(new, name) == getattr(old, name)
        assert (new.shift, new.center, new.good_pixels) == (old.shift, old.center, old.good_pixels)
        assert new.pixel_map.max_error == old.pixel_map.max_error
    for y, x in POSITIONS:
        np.testing.assert_allclose(found.image(y=y, x=x), psf.image(y=y, x=x), rtol=0, atol=1e-12)


def test_a_psf_stored_again_is_not_made_anew(stored):
    psf, content = stored
    with fits.open(io.BytesIO(content)) as hdus:
        found = psf_from_hdus(hdus, name="x.fits")

    again = found.to_hdus()

    assert found.grid is not None
    assert [hdu.name for hdu in again] == [hdu.name for hdu in psf.to_hdus()]
    np.testing.assert_allclose(again[0].data, psf.with_grid().grid.stamps, rtol=1e-14)


def test_several_psfs_of_one_file_do_not_mix(left, right):
    first, second = CoaddPsf((left,), AREA), CoaddPsf((right, left), AREA)
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(),
            *first.to_hdus(extname="PSFIN"),
            *second.to_hdus(extname="PSFIN", extver=2),
        ]
    )

    found = [psf_from_hdus(hdus, name="x", extname="PSFIN", extver=v) for v in (1, 2)]

    assert [len(psf.inputs) for psf in found] == [1, 2]
    np.testing.assert_allclose(found[1].image(y=110, x=135), second.image(y=110, x=135), atol=1e-12)


def test_an_exposure_keeps_its_psf_through_a_file(stored):
    psf, _ = stored
    exposure = Exposure(
        image=np.ones(AREA, np.float32),
        mask=Mask.empty(AREA),
        variance=np.ones(AREA, np.float32),
        psf=psf,
    )
    primary = primary_header(exposure, kind="WARP", stage="warp")
    hdus = fits.HDUList([fits.PrimaryHDU(header=primary), *to_hdus(exposure)])

    found = from_hdus(hdus, name="x.fits")

    assert isinstance(found.psf, CoaddPsf)
    assert found.extensions == ()


def test_readers_of_grids_find_one(stored):
    psf, content = stored
    with fits.open(io.BytesIO(content)) as hdus:
        header, stamps, points = hdus["PSF"].header, hdus["PSF"].data, hdus["PSFGRID"].data

    assert header["PSFKIND"] == "GRID"
    k = int(np.argmin(np.hypot(points["Y"] - 120, points["X"] - 110)))
    y, x = points["Y"][k], points["X"][k]
    np.testing.assert_allclose(stamps[k], psf.kernel_image(y=y, x=x), rtol=0, atol=1e-12)


def source_position(row, y, x):
    """Return where a position of the image is on the input of a row."""
    n = round(len(row["MAPY"]) ** 0.5)
    x0, y0, nx, ny = row["WINDOW"]
    down, right = (2 * (y - y0) - (ny - 1)) / ny, (2 * (x - x0) - (nx - 1)) / nx
    maps = row["MAPY"].reshape(n, n), row["MAPX"].reshape(n, n)
    return np.array([np.polynomial.chebyshev.chebval2d(down, right, c) for c in maps])


def rebuilt(content, y, x):
    """Return the star in the middle of a pixel, by numpy from the file and its description."""
    total, weights = 0, 0
    hdus = fits.open(io.BytesIO(content))
    for row in hdus["PSFCCDS"].data:
        v, u = source_position(row, y, x)
        low_v, high_v, low_u, high_u = row["REGION"]
        if not (low_v <= v <= high_v and low_u <= u <= high_u):
            continue
        stamp = hdus["CCDPSF", row["PSFVER"]].data
        padded, taps = np.pad(stamp, 30), np.arange(-2, 4)
        down = source_position(row, y + 0.5, x) - source_position(row, y - 0.5, x)
        right = source_position(row, y, x + 0.5) - source_position(row, y, x - 0.5)
        star = np.zeros((29, 29))
        for j, i in np.argwhere(star == 0) - 14:
            at = np.array(stamp.shape) // 2 + 30 + j * down + i * right
            first = np.floor(at).astype(int)
            along = [np.sinc(taps - f) * np.sinc((taps - f) / 3) for f in at - first]
            pixels = padded[np.ix_(first[0] + taps, first[1] + taps)]
            star[j + 14, i + 14] = along[0] @ pixels @ along[1] / np.outer(*along).sum()
        total = total + row["WEIGHT"] * star / star.sum()
        weights += row["WEIGHT"]
    hdus.close()
    return total / weights


def test_a_reader_with_astropy_and_numpy_rebuilds_the_star():
    # whole-pixel shifts, so that the star needs no shift between the pixels of its detector
    sizes = ((1.8, 0, 1.0), (2.3, 30, 3.0))
    inputs = tuple(
        PsfInput.of_detector(
            gaussian(sigma, (27, 27), 1.2),
            placed(40.0, 30.0 + shift),
            EVERYWHERE,
            DETECTOR,
            WHOLE,
            weight=weight,
            group=shift,
        )
        for sigma, shift, weight in sizes
    )
    psf = CoaddPsf(inputs, AREA)
    whole = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *psf.to_hdus()]).writeto(whole)

    star = rebuilt(whole.getvalue(), 100, 90)

    expected = psf.kernel_image(y=100, x=90)
    assert expected.shape == (27, 27)
    # the box is cut to one pixel less than that of the reader
    np.testing.assert_allclose(star[1:-1, 1:-1], expected, rtol=0, atol=1e-6 * expected.max())


def damaged(content, change):
    with fits.open(io.BytesIO(content)) as hdus:
        found = fits.HDUList([hdu.copy() for hdu in hdus])
    return change(found) or found


def without(hdus, name):
    return fits.HDUList([hdu for hdu in hdus if hdu.name != name])


def changed(hdus, column, value):
    hdus["PSFCCDS"].data[column][1] = value


def newer(hdus):
    hdus["PSFCCDS"].header["SKYMVER"] = 99


def unnamed(hdus):
    del hdus["PSFCCDS"].header["DOMAINX"]


def shorter(hdus):
    hdus["PSFCCDS"].columns.del_col("REGION")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (newer, "written by a newer skytool"),
        (unnamed, r"x.fits\[PSFCCDS\] is damaged"),
        (lambda hdus: without(hdus, "CCDPSF"), "no extension CCDPSF,1"),
        (lambda hdus: without(hdus, "CCDPSFGRID"), "needs their positions"),
        (lambda hdus: changed(hdus, "WEIGHT", np.nan), "WEIGHT of row 2 is not finite"),
        (lambda hdus: changed(hdus, "WEIGHT", -3.0), "the weight -3"),
        (lambda hdus: changed(hdus, "MAPY", np.inf), "MAPY of row 2 is not finite"),
        (lambda hdus: changed(hdus, "KERNEL", "boxcar"), "boxcar"),
        (lambda hdus: changed(hdus, "SHIFT", "magic"), "magic"),
        (lambda hdus: changed(hdus, "WINDOW", 0), "window of 0 x 0"),
        (lambda hdus: changed(hdus, "PSFVER", 40), "no extension CCDPSF,40"),
        (shorter, "no column REGION"),
    ],
)
def test_a_damaged_psf_is_refused_with_its_reason(stored, change, words):
    _, content = stored
    hdus = damaged(content, change)

    with pytest.raises(InputError, match=words):
        psf_from_hdus(hdus, name="x.fits")
