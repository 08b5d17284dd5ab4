import numpy as np
import pytest

from skytool.core.matching.psf_match_config import PsfMatchConfig, match_cells, padded_psf_size


@pytest.mark.parametrize(
    ("psf_size", "kernel_size", "settings", "size"),
    [
        (15, 21, {}, 31),
        (25, 21, {}, 31),
        (25, 27, {}, 39),
        (41, 21, {}, 41),
        (25, 21, {"auto_pad_to": 1.0}, 25),
        (25, 21, {"auto_pad_to": 1.6}, 35),
        (25, 21, {"auto_pad": False, "pad_by": 6}, 31),
        (25, 23, {"auto_pad": False}, 25),
    ],
)
def test_stamps_are_padded_in_proportion_to_the_kernel_or_by_hand(
    psf_size, kernel_size, settings, size
):
    assert padded_psf_size(psf_size, kernel_size, **settings) == size


@pytest.mark.parametrize("pad_by", [3, -2])
def test_padding_by_hand_is_even(pad_by):
    with pytest.raises(ValueError, match="even"):
        padded_psf_size(25, 21, auto_pad=False, pad_by=pad_by)


def test_a_kernel_too_large_for_the_stamp_is_refused_with_the_remedies():
    with pytest.raises(ValueError, match=r"at most 23.*automatic padding.*at least 8"):
        padded_psf_size(25, 31, auto_pad=False)
    assert padded_psf_size(25, 31, auto_pad=False, pad_by=8) == 33
    with pytest.raises(ValueError, match=r"at most 25.*at least 8"):
        padded_psf_size(25, 31, auto_pad=False, pad_by=2)


def test_cells_fill_the_image_grown_by_one_cell():
    y, x, domain = match_cells((256, 300), cell_y=128, cell_x=64)

    assert sorted(set(y)) == [-64.0, 64.0, 192.0, 320.0]
    assert sorted(set(x)) == [-32.0, 32.0, 96.0, 160.0, 224.0, 288.0]
    assert len(y) == len(x) == 24
    assert domain == (-128.5, 383.5, -64.5, 363.5)


def test_small_images_still_have_cells_around_them():
    y, x, _ = match_cells((10, 400))

    assert sorted(set(y)) == [-64.0, 64.0]
    assert len(set(x)) == 5


def test_no_area_has_no_cells():
    with pytest.raises(ValueError, match="insufficient area"):
        match_cells((0, 100))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kernel_size": 20}, "odd"),
        ({"kernel_size": 1}, "at least 3"),
        ({"sigmas": (1.0, 2.0)}, "2 widths"),
        ({"spatial_order": -1}, "order"),
        ({"ridge": -1.0}, "negative"),
        ({"max_noise_gain": 0.0}, "noise gain"),
        ({"region": "valid"}, "Wiener"),
        ({"ridge": 0.0}, "Wiener"),
        ({"taper": (1.2, 0.8)}, "outwards"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        PsfMatchConfig(**settings)


def test_positions_are_floats():
    assert match_cells((50, 60))[0].dtype == np.float64
