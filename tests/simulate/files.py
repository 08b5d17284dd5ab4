"""Simulated exposures as FITS extensions, laid out as the package documents it.

Written with astropy alone, so that reading them tests the layout and not only a round trip.
"""

from __future__ import annotations

import io
import struct
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from tests.simulate.coordinates import wcs_cards
from tests.simulate.exposure import PLANES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure
    from tests.simulate.exposure import SimulatedExposure

IMAGE_STEP, VARIANCE_STEP = 0.5, 0.5  # powers of two: lossless once pixels are multiples
TILE_ROWS = 10
PSF_STEP = 2.0**-30


def to_hdus(
    exposure: SimulatedExposure, header: fits.Header | None = None, *, name: str = "simulated"
) -> list[fits.PrimaryHDU | fits.ImageHDU | fits.BinTableHDU]:
    """Lay out an exposure: primary, IMAGE, MASK, VARIANCE, PSF (with PSFGRID) and the sky as BKG."""
    primary = fits.PrimaryHDU()
    primary.header["SKYFMT"] = (1, "version of this layout")
    primary.header["SKYTYPE"] = "EXPOSURE"
    primary.header["SKYSTAGE"] = "simulate"
    primary.header["CREATOR"] = "tests.simulate"
    primary.header["OBJECT"] = name
    zero_point = round(exposure.zero_point, 6)
    primary.header["MAGZERO"] = (zero_point, "[mag] AB magnitude of one BUNIT")
    primary.header["FLUXMAG0"] = (round(10 ** (0.4 * zero_point), -3), "BUNITs of magnitude 0")
    primary.header.extend(header or fits.Header(), update=True)

    image = fits.ImageHDU(exposure.image, name="IMAGE")
    mask = fits.ImageHDU(exposure.mask, name="MASK")
    variance = fits.ImageHDU(exposure.variance, name="VARIANCE")
    for hdu, unit in ((image, "adu"), (mask, ""), (variance, "adu2")):
        hdu.header["INHERIT"] = True
        hdu.header["EXTTYPE"] = hdu.name
        if unit:
            hdu.header["BUNIT"] = unit
        hdu.header.extend(wcs_cards(exposure.wcs))
        hdu.header.extend(_frame_cards())
    variance.header["UTYPE"] = "VarianceUncertainty"
    for index, (plane, (bit, meaning)) in enumerate(PLANES.items()):
        mask.header[f"MP_{plane}" if len(plane) < 6 else f"HIERARCH MP_{plane}"] = bit
        mask.header[f"MSKN{index:04d}"] = plane
        mask.header[f"MSKM{index:04d}"] = 1 << bit
        mask.header[f"MSKD{index:04d}"] = meaning
    return [primary, image, mask, variance, *_psf_hdus(exposure), _background_hdu(exposure)]


def to_exposure(
    exposure: SimulatedExposure, header: fits.Header | None = None, *, name: str = "simulated"
) -> Exposure:
    """Hand an exposure to the package under test."""
    from skytool.models.exposure_hdus import from_hdus

    return from_hdus(fits.HDUList(to_hdus(exposure, header)), name=name)


