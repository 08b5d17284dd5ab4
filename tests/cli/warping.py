"""Small exposures, grids and measurements that the tests of warps share.

Files are written with astropy alone, and positions are computed with it, so that nothing of the
program measures itself.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from click.testing import CliRunner

from skytool.cli.main import cli

RA, DEC = 150.1, 2.3
SCALE = 0.25  # [arcsec] of a pixel of the small detectors
FWHM_PER_SIGMA = 2.3548200450309493
BITS = {"BAD": 2, "SAT": 5, "CR": 0, "EDGE": 7, "DETECTED": 3, "SUSPECT": 4, "NO_DATA": 6}
"""Bits of the planes of the small detectors, other ones than those of the program."""

SIP = {
    "A_ORDER": 3,
    "A_2_0": 9e-6,
    "A_1_1": 4e-6,
    "A_0_2": -5e-6,
    "A_3_0": 3e-8,
    "B_ORDER": 3,
    "B_2_0": -3e-6,
    "B_1_1": 6e-6,
    "B_0_2": 8e-6,
    "B_0_3": 2.8e-8,
}
TPV = {
    "PV1_0": 2e-6,
    "PV1_1": 1.0004,
    "PV1_2": 3e-4,
    "PV1_4": 0.04,
    "PV1_5": -0.06,
    "PV1_7": 3.0,
    "PV2_0": -1e-6,
    "PV2_1": 0.9997,
    "PV2_2": -2e-4,
    "PV2_4": 0.03,
    "PV2_5": 0.05,
    "PV2_7": 2.0,
}


def sky_cards(
    shape, *, scale=SCALE, rotation=0.0, ra=RA, dec=DEC, shift=(0.0, 0.0), kind="TAN", distortion=()
):
    """Cards of celestial coordinates.

    The reference point is `shift` (y, x) pixels from the middle of the array.
    """
    ny, nx = shape
    suffix = {"SIP": "TAN-SIP"}.get(kind, kind)
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = f"RA---{suffix}", f"DEC--{suffix}"
    header["CUNIT1"], header["CUNIT2"] = "deg", "deg"
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CRPIX1"], header["CRPIX2"] = (nx + 1) / 2 + shift[1], (ny + 1) / 2 + shift[0]
    for (i, j), value in {(1, 1): -c, (1, 2): s, (2, 1): s, (2, 2): c}.items():
        header[f"CD{i}_{j}"] = value * scale / 3600
    header["RADESYS"] = "ICRS"
    header.update({"SIP": SIP, "TPV": TPV}.get(kind, {}))
    header.update(dict(distortion))
    return header


def mask_plane(shape, planes, bits=BITS):
    """Mask of some planes, each given as what indexes its pixels, and the cards that name them."""
    pixels = np.zeros(shape, np.int32)
    header = fits.Header()
    for name, bit in bits.items():
        header[f"MP_{name}" if len(name) < 6 else f"HIERARCH MP_{name}"] = bit
    for name, where in planes.items():
        pixels[where] |= 1 << bits[name]
    return pixels, header


def write_exposure(
    path, image, *, sky, variance=1.0, mask=None, bits=BITS, unit="adu", extensions=(), **cards
):
    """Write an exposure in the layout of the program; `cards` go to the primary."""
    image = np.asarray(image)
    primary = fits.PrimaryHDU()
    primary.header.update({"SKYFMT": 1, "SKYTYPE": "EXPOSURE", **cards})
    pixels, planes = mask_plane(image.shape, mask or {}, bits)
    variance = np.broadcast_to(np.asarray(variance, np.float32), image.shape)
    hdus = [primary]
    for name, plane, header in (
        ("IMAGE", image.astype(np.float32), fits.Header()),
        ("MASK", pixels, planes),
        ("VARIANCE", np.array(variance), fits.Header()),
    ):
        hdu = fits.ImageHDU(plane, header, name=name)
        hdu.header["EXTTYPE"] = name
        if unit and name != "MASK":
            hdu.header["BUNIT"] = unit if name == "IMAGE" else f"{unit}2"
        hdu.header.update(sky)
        hdus.append(hdu)
    fits.HDUList([*hdus, *extensions]).writeto(path, overwrite=True)
    return str(path)


def write_grid(path, sky, shape, *, origin=None):
    """Write a grid as a text header."""
    header = fits.Header({"NAXIS": 2, "NAXIS1": shape[1], "NAXIS2": shape[0]})
    header.update(sky)
    if origin is not None:
        header["LTV1"], header["LTV2"] = -origin[1], -origin[0]
    Path(path).write_text(header.tostring(sep="\n", endcard=True, padding=False) + "\n")
    return str(path)


def run(*args, input=None):  # noqa: A002  as click calls it
    """Run the program in this process."""
    return CliRunner().invoke(cli, [os.fspath(arg) for arg in map(_text, args)], input=input)


def _text(arg):
    return arg if isinstance(arg, os.PathLike) else str(arg)


def failure(result):
    """Return the one line that a failed run says, beside its log; nothing may be on stdout."""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("INFO ")]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("skytool: error: ")
    assert result.stdout == ""
    return lines[0]


@dataclass(frozen=True, eq=False)
class Planes:
    """What a warp holds."""

    image: np.ndarray
    mask: np.ndarray
    variance: np.ndarray
    bits: dict
    primary: fits.Header
    header: fits.Header
    wcs: WCS
    others: dict

    def has(self, plane):
        return (self.mask & (1 << self.bits[plane])) != 0

    @property
    def empty(self):
        return self.has("NO_DATA")


def read_warp(path):
    """Read a warp with astropy alone and check that its planes agree on what has no value."""
    with fits.open(path, memmap=False) as hdus:
        assert [hdu.name for hdu in hdus[:4]] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE"]
        image, mask, variance = (hdu.data for hdu in hdus[1:4])
        bits = {key[3:]: value for key, value in hdus[2].header.items() if key.startswith("MP_")}
        planes = Planes(
            *(plane.astype(plane.dtype.newbyteorder("=")) for plane in (image, mask, variance)),
            bits=bits,
            primary=hdus[0].header,
            header=hdus[1].header,
            wcs=WCS(hdus[1].header),
            others={hdu.name: hdu.data for hdu in hdus[4:]},
        )
        assert [hdu.data.dtype.str[1:] for hdu in hdus[1:4]] == ["f4", "i4", "f4"]
    assert_planes_agree(planes)
    return planes


def assert_planes_agree(planes):
    """Check that NaN, NO_DATA and infinite variance are the same pixels, and no bit is nameless."""
    np.testing.assert_array_equal(planes.empty, np.isnan(planes.image))
    np.testing.assert_array_equal(planes.empty, np.isinf(planes.variance))
    assert np.isfinite(planes.image[~planes.empty]).all()
    assert (planes.variance > 0).all()
    named = sum(1 << bit for bit in planes.bits.values())
    assert not (planes.mask & ~named).any()
    assert (planes.mask[planes.empty] == 1 << planes.bits["NO_DATA"]).all()


def warp(*args, output="warp.fits"):
    """Warp in this process and return the planes."""
    result = run("warp", *args, "-o", output, "--overwrite")
    assert result.exit_code == 0, result.output
    return read_warp(output)


def gaussians(shape, y, x, *, fwhm, flux=1.0):
    """Image of stars, sampled at the pixel centres."""
    sigma = fwhm / FWHM_PER_SIGMA
    reach = int(np.ceil(8 * sigma))
    image = np.zeros(shape)
    fluxes = np.broadcast_to(flux, np.shape(y))
    for star_y, star_x, star_flux in zip(y, x, fluxes, strict=True):
        y0, x0 = max(round(star_y) - reach, 0), max(round(star_x) - reach, 0)
        part = np.s_[y0 : round(star_y) + reach + 1, x0 : round(star_x) + reach + 1]
        rows = np.arange(y0, y0 + image[part].shape[0]) - star_y
        columns = np.arange(x0, x0 + image[part].shape[1]) - star_x
        along_y, along_x = (np.exp(-(d**2) / (2 * sigma**2)) for d in (rows, columns))
        image[part] += star_flux / (2 * np.pi * sigma**2) * np.outer(along_y, along_x)
    return image


def lattice(shape, *, step, margin, rng):
    """Positions ``y, x`` about a regular lattice, at random sub-pixel phases."""
    ny, nx = shape
    y, x = np.meshgrid(
        np.arange(margin, ny - margin, step), np.arange(margin, nx - margin, step), indexing="ij"
    )
    offsets = rng.uniform(-0.5, 0.5, (2, y.size))
    return y.ravel() + offsets[0], x.ravel() + offsets[1]


def moved(y, x, old, new):
    """Where positions of one image are in another, by astropy: ``y, x``."""
    ra, dec = old.all_pix2world(x, y, 0)
    x, y = new.all_world2pix(ra, dec, 0, tolerance=1e-9, maxiter=50)
    return y, x


@dataclass(frozen=True, eq=False)
class Measured:
    """Fluxes in a square box and Gaussian-weighted centroids of stars."""

    flux: np.ndarray
    y: np.ndarray
    x: np.ndarray


def measure(image, y, x, *, half_size, fwhm):
    """Measure stars near known positions; nothing may be missing in their boxes."""
    results = []
    sigma = fwhm / FWHM_PER_SIGMA
    for star_y, star_x in zip(y, x, strict=True):
        row, column = round(star_y), round(star_x)
        box = image[
            row - half_size : row + half_size + 1, column - half_size : column + half_size + 1
        ].astype(np.float64)
        assert box.shape == (2 * half_size + 1,) * 2
        assert np.isfinite(box).all()
        grid = np.arange(-half_size, half_size + 1.0)
        at_y, at_x = star_y - row, star_x - column
        for _ in range(60):
            weight = box * np.outer(
                np.exp(-((grid - at_y) ** 2) / (2 * sigma**2)),
                np.exp(-((grid - at_x) ** 2) / (2 * sigma**2)),
            )
            total = weight.sum()
            dy = (weight.sum(axis=1) @ grid) / total - at_y
            dx = (weight.sum(axis=0) @ grid) / total - at_x
            at_y, at_x = at_y + 2 * dy, at_x + 2 * dx
            if abs(dy) + abs(dx) < 1e-10:
                break
        results.append((box.sum(), row + at_y, column + at_x))
    return Measured(*np.array(results).T)
