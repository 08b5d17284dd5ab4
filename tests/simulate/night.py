"""The small night of ``data/fixtures``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from tests.simulate.catalogue import Catalogue, random_stars, sources
from tests.simulate.coordinates import tan_wcs, wcs_cards
from tests.simulate.detector import sky_pattern
from tests.simulate.exposure import Camera, simulate_exposure
from tests.simulate.files import (
    IMAGE_STEP,
    VARIANCE_STEP,
    observation_cards,
    quantised,
    to_hdus,
    write_compressed,
    write_plain,
)
from tests.simulate.observing import Observation, Site, mjd_at_hour_angle
from tests.simulate.psf import SimulatedPsf

if TYPE_CHECKING:
    from pathlib import Path

    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from tests.simulate.exposure import SimulatedExposure

RA, DEC = 150.1, -30.2  # [deg]
NIGHT = 60700.25  # [MJD]
SHAPE = (360, 200)
GAP = 12  # between the two detectors [pixel]
PIXEL_SCALE = 0.25  # [arcsec]
SEEING = 0.8  # FWHM at the zenith [arcsec]
TARGET_SHAPE = (352, 400)
TARGET_ORIGIN = (1100, 2300)
TRANSIENT_VISIT = 105


@dataclass(frozen=True)
class Visit:
    """Settings of one visit: sky [adu], offset and rotation of the camera [arcsec, deg]."""

    number: int
    hour_angle: float
    east: float
    north: float
    rotation: float
    zero_point: float
    sky: float
    left: tuple[float, ...]
    has_distortion: bool = True


VISITS = (
    Visit(101, -4.6, 0.0, 0.0, 0.0, 29.31, 720.0, (9.0, -8.0, 5.0, 3.0, -4.0, 2.0), False),
    Visit(102, -3.3, 5.5, -3.25, 4.0, 29.42, 560.0, (-4.0, 6.0, 9.0, -3.0, 2.0, 4.0)),
    Visit(103, -1.4, -4.75, 4.5, -8.0, 29.55, 410.0, (14.0, 3.0, -6.0, 4.0, 3.0, -2.0)),
    Visit(104, 0.2, 3.0, 6.25, 178.5, 29.61, 390.0, (2.0, -5.0, -3.0, 2.0, -5.0, 3.0), False),
    Visit(105, 2.4, -6.0, -2.0, 90.6, 29.49, 480.0, (-11.0, 7.0, -4.0, -4.0, 2.0, 5.0)),
    Visit(106, 4.2, 1.75, -5.5, 15.0, 29.35, 650.0, (20.0, 10.0, 7.0, 3.0, 4.0, -4.0)),
)
CAMERAS = {
    1: Camera(
        gain=1.4,
        read_noise=6.0,
        full_well=42000.0,
        bad_columns=((57, 0, 360, -250.0), (131, 200, 291, 4000.0)),
    ),
    2: Camera(
        gain=1.7,
        read_noise=8.0,
        full_well=48000.0,
        bad_columns=((18, 90, 360, 1800.0), (19, 120, 360, 900.0)),
        lost=(slice(351, 360), slice(187, 200)),
    ),
}


@cache
def night_catalogue() -> Catalogue:
    """Everything on the sky of the night: stars of all colours, galaxies, one transient."""
    stars = random_stars(
        240,
        ra=RA,
        dec=DEC,
        width=160.0,
        flux=(2e3, 2e6),
        exponent=-0.5,
        slopes=(-4.0, 3.0),
        seed=20250125,
    )
    bright = sources(
        [150.0921, 150.1063, 150.1105],
        [-30.1921, -30.2083, -30.1896],
        [9.0e6, 7.2e6, 1.1e7],
        slope=[-1.5, 0.8, 2.0],
    )
    galaxies = sources(
        [150.0926, 150.1142, 150.0879, 150.1037],
        [-30.1979, -30.2011, -30.2068, -30.1934],
        [4.2e5, 6.5e4, 3.8e4, 5.1e4],
        slope=[-1.2, 0.4, 1.5, -2.3],
        radius=[2.4, 0.9, 0.6, 1.1],
        sersic=[1.0, 1.5, 1.0, 2.0],
        axis_ratio=[0.55, 0.8, 0.65, 0.4],
        angle=[35.0, 110.0, 0.0, 160.0],
    )
    transient = sources(150.0918, -30.1973, 5.0e4, slope=1.5, visit=TRANSIENT_VISIT)
    return stars + bright + galaxies + transient


def night_wcs(visit: Visit, detector: int) -> WCS:
    """Coordinates of a detector; its reference is the optical axis, in the gap."""
    edge = SHAPE[1] - 0.5 + GAP / 2 if detector == 1 else -0.5 - GAP / 2
    sign = 1 if detector == 1 else -1
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[2, 0], a[1, 1], a[0, 2], a[3, 0], a[1, 2] = 9e-6 * sign, 4e-6, -5e-6, 3.0e-8, 2.6e-8
    b[2, 0], b[1, 1], b[0, 2], b[0, 3], b[2, 1] = -3e-6, 6e-6 * sign, 8e-6, 2.8e-8, 3.1e-8
    return tan_wcs(
        ra=_axis(visit)[0],
        dec=_axis(visit)[1],
        pixel_scale=PIXEL_SCALE,
        reference=((SHAPE[0] - 1) / 2, edge),
        rotation=visit.rotation,
        sip=(a, b) if visit.has_distortion else None,
    )


def night_observation(visit: Visit) -> Observation:
    mjd = mjd_at_hour_angle(visit.hour_angle, ra=RA, dec=DEC, night=NIGHT, site=Site())
    return Observation(mjd)


@cache
def night_exposure(visit: Visit, detector: int, *, noise: bool = True) -> SimulatedExposure:
    """Simulate one exposure of the night, pixels not rounded."""
    observation = night_observation(visit)
    altitude, _, _ = observation.horizontal(RA, DEC)
    fwhm = SEEING / PIXEL_SCALE * float(np.sin(altitude)) ** -0.6
    shape_slopes = (
        {}
        if visit.number == 101
        else {
            "fwhm_slope": (0.012, -0.015),
            "shear_slope": (0.008, 0.01),
        }
    )
    v, u = _focal_plane(detector)
    return simulate_exposure(
        night_catalogue().seen_in(visit.number),
        night_wcs(visit, detector),
        SHAPE,
        SimulatedPsf(
            round(fwhm, 3), 3.2, g1=0.02, g2=-0.01, radius=17.0, shape=SHAPE, **shape_slopes
        ),
        seed=10 * visit.number + detector,
        camera=CAMERAS[detector],
        zero_point=visit.zero_point + (0.0 if detector == 1 else 0.03),
        sky=visit.sky * (1 + 0.02 * u - 0.03 * v),
        background=residual_background(visit, v, u),
        pattern=sky_pattern(SHAPE, detector),
        n_cosmic_rays=7,
        observation=observation,
        noise=noise,
        flag_sources=True,
    )


def residual_background(
    visit: Visit, v: NDArray[np.float64], u: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What the subtraction of the sky left, a smooth curve over both detectors [adu]."""
    c = visit.left
    return (
        c[0] + c[1] * v + c[2] * u + c[3] * (2 * v * v - 1) + c[4] * u * v + c[5] * (2 * u * u - 1)
    )


