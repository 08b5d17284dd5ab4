from io import BytesIO

import numpy as np
import pytest
from astropy.io import fits

from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.chebyshev import ChebyshevModel
from skytool.core.background.curves import Extrapolation, InterpolationStyle
from skytool.core.background.interpolation import (
    InterpolationRule,
    UndersampleStyle,
    interpolate_cells,
)
from skytool.errors import IncompatibleError, InputError
from skytool.models.background.hdus import (
    Approximation,
    Background,
    BackgroundLayer,
    BinnedBackground,
    ChebyshevBackground,
    ConstantBackground,
    ImageBackground,
    background_from_hdus,
    background_to_hdus,
)
from skytool.models.exposure import Origin

SHAPE = (40, 50)
LINEAR = InterpolationRule(
    InterpolationStyle.LINEAR, UndersampleStyle.THROW_EXCEPTION, Extrapolation.CONSTANT, 7.5
)
CELLS = np.array(
    [[0, 1, 4, 9, 16], [1, 3, 7, 13, 21], [2, 2, 2, 8, 8], [5, 0, 5, 0, 5], [1, 1, 2, 3, 5]],
    np.float32,
)


def polynomial():
    return ChebyshevModel(np.array([[7.0, 1.5, -0.5], [0.25, 0.125, 0.0]]), SHAPE)


def cells(**options):
    grid = options.pop("grid", CellGrid.from_counts(SHAPE, CELLS.shape))
    return BinnedBackground(CELLS, grid, **options)


def every_model(rng):
    edges = CellGrid(np.array([0, 3, 10, 20, 33, 40]), np.array([0, 16, 25, 30, 40, 50]))
    limited = ChebyshevModel(
        polynomial().coefficients, SHAPE, y_range=(4.0, 31.5), value_range=(5.0, 8.25)
    )
    image = rng.normal(5.0, 1.0, SHAPE).astype(np.float32)
    return [
        ConstantBackground(3.25),
        ChebyshevBackground(polynomial()),
        ChebyshevBackground(limited),
        ImageBackground(image),
        cells(),
        cells(rule=LINEAR),
        cells(grid=edges, mask=np.arange(25, dtype=np.int32).reshape(5, 5)),
        cells(approximation=Approximation(2, weighted=False)),
        cells(variance=0.1 * np.arange(1, 26, dtype=np.float32).reshape(5, 5)),
    ]


def reopened(hdus):
    stream = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(stream)
    return fits.HDUList.fromstring(stream.getvalue())


def test_models_are_evaluated_at_every_pixel():
    np.testing.assert_array_equal(ConstantBackground(3.25).evaluate(SHAPE), np.full(SHAPE, 3.25))
    y, x = ((2 * np.arange(n) + 1) / n - 1 for n in SHAPE)
    expected = np.polynomial.chebyshev.chebgrid2d(y, x, polynomial().coefficients)
    got = ChebyshevBackground(polynomial()).evaluate(SHAPE)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_array_equal(cells().evaluate(SHAPE), interpolate_cells(CELLS, cells().grid))


def test_rows_are_those_of_the_whole(rng):
    for model in every_model(rng):
        whole = model.evaluate(SHAPE)
        assert whole.shape == SHAPE
        np.testing.assert_allclose(model.evaluate(SHAPE, rows=slice(7, 19)), whole[7:19], rtol=1e-6)


def test_an_approximation_is_the_least_squares_polynomial_through_the_centres():
    # published values for these cells: order 2 without weights
    at = [(0, 0), (3, 4), (20, 25), (39, 49), (39, 0), (0, 49), (27, 13)]
    published = [-2.555107, -0.940125, 4.192661, 2.573893, 4.148018, 22.147018, 2.050179]
    got = cells(approximation=Approximation(2, weighted=False)).evaluate(SHAPE)
    np.testing.assert_allclose([got[p] for p in at], published, rtol=0, atol=2e-6)
    # the same, weighted by the inverse of what stands in the variance plane
    published = [-1.975893, -0.520085, 4.306075, 3.153107, 3.147820, 21.146820, 2.067352]
    plane = 0.1 * np.arange(1, 26, dtype=np.float32).reshape(5, 5)
    weighted = cells(approximation=Approximation(2, weighted=True), variance=plane)
    got = weighted.evaluate(SHAPE)
    np.testing.assert_allclose([got[p] for p in at], published, rtol=0, atol=2e-6)


def test_a_model_does_not_go_with_another_shape(rng):
    for model in every_model(rng)[1:]:
        with pytest.raises(IncompatibleError, match="50 x 40"):
            model.evaluate((50, 40))
    assert ConstantBackground(1.0).evaluate((50, 41)).shape == (50, 41)


def test_cells_must_go_with_their_grid():
    with pytest.raises(ValueError, match="grid"):
        BinnedBackground(CELLS[:4], CellGrid.from_counts(SHAPE, (5, 5)))


