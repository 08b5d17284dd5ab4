import numpy as np
import pytest

from skytool.models.mask import Mask
from skytool.pictures.colours import (
    NO_VALUE,
    colour_of,
    legend_of,
    mask_colours,
    pixel_colours,
    planes_set,
    signed_colours,
)

SHAPE = (8, 6)


@pytest.fixture
def mask():
    made = Mask.empty(SHAPE, ["GHOST"])
    for plane, where in {"SAT": (2, 3), "BAD": (slice(None), 1), "NO_DATA": (7, 5)}.items():
        made.array[where] |= made.bitmask([plane])
    return made


def test_planes_that_are_set_are_found_in_the_order_of_their_bits(mask):
    assert planes_set(mask) == ["BAD", "SAT", "NO_DATA"]
    assert planes_set(Mask.empty(SHAPE)) == []


def test_the_legend_has_shares_the_largest_first(mask):
    legend = legend_of(mask, ["SAT", "GHOST", "BAD", "ELSEWHERE"])

    assert [(entry.name, entry.share) for entry in legend] == [
        ("BAD", 8 / 48),
        ("SAT", 1 / 48),
        ("GHOST", 0.0),
    ]


def test_colours_of_planes_that_are_drawn_together_differ():
    usual = ["BAD", "SAT", "CR", "EDGE", "DETECTED", "SUSPECT", "STREAK", "NO_DATA"]
    usual += ["EXTRAPOLATED", "CLIPPED"]
    colours = np.array([colour_of(plane, 0) for plane in usual])
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=2)

    assert apart[~np.eye(len(usual), dtype=bool)].min() > 0.3
    assert colour_of("GHOST", 22) == colour_of("GHOST", 22)


def test_signs_have_colours_and_zero_has_none():
    blue, white, red, nothing = signed_colours(np.array([0.1, 0.5, 0.9, np.nan]))

    assert blue[2] - blue[0] > 0.4
    assert red[0] - red[2] > 0.4
    assert np.ptp(white) == 0.0
    assert np.isnan(nothing).all()


def test_pixels_are_grey_flags_have_their_colours_and_gaps_their_own(mask):
    shades = np.full(SHAPE, 0.5)
    shades[7, 5] = np.nan
    legend = legend_of(mask, ["BAD", "SAT", "NO_DATA"])
    colours = pixel_colours(shades, factor=1, mask=mask, legend=legend)

    assert colours.dtype == np.uint8
    assert colours[0, 0].tolist() == [128, 128, 128]
    assert colours[7, 5].tolist() == [round(255 * part) for part in NO_VALUE]
    red, orange = colours[4, 1].astype(int), colours[2, 3].astype(int)
    assert red[0] > red[1] + 80
    assert orange[0] > orange[1] > orange[2] + 80


def test_the_rarer_plane_lies_on_top(mask):
    mask.array[2, 3] |= mask.bitmask(["BAD"])
    legend = legend_of(mask, ["SAT", "BAD"])
    colours = pixel_colours(np.full(SHAPE, 0.0), factor=1, mask=mask, legend=legend)

    assert colours[2, 3, 1] > colours[2, 1, 1] + 50, "SAT is orange, BAD is red"


def test_a_block_has_every_plane_of_its_pixels(mask):
    legend = legend_of(mask, ["SAT"])
    colours = pixel_colours(np.zeros((2, 2)), factor=4, mask=mask, legend=legend)
    full = mask_colours(mask, factor=4, legend=legend)

    assert colours.shape == full.shape == (2, 2, 3)
    assert colours[0, 0].any()
    assert not colours[1].any()
    assert full[0, 0].tolist() == [round(255 * part) for part in colour_of("SAT", 1)]
    assert (full[1] == 255).all()
