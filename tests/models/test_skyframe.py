import io

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.background.curves import InterpolationStyle
from skytool.errors import IncompatibleError, InputError
from skytool.models.exposure import Exposure, Origin
from skytool.models.mask import Mask
from skytool.models.skyframe import SkyFrame, is_sky_frame, pattern_rms, sky_frame_from_hdus

SHAPE = (201, 170)
CELLS = (6, 5)


@pytest.fixture
def frame(rng):
    image = rng.normal(0, 0.01, CELLS).astype(np.float32)
    missing = np.zeros(CELLS, bool)
    missing[2, 3] = True
    variance = np.full(CELLS, 1e-8, np.float32)
    variance[missing] = np.inf
    return SkyFrame(
        image=image,
        variance=variance,
        mask=Mask.empty(CELLS).with_flagged(missing, "NO_DATA"),
        shape=SHAPE,
        origin=Origin(30, 12),
        algorithm=InterpolationStyle.AKIMA_SPLINE,
        components=rng.normal(0, 0.001, (2, *CELLS)).astype(np.float32),
        n_image=np.full(CELLS, 8, np.int16),
        chi2=rng.uniform(0.5, 2, CELLS).astype(np.float32),
        name="sky.fits",
    )


def stored(frame, **cards):
    """The frame written and read again by astropy, some cards changed first."""
    primary = fits.PrimaryHDU()
    primary.header["SKYFMT"], primary.header["SKYTYPE"] = 1, "SKYFRAME"
    frame.add_cards(primary.header)
    hdus = fits.HDUList([primary, *frame.to_hdus()])
    for hdu in hdus[:2]:
        for key, value in cards.items():
            name = key.replace("_", ".")
            if value is None:
                hdu.header.remove(name)
            else:
                hdu.header[f"HIERARCH {name}"] = value
    buffer = io.BytesIO()
    hdus.writeto(buffer)
    buffer.seek(0)
    return fits.open(buffer)


def test_a_frame_survives_a_file_bit_by_bit(frame):
    with stored(frame) as hdus:
        again = sky_frame_from_hdus(hdus, name="sky.fits")

    for plane in ("image", "variance", "components", "n_image", "chi2"):
        np.testing.assert_array_equal(getattr(again, plane), getattr(frame, plane))
    np.testing.assert_array_equal(again.mask.array, frame.mask.array)
    assert (again.shape, again.origin) == (SHAPE, Origin(30, 12))
    assert again.algorithm is InterpolationStyle.AKIMA_SPLINE
    for one, other in zip(again.models(), frame.models(), strict=True):
        np.testing.assert_array_equal(one.evaluate(SHAPE), other.evaluate(SHAPE))


def test_the_box_is_stored_as_integers_under_dotted_keywords(frame):
    with stored(frame) as hdus:
        for header in (hdus[0].header, hdus["IMAGE"].header):
            box = [header[f"BOX.{name}"] for name in ("MINX", "MINY", "MAXX", "MAXY")]
            assert box == [12, 30, 181, 230]
            assert all(type(value) is int for value in box)
            assert header["ALGORITHM"] == "AKIMA_SPLINE"
        cards = [str(card) for card in hdus["IMAGE"].header.cards if "BOX" in card.keyword]
    assert len(cards) == 4
    assert all(card.startswith("HIERARCH BOX.M") for card in cards)


def lsst_file(rng, *, in_primary=True, algorithm="NATURAL_SPLINE"):
    """A sky frame as LSST writes it: cards in the primary, planes by number."""
    primary = fits.PrimaryHDU()
    image = fits.ImageHDU(rng.normal(0, 0.01, CELLS).astype(np.float32))
    mask = fits.ImageHDU(np.zeros(CELLS, np.int32), name="MASK")
    variance = fits.ImageHDU(np.full(CELLS, 1e-8, np.float32), name="VARIANCE")
    image.header["EXTNAME"] = "IMAGE"
    mask.header["HIERARCH MP_NO_DATA"] = 8
    mask.header["HIERARCH MP_BAD"] = 0
    mask.data[1, 1] = 1 << 8
    header = primary.header if in_primary else image.header
    for key, value in (("MINX", 0), ("MINY", 0), ("MAXX", SHAPE[1] - 1), ("MAXY", SHAPE[0] - 1)):
        header[f"HIERARCH BOX.{key}"] = value
    header["HIERARCH ALGORITHM"] = algorithm
    header["OBSTYPE"] = "SKY"
    return fits.HDUList([primary, image, mask, variance])


