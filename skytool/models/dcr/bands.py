"""The wavelengths of filters, and bands divided into subfilters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import IncompatibleError
from skytool.models.observation.header_values import comment_of, number_of

if TYPE_CHECKING:
    from astropy.io import fits
    from numpy.typing import NDArray

    from skytool.models.observation.observation import Observation


@dataclass(frozen=True)
class Band:
    """What a filter lets through: everything between two wavelengths, or as a curve has it.

    Parameters
    ----------
    effective_wavelength : float
        Middle [nm].
    bandwidth : float
        Full width [nm].
    name : str
        As ``DECam g``.
    source : str
        Where the numbers are from.
    curve : tuple of (float, float)
        Wavelengths [nm], growing, and the relative throughput there; empty: all the same.

    Raises
    ------
    IncompatibleError
        If there is no light between the wavelengths.
    """

    effective_wavelength: float
    bandwidth: float
    name: str = ""
    source: str = "given"
    curve: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 < self.bandwidth < 2.0 * self.effective_wavelength:
            raise IncompatibleError(
                f"no band is {self.bandwidth:g} nm wide around {self.effective_wavelength:g} nm."
            )

    @property
    def limits(self) -> tuple[float, float]:
        """Shortest and longest wavelength [nm]."""
        half = self.bandwidth / 2.0
        return self.effective_wavelength - half, self.effective_wavelength + half

    @property
    def mean_wavelength(self) -> float:
        """Mean of the wavelengths that are let through of a flat spectrum [nm]."""
        if not self.curve:
            return self.effective_wavelength
        wavelengths = np.linspace(*self.limits, _FINE)
        return float(np.average(wavelengths, weights=self.throughput(wavelengths)))

    def throughput(self, wavelengths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the relative throughput at wavelengths within the limits [nm]."""
        if not self.curve:
            return np.ones_like(wavelengths)
        places, values = np.array(self.curve).T
        return np.interp(wavelengths, places, values)

    def subfilters(self, number: int) -> Subfilters:
        """Return the band divided into equally wide parts, the bluest first."""
        return Subfilters(self, number)


def band_of_curve(
    wavelengths: NDArray[np.float64], throughput: NDArray[np.float64], *, name: str
) -> Band:
    """Return the band of a throughput curve, between where it is 1 % of its highest value.

    Parameters
    ----------
    wavelengths : ndarray of float64, shape (n,)
        Growing [nm].
    throughput : ndarray of float64, shape (n,)
        Relative throughput, not negative, and somewhere positive.
    name : str
        Name of the curve.
    """
    high = np.flatnonzero(throughput >= _EDGE * throughput.max())
    ends = []
    for inside, beside in ((high[0], high[0] - 1), (high[-1], high[-1] + 1)):
        end = wavelengths[inside]
        if 0 <= beside < wavelengths.size:
            rest = _EDGE * throughput.max() - throughput[beside]
            part = rest / (throughput[inside] - throughput[beside])
            end = wavelengths[beside] + part * (end - wavelengths[beside])
        ends.append(float(end))
    low, top = ends
    curve = tuple(zip(wavelengths.tolist(), throughput.tolist(), strict=True))
    return Band((low + top) / 2.0, top - low, name, f"1 % of the curve {name}", curve)


@dataclass(frozen=True)
class Subfilters:
    """A band divided into equally wide parts, the bluest first.

    Parameters
    ----------
    band : Band
        The whole.
    number : int
        How many parts.

    Raises
    ------
    ValueError
        If there are none.
    """

    band: Band
    number: int

    def __post_init__(self) -> None:
        if self.number < 1:
            msg = f"a band has one subfilter or more, not {self.number}"
            raise ValueError(msg)

    @property
    def edges(self) -> NDArray[np.float64]:
        """Wavelengths between the parts, the ends of the band included, shape (number + 1,) [nm]."""
        shortest, longest = self.band.limits
        return np.linspace(shortest, longest, self.number + 1)

    @property
    def limits(self) -> NDArray[np.float64]:
        """Shortest and longest wavelength of every part, shape (number, 2) [nm]."""
        edges = self.edges
        return np.stack([edges[:-1], edges[1:]], axis=1)

    def nodes(self, number: int = 6) -> NDArray[np.float64]:
        """Return the middles of equal pieces of every part, shape (subfilters, number) [nm]."""
        limits = self.limits
        places = (np.arange(number) + 0.5) / number
        return limits[:, :1] + places * (limits[:, 1:] - limits[:, :1])


