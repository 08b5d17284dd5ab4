"""The inputs of a warp: chosen by what is known of them, and calibrated by what is given."""

from __future__ import annotations

import logging
import math
import operator
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from skytool.cli.placeholders import named_after
from skytool.errors import IncompatibleError, SkytoolError, SkytoolWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from skytool.cli.warp.selection import Comparison, DataId, Selection
    from skytool.io.sources import ExposureSource
    from skytool.models.observation.observation import Observation
    from skytool.models.photometry import PhotometricCalibration
    from skytool.models.psf.statistics import PsfStatistics
    from skytool.models.records.detector_table import DetectorTable
    from skytool.models.records.external_calibration import ExternalCalibration
    from skytool.stages.warp import Member, Visit

_log = logging.getLogger(__name__)

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}

_OF_PSF = {
    "max_fwhm": "fwhm",
    "max_ellipticity": "ellipticity",
    "max_psf_trace_radius_delta": "trace_radius_delta",
    "max_psf_ap_flux_delta": "ap_flux_delta",
}
"""Limits on numbers that a PSF itself tells."""

_Calibrated = tuple["Member[ExposureSource]", str]  # and what it lacks
Rejections = tuple[tuple["Member[ExposureSource]", str], ...]


def selected_sources(
    sources: Sequence[ExposureSource], ids: Sequence[DataId]
) -> list[ExposureSource]:
    """Return the exposures that are known by one of some names; all if there are none."""
    from skytool.models.observation.observation import observation_from_header, visit_key

    if not ids:
        return list(sources)
    chosen = []
    for source in sources:
        seen = observation_from_header(source.header)
        visit = seen.visit or visit_key(source.header, name=source.name)
        if any(_is_meant(source, seen, visit, data_id) for data_id in ids):
            chosen.append(source)
        else:
            _log.info("%s is not among those of --select-id", source.name)
    return chosen


def _is_meant(source: ExposureSource, seen: Observation, visit: str, data_id: DataId) -> bool:
    """Return whether an exposure has all values of a name."""
    number = set() if seen.detector is None else {str(seen.detector)}
    known = {
        "visit": {visit},
        "detector": number | {seen.detector_name},
        "filter": {seen.filter, seen.band},
        "band": {seen.band},
    }
    known["ccd"] = known["detector"]
    for key, wanted in data_id.values.items():
        values = known.get(key)
        if values is None:
            values = {str(source.header.get(key.upper(), "")).strip()}
        if not values & wanted:
            return False
    return True


