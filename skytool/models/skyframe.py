"""Sky frames: the response of a detector to the night sky in superpixels, and files of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from astropy.io import fits

from skytool.core.background.cell_averages import knots_of_averages
from skytool.core.background.cell_grid import CellGrid
from skytool.core.background.curves import InterpolationStyle
from skytool.core.background.interpolation import InterpolationRule
from skytool.errors import AlgorithmError, IncompatibleError, InputError
from skytool.models.background.hdus import Background, BinnedBackground
from skytool.models.exposure import Exposure, Origin
from skytool.models.keywords import observation_cards, set_card
from skytool.models.mask import Mask
from skytool.models.pixels import image_array, integer_array
from skytool.models.versions import check_version

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Hdu: TypeAlias = fits.ImageHDU | fits.PrimaryHDU | fits.BinTableHDU

SKYFRAME_FORMAT = 1
"""Version of the layout of a sky frame."""

ALGORITHMS = ("CONSTANT", "LINEAR", "NATURAL_SPLINE", "AKIMA_SPLINE")
"""Interpolation styles that a file can name."""

_BOX = ("BOX.MINX", "BOX.MINY", "BOX.MAXX", "BOX.MAXY")
_ZERO = Origin(0, 0)


@dataclass(frozen=True, eq=False)
class SkyFrame:
    """The pattern of one detector, relative to the level of the sky.

    Parameters
    ----------
    image : ndarray of float32, shape (n_y, n_x)
        Excess of the response over its mean in each superpixel; NaN where there is none.
    variance : ndarray of float32, shape (n_y, n_x)
        Variance of it; NaN where it is unknown.
    mask : Mask
        NO_DATA where a value was filled in.
    shape : (int, int)
        Shape ``(ny, nx)`` of the images it is for.
    origin : Origin
        Place of their first pixel in the parent frame.
    algorithm : InterpolationStyle
        How superpixels are joined.
    components : ndarray of float32, shape (n, n_y, n_x)
        Further patterns, which vary from exposure to exposure.
    n_image : ndarray of int16, shape (n_y, n_x), or None
        Exposures that entered each superpixel.
    chi2 : ndarray of float32, shape (n_y, n_x), or None
        Mean square of their deviations in units of their errors.
    header : `~astropy.io.fits.Header`
        Cards that all exposures have in common.
    name : str
        What messages call it.
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: Mask
    shape: tuple[int, int]
    origin: Origin = _ZERO
    algorithm: InterpolationStyle = InterpolationStyle.NATURAL_SPLINE
    components: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))
    n_image: NDArray[np.int16] | None = None
    chi2: NDArray[np.float32] | None = None
    header: fits.Header = field(default_factory=fits.Header)
    name: str = "sky frame"

    @property
    def cells(self) -> CellGrid:
        """The superpixels."""
        n_y, n_x = self.image.shape
        return CellGrid.from_counts(self.shape, (n_y, n_x))

    @property
    def rule(self) -> InterpolationRule:
        """How superpixels become pixels."""
        return InterpolationRule(self.algorithm)

    def models(self, *, keep_averages: bool = False) -> list[BinnedBackground]:
        """Return the pattern, then the further ones, each as a background of scale 1.

        Parameters
        ----------
        keep_averages : bool
            Lay the surfaces so that their averages over superpixels are the values of the frame,
            which were measured as averages; otherwise they run through these values.
        """
        planes = [self.image, *self.components]
        if keep_averages:
            planes = [
                knots_of_averages(plane, self.cells, self.rule).astype(np.float32)
                for plane in planes
            ]
        first = BinnedBackground(planes[0], self.cells, self.rule, self.mask.array, self.variance)
        return [first, *(BinnedBackground(each, self.cells, self.rule) for each in planes[1:])]

    def background(self) -> Background:
        """Return the pattern as a list of one background."""
        return Background.of(self.models()[0])

    def check_fits(self, exposure: Exposure) -> None:
        """Refuse an exposure of another place or size.

        Raises
        ------
        IncompatibleError
            If its box is not that of the frame.
        """
        if (exposure.shape, exposure.origin) != (self.shape, self.origin):
            raise IncompatibleError(
                f"{exposure.name} covers {_box_text(exposure.shape, exposure.origin)}, the sky "
                f"frame {self.name} {_box_text(self.shape, self.origin)}.",
                hint="Give the frame of this detector and this read-out.",
            )

    def to_hdus(self) -> list[Hdu]:
        """Return the extensions of a file: IMAGE, MASK, VARIANCE, NIMAGE, CHI2 and SKYCOMP."""
        planes: dict[str, NDArray[np.generic] | None] = {
            "IMAGE": self.image,
            "MASK": self.mask.array,
            "VARIANCE": self.variance,
            "NIMAGE": self.n_image,
            "CHI2": self.chi2,
        }
        hdus: list[Hdu] = []
        for name, plane in planes.items():
            if plane is None:
                continue
            hdu = fits.ImageHDU(plane, name=name)
            set_card(hdu.header, "EXTTYPE", name)
            set_card(hdu.header, "INHERIT", value=True)
            if name == "MASK":
                for key, value, comment in self.mask.cards():
                    set_card(hdu.header, key.removeprefix("HIERARCH "), value, comment)
            if name == "VARIANCE":
                set_card(hdu.header, "UTYPE", "VarianceUncertainty")
            if name == "IMAGE":
                self.add_cards(hdu.header)
            hdus.append(hdu)
        for version, component in enumerate(self.components, start=1):
            hdu = fits.ImageHDU(component, name="SKYCOMP", ver=version)
            self.add_cards(hdu.header)
            hdus.append(hdu)
        return hdus

    def add_cards(self, header: fits.Header) -> None:
        """Add the cards that say which pixels the superpixels tile, and how they are joined."""
        ny, nx = self.shape
        n_y, n_x = self.image.shape
        box = (self.origin.x, self.origin.y, self.origin.x + nx - 1, self.origin.y + ny - 1)
        for key, value in zip(_BOX, box, strict=True):
            set_card(header, key, value)
        set_card(header, "ALGORITHM", self.algorithm.value.upper())
        set_card(header, "SKYMVER", SKYFRAME_FORMAT)
        set_card(header, "SKYBINX", nx / n_x)
        set_card(header, "SKYBINY", ny / n_y)