_EDGE = 0.01  # of the highest throughput, where a band ends
_FINE = 1001  # wavelengths that a mean is taken over
_SOURCES = {
    "lsst": "half-maximum wavelengths of Rubin Observatory",
    "decam": "Flaugher et al. 2015, as in its FILTER cards",
    "hsc": "Weaver et al. 2022, table 1",
    "ps1": "half-power wavelengths of Tonry et al. 2012, table 4",
    "sdss": "Fukugita et al. 1996, table 2a",
    "ztf": "limits of the passbands of the Zwicky Transient Facility",
    "johnson": "Bessell 2005, table 1",
}
# System, filter, middle and full width at half maximum [nm].
_TABLE = """
lsst     u   359.5   71.0    lsst     g   478.5   147.0   lsst     r   621.5   139.0
lsst     i   754.5   127.0   lsst     z   869.5   103.0   lsst     y   959.5   75.0
decam    u   350.0   100.0   decam    g   472.0   152.0   decam    r   641.5   148.0
decam    i   783.5   147.0   decam    z   926.0   152.0   decam    Y   1009.5  113.0
decam    VR  630.0   260.0
hsc      g   484.7   138.3   hsc      r   621.9   154.7   hsc      i   769.9   147.1
hsc      z   889.4   76.6    hsc      y   976.1   78.6
ps1      g   482.5   137.0   ps1      r   619.5   139.0   ps1      i   754.5   129.0
ps1      z   870.0   104.0   ps1      y   959.5   83.0
sdss     u   355.7   59.9    sdss     g   482.5   137.9   sdss     r   626.1   138.2
sdss     i   767.2   153.5   sdss     z   909.7   137.0
ztf      g   480.45  143.5   ztf      r   645.8   171.6   ztf      i   795.5   185.6
johnson  U   366.3   65.0    johnson  B   436.1   89.0    johnson  V   544.8   84.0
johnson  R   640.7   158.0   johnson  I   798.0   154.0
"""
_CAMERAS = {
    "DECAM": "decam",
    "LSST": "lsst",
    "COMCAM": "lsst",
    "LATISS": "lsst",
    "SIMONYI": "lsst",
    "HYPER SUPRIME": "hsc",
    "HSC": "hsc",
    "SDSS": "sdss",
    "GPC1": "ps1",
    "PS1": "ps1",
    "ZTF": "ztf",
}
# Of a letter alone: small ones are Rubin's, capital ones Johnson's and Cousins'.
_WITHOUT_SYSTEM = ("lsst", "johnson")
_QUALIFIED = re.compile(r"(?P<system>[A-Za-z0-9]+)[-_ ]+(?P<letter>[A-Za-z]+)$")
_DECAM_FILTER = re.compile(r"(?P<name>\w+) DECam .*?(?P<middle>\d{4,5}\.\d+) (?P<width>\d+\.\d+)$")
_LONGEST_NM = 2100.0  # no camera of silicon or of HgCdTe below 2.1 microns gives more
# Middle and width; or, if the third says so, shortest and longest wavelength.
_WAVELENGTH_CARDS = (
    ("EFFWAVE", "BANDWID", False),
    ("DCRLAMBD", "DCRWIDTH", False),
    ("WAVELEN", "BANDWID", False),
    ("WLMIN", "WLMAX", True),
    ("LAMMIN", "LAMMAX", True),
    ("FILTERLB", "FILTERUB", True),
)


