"""The options that choose among the inputs of a warp and calibrate them."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from skytool.cli.options import INPUT, Number

if TYPE_CHECKING:
    from collections.abc import Callable

    from skytool.cli.target import Target

F = TypeVar("F", bound="Callable[..., Any]")

_COMPARISON = re.compile(r"\s*([\w-]+)\s*(<=|>=|==|!=|<|>)\s*([^<>=!]+?)\s*$")
_RANGE = re.compile(r"(\d+)\.\.(\d+)(?::(\d+))?$")
_MOST = 100_000  # values of a range


@dataclass(frozen=True)
class DataId:
    """What an exposure is known by: ``visit=12 ccd=3..9``.

    Parameters
    ----------
    text : str
        As the user wrote it.
    values : dict of str to frozenset of str
        Values by key in lower case, any of which will do.
    """

    text: str
    values: dict[str, frozenset[str]]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A condition on a header card or a column: ``AIRMASS <= 1.8``."""

    key: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}{self.operator}{self.value}"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which inputs are used, and what takes the place of their calibration.

    Parameters
    ----------
    ids : tuple of DataId
        Exposures of which all values are among those of one of these; none stands for all.
    conditions : tuple of Comparison
        What all exposures must comply with.
    cuts : dict of str to float
        Limits on the statistics of PSFs.
    demanded : frozenset of str
        Those of the limits that were given on the command line.
    psf_statistics, photocal, wcs : str or None
        Files of tables; of ``wcs`` also a folder of text headers, or their names.
    tract : int or None
        Tract of the target.
    """

    ids: tuple[DataId, ...]
    conditions: tuple[Comparison, ...]
    cuts: dict[str, float]
    demanded: frozenset[str]
    psf_statistics: str | None
    photocal: str | None
    wcs: str | None
    tract: int | None

    def files(self) -> list[str]:
        """Return the files that all exposures share."""
        shared = [self.psf_statistics, self.photocal, None if self.wcs_pattern else self.wcs]
        return [file for file in shared if file is not None]

    @property
    def wcs_pattern(self) -> str | None:
        """Names of text headers with ``{stem}`` and so on in them; None if ``wcs`` is a table."""
        from pathlib import Path

        if self.wcs is None:
            return None
        if Path(self.wcs).is_dir():
            return str(Path(self.wcs) / "{stem}.head")
        return self.wcs if "{" in self.wcs or self.wcs.endswith((".head", ".ahead")) else None


class DataIdType(click.ParamType[DataId]):
    """``KEY=VALUE ...``: values may be ranges ``3..9``, ``3..9:2``, and several as ``3^5``."""

    name = "KEY=VALUE ..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> DataId:
        """Take the text apart."""
        if isinstance(value, DataId):
            return value
        found: dict[str, frozenset[str]] = {}
        for part in re.split(r"[,\s]+", str(value).strip()):
            key, equals, text = part.partition("=")
            if not key or not equals or not text:
                self.fail(f"{value!r} is not KEY=VALUE, as 'visit=12 ccd=3..9'.", param, ctx)
            values = [one for item in text.split("^") for one in self._expanded(item, param, ctx)]
            found[key.lower()] = frozenset(values)
        return DataId(str(value).strip(), found)

    def _expanded(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        """Return the values of a range; whole numbers without leading zeros."""
        match = _RANGE.fullmatch(text)
        if match is None:
            return [str(int(text)) if text.isdecimal() else text]
        start, stop, step = int(match[1]), int(match[2]), int(match[3] or 1)
        if stop < start or step < 1 or (stop - start) // step >= _MOST:
            self.fail(f"{text!r} is no range.", param, ctx)
        return [str(number) for number in range(start, stop + 1, step)]


class ComparisonType(click.ParamType[Comparison]):
    """``KEY<VALUE`` with one of ``<``, ``<=``, ``>``, ``>=``, ``==`` and ``!=``."""

    name = "KEY<VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Comparison:
        """Take the text apart."""
        if isinstance(value, Comparison):
            return value
        match = _COMPARISON.match(str(value))
        if match is None:
            self.fail(f"{value!r} is no comparison, as 'AIRMASS<=1.8'.", param, ctx)
        return Comparison(key=match[1], operator=match[2], value=match[3].strip("'\""))


_LIMIT = Number(minimum=0)
_CUTS = (
    click.option(
        "--max-ellip-residual",
        type=_LIMIT,
        help="Largest median difference of the ellipticity between stars and PSF.",
    ),
    click.option(
        "--max-size-scatter",
        type=_LIMIT,
        help="Largest scatter of the size of stars less that of the PSF [pixel].",
    ),
    click.option(
        "--max-scaled-size-scatter",
        type=_LIMIT,
        help="The same over the square of the median size of stars.",
    ),
    click.option(
        "--max-psf-trace-radius-delta",
        type=_LIMIT,
        help="Largest range of the trace radius of the PSF over a detector [pixel].",
    ),
    click.option(
        "--max-psf-ap-flux-delta",
        type=_LIMIT,
        help="Largest range of the flux of the PSF in an aperture over a detector.",
    ),
    click.option(
        "--max-psf-ap-corr-sigma-scaled-delta",
        type=_LIMIT,
        help="Largest range of the aperture correction over the width of the PSF.",
    ),
    click.option("--max-star-e-per-band", type=_LIMIT, help="Largest median ellipticity of stars."),
    click.option(
        "--min-n-psf-star-per-band",
        type=click.IntRange(min=0),
        help="Fewest stars that the PSF was measured from.",
    ),
    click.option(
        "--max-fwhm",
        "--max-psf-fwhm",
        type=_LIMIT,
        help="Largest width of the PSF, from the table, the PSF itself or the card SEEING "
        "[arcsec].",
    ),
    click.option(
        "--max-ellipticity",
        type=_LIMIT,
        help="Largest ellipticity of the PSF, from the table or the PSF itself.",
    ),
)
_CUT_NAMES = (
    *("max_ellip_residual", "max_size_scatter", "max_scaled_size_scatter"),
    *("max_psf_trace_radius_delta", "max_psf_ap_flux_delta"),
    *("max_psf_ap_corr_sigma_scaled_delta", "max_star_e_per_band", "min_n_psf_star_per_band"),
    *("max_fwhm", "max_ellipticity"),
)

_CHOICE = (
    click.option(
        "--select-id",
        type=DataIdType(),
        multiple=True,
        help="Use only exposures with these values: visit, ccd or detector, filter, band, or a "
        "header keyword. May be repeated: those of any of them.",
    ),
    click.option(
        "--select-expr",
        type=ComparisonType(),
        multiple=True,
        help="Use only exposures of which a header card, or a column of --psf-statistics, "
        "complies. May be repeated: with all of them.",
    ),
    click.option(
        "--psf-statistics",
        type=INPUT,
        metavar="TABLE",
        help="Statistics of PSFs by visit and detector (FITS, ECSV, CSV), for the limits below; "
        "otherwise the header's.",
    ),
)
_CALIBRATION = (
    click.option(
        "--photocal",
        "--external-photo-calib",
        "--do-apply-external-photo-calib",
        type=INPUT,
        metavar="TABLE",
        help="Photometric calibrations by visit and detector (FITS, ECSV, CSV), in place of the "
        "headers': CALIBRATION [nJy per unit], ZEROPOINT or FLUXMAG0, with errors.",
    ),
    click.option(
        "--wcs",
        "--external-sky-wcs",
        "--do-apply-external-sky-wcs",
        type=INPUT,
        metavar="TABLE|FOLDER",
        help="Celestial coordinates in place of the headers': a table by visit and detector with "
        "header cards in WCSHDR or a column for each keyword, or text headers, {stem}.head in a "
        "folder.",
    ),
)


def selection_options(function: F) -> F:
    """Add the options that choose and calibrate inputs, got as ``selection``."""

    @functools.wraps(function)
    def with_selection(*args: Any, **kwargs: Any) -> Any:
        from click.core import ParameterSource

        ctx = click.get_current_context()
        cuts = {name: kwargs.pop(name) for name in _CUT_NAMES}
        given = {name: value for name, value in cuts.items() if value is not None}
        demanded = {
            name for name in given if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        }
        target: Target = kwargs["target"]
        selection = Selection(
            ids=kwargs.pop("select_id"),
            conditions=kwargs.pop("select_expr"),
            cuts=given,
            demanded=frozenset(demanded),
            psf_statistics=kwargs.pop("psf_statistics"),
            photocal=kwargs.pop("photocal"),
            wcs=kwargs.pop("wcs"),
            tract=target.tract,
        )
        return function(*args, selection=selection, **kwargs)

    decorated: Any = with_selection
    for option in reversed(_CHOICE + _CUTS + _CALIBRATION):
        decorated = option(decorated)
    return cast("F", decorated)
