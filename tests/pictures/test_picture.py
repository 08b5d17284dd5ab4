import io

import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import IncompatibleError
from skytool.models.mask import Mask
from skytool.pictures.compass import angle_text, round_angle
from skytool.pictures.panel import View, panel_of
from skytool.pictures.picture import draw_picture, share_text
from skytool.pictures.scaling import Stretch
from tests.io.ours import exposure

pytest.importorskip("matplotlib", reason="pictures are drawn with matplotlib")
pillow = pytest.importorskip("PIL.Image", reason="pictures are looked at with Pillow")


def looked_at(picture):
    """Return the pixels of a picture, rows from the top, as red, green and blue."""
    return np.array(pillow.open(io.BytesIO(picture.content)).convert("RGB")).astype(int)


def picture_of(made, *, size=None, **view):
    return draw_picture([panel_of(made, View(**view))], size=size)


def inside(pixels):
    """Return the part of a picture of one panel that is the image: between left axis and bar."""
    dark = (pixels.sum(axis=2) < 720).mean(axis=0) > 0.5
    columns = np.flatnonzero(dark)
    gap = columns[np.flatnonzero(np.diff(columns) > 4)[0]]
    rows = np.flatnonzero((pixels[:, columns[0] : gap].sum(axis=2) < 720).mean(axis=1) > 0.9)
    return pixels[rows[0] + 1 : rows[-1], columns[0] + 1 : gap]


@pytest.fixture
def made(rng):
    return exposure(rng)


def test_equal_exposures_make_equal_bytes(rng, made):
    again = exposure(np.random.default_rng(1))
    first = picture_of(again)

    assert first == picture_of(exposure(np.random.default_rng(1)))
    assert first != picture_of(made)
    assert first.content.startswith(b"\x89PNG")
    assert b"matplotlib" not in first.content
    assert first.size == looked_at(first).shape[1::-1]


def test_settings_of_the_user_change_nothing_and_stay(made):
    import matplotlib as mpl

    before = picture_of(made)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 7}):
        assert picture_of(made) == before
        assert mpl.rcParams["font.size"] == 30


def test_the_star_is_where_it_is_and_the_first_row_is_below(made):
    clean = made.with_values(mask=Mask.empty(made.shape), wcs=None)
    pixels = inside(looked_at(picture_of(clean, planes=())))
    height, width = pixels.shape[:2]
    light = np.where(pixels.sum(axis=2) > 600, 1.0, 0.0)
    y, x = np.indices(light.shape)

    # the star of the exposure is at (y, x) = (40, 31) of 90 x 70 pixels
    assert (light * x).sum() / light.sum() / width == pytest.approx(31.5 / 70, abs=0.02)
    assert 1 - (light * y).sum() / light.sum() / height == pytest.approx(40.5 / 90, abs=0.02)
    assert height / width == pytest.approx(90 / 70, rel=0.02)


def test_flags_are_in_the_picture_unless_not_wanted(made):
    def reds(**view):
        pixels = looked_at(picture_of(made, **view))
        return ((pixels[..., 0] > pixels[..., 1] + 60) & (pixels[..., 2] < 120)).sum()

    assert reds() > 100
    assert reds(planes=()) == 0
    assert reds(planes=("BAD",)) < reds(planes=("BAD", "SAT"))


