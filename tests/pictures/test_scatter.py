import io

import numpy as np
import pytest

from skytool.errors import IncompatibleError
from skytool.pictures.panel import View, panel_of
from skytool.pictures.picture import draw_picture
from skytool.stages.skyframe import with_layers
from tests.stages.skies import frame_of, gradient, pattern, sky_exposure, solved

pytest.importorskip("matplotlib", reason="pictures are drawn with matplotlib")
pillow = pytest.importorskip("PIL.Image", reason="pictures are looked at with Pillow")


@pytest.fixture
def exposures(rng):
    """Return an exposure before and after a sky frame was taken off it."""
    given = sky_exposure(rng, 1000.0, pattern(), smooth=gradient(rng), name="flat.fits")
    solution = solved(given, frame_of(pattern()))
    return given, with_layers(given, solution.detectors[0].layers)


def test_the_image_before_is_the_image_with_all_layers_put_back(exposures):
    given, flat = exposures

    panel = panel_of(flat, View(extension="before"))

    np.testing.assert_allclose(panel.image, given.image, rtol=3e-7)
    assert panel.unit == "adu"


def test_points_lie_on_a_slope_before_and_are_level_after(exposures):
    panel = panel_of(exposures[1], View(extension="skyfit"))

    (before, after) = panel.points
    cell = frame_of(pattern()).cells
    noise = np.sqrt(1000 / cell.areas.mean())
    slopes = [np.polyfit(points.x, points.y, 1)[0] for points in (before, after)]
    error = noise / np.sqrt(np.sum(before.x**2))
    # scale and slope are measured in the same pixels, the slope without the smooth background
    assert slopes == pytest.approx([1, 0], abs=5 * error)
    assert len(before.x) == cell.shape[0] * cell.shape[1]
    assert np.std(after.y) == pytest.approx(noise, rel=0.1)
    assert "before, -0.0" in panel.subtitle or "before, 0.0" in panel.subtitle


def test_flagged_pixels_are_not_averaged(exposures):
    _, flat = exposures
    where = np.zeros(flat.shape, bool)
    where[:40, :40] = True
    image = np.where(where, 1e5, flat.image).astype(np.float32)
    spoilt = flat.with_values(image=image, mask=flat.mask.with_flagged(where, "SAT"))

    (_, after) = panel_of(spoilt, View(extension="SKYFIT")).points

    assert np.abs(after.y).max() < 20


def test_points_become_a_picture_beside_an_image(exposures):
    _, flat = exposures
    panels = [panel_of(flat, View(extension=name)) for name in ("IMAGE", "SKYFIT")]

    picture = draw_picture(panels)

    pixels = np.array(pillow.open(io.BytesIO(picture.content)).convert("RGB")).astype(int)
    blue = (pixels[..., 2] > pixels[..., 0] + 80) & (pixels[..., 2] > pixels[..., 1] + 50)
    assert blue[:, pixels.shape[1] // 2 :].sum() > 500
    assert picture.size == pixels.shape[1::-1]
    assert picture == draw_picture(panels)


def test_exposures_without_sky_frame_have_no_points(exposures):
    with pytest.raises(IncompatibleError, match="says of no sky frame"):
        panel_of(exposures[0], View(extension="SKYFIT"))
