"""The work of ``skytool match-bg`` on one exposure: read, match, write, report."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from skytool.cli.stage_files import Product
from skytool.errors import SkytoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skytool.core.background.chebyshev import ChebyshevModel
    from skytool.core.background.overlap_solve import PairCells
    from skytool.core.windows import Window
    from skytool.io.sources import ExposureSource
    from skytool.models.records.provenance import InputRecord, SettingRecord
    from skytool.stages.match_bg import (
        BackgroundFit,
        MatchConfig,
        MatchQuality,
        Piece,
        Reference,
    )
    from skytool.stages.match_bg.selection import ExposureFigures


@dataclass(frozen=True)
class Member:
    """One file of an exposure.

    Parameters
    ----------
    source : ExposureSource
        The file.
    window : Window
        Its place in the frame.
    output : str
        Its product; empty for a reference that is no input.
    """

    source: ExposureSource
    window: Window
    output: str = ""

    @property
    def piece(self) -> Piece:
        """The file as the stage takes it."""
        from skytool.stages.match_bg import Piece

        return Piece(self.source.name, self.window, self.source.read)


@dataclass(frozen=True, kw_only=True)
class Visit:
    """An exposure, in one file or several.

    Parameters
    ----------
    name : str
        What messages call it.
    members : tuple of Member
        Its files.
    frame_shape : (int, int)
        Shape ``(ny, nx)`` of the frame of all exposures.
    is_single : bool
        Whether every file fills the frame.
    config : MatchConfig
        Settings of the stage.
    scale : float
        Factor to common fluxes.
    """

    name: str
    members: tuple[Member, ...]
    frame_shape: tuple[int, int]
    is_single: bool
    config: MatchConfig
    scale: float = 1.0

    @property
    def pieces(self) -> list[Piece]:
        """The files as the stage takes them."""
        return [member.piece for member in self.members]


@dataclass(frozen=True, kw_only=True)
class MatchTask:
    """One exposure to match and write.

    Parameters
    ----------
    visit : Visit
        The exposure.
    reference : Visit or None
        What it is matched to, or compared with; None for an exposure without partner.
    is_reference : bool
        Whether it stays as it is.
    reference_scale : float
        Factor on the fluxes of the reference.
    correction : ChebyshevModel or None
        What the reference gets itself after that.
    fit : BackgroundFit or None
        The model, where it is known already.
    given : float or None
        The offset, where the user gave it.
    fit_scale : bool
        Whether the factor on the fluxes is measured.
    facts : dict
        Further figures for the report.
    reference_records : tuple of InputRecord
        Rows of the table of inputs, for the reference.
    settings : tuple of SettingRecord
        All settings, for the record.
    fingerprint : str
        What changes whenever the product may change.
    mode : str
        ``reference`` or ``global``.
    overwrite : bool
        Whether products may be replaced.
    compress : str
        How they are compressed.
    """

    visit: Visit
    reference: Visit | None = None
    is_reference: bool = False
    reference_scale: float = 1.0
    correction: ChebyshevModel | None = None
    fit: BackgroundFit | None = None
    given: float | None = None
    fit_scale: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    reference_records: tuple[InputRecord, ...] = ()
    settings: tuple[SettingRecord, ...] = ()
    fingerprint: str = ""
    mode: str = "reference"
    overwrite: bool = False
    compress: str = "none"


@dataclass(frozen=True)
class PairTask:
    """Exposures whose differences to all later ones are wanted.

    Parameters
    ----------
    first : tuple of int
        Their numbers.
    visits : tuple of Visit
        All exposures.
    """

    first: tuple[int, ...]
    visits: tuple[Visit, ...]


# The reference of one task is that of the next: it stays in memory to the end of the run. One is
# enough.
_held: dict[tuple[object, ...], Reference] = {}


def forget_reference() -> None:
    """Free the memory of the reference."""
    _held.clear()


def measure_figures(visit: Visit) -> ExposureFigures:
    """Read an exposure and return what choices of reference and mode ask of it."""
    from skytool.stages.match_bg import figures_of

    return figures_of(visit.pieces, visit.frame_shape, visit.config, scale=visit.scale)


def measure_pairs(task: PairTask) -> list[PairCells]:
    """Read exposures and return the cells of their pairs."""
    from skytool.stages.match_bg import Overlapping, pair_cells

    exposures = [Overlapping(visit.pieces, visit.scale) for visit in task.visits]
    first = task.visits[0]
    return pair_cells(task.first, exposures, first.frame_shape, first.config)


def make_matched(task: MatchTask | SkytoolError) -> list[Product]:
    """Read, match and write one exposure."""
    if isinstance(task, SkytoolError):
        raise task
    if task.is_reference or task.reference is None:
        return _write_unchanged(task)
    from skytool.stages.match_bg import Match, check_quality

    visit, config = task.visit, task.visit.config
    scale = _scale(task, task.reference)
    match = Match(
        visit.name,
        visit.pieces,
        _reference(task, task.reference),
        visit.frame_shape,
        config,
        scale=scale,
    )
    fit = task.fit
    if fit is None:
        fit = match.fit() if task.given is None else match.given(task.given)
    gated = config.max_ratio is not None or config.max_rms is not None
    if gated and len(visit.members) > 1:
        check_quality(match.quality(fit), config, name=visit.name)
    products = []
    for member, (matched, quality) in zip(visit.members, match.matched(fit), strict=True):
        if gated:
            check_quality(quality, config, name=visit.name)
        metrics = _metrics(task, fit, quality, scale)
        _write(task, member, matched, metrics)
        products.append(Product(path=member.output, metrics=metrics))
    return products


def _write(task: MatchTask, member: Member, matched: Any, metrics: dict[str, Any]) -> None:
    from skytool.cli.match_bg.product import write_matched

    write_matched(task, member, matched, metrics)


def _write_unchanged(task: MatchTask) -> list[Product]:
    """Write an exposure that stays as it is."""
    from skytool.stages.match_bg import MatchQuality, no_background, unchanged

    visit = task.visit
    fit = no_background(visit.frame_shape, visit.config)
    nothing = float("nan")
    quality = MatchQuality(0.0, nothing, nothing, 0)
    products = []
    for member in visit.members:
        metrics = _metrics(task, fit, quality, 1.0)
        _write(task, member, unchanged(member.source.read()), metrics)
        products.append(Product(path=member.output, metrics=metrics))
    return products


def _scale(task: MatchTask, reference: Visit) -> float:
    """Return the factor on the fluxes of an exposure."""
    if not task.fit_scale:
        return task.visit.scale / reference.scale * task.reference_scale
    from skytool.stages.match_bg.scaling import fitted_scale

    found = fitted_scale(
        task.visit.pieces, reference.pieces, task.visit.config, name=task.visit.name
    )
    task.facts.update({"scale_error": found.error, "scale_cells": found.n_cells})
    return found.scale


def _reference(task: MatchTask, visit: Visit) -> Reference:
    """Return the reference, that of the task before if it is the same."""
    from dataclasses import replace

    from skytool.stages.match_bg import reference_for

    correction = task.correction
    terms = b"" if correction is None else correction.coefficients.tobytes()
    sources = tuple(_identity(member.source) for member in visit.members)
    key = (sources, repr(visit.config), task.reference_scale, terms)
    if key not in _held:
        forget_reference()
        made = reference_for(visit.name, visit.pieces, visit.config, single=visit.is_single)
        _held[key] = replace(made, scale=task.reference_scale, correction=correction)
    return _held[key]


def _identity(source: ExposureSource) -> tuple[object, ...]:
    """Return what tells a file from another one, and from what it was before."""
    with suppress(OSError):
        status = os.stat(source.path)  # noqa: PTH116
        state = (status.st_ino, status.st_mtime_ns, status.st_size)
        return str(source.path), source.extension, *state
    return str(source.path), source.extension


def _metrics(
    task: MatchTask, fit: BackgroundFit, quality: MatchQuality, scale: float
) -> dict[str, Any]:
    """Return the numbers of a match for the report."""
    before = fit.offset_before
    named = task.visit if task.is_reference else (task.reference or task.visit)
    return {
        "is_reference": task.is_reference,
        "reference": named.name,
        "fit_rms": fit.fit_rms,
        "matched_mse": quality.matched_mse,
        "diff_im_var": quality.diff_variance,
        "ratio": quality.ratio,
        "n_pixels": quality.n_pixels,
        "style": fit.style,
        "order": fit.order,
        "smoothing": fit.smoothing,
        "cells_used": fit.cells_used,
        "cells_total": fit.cells_total,
        "covered": fit.covered,
        "extrapolated": fit.extrapolated,
        "reduced_chi2": fit.reduced_chi2,
        "condition": fit.condition,
        "noise_correlation": fit.correlation,
        "cell_noise": fit.cell_noise,
        "offset_before": before,
        "offset_after": fit.offset_after,
        "offset_left": fit.offset_after / before if before > 0 else 0.0,
        "scale": scale,
        **task.facts,
    }


def pair_blocks(n: int, size: int) -> Sequence[tuple[int, ...]]:
    """Return blocks of exposures that are held in memory together; the last one has no pair."""
    return [tuple(range(start, min(start + size, n))) for start in range(0, n - 1, size)]