def test_the_sum_of_layers_restores_the_pixels(rng):
    before = rng.normal(100.0, 5.0, SHAPE).astype(np.float32)
    now, background = before.astype(np.float64), Background(unit="adu")
    for index, model in enumerate(every_model(rng)):
        operation = ("ADD", "SUBTRACT")[index % 2]
        layer = BackgroundLayer(model, operation, scale=0.5 + index)
        change = layer.scale * model.evaluate(SHAPE).astype(np.float64)
        now += change if operation == "ADD" else -change
        background = background.with_layer(layer)
    # to the rounding of float32 of sums of up to 200
    restored = now + background.evaluate(SHAPE)
    np.testing.assert_allclose(restored, before, rtol=0, atol=2e-4)
    np.testing.assert_array_equal(
        background.evaluate(SHAPE, rows=slice(3, 9)), background.evaluate(SHAPE)[3:9]
    )


def test_no_layers_are_no_background():
    np.testing.assert_array_equal(Background().evaluate(SHAPE), np.zeros(SHAPE))


def test_layers_survive_their_extensions(rng):
    layers = tuple(
        BackgroundLayer(
            model,
            ("ADD", "SUBTRACT")[index % 2],
            scale=0.1 + index,
            stage="match-bg",
            sky_file="sky.fits" if isinstance(model, BinnedBackground) else "",
            sky_sum="1234",
            scale_error=0.25 if index % 3 else None,
        )
        for index, model in enumerate(every_model(rng))
    )
    background = Background(layers, "nJy")
    hdus = background_to_hdus(background, origin=Origin(y=70, x=-5), extver=1)
    read = background_from_hdus(reopened(hdus), name="a.fits")
    assert read.unit == "nJy"
    assert len(read.layers) == len(layers)
    for old, new in zip(layers, read.layers, strict=True):
        np.testing.assert_array_equal(new.model.evaluate(SHAPE), old.model.evaluate(SHAPE))
        for attribute in ("operation", "scale", "stage", "sky_file", "sky_sum", "scale_error"):
            assert getattr(new, attribute) == getattr(old, attribute)
    assert read.layers[6].model.mask.tolist() == np.arange(25).reshape(5, 5).tolist()
    np.testing.assert_array_equal(read.evaluate(SHAPE), background.evaluate(SHAPE))


def test_the_cards_of_cells_are_those_of_lsst_lists():
    layer = BackgroundLayer(cells(), sky_file="sky.fits")
    hdus = background_to_hdus(Background((layer,), "adu"), origin=Origin(y=70, x=-5), extver=3)
    assert [(h.name, h.ver) for h in hdus] == [("BKG", 3), ("BKGMASK", 3), ("BKGVAR", 3)]
    for hdu in hdus:
        header = fits.Header.fromstring(hdu.header.tostring())
        assert [header[k] for k in ("BKGD_X0", "BKGD_Y0", "BKGD_WIDTH", "BKGD_HEIGHT")] == [
            -5, 70, 50, 40
        ]  # fmt: skip
        assert (header["INTERPSTYLE"], header["UNDERSAMPLESTYLE"]) == (5, 1)
        assert (header["APPROXSTYLE"], header["APPROXORDERX"]) == (-1, 0)
        assert header["APPROXWEIGHTING"] is False
        assert "YEDGES" not in header
        assert "BKGREACH" not in header
    assert hdus[0].header["SKYMODEL"] == "SKYFRAME"
    assert [hdu.header.get("BUNIT") for hdu in hdus] == ["adu", None, "adu2"]


def lsst_list(*layers, **changes):
    """A list of backgrounds as LSST writes it: three nameless images a layer, the first primary."""
    hdus = []
    for style, order in layers:
        for plane in (CELLS, np.zeros_like(CELLS, np.int32), np.ones_like(CELLS)):
            hdu = (fits.ImageHDU if hdus else fits.PrimaryHDU)(plane)
            cards = {
                "BKGD_X0": 0,
                "BKGD_Y0": 0,
                "BKGD_WIDTH": 50,
                "BKGD_HEIGHT": 40,
                "INTERPSTYLE": style,
                "UNDERSAMPLESTYLE": 1,
                "APPROXSTYLE": -1 if order is None else 0,
                "APPROXORDERX": order or 0,
                "APPROXORDERY": order or 0,
                "APPROXWEIGHTING": False,
                **changes,
            }
            for key, value in cards.items():
                if value is not None:
                    hdu.header[key if len(key) < 9 else f"HIERARCH {key}"] = value
            hdus.append(hdu)
    return hdus