def known_bands() -> dict[str, Band]:
    """Return all bands of the table, by names as ``decam-g``."""
    words = iter(_TABLE.split())
    bands = {}
    for system, letter, middle, width in zip(words, words, words, words, strict=True):
        name = f"{system}-{letter}"
        bands[name] = Band(float(middle), float(width), name, _SOURCES[system])
    return bands


def is_letter(name: str) -> bool:
    """Return whether a name is that of a band of some camera in the table, without the camera."""
    return any(key.partition("-")[2].lower() == name.strip().lower() for key in known_bands())


def band_named(name: str, *, camera: str = "") -> Band:
    """Return a band of the table.

    Parameters
    ----------
    name : str
        ``decam-g``, ``DECam g``, ``ps1_i``; or a letter, for the filter of the camera. Of cameras
        that are not in the table, small letters are filters of Rubin Observatory, capital ones
        those of Johnson and Cousins.
    camera : str
        Instrument and telescope as in a header.

    Raises
    ------
    IncompatibleError
        If the table has no such band.
    """
    bands = known_bands()
    match = _QUALIFIED.match(name.strip())
    systems: tuple[str, ...] = _WITHOUT_SYSTEM
    letter = name.strip()
    own = next((system for word, system in _CAMERAS.items() if word in camera.upper()), None)
    if match:
        systems, letter = (match["system"].lower(),), match["letter"]
    elif own:
        systems = (own,)
    # where the system is known, small and capital letters are the same
    cases = (letter,) if len(systems) > 1 else (letter, letter.lower(), letter.upper())
    for key in (f"{system}-{case}" for system in systems for case in cases):
        if key in bands:
            return bands[key]
    raise IncompatibleError(
        f"the wavelengths of the filter {name!r} are not known.",
        hint="Give --effective-wavelength and --bandwidth, or as --band one of "
        f"{', '.join(bands)}. The table has none of the infrared beyond Y.",
    )


def band_of_observation(observation: Observation, *, name: str = "an exposure") -> Band:
    """Return the band of an exposure, as its header has it or by the name of its filter.

    Parameters
    ----------
    observation : `~skytool.models.observation.observation.Observation`
        What the header says.
    name : str
        What messages call the exposure.

    Raises
    ------
    IncompatibleError
        If the header names no filter, or one whose wavelengths are not known.
    """
    given = _band_of_cards(observation.header, observation.band or observation.filter)
    if given is not None:
        return given
    match = _DECAM_FILTER.match(observation.filter)
    if match:
        middle, width = float(match["middle"]) / 10.0, float(match["width"]) / 10.0
        return Band(middle, width, f"decam-{match['name']}", "FILTER")
    if not observation.band:
        raise IncompatibleError(
            f"{name} names no filter.",
            hint="Give --band, or --effective-wavelength and --bandwidth.",
        )
    try:
        return band_named(observation.band, camera=camera_of(observation))
    except IncompatibleError as error:
        raise IncompatibleError(f"{name}: {error.message}", hint=error.hint) from error


def camera_of(observation: Observation) -> str:
    """Return all that a header says of the camera, for `band_named`."""
    return f"{observation.filter} {observation.instrument} {observation.telescope}"


def _band_of_cards(header: fits.Header, name: str) -> Band | None:
    """Return the band whose wavelengths a header has as numbers."""
    for first_key, second_key, limits in _WAVELENGTH_CARDS:
        first, second = number_of(header, first_key), number_of(header, second_key)
        if first is None or second is None or not min(first, second) > 0.0:
            continue
        if limits:
            first, second = (first + second) / 2.0, second - first
        angstrom = "ngstrom" in comment_of(header, first_key) or first > _LONGEST_NM
        unit = 0.1 if angstrom else 1.0
        return Band(first * unit, second * unit, name, f"{first_key} and {second_key}")
    return None