def observation_cards(
    exposure: SimulatedExposure,
    *,
    visit: int,
    detector: int,
    ra: float,
    dec: float,
    rotation: float,
) -> fits.Header:
    """Describe when, where and in which air an exposure was taken; ``ra, dec`` [deg] is the axis."""
    observation, header = exposure.observation, fits.Header()
    if observation is None:
        msg = "an exposure without observation has nothing to describe"
        raise ValueError(msg)
    altitude, azimuth, parallactic = observation.horizontal(ra, dec)
    altitude = float(observation.apparent_altitude(altitude))
    hour_angle = np.degrees(observation.hour_angle(ra, dec)) / 15
    start = observation.mjd - observation.exposure_time / 2 / 86400
    site, weather, band = observation.site, observation.weather, observation.band
    airmass = round(1 / np.sin(altitude), 5)
    cards: list[tuple[str, object, str]] = [
        ("TELESCOP", "simulated", ""),
        ("INSTRUME", "two detectors", ""),
        ("VISIT", visit, "the exposures taken at one time"),
        ("DETECTOR", detector, ""),
        ("FILTER", band.name, ""),
        ("WAVELEN", band.wavelength, "[nm] middle of the band; WCS holds for it"),
        ("BANDWID", band.width, "[nm] width of the band, flat inside"),
        ("EXPTIME", observation.exposure_time, "[s]"),
        ("TIMESYS", "UTC", ""),
        ("MJD-OBS", round(start, 8), "[d] start"),
        ("DATE-OBS", _iso(start), "start"),
        ("DATE-AVG", _iso(observation.mjd), "middle"),
        ("BORE-RA", ra, "[deg] optical axis"),
        ("BORE-DEC", dec, "[deg] optical axis"),
        ("BORE-AZ", round(float(np.degrees(azimuth)) % 360, 5), "[deg] north through east"),
        ("BORE-ALT", round(float(np.degrees(altitude)), 5), "[deg] apparent"),
        ("HIERARCH BORE-AIRMASS", airmass, "secant of the zenith distance"),
        ("HIERARCH BORE-ROTANG", rotation, "[deg] y axis to north, anticlockwise"),
        ("AIRMASS", airmass, "secant of the zenith distance"),
        ("HA", _sexagesimal(float(hour_angle)), "[h] hour angle, west positive"),
        ("PARANGLE", round(float(np.degrees(parallactic)), 5), "[deg] position angle of zenith"),
        ("AVG-ERA", round(float(np.degrees(observation.earth_rotation_angle)), 6), "[deg]"),
        ("OBS-LONG", site.longitude, "[deg] east positive"),
        ("OBS-LAT", site.latitude, "[deg]"),
        ("OBS-ELEV", site.height, "[m]"),
        ("AIRTEMP", weather.temperature, "[C]"),
        ("AIRPRESS", weather.pressure, "[Pa]"),
        ("HUMIDITY", weather.humidity, "[%]"),
        ("GAIN", exposure.camera.gain, "[electron/adu]"),
        ("RDNOISE", exposure.camera.read_noise, "[electron]"),
        (
            "SATURATE",
            round(exposure.camera.full_well / exposure.camera.gain, 3),
            "[adu] with the sky",
        ),
        ("SKYLEVEL", round(float(np.mean(exposure.sky)), 3), "[adu] subtracted, see BKG"),
        ("PSFFWHM", round(exposure.psf.fwhm, 4), "[pixel] at the middle"),
    ]
    for card in cards:
        header.append(card)
    return header


def quantised(plane: NDArray[np.floating], step: float) -> NDArray[np.float32]:
    """Round to multiples of a power of two, so that rounding elsewhere cannot show."""
    return (np.round(np.asarray(plane, dtype=np.float64) / step) * step).astype(np.float32)


def write_compressed(path: Path, hdus: list[fits.PrimaryHDU | fits.ImageHDU]) -> None:
    """Write extensions, pixels of the sky tile-compressed (Rice) without loss, with checksums."""
    steps = {"IMAGE": -IMAGE_STEP, "VARIANCE": -VARIANCE_STEP, "MASK": 16.0}
    packed = [
        fits.CompImageHDU(
            hdu.data,
            hdu.header,
            compression_type="RICE_1",
            tile_shape=(TILE_ROWS, hdu.data.shape[1]),
            quantize_level=steps[hdu.name],
            quantize_method=-1,  # no dither
        )
        if hdu.name in steps
        else hdu
        for hdu in hdus
    ]
    with _reopened(packed) as tables:
        plain = [_canonical(hdu) if "ZIMAGE" in hdu.header else hdu for hdu in tables]
        with _reopened(plain) as final:
            write_plain(path, final)


def write_plain(path: Path, hdus: list[fits.PrimaryHDU | fits.ImageHDU]) -> None:
    """Write extensions with checksums that do not hold the time."""
    for hdu in hdus:
        hdu.add_datasum(when="")
        hdu.add_checksum(when="")
    fits.HDUList(hdus).writeto(path, overwrite=True)


def _reopened(hdus: list[fits.PrimaryHDU | fits.ImageHDU]) -> fits.HDUList:
    """Bring extensions into their final bytes, which the checksums need."""
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    buffer.seek(0)
    return fits.open(buffer, disable_image_compression=True)


def _frame_cards() -> fits.Header:
    """Return cards of the pixel frame, whose origin is the first pixel."""
    header = fits.Header()
    header["LTV1"], header["LTV2"] = 0.0, 0.0
    header["WCSAXESA"] = 2
    for axis in (1, 2):
        header[f"CTYPE{axis}A"] = "LINEAR"
        header[f"CUNIT{axis}A"] = "pixel"
        header[f"CRPIX{axis}A"], header[f"CRVAL{axis}A"] = 1.0, 0.0
    return header