@dataclass(frozen=True, eq=False)
class Judge:
    """Chooses and calibrates the exposures of visits.

    Parameters
    ----------
    selection : Selection
        What the options say.
    statistics, photocal, wcs : DetectorTable or None
        The tables they name.
    """

    selection: Selection
    statistics: DetectorTable | None
    photocal: DetectorTable | None
    wcs: DetectorTable | None

    @classmethod
    def of(cls, selection: Selection) -> Judge:
        """Read the tables that the options name.

        Raises
        ------
        InputError
            If one cannot be read, or has not what it is for.
        """
        files = (
            selection.psf_statistics,
            selection.photocal,
            None if selection.wcs_pattern else selection.wcs,
        )
        if not any(files):
            return cls(selection, None, None, None)
        from skytool.io.calibrations import read_detector_table
        from skytool.models.records.external_calibration import check_photometry, check_wcs

        tables = [
            None if file is None else read_detector_table(file, tract=selection.tract)
            for file in files
        ]
        statistics, photocal, wcs = tables
        if photocal is not None:
            check_photometry(photocal)
        if wcs is not None:
            check_wcs(wcs)
        return cls(selection, statistics, photocal, wcs)

    def judged(
        self, visits: Sequence[Visit[ExposureSource]]
    ) -> list[tuple[Visit[ExposureSource], Rejections]]:
        """Return visits of calibrated exposures that are good enough, and the others with reasons.

        Raises
        ------
        IncompatibleError
            If a limit is on a number that is known of no exposure.
        SkytoolError
            As reading of tables.

        Warns
        -----
        SkytoolWarning
            If an exposure lacks a calibration, or a number that is limited.
        """
        calibrated = [
            [self._calibrated(member, visit.name) for member in visit.members] for visit in visits
        ]
        known = self._all_known(visits, calibrated)
        ignored = self._ignored_cuts([numbers for of_visit in known for numbers in of_visit])
        results = []
        for visit, pairs, of_visit in zip(visits, calibrated, known, strict=True):
            kept, rejected = [], []
            for (member, lacking), numbers in zip(pairs, of_visit, strict=True):
                reason = lacking or self._rejection(member, visit.name, numbers, ignored)
                if reason:
                    rejected.append((member, reason))
                else:
                    kept.append(member)
            results.append((replace(visit, members=tuple(kept)), tuple(rejected)))
        return results

    def wcs_file(self, member: Member[ExposureSource]) -> str | None:
        """Return the text header of an exposure; None if there are none."""
        pattern = self.selection.wcs_pattern
        return None if pattern is None else named_after(pattern, member)

    def _calibrated(self, member: Member[ExposureSource], visit: str) -> _Calibrated:
        """Return an exposure with what takes the place of its calibration, or what it lacks."""
        if self.selection.photocal is None and self.selection.wcs is None:
            return member, ""
        from skytool.models.records.external_calibration import ExternalCalibration

        photometry, wcs_cards = None, ""
        if self.photocal is not None:
            photometry = self._photometry(self.photocal, member, visit)
            if photometry is None:
                return member, _lacking(
                    member, visit, "photometric calibration", self.photocal.name
                )
        if self.selection.wcs is not None:
            wcs_cards = self._wcs_cards(member, visit)
            if not wcs_cards:
                name = self.wcs.name if self.wcs is not None else str(self.wcs_file(member))
                return member, _lacking(member, visit, "coordinates", name)
        external: ExternalCalibration = ExternalCalibration(wcs_cards, photometry)
        return replace(member, candidate=replace(member.candidate, external=external)), ""

    def _photometry(
        self, table: DetectorTable, member: Member[ExposureSource], visit: str
    ) -> PhotometricCalibration | None:
        from skytool.models.records.external_calibration import photometry_of

        row = table.row(visit, member.observation)
        return None if row is None else photometry_of(table, row, member.candidate.shape)

    def _wcs_cards(self, member: Member[ExposureSource], visit: str) -> str:
        """Return the coordinates that are given for an exposure; empty if there are none."""
        from skytool.io.calibrations import read_wcs_cards
        from skytool.models.records.external_calibration import wcs_cards_of

        if self.wcs is None:
            number = member.candidate.recipe.image.number
            return read_wcs_cards(str(self.wcs_file(member)), number=number) or ""
        row = self.wcs.row(visit, member.observation)
        return "" if row is None else wcs_cards_of(self.wcs, row)

    def _all_known(
        self, visits: Sequence[Visit[ExposureSource]], calibrated: Sequence[Sequence[_Calibrated]]
    ) -> list[list[PsfStatistics | None]]:
        """Return what is known of all PSFs; None where nothing needs to be."""
        return [
            [
                None if lacking or not self.selection.cuts else self._known(member, visit.name)
                for member, lacking in pairs
            ]
            for visit, pairs in zip(visits, calibrated, strict=True)
        ]

    def _ignored_cuts(self, known: Sequence[PsfStatistics | None]) -> list[str]:
        """Return the limits of presets on numbers that nobody knows; refuse those of the user."""
        from skytool.stages.warp.selection import PsfCuts, unknown_cuts

        numbers = [one for one in known if one is not None]
        if not numbers:
            return []
        unknown = unknown_cuts(numbers, PsfCuts(**self.selection.cuts))  # type: ignore[arg-type]
        refused = [name for name in unknown if name in self.selection.demanded]
        if refused:
            raise IncompatibleError(
                f"--{refused[0].replace('_', '-')}: no exposure has this number.",
                hint="Give --psf-statistics, or measure PSFs with skytool psf.",
            )
        return unknown

    def _rejection(
        self,
        member: Member[ExposureSource],
        visit: str,
        known: PsfStatistics | None,
        ignored: Sequence[str],
    ) -> str:
        """Return why an exposure is not used; empty if it is."""
        from skytool.stages.warp.selection import PsfCuts, rejection

        for condition in self.selection.conditions:
            value = self._value(condition.key, member, visit)
            if value is None:
                return _warned(member, f"{condition.key} unknown, with --select-expr {condition}")
            if not _complies(value, condition):
                return f"{condition.key} {value}, with --select-expr {condition}"
        if known is None:
            return ""
        cuts = PsfCuts(**self.selection.cuts)  # type: ignore[arg-type]
        reason = rejection(known, cuts, ignored=ignored)
        return _warned(member, reason) if "unknown" in reason else reason

    def _value(self, key: str, member: Member[ExposureSource], visit: str) -> object | None:
        """Return a column of the statistics, or a header card; None if there is neither."""
        from skytool.models.records.detector_table import plain_name

        table = self.statistics
        if table is not None and plain_name(key) in table.columns:
            row = table.row(visit, member.observation)
            return None if row is None else table.columns[plain_name(key)][row]
        return member.candidate.header.get(key.upper())

    def _known(self, member: Member[ExposureSource], visit: str) -> PsfStatistics:
        """Return what is known of the PSF of an exposure: from the table, its header, itself."""
        from skytool.models.psf.statistics import PsfStatistics

        source = member.candidate
        known = PsfStatistics()
        if self.statistics is not None:
            row = self.statistics.row(visit, member.observation)
            if row is not None:
                known = PsfStatistics.from_row(
                    self.statistics, row, pixel_scale=lambda: _pixel_scale(source)
                )
        missing = [
            number
            for cut, number in _OF_PSF.items()
            if self.selection.cuts.get(cut) is not None and math.isnan(getattr(known, number))
        ]
        if missing:
            known = known.filled(_of_psf(source))
        return known.filled(PsfStatistics.from_header(source.header))