def test_arrows_and_bar_are_there_only_with_coordinates(made):
    somewhere = looked_at(picture_of(made))
    nowhere = looked_at(picture_of(made.with_values(wcs=None)))

    assert somewhere.shape == nowhere.shape
    below = slice(somewhere.shape[0] // 2, None)
    assert (somewhere[below] != nowhere[below]).any()


@pytest.mark.parametrize("extension", ["IMAGE", "variance", "MASK", "PSF", "BKG"])
def test_every_extension_has_a_picture(made, extension):
    pixels = looked_at(picture_of(made, extension=extension))

    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_a_background_is_drawn_as_the_surface_it_is(made):
    panel = panel_of(made, View(extension="BKG"))

    assert panel.image.shape == made.shape
    assert panel.image[0, 0] == pytest.approx(1.5 * (100 - 3 + 7), rel=0.01)
    assert panel.unit == "adu"


def test_units_origins_and_titles_are_those_of_the_exposure(made):
    panel = panel_of(made, View(extension="VARIANCE"))

    assert panel.unit == "adu2"
    assert panel.origin == (17, -4)
    assert panel.title == "rich.fits  VARIANCE  visit 12  detector 3  r"
    assert panel.subtitle.startswith("30 s   10:00:2")
    assert panel.subtitle.endswith("0.25″/pixel   70 × 90 pixels")


def test_slopes_are_blue_and_red_about_zero(made, rng):
    slope = rng.normal(0.02, 0.01, made.shape).astype("f4")
    slope[3, 4], slope[7:9, 5] = 5.0, np.nan
    hdu = fits.ImageHDU(slope, name="SLOPE")
    panel = panel_of(made.with_values(extensions=(hdu,)), View(extension="SLOPE"))

    colours, scale = panel.reduced(1)

    assert scale.low == -scale.high
    assert scale.high < 0.1  # one pixel of 5 leaves the others their colours
    red, blue = colours[..., 0], colours[..., 2]
    positive = slope > 0.01
    assert (red[positive] > blue[positive]).all()
    assert (red[slope < -0.001] < blue[slope < -0.001]).all()
    assert np.isnan(colours[8, 5]).all()
    pixels = inside(looked_at(draw_picture([panel])))
    assert np.mean(pixels[..., 0] > pixels[..., 2] + 10) > 0.5


def test_values_of_cells_are_not_called_pixels(made):
    cells = fits.ImageHDU(np.zeros((5, 7), np.float32), name="MATCHDIF")
    panel = panel_of(made.with_values(extensions=(cells,)), View(extension="MATCHDIF"))

    assert panel.subtitle == "7 × 5 values"


def test_planes_on_sources_are_drawn_only_if_asked_for(made):
    def drawn(**view):
        return {entry.name for entry in panel_of(made, View(**view)).legend}

    usual = {"BAD", "SAT", "CR", "EDGE", "SUSPECT", "NO_DATA"}
    assert drawn() == usual
    assert drawn(planes=("ALL",)) == drawn(extension="MASK") == usual | {"DETECTED"}
    assert drawn(planes=("DETECTED", "STREAK")) == {"DETECTED"}
    assert drawn(extension="BKG") == set()
    with pytest.raises(IncompatibleError, match="unknown mask plane 'SATT'"):
        drawn(planes=("SATT",))


@pytest.mark.parametrize("extension", ["NIMAGE", "INPUTS", "PSF"])
def test_what_is_not_there_cannot_be_drawn(made, extension):
    bare = made.with_values(psf=None)

    with pytest.raises(IncompatibleError, match=f"rich.fits has no .*{extension}.*It has IMAGE"):
        panel_of(bare, View(extension=extension))


@pytest.mark.parametrize("n_panels", [1, 3])
def test_a_picture_fits_into_its_room(made, n_panels):
    panels = [panel_of(made, View())] * n_panels
    for size in [(500, 700), (1400, 900)]:
        width, height = draw_picture(panels, size=size).size

        assert width <= size[0]
        if n_panels == 1:
            assert height <= size[1]
            assert width > 0.85 * size[0] or height > 0.85 * size[1]


def test_a_large_image_is_shown_in_blocks(rng):
    image = rng.normal(0, 1, (3001, 2003)).astype(np.float32)
    image[1500:1502] += 100.0
    mask = Mask.empty(image.shape)
    mask.array[700, 900] |= mask.bitmask(["CR"])
    made = exposure(rng).with_values(
        image=image, mask=mask, variance=np.ones_like(image), extensions=(), wcs=None
    )
    pixels = looked_at(picture_of(made, size=(420, 700)))

    assert pixels.shape[0] <= 700
    assert (pixels[..., 2] > pixels[..., 0] + 60).any(), "one flagged pixel of six million"
    rows = inside(pixels).sum(axis=(1, 2))
    assert np.argmax(rows) / len(rows) == pytest.approx(0.5, abs=0.02)


def test_an_exposure_without_any_value_has_a_picture(made):
    image = np.full(made.shape, np.nan, np.float32)
    mask = Mask.empty(made.shape).with_flagged(np.isnan(image), "NO_DATA")
    empty = made.with_values(image=image, mask=mask, variance=np.full_like(image, np.inf))

    for stretch in Stretch:
        assert picture_of(empty, stretch=stretch).content


def test_names_that_no_font_has_do_no_harm(made):
    name = "$x^2$ \u661f\ufffd" + 200 * "n"
    odd = made.with_values(name=name)

    assert picture_of(odd).size == picture_of(made).size


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.00 %"), (2e-6, "<0.01 %"), (0.00234, "0.23 %"), (0.0567, "5.7 %"), (1.0, "100 %")],
)
def test_shares_have_two_digits(share, text):
    assert share_text(share) == text


@pytest.mark.parametrize(
    ("most", "angle", "text"),
    [(14.0, 10.0, "10″"), (59.0, 30.0, "30″"), (200.0, 120.0, "2′"), (9000.0, 7200.0, "2°")],
)
def test_the_bar_has_a_round_angle(most, angle, text):
    assert round_angle(most) == angle
    assert angle_text(angle) == text


def test_no_bar_for_what_is_too_small_or_not_known():
    assert round_angle(1e-4) is None
    assert round_angle(np.nan) is None
