"""Matching kernels as they are stored: readable without this program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
from astropy.io import fits

from skytool.core.background.chebyshev import ChebyshevModel
from skytool.core.matching.spatial_kernel import SpatialKernel
from skytool.errors import InputError
from skytool.models.keywords import set_card
from skytool.models.pixels import damage_errors
from skytool.models.tables import TableColumn, table_columns, table_hdu
from skytool.models.versions import check_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Hdu: TypeAlias = fits.ImageHDU | fits.BinTableHDU

KERNEL_FORMAT = 1
"""Version of the layout in which matching kernels are stored."""

EXTENSIONS = ("KERNEL", "KBASIS", "KCOEFF", "KBACK", "KSTARS")
"""Names of the extensions of a stored kernel."""

TERMS = "KTERM"
"""Name of the extension with the kernel of every term: those of basis and coefficients again."""

NOISE = "KNOISE"
"""Name of the extension with the correlation of noise that was found, if there is one."""

Convolved = Literal["TEMPLATE", "SCIENCE"]


@dataclass(frozen=True, eq=False)
class KernelStars:
    """Sources that were candidates for the fit of a kernel; arrays of shape ``(n,)``.

    Parameters
    ----------
    y, x : ndarray of float64
        Position [pixel].
    snr : ndarray of float64
        Ratio of signal to noise.
    sums : ndarray of float64
        Sum of the kernel of the stamp by itself; NaN if there is none.
    mean, std : ndarray of float64
        Of what is left of the stamp over its noise; NaN if not known.
    reason : ndarray of str
        Why it is not used; empty if it is.
    """

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    snr: NDArray[np.float64]
    sums: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    reason: NDArray[np.str_]

    @classmethod
    def none(cls) -> Self:
        """Return an empty list."""
        no = np.empty(0)
        return cls(y=no, x=no, snr=no, sums=no, mean=no, std=no, reason=np.empty(0, "U1"))

    @property
    def used(self) -> NDArray[np.bool_]:
        """Which of them the kernel was fitted to."""
        return np.asarray(self.reason == "")

    def counts(self) -> dict[str, int]:
        """Return how many were left out for each reason."""
        reasons, numbers = np.unique(self.reason[~self.used], return_counts=True)
        return dict(zip(reasons.tolist(), numbers.tolist(), strict=True))

    def to_hdu(self) -> fits.BinTableHDU:
        """Return the table."""
        status = np.where(self.used, "used", "left out")
        return table_hdu(
            "KSTARS",
            [
                TableColumn("X", self.x, "pixel", "position, 0-based"),
                TableColumn("Y", self.y, "pixel", "position, 0-based"),
                TableColumn("SNR", self.snr, "", "signal over noise"),
                TableColumn("KSUM", self.sums, "", "sum of the kernel of this stamp alone"),
                TableColumn("MEAN", self.mean, "", "mean of the residual over its noise"),
                TableColumn("STD", self.std, "", "standard deviation of the residual over noise"),
                TableColumn("STATUS", status, "", "used or left out"),
                TableColumn("REASON", self.reason, "", "why it is left out"),
            ],
        )

    @classmethod
    def from_hdu(cls, hdu: fits.BinTableHDU, *, name: str) -> Self:
        """Read the table.

        Raises
        ------
        InputError
            If it lacks a column.
        """
        names = ("X", "Y", "SNR", "KSUM", "MEAN", "STD", "REASON")
        columns: dict[str, Any] = table_columns(hdu, name=name, required=names)
        y, x = (columns[key].astype(np.float64) for key in ("Y", "X"))
        snr, sums, mean, std = (columns[key].astype(np.float64) for key in names[2:6])
        return cls(y, x, snr, sums, mean, std, columns["REASON"])


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchingKernel:
    """The kernel that makes one image like another, and what the difference needs beside it.

    ``S = K * T + background`` if the template T is convolved, ``T = K * S + background`` if the
    science image S is; ``*`` is a true convolution.

    Parameters
    ----------
    basis : ndarray of float64, shape (n_basis, h, w)
        Kernels; the first one alone has a sum.
    coefficients : ndarray of float64, shape (n_basis, p, q)
        Element ``[i, p, q]`` multiplies ``basis[i] T_p(y') T_q(x')``.
    background : ndarray of float64, shape (p, q)
        Coefficients of the background.
    shape : (int, int)
        Shape ``(ny, nx)`` of the image over whose pixel edges ``y', x'`` run from -1 to 1.
    convolved : {"TEMPLATE", "SCIENCE"}
        Which image is convolved.
    science_variance, template_variance : float
        Typical variance of a pixel of each before convolution.
    basis_kind : {"AL", "DELTA"}
        Gaussians times polynomials, or single pixels (perhaps their components).
    widths : tuple of float
        Of the Gaussians [pixel].
    degrees : tuple of int
        Of their polynomials.
    kernel_order, background_order : int
        Total orders.
    condition : float
        Of the equations that it was fitted with.
    preconvolved : bool
        Whether the science image was correlated with its PSF before the fit.
    stars : KernelStars
        What it was fitted to.
    noise_left : ndarray of float64, shape (2 l + 1, 2 l + 1), or None
        Correlation of noise that was found in the difference, beyond what the images tell.
    """

    basis: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    background: NDArray[np.float64]
    shape: tuple[int, int]
    convolved: Convolved
    science_variance: float
    template_variance: float
    basis_kind: Literal["AL", "DELTA"] = "AL"
    widths: tuple[float, ...] = ()
    degrees: tuple[int, ...] = ()
    kernel_order: int = 0
    background_order: int = 0
    condition: float = 0.0
    preconvolved: bool = False
    stars: KernelStars = field(default_factory=KernelStars.none)
    noise_left: NDArray[np.float64] | None = None

    @property
    def kernel(self) -> SpatialKernel:
        """The convolution kernel, in pixels of the image."""
        ny, nx = self.shape
        domain = (-0.5, ny - 0.5, -0.5, nx - 0.5)
        return SpatialKernel.from_basis(self.basis, self.coefficients, domain)

    @property
    def surface(self) -> ChebyshevModel:
        """The background."""
        return ChebyshevModel(self.background, self.shape)

    @property
    def middle(self) -> tuple[float, float]:
        """Position ``(y, x)`` in the middle of the image [pixel]."""
        return (self.shape[0] - 1) / 2, (self.shape[1] - 1) / 2

    @property
    def sum(self) -> float:
        """Sum of the kernel in the middle of the image."""
        y, x = self.middle
        return self.kernel.sum_at(y=y, x=x)

    @property
    def shift(self) -> tuple[float, float]:
        """How far ``(y, x)`` the kernel moves light, in the middle of the image [pixel]."""
        y, x = self.middle
        kernel = self.kernel.at(y=y, x=x)
        rows, columns = (np.arange(size) - size // 2 for size in kernel.shape)
        total = kernel.sum()
        return float(rows @ kernel.sum(axis=1) / total), float(columns @ kernel.sum(axis=0) / total)

    def to_hdus(self) -> list[Hdu]:
        """Return the extensions: kernel in the middle, basis, coefficients, background, stars.

        Element ``[p, q]`` of ``KTERM`` is the kernel that ``T_p(y') T_q(x')`` multiplies, the sum
        of the basis with its coefficients.
        """
        y, x = self.middle
        kernel = self.kernel
        images = (kernel.at(y=y, x=x), self.basis, self.coefficients, self.background)
        hdus = [
            fits.ImageHDU(np.asarray(data, np.float64), name=name)
            for data, name in zip((*images, kernel.images), (*EXTENSIONS[:4], TERMS), strict=True)
        ]
        for hdu in hdus:
            set_card(hdu.header, "SKYMVER", KERNEL_FORMAT)
        head = hdus[0].header
        for key, (value, comment) in self._cards(y, x).items():
            set_card(head, key, value, comment)
        for number, sigma in enumerate(self.widths, 1):
            set_card(head, f"KSIG{number}", sigma, "[pixel] sigma of a Gaussian")
        for number, degree in enumerate(self.degrees, 1):
            set_card(head, f"KDEG{number}", degree, "degree of its polynomial")
        for hdu in hdus[2:]:
            set_card(hdu.header, "SKYMODEL", "CHEBYSHEV2D")
            set_card(hdu.header, "DOMAINX", self.shape[1])
            set_card(hdu.header, "DOMAINY", self.shape[0])
        if self.noise_left is not None:
            hdus.append(fits.ImageHDU(self.noise_left, name=NOISE))
            set_card(hdus[-1].header, "SKYMVER", KERNEL_FORMAT)
        return [*hdus, self.stars.to_hdu()]

    def _cards(self, y: float, x: float) -> dict[str, tuple[object, str]]:
        condition = self.condition if np.isfinite(self.condition) else None
        return {
            "KDIR": (self.convolved, "image that is convolved"),
            "KSUM": (self.sum, "sum of the kernel"),
            "KCENX": (x, "[pixel] where this kernel is, 0-based"),
            "KCENY": (y, "[pixel] where this kernel is, 0-based"),
            "KTRUE": (True, "true convolution, not correlation"),
            "KMODE": (self.basis_kind, "AL: Gaussians, DELTA: pixels"),
            "KORDER": (self.kernel_order, "total order of the kernel"),
            "KBGORDER": (self.background_order, "total order of the background"),
            "KNGAUSS": (len(self.widths), "number of Gaussians"),
            "KPRECONV": (self.preconvolved, "science was correlated with its PSF first"),
            "KVARSCI": (self.science_variance, "variance of a science pixel"),
            "KVARTMP": (self.template_variance, "variance of a template pixel"),
            "KCOND": (condition, "condition number of the fit"),
        }

    @classmethod
    def from_hdus(cls, hdus: Iterable[Any], *, name: str) -> Self:
        """Read a stored kernel.

        Raises
        ------
        InputError
            If an extension is missing, damaged, or does not fit the others.
        """
        by_name = {hdu.name: hdu for hdu in hdus}
        missing = [key for key in EXTENSIONS if key not in by_name]
        if missing:
            raise InputError(
                f"{name} holds no matching kernel: {', '.join(missing)} is missing.",
                hint="Give a file that --kernel-out or diffim has written.",
            )
        arrays = []
        for key, axes in zip(EXTENSIONS[:4], (2, 3, 3, 2), strict=True):
            with damage_errors(f"{name}: the extension {key}"):
                data = by_name[key].data
                array = None if data is None else np.array(data, np.float64)
            if array is None or array.ndim != axes or not np.isfinite(array).all():
                raise InputError(f"{name}: the extension {key} is no finite array of {axes} axes.")
            arrays.append(array)
        _, basis, coefficients, background = arrays
        head = by_name["KERNEL"].header
        check_version(head, newest=KERNEL_FORMAT, name=f"{name}[KERNEL]")
        try:
            shape = tuple(int(by_name["KCOEFF"].header[key]) for key in ("DOMAINY", "DOMAINX"))
            values: dict[str, Any] = {
                "convolved": str(head["KDIR"]),
                "science_variance": float(head["KVARSCI"]),
                "template_variance": float(head["KVARTMP"]),
                "basis_kind": str(head["KMODE"]),
                "kernel_order": int(head["KORDER"]),
                "background_order": int(head["KBGORDER"]),
                "preconvolved": bool(head["KPRECONV"]),
                "condition": float(head.get("KCOND", np.inf)),
                "widths": tuple(
                    float(head[f"KSIG{i}"]) for i in range(1, int(head["KNGAUSS"]) + 1)
                ),
                "degrees": tuple(int(head[key]) for key in head["KDEG*"]),
            }
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{name}: a card of the stored kernel is missing or wrong: {error}."
            ) from error
        odd = basis.shape[1] % 2 and basis.shape[2] % 2
        if (
            len(basis) != len(coefficients)
            or not odd
            or values["convolved"] not in {"TEMPLATE", "SCIENCE"}
        ):
            raise InputError(f"{name}: the parts of the stored kernel do not go together.")
        left = by_name.get(NOISE)
        return cls(
            noise_left=None if left is None else np.array(left.data, np.float64),
            basis=basis,
            coefficients=coefficients,
            background=background,
            shape=(shape[0], shape[1]),
            stars=KernelStars.from_hdu(by_name["KSTARS"], name=name),
            **values,
        )