def night_hdus(visit: Visit, detector: int) -> list[fits.PrimaryHDU | fits.ImageHDU]:
    """Lay out one exposure of the night, as it is in its file."""
    exposure = night_exposure(visit, detector)
    hdus = to_hdus(exposure, night_header(visit, detector), name="simulated night")
    hdus[1].data = quantised(exposure.image, IMAGE_STEP)
    hdus[3].data = quantised(exposure.variance, VARIANCE_STEP)
    return hdus


def night_header(visit: Visit, detector: int) -> fits.Header:
    """Cards that say how an exposure of the night was taken."""
    ra, dec = _axis(visit)
    return observation_cards(
        night_exposure(visit, detector),
        visit=visit.number,
        detector=detector,
        ra=ra,
        dec=dec,
        rotation=visit.rotation,
    )


def target_header() -> fits.Header:
    """Cards of the grid that warps of the night go to, a piece of a larger plane."""
    ny, nx = TARGET_SHAPE
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2)])
    header["NAXIS1"], header["NAXIS2"] = nx, ny
    reference = ((ny - 1) / 2 + 3.25, (nx - 1) / 2 - 1.5)
    header.extend(wcs_cards(tan_wcs(ra=RA, dec=DEC, pixel_scale=PIXEL_SCALE, reference=reference)))
    header["LTV1"], header["LTV2"] = float(-TARGET_ORIGIN[1]), float(-TARGET_ORIGIN[0])
    header["WCSAXESA"] = 2
    for axis, first in ((1, TARGET_ORIGIN[1]), (2, TARGET_ORIGIN[0])):
        header[f"CTYPE{axis}A"] = "LINEAR"
        header[f"CUNIT{axis}A"] = "pixel"
        header[f"CRPIX{axis}A"], header[f"CRVAL{axis}A"] = 1.0, float(first)
    return header


