"""Settings of a match of PSFs: kernel, padding, and where the PSF is evaluated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from skytool.core.matching.kernel_basis import DEFAULT_DEGREES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytool.core.matching.spatial_kernel import Domain


@dataclass(frozen=True, kw_only=True, slots=True)
class PsfMatchConfig:
    """Settings of `psf_match.match_to_model`.

    Parameters
    ----------
    basis : {"wiener", "al"}
        Kernel pixels from a Wiener filter, or Gaussians times polynomials.
    kernel_size : int, optional
        Side of the kernel [pixel], odd; from the model if not given, see
        `psf_match.automatic_kernel_size`.
    sigmas : tuple of float, optional
        Widths of the Gaussians [pixel]; from the sizes of PSF and model if not given.
    degrees : tuple of int
        Degree of the polynomial on each Gaussian.
    spatial_order : int
        Order of the Chebyshev polynomials of the position; less where there are too few cells.
    ridge : float
        Weight of ``sum K^2`` beside the squared difference from the model.
    max_noise_gain : float, optional
        Largest ``sum K^2`` allowed in a cell; the ridge is raised until it holds.
    region : {"stamp", "valid"}
        Pixels that enter the fit: all that the kernel brings light to, or those whose convolution
        lies inside the PSF stamp.
    normalization : {"whole", "first"}
        How the sum of the kernel becomes one: by dividing, or by overwriting the first coefficient.
    taper : tuple of float, optional
        Distances, over half the kernel side, between which the model is brought to zero; not done
        for kernels so small that it would narrow the model.
    auto_pad : bool
        Whether the PSF stamps are padded in proportion to the kernel.
    auto_pad_to : float
        Side of the padded stamps over that of the kernel.
    pad_by : int
        Pixels added to the side of the stamps without `auto_pad`; even.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    basis: Literal["wiener", "al"] = "wiener"
    kernel_size: int | None = None
    sigmas: tuple[float, ...] | None = None
    degrees: tuple[int, ...] = DEFAULT_DEGREES
    spatial_order: int = 2
    ridge: float = 1e-4
    max_noise_gain: float | None = 1.0
    region: Literal["stamp", "valid"] = "stamp"
    normalization: Literal["whole", "first"] = "whole"
    taper: tuple[float, float] | None = (0.8, 1.2)
    auto_pad: bool = True
    auto_pad_to: float = 1.4
    pad_by: int = 0

    def __post_init__(self) -> None:
        if self.kernel_size is not None and (self.kernel_size < 3 or self.kernel_size % 2 == 0):
            raise ValueError(f"the kernel side must be odd and at least 3, got {self.kernel_size}")
        if self.sigmas is not None and len(self.sigmas) != len(self.degrees):
            raise ValueError(f"{len(self.sigmas)} widths for {len(self.degrees)} degrees")
        if self.pad_by < 0 or self.pad_by % 2:
            raise ValueError(f"the padding must be even and not negative, got {self.pad_by}")
        if self.spatial_order < 0:
            raise ValueError(f"the spatial order must not be negative, got {self.spatial_order}")
        if self.ridge < 0 or (self.max_noise_gain is not None and self.max_noise_gain <= 0):
            raise ValueError("ridge and largest noise gain must not be negative")
        if self.basis == "wiener" and (self.region == "valid" or self.ridge == 0):
            raise ValueError("the Wiener filter needs a ridge and the whole stamp")
        if self.taper is not None and not 0 < self.taper[0] < self.taper[1]:
            raise ValueError(f"the taper must run outwards, got {self.taper}")


def match_cells(
    shape: tuple[int, int], *, cell_y: int = 128, cell_x: int = 128
) -> tuple[NDArray[np.float64], NDArray[np.float64], Domain]:
    """Return the positions at which a PSF is evaluated for a match.

    Parameters
    ----------
    shape : tuple of int
        Shape ``(ny, nx)`` of the image.
    cell_y, cell_x : int
        Size of a cell [pixel].

    Returns
    -------
    y, x : ndarray of float64, shape (n_cells,)
        Centres of the cells that fill the image grown by one cell on every side [pixel].
    domain : tuple of float
        Pixel edges of the grown image.

    Raises
    ------
    ValueError
        If there is no room for a cell.
    """
    (ny, nx) = shape
    n_y, n_x = (ny + 2 * cell_y) // max(cell_y, 1), (nx + 2 * cell_x) // max(cell_x, 1)
    if min(ny, nx, cell_y, cell_x) < 1:
        raise ValueError(f"insufficient area to match: image {shape}, cells {(cell_y, cell_x)}")
    rows = np.arange(n_y) * cell_y + cell_y // 2 - cell_y
    columns = np.arange(n_x) * cell_x + cell_x // 2 - cell_x
    y, x = np.meshgrid(rows.astype(np.float64), columns.astype(np.float64), indexing="ij")
    domain = (-0.5 - cell_y, ny + cell_y - 0.5, -0.5 - cell_x, nx + cell_x - 0.5)
    return y.ravel(), x.ravel(), domain


def padded_psf_size(
    psf_size: int,
    kernel_size: int,
    *,
    auto_pad: bool = True,
    auto_pad_to: float = 1.4,
    pad_by: int = 0,
) -> int:
    """Return the side of the PSF stamps that a kernel is fitted on.

    Parameters
    ----------
    psf_size : int
        Largest side of the PSF stamps [pixel].
    kernel_size : int
        Side of the kernel [pixel].
    auto_pad, auto_pad_to, pad_by
        As in `PsfMatchConfig`.

    Returns
    -------
    int
        Side of the padded stamps [pixel].

    Raises
    ------
    ValueError
        If the padding is negative or odd, or the kernel is too large for the padded stamps.
    """
    if auto_pad:
        smallest = math.ceil(kernel_size * auto_pad_to)
        padding = max(0, smallest + 1 - smallest % 2 - psf_size)
    elif pad_by < 0 or pad_by % 2:
        raise ValueError(f"pad-psf-by must be even and not negative, got {pad_by}")
    else:
        padding = pad_by
    size = psf_size + padding
    largest = size - 1 - size % 2
    if kernel_size > largest:
        raise ValueError(
            f"kernel size {kernel_size} is too large for PSF stamps of {size} pixels: take a "
            f"kernel size of at most {largest}, switch automatic padding on, or pad the PSF by "
            f"at least {padding + kernel_size - largest}"
        )
    return size