def _box_text(shape: tuple[int, int], origin: Origin) -> str:
    ny, nx = shape
    return f"x {origin.x} to {origin.x + nx - 1}, y {origin.y} to {origin.y + ny - 1}"


def sky_frame_from_hdus(hdus: fits.HDUList, *, name: str) -> SkyFrame:
    """Return the sky frame of an open file, ours or LSST's.

    Parameters
    ----------
    hdus : `~astropy.io.fits.HDUList`
        The file.
    name : str
        What messages call it.

    Raises
    ------
    InputError
        If the file is no sky frame, a part of it is missing or damaged, its interpolation is
        unknown, or it was written by a newer version of the program.
    """
    image_hdu = _first_image(hdus, name)
    header = hdus[0].header.copy()
    header.update(image_hdu.header)
    origin, shape = _box(header, name)
    if "SKYMVER" in header:
        check_version(header, newest=SKYFRAME_FORMAT, name=name)
    image = image_array(image_hdu, name=f"{name}[IMAGE]")
    if not np.isfinite(image).any():
        raise InputError(f"{name} holds no value: no superpixel is a number.")
    try:
        CellGrid.from_counts(shape, (image.shape[0], image.shape[1]))
    except AlgorithmError as error:
        raise InputError(f"{name}: {error.message}, but its superpixels say so.") from error
    return SkyFrame(
        image=image,
        variance=_plane(hdus, "VARIANCE", image.shape, name, missing=np.nan),
        mask=_mask(hdus, image, name),
        shape=shape,
        origin=origin,
        algorithm=_algorithm(header, name),
        components=_components(hdus, image.shape, name),
        n_image=_counts(hdus, image.shape, name),
        chi2=None
        if _named(hdus, "CHI2") is None
        else _plane(hdus, "CHI2", image.shape, name, missing=np.nan),
        header=observation_cards(header),
        name=name,
    )


def is_sky_frame(header: fits.Header) -> bool:
    """Tell from the cards of an image and its primary whether it is a sky frame."""
    return _BOX[0] in header or str(header.get("SKYTYPE", "")).strip() == "SKYFRAME"