def test_a_list_of_lsst_is_what_was_subtracted():
    stream = BytesIO()
    fits.HDUList(lsst_list((5, None), (1, None), (5, 2))).writeto(stream)
    read = background_from_hdus(fits.HDUList.fromstring(stream.getvalue()), name="a.fits")
    expected = (
        cells().evaluate(SHAPE).astype(float)
        + cells(rule=InterpolationRule(InterpolationStyle.LINEAR)).evaluate(SHAPE)
        + cells(approximation=Approximation(2, weighted=False)).evaluate(SHAPE)
    )
    np.testing.assert_allclose(read.evaluate(SHAPE), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "hdus",
    [
        lsst_list((5, None))[:2],
        lsst_list((77, None)),
        lsst_list((5, None), BKGD_WIDTH=None),
        lsst_list((5, None), BKGD_WIDTH=3),
    ],
)
def test_a_damaged_list_is_refused_by_name(hdus):
    with pytest.raises(InputError, match=r"bad\.fits"):
        background_from_hdus(hdus, name="bad.fits")


@pytest.mark.parametrize("extname", ["IMAGE", "SCI", "MODEL", ""])
def test_a_plain_image_is_a_background_in_its_unit(extname):
    pixels = np.arange(2000.0).reshape(SHAPE).astype(">f8")
    hdu = fits.ImageHDU(pixels, name=extname)
    hdu.header["BUNIT"] = "nJy"
    others = [fits.PrimaryHDU()]
    if extname in {"IMAGE", "SCI"}:
        others.append(fits.ImageHDU(np.zeros(SHAPE), name="VARIANCE"))
    read = background_from_hdus([*others, hdu], name="a.fits")
    assert read.unit == "nJy"
    np.testing.assert_array_equal(read.evaluate(SHAPE), pixels.astype(np.float32))


@pytest.mark.parametrize(
    "hdus",
    [
        [fits.PrimaryHDU()],
        [fits.ImageHDU(np.ones(SHAPE), name=n) for n in ("A", "B")],
        [fits.ImageHDU(np.ones((2, 3, 4)), name="IMAGE")],
    ],
)
def test_a_file_without_a_background_is_refused_by_name(hdus):
    with pytest.raises(InputError, match=r"bad\.fits"):
        background_from_hdus(hdus, name="bad.fits")


@pytest.mark.parametrize(
    "cards",
    [
        {"SKYMVER": 2},
        {"SKYMVER": None},
        {"SKYMODEL": "WAVELETS"},
        {"BKGOP": "DIVIDE"},
        {"BKGOP": None},
        {"SKYSCALE": "much"},
        {"DOMAINX": None},
    ],
)
def test_a_damaged_layer_is_refused_by_name(cards):
    hdus = background_to_hdus(Background.of(ChebyshevBackground(polynomial())), extver=2)
    for key, value in cards.items():
        if value is None:
            del hdus[0].header[key]
        else:
            hdus[0].header[key] = value
    with pytest.raises(InputError, match=r"bad\.fits\[BKG,2\]"):
        background_from_hdus(hdus, name="bad.fits")


def test_edges_that_do_not_increase_are_refused():
    edges = CellGrid(np.array([0, 3, 10, 20, 33, 40]), np.array([0, 16, 25, 30, 40, 50]))
    hdus = background_to_hdus(Background.of(cells(grid=edges)))
    hdus[0].header["YEDGES"] = "0,10,3,20,33,40"
    with pytest.raises(InputError, match="YEDGES"):
        background_from_hdus(hdus, name="bad.fits")


def test_layers_of_different_units_are_refused():
    hdus = background_to_hdus(Background.of(ConstantBackground(1.0), "nJy"))
    hdus += background_to_hdus(Background.of(ConstantBackground(1.0), "adu"), extver=2)
    with pytest.raises(IncompatibleError, match="adu, nJy"):
        background_from_hdus(hdus, name="a.fits")


@pytest.mark.parametrize("values", [{"operation": "MULTIPLY"}, {"scale": np.nan}])
def test_impossible_layers_are_refused(values):
    with pytest.raises(ValueError, match=r"operation|scale"):
        BackgroundLayer(ConstantBackground(1.0), **values)


def test_a_polynomial_is_evaluated_from_its_file_by_numpy_alone():
    layer = BackgroundLayer(ChebyshevBackground(polynomial()), "ADD", scale=0.75)
    hdu = reopened(background_to_hdus(Background((layer,), "adu")))["BKG", 1]
    nx, ny = hdu.header["DOMAINX"], hdu.header["DOMAINY"]
    v, u = (2 * np.arange(ny) + 1) / ny - 1, (2 * np.arange(nx) + 1) / nx - 1
    surface = hdu.header["SKYSCALE"] * np.polynomial.chebyshev.chebgrid2d(v, u, hdu.data)
    sign = {"ADD": 1.0, "SUBTRACT": -1.0}[hdu.header["BKGOP"]]
    read = background_from_hdus([hdu], name="a")
    np.testing.assert_allclose(-sign * surface, read.evaluate((ny, nx)), rtol=1e-6)
