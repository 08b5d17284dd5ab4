"""Tables with a row for every detector of every visit."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skytool.errors import IncompatibleError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from skytool.models.observation.observation import Observation

_VISITS = ("visit", "visit_id", "expnum", "exposure")
_DETECTORS = ("detector", "detector_id", "ccd", "ccdnum", "ccd_id", "chip", "id")


@dataclass(frozen=True, eq=False)
class DetectorTable:
    """Rows that are found by visit and detector; names of columns match whatever their spelling.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (n,) or (n, m)
        Columns by plain name, see `plain_name`.
    rows : mapping of (str, str) to int
        Number of the row by visit and detector; the detector is empty where a table has none.
    name : str
        What messages call the file.
    spellings : mapping of str to str
        The names of the columns as the file has them, by plain name.
    """

    columns: Mapping[str, NDArray[np.generic]]
    rows: Mapping[tuple[str, str], int]
    name: str
    spellings: Mapping[str, str]

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, NDArray[np.generic]],
        *,
        name: str,
        tract: int | None = None,
    ) -> Self:
        """Return the table of some columns.

        Parameters
        ----------
        columns : mapping of str to ndarray
            VISIT, and DETECTOR or CCD unless all detectors of a visit share a row; with TRACT only
            the rows of one tract count.
        name : str
            What messages call the file.
        tract : int, optional
            The tract.

        Raises
        ------
        InputError
            If the visit is missing, or two rows are for one detector.
        IncompatibleError
            If the rows are those of tracts and there is none, or none of this one.
        """
        plain = {plain_name(key): values for key, values in columns.items()}
        visits = _first(plain, _VISITS)
        if visits is None:
            raise InputError(
                f"{name} has no column VISIT.", hint=f"It has {', '.join(columns) or 'none'}."
            )
        detectors = _first(plain, _DETECTORS)
        numbers = range(len(visits)) if "tract" not in plain else _of_tract(plain, tract, name)
        rows: dict[tuple[str, str], int] = {}
        for number in numbers:
            detector = "" if detectors is None else _text(detectors[number])
            key = (_text(visits[number]), detector)
            if key in rows:
                called = f"visit {key[0]}" + (f", detector {detector}" if detector else "")
                raise InputError(
                    f"{name} has two rows, {rows[key] + 1} and {number + 1}, for {called}."
                )
            rows[key] = number
        return cls(plain, rows, name, {plain_name(key): key for key in columns})

    def has(self, *names: str) -> bool:
        """Return whether there is a column of one of some names."""
        return _first(self.columns, names) is not None

    def row(self, visit: str, observation: Observation) -> int | None:
        """Return the number of the row of a detector; None if there is none.

        Parameters
        ----------
        visit : str
            Visit as it is named in the run, where the header names none.
        observation : Observation
            What its header says.
        """
        number = observation.detector
        names = ["" if number is None else str(number), observation.detector_name, ""]
        keys = [(seen, name) for seen in (observation.visit, visit) for name in names]
        return next((self.rows[key] for key in keys if key in self.rows), None)

    def number(self, row: int, *names: str) -> float:
        """Return a number of a row, from the first column there is; NaN if there is none.

        Raises
        ------
        InputError
            If it is no number.
        """
        values = _first(self.columns, names)
        if values is None:
            return math.nan
        try:
            return float(values[row])
        except (TypeError, ValueError):
            raise InputError(
                f"{self.name}: row {row + 1} has {values[row]!s} where a number is wanted."
            ) from None

    def text(self, row: int, *names: str) -> str:
        """Return a text of a row, from the first column there is; empty if there is none."""
        values = _first(self.columns, names)
        return "" if values is None else str(values[row]).rstrip()

    def numbers(self, row: int, name: str) -> NDArray[np.float64] | None:
        """Return the numbers of a row of a column of several; None if there is none."""
        values = _first(self.columns, (name,))
        if values is None:
            return None
        try:
            return np.atleast_1d(np.asarray(values[row], np.float64)).ravel()
        except (TypeError, ValueError):
            raise InputError(f"{self.name}: {name} of row {row + 1} holds no numbers.") from None


def plain_name(name: str) -> str:
    """Return the name of a column without what spellings differ in: ``nPsfStar``, ``N_PSF_STAR``."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _first(
    columns: Mapping[str, NDArray[np.generic]], names: Sequence[str]
) -> NDArray[np.generic] | None:
    """Return the first column there is."""
    return next((columns[key] for key in map(plain_name, names) if key in columns), None)


def _of_tract(
    columns: Mapping[str, NDArray[np.generic]], tract: int | None, name: str
) -> Iterator[int]:
    """Return the numbers of the rows of a tract."""
    if tract is None:
        raise IncompatibleError(
            f"{name} has rows for each tract.", hint="Name the target by --skymap and --tract."
        )
    numbers = [row for row, value in enumerate(columns["tract"]) if _text(value) == str(tract)]
    if not numbers:
        raise IncompatibleError(f"{name} has no row of tract {tract}.")
    return iter(numbers)


def _text(value: Any) -> str:
    """Return a key as text; a whole number has no leading zeros and no decimal point."""
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() and abs(number) < 2**63 else text