def _first_image(hdus: fits.HDUList, name: str) -> Hdu:
    """Return the extension that holds the pattern."""
    images = [hdu for hdu in hdus if getattr(hdu, "is_image", False) and len(hdu.shape) == 2]
    for hdu in images:
        if hdu.name == "IMAGE":
            return hdu
    if not images:
        raise InputError(f"{name} holds no image.", hint="Give a sky frame.")
    return images[0]


def _box(header: fits.Header, name: str) -> tuple[Origin, tuple[int, int]]:
    """Return place and shape of the images that a frame is for."""
    missing = [key for key in _BOX if key not in header]
    if missing:
        raise InputError(
            f"{name} is no sky frame: it has no card {missing[0]}.",
            hint="Make one with `skytool skyframe build`.",
        )
    try:
        x0, y0, x1, y1 = (_whole(header[key]) for key in _BOX)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: the cards BOX.* hold no whole numbers.") from error
    if x1 < x0 or y1 < y0:
        raise InputError(f"{name}: the box x {x0} to {x1}, y {y0} to {y1} is empty.")
    return Origin(y0, x0), (y1 - y0 + 1, x1 - x0 + 1)


def _whole(value: object) -> int:
    number = float(value)  # type: ignore[arg-type]
    if not number.is_integer():
        raise ValueError(value)
    return int(number)


def _algorithm(header: fits.Header, name: str) -> InterpolationStyle:
    text = str(header.get("ALGORITHM", "")).strip().upper()
    if text not in ALGORITHMS:
        raise InputError(
            f"{name}: ALGORITHM {text!r} is no way to interpolate.",
            hint=f"Known: {', '.join(ALGORITHMS)}.",
        )
    return InterpolationStyle(text.lower())


def _named(hdus: fits.HDUList, extname: str) -> Hdu | None:
    return next((hdu for hdu in hdus if hdu.name == extname), None)


def _plane(
    hdus: fits.HDUList, extname: str, shape: tuple[int, ...], name: str, *, missing: float
) -> NDArray[np.float32]:
    hdu = _named(hdus, extname)
    if hdu is None:
        return np.full(shape, missing, np.float32)
    plane = image_array(hdu, name=f"{name}[{extname}]")
    _check_shape(plane.shape, shape, f"{name}[{extname}]")
    return plane


def _check_shape(found: tuple[int, ...], wanted: tuple[int, ...], where: str) -> None:
    if found != wanted:
        raise InputError(f"{where} has the shape {found}, and the frame {wanted}.")


def _mask(hdus: fits.HDUList, image: NDArray[np.float32], name: str) -> Mask:
    """Return the flags of the superpixels; where there are none, those without a value."""
    hdu = _named(hdus, "MASK")
    if hdu is None:
        n_y, n_x = image.shape
        return Mask.empty((n_y, n_x)).with_flagged(~np.isfinite(image), "NO_DATA")
    flags = integer_array(hdu, name=f"{name}[MASK]")
    _check_shape(flags.shape, image.shape, f"{name}[MASK]")
    return Mask.from_array(flags, hdu.header, name=f"{name}[MASK]")


def _counts(hdus: fits.HDUList, shape: tuple[int, ...], name: str) -> NDArray[np.int16] | None:
    """Return how many exposures entered, None if the file does not say."""
    hdu = _named(hdus, "NIMAGE")
    if hdu is None:
        return None
    plane = integer_array(hdu, name=f"{name}[NIMAGE]").astype(np.int16)
    _check_shape(plane.shape, shape, f"{name}[NIMAGE]")
    return plane


def _components(hdus: fits.HDUList, shape: tuple[int, ...], name: str) -> NDArray[np.float32]:
    found = sorted((hdu for hdu in hdus if hdu.name == "SKYCOMP"), key=lambda hdu: hdu.ver or 1)
    planes = [image_array(hdu, name=f"{name}[SKYCOMP,{hdu.ver or 1}]") for hdu in found]
    for plane in planes:
        _check_shape(plane.shape, shape, f"{name}[SKYCOMP]")
    return np.stack(planes) if planes else np.empty((0, *shape), np.float32)


def pattern_rms(frame: SkyFrame) -> float:
    """Return the rms of the pattern over the superpixels with a value of their own."""
    measured = ~frame.mask.any_of(["NO_DATA"]) & np.isfinite(frame.image)
    if not measured.any():
        return math.nan
    return float(np.std(frame.image[measured], dtype=np.float64))
