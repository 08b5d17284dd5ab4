"""How an exposure is put together from the HDUs of one or several files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from skytool.errors import IncompatibleError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from skytool.io.layouts.contents import Contents, HduInfo, Shape


class PlaneRef(NamedTuple):
    """An HDU of a file."""

    path: Path
    number: int
    label: str

    @property
    def name(self) -> str:
        """What messages call it."""
        file_name = "standard input" if str(self.path) == "-" else self.path.name
        return f"{file_name}[{self.label}]"


@dataclass(frozen=True)
class VariancePlan:
    """Where the variance comes from.

    Parameters
    ----------
    kind : str
        ``variance``, ``weight`` (inverse variance), ``error`` (standard deviation), ``constant``,
        or ``estimate`` (from gain and read noise, or from the image).
    planes : tuple of PlaneRef
        The plane, for the first three; variances of several planes add up.
    value : float
        The variance, for ``constant``.
    relative : bool
        The weights are right up to a factor, which the noise of the image gives.
    compared : bool
        The weights are compared with the noise of the image, with a warning where they differ.
    checked : bool
        The weights are refused where they cannot be inverse variances.
    dithered : bool
        Weights of zero may have been scattered about zero by lossy compression.
    source : str
        What messages say of it.
    """

    kind: str = "estimate"
    planes: tuple[PlaneRef, ...] = ()
    value: float = 0.0
    relative: bool = False
    compared: bool = False
    checked: bool = False
    dithered: bool = False
    source: str = ""


@dataclass(frozen=True)
class MaskPlan:
    """Where the mask comes from.

    Parameters
    ----------
    plane : PlaneRef or None
        The plane; None where there is no mask.
    dq_map : str
        Name of the map of its values; empty where the header names the planes, or nobody does.
    boolean : bool
        Values other than 0 are bad, and that is all the plane says.
    renames : mapping of str to str
        Names of planes to change.
    band : str
        Band, for maps that depend on it.
    unclear : str
        Why nobody but the user can say what the values mean; empty if that is known.
    """

    plane: PlaneRef | None = None
    dq_map: str = ""
    boolean: bool = False
    renames: Mapping[str, str] = field(default_factory=dict)
    band: str = ""
    unclear: str = ""


@dataclass(frozen=True)
class Recipe:
    """How one exposure is read.

    Parameters
    ----------
    layout : str
        Name of the layout.
    image : PlaneRef
        The image.
    shape : tuple of int
        Shape ``(ny, nx)`` of it.
    variance, mask
        Where the other planes come from.
    psf : tuple of PlaneRef
        HDUs that hold the PSF.
    native : bool
        True for the layout of skytool, which holds models besides.
    parent_wcs : bool
        True if the WCS refers to the parent frame, of which X0 and Y0 give the first pixel.
    asinh : bool
        True if pixels are scaled by a hyperbolic sine (cards BSOFTEN and BOFFSET).
    cards : mapping of str to float or str
        Cards that the layout implies and the header lacks.
    unit : str
        Unit that the layout implies where the header has none.
    notes : tuple of str
        What a user should know once.
    """

    layout: str
    image: PlaneRef
    shape: Shape
    variance: VariancePlan = field(default_factory=VariancePlan)
    mask: MaskPlan = field(default_factory=MaskPlan)
    psf: tuple[PlaneRef, ...] = ()
    native: bool = False
    parent_wcs: bool = False
    asinh: bool = False
    cards: Mapping[str, float | str] = field(default_factory=dict)
    unit: str = ""
    notes: tuple[str, ...] = ()

    @property
    def planes(self) -> tuple[PlaneRef, ...]:
        """Every HDU that is read, the image first."""
        mask = () if self.mask.plane is None else (self.mask.plane,)
        return (self.image, *self.variance.planes, *mask, *self.psf)

    @property
    def siblings(self) -> tuple[PlaneRef, ...]:
        """Those that lie in other files than the image."""
        return tuple(plane for plane in self.planes if plane.path != self.image.path)


def plane_ref(contents: Contents, hdu: HduInfo) -> PlaneRef:
    """Return the reference to an HDU."""
    return PlaneRef(contents.path, hdu.index, hdu.label)


def same_shape(contents: Contents, hdu: HduInfo, shape: Shape, image: str) -> PlaneRef:
    """Return the reference to a plane of the shape of the image.

    Raises
    ------
    IncompatibleError
        If the shapes differ.
    """
    ref = plane_ref(contents, hdu)
    if hdu.plane_shape != shape:
        raise IncompatibleError(
            f"{ref.name} has {hdu.size_text} pixels, but {image} has {shape[1]} x {shape[0]}."
        )
    return ref
