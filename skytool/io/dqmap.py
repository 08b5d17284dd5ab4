"""Translation of the data-quality planes of other pipelines into named mask planes."""

from __future__ import annotations

import fnmatch
import tomllib
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skytool.errors import InputError
from skytool.models.mask import PLANES, Mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astropy.io import fits
    from numpy.typing import NDArray

KINDS = ("bits", "codes", "names")
_LAST_BIT = 31


@dataclass(frozen=True)
class DqMap:
    """What the values of a data-quality plane mean.

    Parameters
    ----------
    name : str
        Name of a shipped map, or the file it was read from.
    kind : str
        ``bits``: a value is a sum of powers of two. ``codes``: a value is one condition.
        ``names``: bits whose names the header gives, in cards ``MBIT_n``.
    planes : mapping of str to tuple
        Foreign values (or names, which may hold wildcards) of every mask plane.
    ignore : tuple
        Foreign values (or names) that mean nothing here.
    bits : mapping of str to int
        Bit of every name where the header is silent.
    """

    name: str
    kind: str
    planes: Mapping[str, tuple[Any, ...]]
    ignore: tuple[Any, ...] = ()
    bits: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str) -> Self:
        """Read a map: one of the package by its name, else a TOML file.

        Raises
        ------
        InputError
            If there is no such map or file, or it is not well formed.
        """
        try:
            table = tomllib.loads(dq_map_text(name))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{name} is no valid TOML file: {error}.") from error
        kind = table.pop("kind", None)
        if kind not in KINDS:
            raise InputError(
                f"{name}: kind is {kind!r}.", hint=f'Write kind = "{KINDS[0]}" or "{KINDS[1]}".'
            )
        ignore, bits = table.pop("ignore", []), table.pop("bits", {})
        wanted = str if kind == "names" else int
        for plane, values in {**table, "ignore": ignore}.items():
            well_formed = isinstance(values, list) and all(type(v) is wanted for v in values)
            if not well_formed:
                raise InputError(
                    f"{name}: {plane} = {values!r} is no list of foreign "
                    f"{'names' if wanted is str else 'values'}."
                )
        for plane in table:
            if plane != plane.upper():
                close = get_close_matches(plane.upper(), PLANES, 1)
                guess = f"Did you mean {close[0]}?" if close else "Write planes in upper case."
                raise InputError(f"{name}: unknown key {plane!r}.", hint=guess)
        result = cls(
            name, kind, {key: tuple(values) for key, values in table.items()}, tuple(ignore), bits
        )
        if kind != "names":
            result._check()
        return result

    def _check(self) -> None:
        """Refuse values that cannot be, and one that is in two lists."""
        seen: set[int] = set()
        for value in (*(v for values in self.planes.values() for v in values), *self.ignore):
            in_range = 0 < value < 1 << (_LAST_BIT + 1)
            if not in_range or (self.kind == "bits" and value & (value - 1)):
                raise InputError(
                    f"{self.name}: {value} is no {self.kind[:-1]}.",
                    hint="Bits are powers of two: write 1 and 4, not 5.",
                )
            if value in seen:
                raise InputError(f"{self.name}: the value {value} is in two lists.")
            seen.add(value)

    def mask(self, array: NDArray[Any], header: fits.Header, *, name: str, band: str = "") -> Mask:
        """Return the mask that a data-quality plane stands for.

        Parameters
        ----------
        array : ndarray of integer, shape (ny, nx)
            Foreign values; 0 is a good pixel.
        header : `~astropy.io.fits.Header`
            Header of the plane, for maps by name.
        name : str
            What messages call the plane.
        band : str
            Band of the image; it replaces ``{BAND}`` in foreign names.

        Raises
        ------
        InputError
            If a value is there that no list of the map has.
        """
        values = _unsigned(array, name)
        if self.kind == "codes":
            return self._from_codes(values, name)
        planes, ignored = self._bit_values(header, band)
        present = int(np.bitwise_or.reduce(values, axis=None)) if values.size else 0
        unlisted = present & ~(_union(planes.values()) | ignored)
        if unlisted:
            bit = unlisted & -unlisted
            raise self._unlisted(values & np.uint32(bit) != 0, f"bit {bit}", name)
        mask = Mask.empty((values.shape[0], values.shape[1]), planes)
        for plane, bits in planes.items():
            if present & bits:
                mask.array[values & np.uint32(bits) != 0] |= mask.bitmask([plane])
        return mask

    def _bit_values(self, header: fits.Header, band: str) -> tuple[dict[str, int], int]:
        """Return the foreign bits of every plane as one number each, and those to ignore."""
        if self.kind == "bits":
            return {plane: sum(bits) for plane, bits in self.planes.items()}, sum(self.ignore)
        named = _header_bits(header) or self.bits

        def matching(patterns: tuple[str, ...]) -> int:
            wanted = [pattern.replace("{BAND}", band.upper()) for pattern in patterns]
            return _union(
                1 << bit
                for label, bit in named.items()
                if any(fnmatch.fnmatchcase(label.upper(), pattern) for pattern in wanted)
            )

        planes = {plane: matching(patterns) for plane, patterns in self.planes.items()}
        return planes, matching(self.ignore)

    def _from_codes(self, values: NDArray[np.uint32], name: str) -> Mask:
        """Return the mask of a plane whose pixels have one code each."""
        mask = Mask.empty((values.shape[0], values.shape[1]), self.planes)
        left = values != 0
        for plane, codes in self.planes.items():
            for code in codes:
                where = values == np.uint32(code)
                mask.array[where] |= mask.bitmask([plane])
                left &= ~where
        for code in self.ignore:
            left &= values != np.uint32(code)
        if left.any():
            raise self._unlisted(left, f"value {values[left].min()}", name)
        return mask

    def _unlisted(self, where: NDArray[np.bool_], what: str, name: str) -> InputError:
        share = float(np.mean(where))
        return InputError(
            f"{name}: {share:.2%} of the pixels have the data-quality {what}, "
            f"which the map {self.name} has in no list.",
            hint="Give --dq-map FILE.toml with it in a list, or under ignore.",
            share=share,
        )