def _lacking(member: Member[ExposureSource], visit: str, what: str, name: str) -> str:
    """Warn of an exposure without calibration, and return the reason."""
    seen = member.observation
    called = f"visit {seen.visit or visit}"
    detector = seen.detector_name if seen.detector is None else str(seen.detector)
    called += f", detector {detector}" if detector else ""
    return _warned(member, f"{name} has no {what} of {called}")


def _warned(member: Member[ExposureSource], reason: str) -> str:
    """Warn that an exposure is left out for want of something, and return the reason."""
    warnings.warn(f"{member.candidate.name} is left out: {reason}.", SkytoolWarning, stacklevel=4)
    return reason


def _complies(value: object, condition: Comparison) -> bool:
    """Return whether a value complies, as a number if both are numbers."""
    compare = _OPERATORS[condition.operator]
    try:
        return compare(float(value), float(condition.value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return compare(str(value).strip(), condition.value)


def _pixel_scale(source: ExposureSource) -> float:
    """Return the side of a pixel in the middle of an exposure [arcsec]."""
    from skytool.models.sky.celestial import pixel_scale
    from skytool.stages.warp.visits import wcs_of

    y, x = ((size - 1) / 2 for size in source.shape)
    return pixel_scale(wcs_of(source), y=y, x=x, name=source.name)


def _of_psf(source: ExposureSource) -> PsfStatistics:
    """Return what the PSF that an exposure has says itself."""
    from skytool.io.assembly import read_psf
    from skytool.models.psf.statistics import PsfStatistics

    psf = read_psf(source)
    if psf is None:
        return PsfStatistics()
    try:
        return PsfStatistics.of_psf(psf, source.shape, pixel_scale=lambda: _pixel_scale(source))
    except (SkytoolError, ValueError):
        return PsfStatistics()
