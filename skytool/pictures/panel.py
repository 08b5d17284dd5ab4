"""What one panel of a picture shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from skytool.errors import IncompatibleError
from skytool.models.background.hdus import background_from_hdus
from skytool.models.exposure import Origin
from skytool.models.exposure_hdus import squared_unit
from skytool.models.observation.observation import observation_from_header
from skytool.models.psf.places import stars_across
from skytool.models.sky.orientation import position_text, sky_orientation
from skytool.pictures.colours import QUIET_PLANES, legend_of, planes_set, signed_colours
from skytool.pictures.differences import kernels_image, significance_panel, sources_panel
from skytool.pictures.scaling import Stretch, block_any, block_means, scale_of
from skytool.pictures.scatter import ScatterPanel, sky_fit_panel
from skytool.pictures.stars import psf_stars_panel, psf_widths_image, residuals_image
from skytool.pictures.subfilters import subfilter_channels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from skytool.models.exposure import Exposure
    from skytool.models.mask import Mask
    from skytool.models.psf.kinds import Psf
    from skytool.models.sky.orientation import SkyOrientation
    from skytool.pictures.colours import LegendEntry
    from skytool.pictures.scaling import Scale

_NOT_SKY = ("BAD", "SAT", "CR", "EDGE", "NO_DATA")
_NOISY = frozenset({"IMAGE", "BEFORE", "VARIANCE", "DCR"})
_SIGNED = frozenset({"SLOPE", "MATCHDIF", "MATCHRES", "PSFRESID"})
_USUAL = 0.9  # part of the sizes of signed values that have different colours
_GRID = 3  # stars along each side of the picture of a PSF
_SUBTITLES = {
    "PSF": f"stars all over the image, {_GRID} by {_GRID}; their peaks are 1",
    "PSFFWHM": "width of the PSF by adaptive moments, all over the image",
    "PSFRESID": "median of stars less their PSF, of peak 1: of those used, then of those kept apart",
    "KERNELS": "the kernel at nine places all over the image",
}


@dataclass(frozen=True, kw_only=True)
class View:
    """How to draw an exposure.

    Parameters
    ----------
    extension : str
        IMAGE, VARIANCE, MASK, PSF, BKG (all layers together), DCR (subfilters as colours), BEFORE (the image with all layers
        put back), SKYFIT (what is left of a sky frame), PSFSTARS (widths of stars beside the PSF),
        PSFFWHM (the width of the PSF all over the exposure), PSFRESID (what the PSF leaves of stars),
        KERNELS (the matching kernel of a difference at nine places), SNRHIST (how often pixels have
        a signal-to-noise ratio), SOURCES (where they are), or the name of another extension.
    stretch : Stretch or None
        How shades follow values; None: asinh for what has noise, logarithmic for a PSF, linear
        for the rest.
    limits : str or (float, float)
        See `~skytool.pictures.scaling.scale_of`; ``auto`` of what has no noise is ``minmax``.
    planes : tuple of str or None
        Mask planes to draw; None: all that are set but those that lie on sources, over image and
        variance.
    """

    extension: str = "IMAGE"
    stretch: Stretch | None = None
    limits: str | tuple[float, float] = "auto"
    planes: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """The extension in upper case."""
        return self.extension.upper()

    @property
    def is_signed(self) -> bool:
        """Whether the sign of values is what matters: negative is drawn blue, positive red."""
        return self.name in _SIGNED

    def scale(self, image: NDArray[np.float32], bad: NDArray[np.bool_]) -> Scale:
        """Return the scale in which to draw an image; ``bad`` pixels do not count."""
        noisy = self.name in _NOISY
        usual = Stretch.ASINH if noisy else Stretch.LOG if self.name == "PSF" else Stretch.LINEAR
        limits = "minmax" if self.limits == "auto" and not noisy else self.limits
        if self.is_signed and self.limits == "auto" and np.isfinite(image).any():
            largest = float(np.quantile(np.abs(image[np.isfinite(image)]), _USUAL))
            limits = (-largest, largest)
        return scale_of(image, bad, stretch=self.stretch or usual, limits=limits)


@dataclass(frozen=True, eq=False, kw_only=True)
class Panel:
    """One image of a picture.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        Values to draw.
    view : View
        How to draw them.
    mask : Mask or None
        Planes to draw over them.
    legend : list of LegendEntry
        Which planes.
    title, subtitle : str
        Two lines above.
    unit : str
        Unit of the values.
    orientation : SkyOrientation or None
        North, east and scale in the middle.
    origin : Origin
        Coordinates of the first pixel.
    channels : ndarray of float32, shape (3, ny, nx), or None
        Red, green and blue to draw in the scale of the image, instead of it.
    """

    image: NDArray[np.float32]
    view: View
    mask: Mask | None
    legend: list[LegendEntry]
    title: str
    subtitle: str
    unit: str
    orientation: SkyOrientation | None
    origin: Origin = field(default=Origin(0, 0))
    channels: NDArray[np.float32] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)``."""
        ny, nx = self.image.shape
        return ny, nx

    def reduced(self, factor: int) -> tuple[NDArray[np.float64], Scale] | None:
        """Return shades of blocks of pixels, and their scale; None where only the mask is drawn.

        Of channels, and of values with a sign, there are three shades for each block, along the
        last axis.

        The scale follows from the blocks, which have less noise than pixels.
        """
        if self.view.name == "MASK":
            return None
        blocks = block_means(self.image, factor)
        bad = np.zeros(blocks.shape, np.bool_)
        if self.mask is not None and self.view.name in _NOISY:
            bad = block_any(self.mask.any_of(_NOT_SKY), factor)
        scale = self.view.scale(blocks, bad)
        if self.view.is_signed:
            return signed_colours(scale.shades(blocks)), scale
        if self.channels is None:
            return scale.shades(blocks), scale
        colours = [scale.shades(block_means(channel, factor)) for channel in self.channels]
        return np.stack(colours, axis=-1), scale