def shipped_dq_maps() -> tuple[str, ...]:
    """Return the names of the maps in the package."""
    folder = resources.files("skytool.io") / "dq_maps"
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml")))


def dq_map_text(name: str) -> str:
    """Return the TOML text of a map: one of the package by its name, else of a file.

    Raises
    ------
    InputError
        If there is neither.
    """
    if not is_dq_map_file(name):
        shipped = resources.files("skytool.io") / "dq_maps" / f"{name}.toml"
        if shipped.is_file():
            return shipped.read_text(encoding="utf-8")
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"there is no data-quality map {name}: {error.strerror or error}.",
            hint=f"Give a TOML file, or one of {', '.join(shipped_dq_maps())}.",
        ) from error


def is_dq_map_file(name: str) -> bool:
    """Return True for the name of a file, False for that of a map of the package."""
    return "/" in name or name.endswith(".toml")


def any_flag_map() -> DqMap:
    """Return the map for pipelines nobody has described: every value that is not zero is BAD."""
    return DqMap("any-flag", "bits", {"BAD": tuple(1 << bit for bit in range(_LAST_BIT + 1))})


def _header_bits(header: fits.Header) -> dict[str, int]:
    """Return the bit of every name that cards ``MBIT_n`` give, as the value or ahead of a colon in the comment."""
    bits: dict[str, int] = {}
    for card in header.cards:
        if card.keyword.startswith("MBIT_") and card.keyword[5:].isdigit():
            label = card.value if isinstance(card.value, str) else card.comment.split(":")[0]
            bits[label.strip().upper()] = int(card.keyword[5:])
    return bits


def _union(values: Iterable[int]) -> int:
    """Return the bitwise sum of numbers."""
    total = 0
    for value in values:
        total |= value
    return total


def _unsigned(array: NDArray[Any], name: str) -> NDArray[np.uint32]:
    """Return the pixels of a data-quality plane as unsigned numbers: no bit is a sign."""
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind == "f":
        whole = np.rint(native)
        if not np.array_equal(whole, native):
            raise InputError(f"{name} is no data-quality plane: its pixels are not whole numbers.")
        native = whole.astype(np.int64)
    elif native.dtype.kind == "b":
        native = native.astype(np.uint8)
    elif native.dtype.kind == "i" and native.dtype.itemsize < 8:
        native = native.view(f"u{native.dtype.itemsize}")
    if native.dtype.itemsize == 8 and native.size and not 0 <= native.min() <= native.max() < 2**32:
        raise InputError(f"{name}: the data-quality value {native.max()} has more than 32 bits.")
    return native.astype(np.uint32)