def _psf_hdus(exposure: SimulatedExposure) -> list[fits.ImageHDU | fits.BinTableHDU]:
    (ny, nx), psf = exposure.shape, exposure.psf
    places = [((ny - 1) / 2, (nx - 1) / 2)]
    if not psf.is_constant:
        places = [(y, x) for y in (0.0, ny - 1.0) for x in (0.0, nx - 1.0)]
    reach = max(psf.at(y=y, x=x).reach for y, x in places)
    images = np.array([_exact_sum(psf.kernel_image(y=y, x=x, reach=reach)) for y, x in places])
    hdu = fits.ImageHDU(images[0] if psf.is_constant else images, name="PSF")
    hdu.header["SKYMVER"] = (1, "version of this model")
    hdu.header["PSFKIND"] = "CONSTANT" if psf.is_constant else "GRID"
    if psf.is_constant:
        return [hdu]
    ys, xs = np.array(places).T
    columns = [
        fits.Column("X", "D", unit="pixel", array=xs),
        fits.Column("Y", "D", unit="pixel", array=ys),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="PSFGRID")
    table.header["SKYMVER"] = (1, "version of this model")
    table.header["TCOMM1"] = table.header["TCOMM2"] = "0-based, centre of the first pixel is 0"
    return [hdu, table]


def _exact_sum(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round an image of sum 1 to multiples of `PSF_STEP`, sum exactly 1."""
    rounded = np.round(image / PSF_STEP) * PSF_STEP
    rounded[image.shape[0] // 2, image.shape[1] // 2] += 1 - rounded.sum()
    return rounded


def _background_hdu(exposure: SimulatedExposure) -> fits.ImageHDU:
    """Describe the sky that was subtracted: the plane through it, as Chebyshev coefficients."""
    ny, nx = exposure.shape
    sky = np.broadcast_to(np.asarray(exposure.sky, dtype=np.float64), exposure.shape)
    v, u = ((2 * np.arange(n) + 1) / n - 1 for n in (ny, nx))
    along_y = np.sum(sky.mean(axis=1) * v) / np.sum(v * v)
    along_x = np.sum(sky.mean(axis=0) * u) / np.sum(u * u)
    coefficients = np.round([[sky.mean(), along_x], [along_y, 0.0]], 6)
    hdu = fits.ImageHDU(coefficients, name="BKG", ver=1)
    hdu.header["SKYMVER"] = (1, "version of this model")
    hdu.header["SKYMODEL"] = "CHEBYSHEV2D"
    hdu.header["BKGOP"] = "SUBTRACT"
    hdu.header["BKGSTAGE"] = "simulate"
    hdu.header["SKYSCALE"] = 1.0
    hdu.header["DOMAINX"], hdu.header["DOMAINY"] = nx, ny
    hdu.header["BUNIT"] = "adu"
    return hdu


def _canonical(hdu: fits.BinTableHDU) -> fits.BinTableHDU:
    """Return the table of a compressed image as every version of astropy and zlib writes it.

    Tiles that Rice cannot hold (those with infinities) are stored in gzip's frame and not deflated;
    the cards that describe the table and its compression come first, in one order.
    """
    header = hdu.header
    columns = []
    for item in hdu.columns:
        values = hdu.data[item.name]
        if item.name == "GZIP_COMPRESSED_DATA":
            values = np.empty(len(hdu.data), dtype=object)
            values[:] = [_stored(bytes(stream)) for stream in hdu.data[item.name]]
        columns.append(fits.Column(item.name, item.format, array=values))
    table = fits.BinTableHDU.from_columns(columns)
    compression = {card.keyword: card for card in header.cards if card.keyword.startswith("Z")}
    compression["ZQUANTIZ"] = fits.Card("ZQUANTIZ", "NO_DITHER")
    for keyword in sorted(compression):
        table.header.append(compression[keyword])
    table.header["EXTNAME"] = hdu.name
    for card in header.cards:
        if card.keyword not in table.header:
            table.header.append(card)
    return table


def _stored(stream: bytes) -> NDArray[np.uint8]:
    if not stream:
        return np.zeros(0, np.uint8)
    content = zlib.decompress(stream, wbits=31)
    frame = bytes.fromhex("1f8b08000000000000ff")  # no time, unknown system
    block = b"\x01" + struct.pack("<HH", len(content), len(content) ^ 0xFFFF) + content
    tail = struct.pack("<II", zlib.crc32(content), len(content))
    return np.frombuffer(frame + block + tail, np.uint8)


def _iso(mjd: float) -> str:
    moment = datetime(1858, 11, 17, tzinfo=UTC) + timedelta(days=mjd)
    moment += timedelta(microseconds=500)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


def _sexagesimal(hours: float) -> str:
    tenths = round(abs(hours) * 36000)
    sign = "-" if hours < 0 else "+"
    return f"{sign}{tenths // 36000:02d}:{tenths // 600 % 60:02d}:{tenths % 600 / 10:04.1f}"