def panel_of(exposure: Exposure, view: View) -> Panel | ScatterPanel:
    """Return the panel of an exposure.

    Raises
    ------
    IncompatibleError
        If the exposure lacks the extension, or a mask plane is not known.
    """
    name = view.name
    if name == "SKYFIT":
        return sky_fit_panel(exposure, _titles(exposure, name)[0])
    if name == "PSFSTARS":
        return psf_stars_panel(exposure, _titles(exposure, name)[0])
    if name == "SNRHIST":
        return significance_panel(exposure, _titles(exposure, name)[0])
    if name == "SOURCES":
        return sources_panel(exposure, _titles(exposure, name)[0])
    image, unit = _values(exposure, name)
    on_sky = image.shape == exposure.shape and name != "PSF"
    mask = exposure.mask if on_sky else None
    legend = [] if mask is None else legend_of(mask, _planes(mask, view))
    title, subtitle = _titles(exposure, name)
    if not on_sky and name not in _SUBTITLES:
        subtitle = f"{image.shape[1]} × {image.shape[0]} values"
    return Panel(
        image=image,
        view=view,
        mask=mask,
        legend=legend,
        title=title,
        subtitle=subtitle,
        unit=unit,
        orientation=_orientation(exposure) if on_sky else None,
        origin=exposure.origin if on_sky else Origin(0, 0),
        channels=subfilter_channels(exposure) if name == "DCR" else None,
    )


def _values(exposure: Exposure, name: str) -> tuple[NDArray[np.float32], str]:
    """Return the values of an extension and their unit."""
    if name in {"IMAGE", "MASK", "DCR"}:
        return exposure.image, exposure.unit
    if name == "VARIANCE":
        return exposure.variance, squared_unit(exposure.unit)
    if name == "PSF":
        if exposure.psf is None:
            raise IncompatibleError(f"{exposure.name} has no PSF.", hint=_present(exposure))
        return _stars(exposure.psf, exposure.shape), ""
    if name == "KERNELS":
        return kernels_image(exposure), ""
    if name == "PSFFWHM":
        return psf_widths_image(exposure), "pixel"
    if name == "PSFRESID":
        return residuals_image(exposure), ""
    layers = [hdu for hdu in exposure.extensions if hdu.name.startswith("BKG")]
    if name in {"BKG", "BEFORE"} and layers:
        background = background_from_hdus(layers, name=exposure.name)
        values = background.evaluate(exposure.shape)
        if name == "BEFORE":
            values = values + exposure.image
        return values, background.unit or exposure.unit
    for hdu in exposure.extensions:
        if hdu.name == name and hdu.is_image and hdu.data is not None and hdu.data.ndim == 2:
            return hdu.data.astype(np.float32), str(hdu.header.get("BUNIT", "")).strip()
    raise IncompatibleError(
        f"{exposure.name} has no extension {name} that is an image.", hint=_present(exposure)
    )


def _present(exposure: Exposure) -> str:
    names = ["IMAGE", "MASK", "VARIANCE", *(["PSF"] if exposure.psf is not None else [])]
    names += [hdu.name for hdu in exposure.extensions if hdu.is_image]
    return f"It has {', '.join(dict.fromkeys(names))}."


def _stars(psf: Psf, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the PSF at places all over the image, side by side, as fractions of their peaks."""
    nothing = np.full(psf.shape, np.nan)
    rows = [
        np.hstack([nothing if star is None else star.stamp / star.stamp.max() for star in row])
        for row in stars_across(psf, shape, n=_GRID)
    ]
    return np.vstack(rows).astype(np.float32)


def _planes(mask: Mask, view: View) -> Sequence[str]:
    """Return the planes to draw."""
    present = planes_set(mask)
    if view.planes is None:
        loud = [plane for plane in present if plane not in QUIET_PLANES]
        return present if view.name == "MASK" else loud if view.name in _NOISY else []
    if view.planes == ("ALL",):
        return present
    mask.bitmask(view.planes)  # refuses names that nobody knows
    return [plane for plane in view.planes if plane in present]


def _orientation(exposure: Exposure) -> SkyOrientation | None:
    """Return how the exposure lies on the sky; None if it does not, or nobody knows."""
    if exposure.wcs is None:
        return None
    ny, nx = exposure.shape
    try:
        return sky_orientation(exposure.wcs, y=(ny - 1) / 2, x=(nx - 1) / 2, name=exposure.name)
    except IncompatibleError:  # the middle is not on the sky, though other parts may be
        return None


def _titles(exposure: Exposure, extension: str) -> tuple[str, str]:
    """Return the two lines above a panel: what it is, and where on the sky."""
    seen = observation_from_header(exposure.header)
    visit = f"visit {seen.visit}" if seen.visit else ""
    detector = f"detector {seen.detector_name}" if seen.detector_name else ""
    parts = [exposure.name, "" if extension == "IMAGE" else extension, visit, detector, seen.filter]
    title = "  ".join(filter(None, parts))
    if extension in _SUBTITLES:
        return title, _SUBTITLES[extension]
    below = [f"{seen.exposure_time:.4g} s"] if seen.exposure_time else []
    orientation = _orientation(exposure)
    if orientation is not None:
        below.append(position_text(orientation.ra, orientation.dec))
        below.append(f"{orientation.pixel_scale:.3g}″/pixel")
    ny, nx = exposure.shape
    below.append(f"{nx} × {ny} pixels")
    return title, "   ".join(below)