def truth_hdus() -> list[fits.PrimaryHDU | fits.BinTableHDU]:
    """Tables SOURCES and EXPOSURES: what is on the sky, and how each exposure was taken."""
    return [fits.PrimaryHDU(), _sources_table(), _exposures_table()]


def write_night(folder: Path) -> list[Path]:
    """Write all files of the night and return their paths."""
    (folder / "night").mkdir(parents=True, exist_ok=True)
    paths = []
    for visit in VISITS:
        for detector in CAMERAS:
            paths.append(folder / "night" / f"v{visit.number}_d{detector}.fits")
            write_compressed(paths[-1], night_hdus(visit, detector))
    paths += [folder / "truth.fits", folder / "target.hdr"]
    write_plain(paths[-2], truth_hdus())
    paths[-1].write_text(target_header().tostring(sep="\n", endcard=True, padding=False) + "\n")
    return paths


def _axis(visit: Visit) -> tuple[float, float]:
    dec = round(DEC + visit.north / 3600, 7)
    return round(RA + visit.east / 3600 / float(np.cos(np.radians(DEC))), 7), dec


def _focal_plane(detector: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates ``(v, u)`` of all pixels from -1 to 1 over both detectors, along y and x."""
    ny, nx = SHAPE
    half = nx + GAP / 2
    first = -half if detector == 1 else GAP / 2
    v = (2 * np.arange(ny)[:, None] + 1) / ny - 1
    u = (first + np.arange(nx)[None, :] + 0.5) / half
    return np.broadcast_to(v, SHAPE), np.broadcast_to(u, SHAPE)


def _sources_table() -> fits.BinTableHDU:
    catalogue = night_catalogue()
    kinds = np.where(catalogue.radius > 0, "galaxy", "star")
    kinds = np.where(catalogue.visit > 0, "transient", kinds)
    shares = night_observation(VISITS[0]).band.subfilter_shares(catalogue.slope, 3)
    columns = [
        fits.Column("ID", "J", array=np.arange(1, len(catalogue) + 1)),
        fits.Column("KIND", "9A", array=kinds),
        fits.Column("RA", "D", unit="deg", array=catalogue.ra),
        fits.Column("DEC", "D", unit="deg", array=catalogue.dec),
        fits.Column("FLUX", "D", unit="nJy", array=catalogue.flux),
        fits.Column("SLOPE", "D", array=catalogue.slope),
        fits.Column("SHARES", "3D", array=np.round(shares, 9)),
        fits.Column("RADIUS", "D", unit="arcsec", array=catalogue.radius),
        fits.Column("SERSIC", "D", array=catalogue.sersic),
        fits.Column("AXISRAT", "D", array=catalogue.axis_ratio),
        fits.Column("ANGLE", "D", unit="deg", array=catalogue.angle),
        fits.Column("VISIT", "J", array=catalogue.visit),
    ]
    return fits.BinTableHDU.from_columns(columns, name="SOURCES")


def _exposures_table() -> fits.BinTableHDU:
    rows = [(visit, detector) for visit in VISITS for detector in CAMERAS]
    headers = {row: night_header(*row) for row in rows}

    def column(name: str, form: str, unit: str = "", keyword: str = "") -> fits.Column:
        values = [headers[row][keyword or name] for row in rows]
        return fits.Column(name, form, unit=unit or None, array=np.array(values))

    files = [f"night/v{visit.number}_d{detector}.fits" for visit, detector in rows]
    left = np.array([visit.left for visit, _ in rows])
    zero_points = [round(night_exposure(*row).zero_point, 6) for row in rows]
    return fits.BinTableHDU.from_columns(
        [
            fits.Column("FILE", "20A", array=np.array(files)),
            column("VISIT", "J"),
            column("DETECTOR", "J"),
            column("AIRMASS", "D"),
            column("ALTITUDE", "D", "deg", "BORE-ALT"),
            column("PARANGLE", "D", "deg"),
            fits.Column("ROTATION", "D", unit="deg", array=[visit.rotation for visit, _ in rows]),
            fits.Column("MAGZERO", "D", unit="mag", array=zero_points),
            column("PSFFWHM", "D", "pixel"),
            column("SKYLEVEL", "D", "adu"),
            fits.Column("LEFT", "6D", unit="adu", array=left),
        ],
        name="EXPOSURES",
    )
