import numpy as np
import pytest
from astropy.io import fits

from skytool.errors import IncompatibleError
from skytool.models.exposure import Exposure
from skytool.models.mask import Mask
from skytool.pictures.panel import View, panel_of
from skytool.pictures.picture import draw_picture

SHAPE = (30, 41)


def exposure_of(*images):
    parts = tuple(
        fits.ImageHDU(image, name="DCR", ver=number) for number, image in enumerate(images, 1)
    )
    total = np.sum(images, axis=0) if images else np.zeros(SHAPE)
    return Exposure(
        total.astype("f4"), Mask.empty(SHAPE), np.ones(SHAPE, np.float32), extensions=parts[::-1]
    )


def test_subfilters_are_drawn_as_colours(rng):
    blue, green, red = (rng.normal(size=SHAPE).astype("f4") for _ in range(3))
    blue[10:13, 5:8] += 300
    red[20:23, 30:33] += 300

    panel = panel_of(exposure_of(blue, green, red), View(extension="DCR"))

    colours, _ = panel.reduced(1)
    assert colours.shape == (*SHAPE, 3)
    assert colours[11, 6].argmax() == 2
    assert colours[21, 31].argmax() == 0
    assert draw_picture([panel]).content.startswith(b"\x89PNG")


def test_flat_spectrum_is_grey_and_no_value_has_no_colour(rng):
    image = rng.normal(size=SHAPE).astype("f4")
    exposure = exposure_of(*[image] * 4)
    exposure.image[3, 4] = np.nan

    channels = panel_of(exposure, View(extension="DCR")).channels

    np.testing.assert_allclose(channels[0], channels[2], rtol=1e-6)
    np.testing.assert_allclose(channels[1], exposure.image, rtol=1e-5)
    assert np.isnan(channels[:, 3, 4]).all()


def test_exposure_without_subfilters_has_no_colours():
    with pytest.raises(IncompatibleError, match="no subfilters"):
        panel_of(exposure_of(), View(extension="DCR"))
