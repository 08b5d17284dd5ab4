import numpy as np
import pytest

from skytool.errors import IncompatibleError
from skytool.models.dcr.bands import Band, band_named, band_of_observation, known_bands
from skytool.models.observation.observation import observation_from_header
from tests.models.headers import CFHT, DECAM, HSC, RUBIN, header


def band_of(cards):
    return band_of_observation(observation_from_header(header(cards)), name="a.fits")


def test_subfilters_divide_the_band_evenly_from_the_bluest():
    subfilters = Band(476.31, 147.0).subfilters(3)

    assert subfilters.edges == pytest.approx([402.81, 451.81, 500.81, 549.81])
    assert subfilters.limits == pytest.approx(
        np.array([[402.81, 451.81], [451.81, 500.81], [500.81, 549.81]])
    )


def test_nodes_are_the_middles_of_equal_pieces():
    nodes = Band(500.0, 120.0).subfilters(2).nodes(3)

    assert nodes == pytest.approx(np.array([[450.0, 470.0, 490.0], [510.0, 530.0, 550.0]]))


@pytest.mark.parametrize(("middle", "width"), [(500.0, 0.0), (500.0, -3.0), (500.0, 1000.0)])
def test_impossible_band_is_refused(middle, width):
    with pytest.raises(IncompatibleError, match="no band is"):
        Band(middle, width)


def test_no_subfilter_is_refused():
    with pytest.raises(ValueError, match="one subfilter or more"):
        Band(500.0, 100.0).subfilters(0)


@pytest.mark.parametrize("name", known_bands())
def test_bands_of_the_table_can_be_named_and_are_optical(name):
    band = known_bands()[name]
    system, letter = name.split("-")

    assert band_named(name) == band_named(f"{system.upper()} {letter}") == band
    assert band.source
    assert 290 < band.limits[0] < band.effective_wavelength < band.limits[1] < 1100


@pytest.mark.parametrize(
    ("name", "camera", "expected"),
    [
        ("g", "", "lsst-g"),
        ("V", "", "johnson-V"),
        ("R", "", "johnson-R"),
        ("g", "DECam CTIO", "decam-g"),
        ("y", "decam", "decam-Y"),
        ("Y", "Hyper Suprime-Cam Subaru", "hsc-y"),
        ("i", "MegaPrime", "lsst-i"),
        ("ps1_g", "DECam", "ps1-g"),
    ],
)
def test_letter_is_a_filter_of_the_camera(name, camera, expected):
    assert band_named(name, camera=camera).name == expected


@pytest.mark.parametrize("name", ["q", "lsst-V", "nowhere-g", "NB387", ""])
def test_unknown_band_is_refused(name):
    with pytest.raises(IncompatibleError, match="--effective-wavelength"):
        band_named(name)


@pytest.mark.parametrize(
    ("cards", "name", "middle", "width"),
    [
        (DECAM, "decam-z", 926.0, 152.0),
        ({"FILTER": "g DECam SDSS c0001 4720.0 1520.0"}, "decam-g", 472.0, 152.0),
        (HSC, "hsc-i", 769.9, 147.1),
        (RUBIN, "lsst-i", 754.5, 127.0),
        (CFHT, "lsst-i", 754.5, 127.0),
        ({"FILTER": "g", "EFFWAVE": 476.31, "BANDWID": 147.0}, "g", 476.31, 147.0),
        ({"FILTER": "g", "WAVELEN": 4763.1, "BANDWID": 1470.0}, "g", 476.31, 147.0),
        ({"FILTER": "g", "WLMIN": 402.6, "WLMAX": 550.1}, "g", 476.35, 147.5),
        ({"FILTER": "g", "FILTERLB": 4140.0, "FILTERUB": 5590.0}, "g", 486.5, 145.0),
        ({"FILTER": "g", "WAVELEN": 4763.1}, "lsst-g", 478.5, 147.0),
    ],
    ids=[
        "decam",
        "decam g",
        "hsc",
        "rubin",
        "cfht",
        "nm",
        "angstrom",
        "limits",
        "limits in angstrom",
        "half",
    ],
)
def test_band_of_a_header_is_found(cards, name, middle, width):
    band = band_of(cards)

    assert band.name == name
    assert (band.effective_wavelength, band.bandwidth) == pytest.approx((middle, width))


def test_unit_of_wavelengths_is_that_of_the_comment():
    cards = header({"FILTER": "g"})
    cards["EFFWAVE"] = (4763.1, "[Angstrom]")
    cards["BANDWID"] = (1470.0, "[Angstrom]")

    band = band_of_observation(observation_from_header(cards))
    assert band.limits == pytest.approx((402.81, 549.81))


@pytest.mark.parametrize(
    ("cards", "words"), [({}, "names no filter"), ({"FILTER": "NB387"}, "NB387")]
)
def test_header_without_known_filter_is_refused(cards, words):
    with pytest.raises(IncompatibleError, match=words) as error:
        band_of(cards)
    assert "a.fits" in str(error.value)