@pytest.mark.parametrize("in_primary", [True, False])
def test_a_frame_of_lsst_is_read(rng, in_primary):
    hdus = lsst_file(rng, in_primary=in_primary)
    image = hdus[1].data.copy()

    frame = sky_frame_from_hdus(hdus, name="lsst.fits")

    np.testing.assert_array_equal(frame.image, image)
    assert frame.shape == SHAPE
    assert frame.origin == Origin(0, 0)
    assert frame.mask.any_of(["NO_DATA"]).sum() == 1
    assert frame.n_image is None


@pytest.mark.parametrize("algorithm", ["NONE", "SPLINE", ""])
def test_an_unknown_interpolation_is_refused(rng, algorithm):
    with pytest.raises(InputError, match="is no way to interpolate"):
        sky_frame_from_hdus(lsst_file(rng, algorithm=algorithm), name="lsst.fits")


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"BOX_MINX": None}, "no sky frame: it has no card BOX.MINX"),
        ({"BOX_MAXX": 5}, "is empty"),
        ({"BOX_MAXX": 181.5}, "no whole numbers"),
        ({"BOX_MAXX": 14}, "cannot be divided"),
        ({"SKYMVER": 99}, "newer"),
    ],
)
def test_a_damaged_frame_is_refused(frame, cards, words):
    with stored(frame, **cards) as hdus, pytest.raises(InputError, match=words):
        sky_frame_from_hdus(hdus, name="sky.fits")


def test_planes_of_other_shapes_are_refused(rng):
    hdus = lsst_file(rng)
    hdus[3].data = np.zeros((3, 4), np.float32)

    with pytest.raises(InputError, match=r"VARIANCE\] has the shape"):
        sky_frame_from_hdus(hdus, name="lsst.fits")


def test_a_frame_fits_exposures_of_its_box_only(frame):
    def exposure(shape, origin):
        pixels = np.zeros(shape, np.float32)
        return Exposure(pixels, Mask.empty(shape), pixels, origin=origin, name="e.fits")

    frame.check_fits(exposure(SHAPE, Origin(30, 12)))
    for shape, origin in ((SHAPE, Origin(0, 0)), ((201, 171), Origin(30, 12))):
        with pytest.raises(IncompatibleError, match=r"e\.fits covers x") as caught:
            frame.check_fits(exposure(shape, origin))
        assert caught.value.exit_code == 4


def test_surfaces_may_keep_the_averages_of_the_superpixels(frame):
    def averages(model):
        image = model.evaluate(SHAPE).astype(np.float64)
        rows = np.add.reduceat(image, frame.cells.y_edges[:-1], axis=0)
        sums = np.add.reduceat(rows, frame.cells.x_edges[:-1], axis=1)
        return sums / frame.cells.areas

    plain, kept = (frame.models(keep_averages=each)[0] for each in (False, True))

    errors = [np.std(averages(model) - frame.image) for model in (plain, kept)]
    assert errors[1] < errors[0]


def test_the_rms_is_that_of_measured_superpixels(frame):
    measured = ~frame.mask.any_of(["NO_DATA"])

    assert pattern_rms(frame) == pytest.approx(frame.image[measured].std(dtype=float))


def test_frames_are_told_from_exposures_by_their_cards(frame):
    with stored(frame) as hdus:
        assert is_sky_frame(hdus["IMAGE"].header)
        assert is_sky_frame(hdus[0].header)
    assert not is_sky_frame(fits.Header([("SKYTYPE", "EXPOSURE")]))
