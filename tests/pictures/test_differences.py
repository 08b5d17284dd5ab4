import numpy as np
import pytest
from astropy.io import fits

from skytool.core.matching.kernel_basis import alard_lupton_basis
from skytool.errors import IncompatibleError
from skytool.models.matching_kernel import MatchingKernel
from skytool.models.source_catalogue import SourceCatalogue
from skytool.pictures.panel import View, panel_of
from skytool.pictures.picture import draw_picture
from tests.io.ours import exposure

SIDE = 7


def kernel_of(shape):
    basis = alard_lupton_basis(SIDE, (1.0,), (2,))
    coefficients = np.zeros((len(basis), 2, 2))
    coefficients[0, 0, 0] = 0.8
    coefficients[1, 0, 1] = 0.1
    return MatchingKernel(
        basis=basis,
        coefficients=coefficients,
        background=np.zeros((1, 1)),
        shape=shape,
        convolved="TEMPLATE",
        science_variance=1.0,
        template_variance=1.0,
        widths=(1.0,),
        degrees=(2,),
        kernel_order=1,
    )


def catalogue():
    columns = {
        "ID": np.arange(1, 5),
        "X": np.array([3.0, 9.5, 20.0, 30.0]),
        "Y": np.array([4.0, 5.0, 12.0, 15.5]),
        "NEGATIVE": np.array([False, True, False, False]),
        "DIPOLE": np.array([False, False, True, False]),
        "SKY": np.array([False, False, False, True]),
    }
    return SourceCatalogue(columns, "adu")


@pytest.fixture
def made(rng):
    return exposure(rng)


def test_kernels_are_those_at_nine_places(made):
    kernel = kernel_of(made.shape)
    panel = panel_of(
        made.with_values(extensions=tuple(kernel.to_hdus())), View(extension="KERNELS")
    )

    assert panel.shape == (3 * SIDE, 3 * SIDE)
    ny, nx = made.shape
    for row in range(3):
        for column in range(3):
            part = panel.image[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
            at = {"y": (row + 0.5) / 3 * ny - 0.5, "x": (column + 0.5) / 3 * nx - 0.5}
            np.testing.assert_allclose(part, kernel.kernel.at(**at), atol=1e-7)


def test_histogram_of_noise_follows_the_gaussian(rng, made):
    variance = np.full(made.shape, 4.0, np.float32)
    image = (2.0 * rng.standard_normal(made.shape)).astype(np.float32)
    panel = panel_of(made.with_values(image=image, variance=variance), View(extension="SNRHIST"))
    gaussian, pixels = panel.points

    good = ~made.mask.any_of(["BAD", "SAT", "EDGE", "NO_DATA"])
    expected = dict(zip(gaussian.x, 10**gaussian.y, strict=True))
    assert round(np.sum(10**pixels.y)) == np.count_nonzero(good)
    for x, y in zip(pixels.x, pixels.y, strict=True):
        if x in expected:
            assert abs(10**y - expected[x]) < 5 * np.sqrt(expected[x]) + 1


def test_histogram_of_a_score_is_that_of_its_extension(made):
    snr = fits.ImageHDU(np.full(made.shape, 2.6, np.float32), name="SNR")
    panel = panel_of(made.with_values(extensions=(snr,)), View(extension="SNRHIST"))

    np.testing.assert_allclose(panel.points[1].x, [2.625])


def test_sources_are_drawn_where_they_are_by_kind(made):
    extended = made.with_values(extensions=(catalogue().to_hdu(),))
    panel = panel_of(extended, View(extension="SOURCES"))

    assert [points.name for points in panel.points] == ["positive: 1", "negative: 1", "dipoles: 1"]
    assert panel.points[1].x.tolist() == [9.5 + made.origin.x]
    assert panel.points[1].y.tolist() == [5.0 + made.origin.y]
    pytest.importorskip("matplotlib", reason="pictures are drawn with matplotlib")
    assert draw_picture([panel]).content.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["KERNELS", "SOURCES", "SNRHIST"])
def test_exposures_without_what_is_to_be_drawn_are_refused(made, name):
    image = np.full(made.shape, np.nan, np.float32)
    with pytest.raises(IncompatibleError, match="no "):
        panel_of(made.with_values(image=image), View(extension=name))
