"""Mask planes: named conditions of pixels, stored as bits whose numbers each file declares."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from skytool.errors import IncompatibleError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from astropy.io import fits
    from numpy.typing import NDArray


class PlaneDefinition(NamedTuple):
    """Bit that a plane gets in new masks, and what the plane means."""

    bit: int
    meaning: str


PLANES: Mapping[str, PlaneDefinition] = {
    "BAD": PlaneDefinition(0, "defective pixel"),
    "SAT": PlaneDefinition(1, "saturated, or bleed of a saturated pixel"),
    "INTRP": PlaneDefinition(2, "value filled in from neighbours"),
    "CR": PlaneDefinition(3, "hit by a cosmic ray"),
    "EDGE": PlaneDefinition(4, "too near an edge for the processing done"),
    "DETECTED": PlaneDefinition(5, "part of a detected source"),
    "DETECTED_NEGATIVE": PlaneDefinition(6, "part of a detected negative source"),
    "SUSPECT": PlaneDefinition(7, "doubtful value"),
    "NO_DATA": PlaneDefinition(8, "no value"),
    "VIGNETTED": PlaneDefinition(9, "vignetted"),
    "STREAK": PlaneDefinition(10, "satellite or aircraft streak"),
    "CROSSTALK": PlaneDefinition(11, "electronic crosstalk"),
    "SPIKE": PlaneDefinition(12, "diffraction spike"),
    "CLIPPED": PlaneDefinition(13, "an input was clipped here"),
    "REJECTED": PlaneDefinition(14, "an input was refused here"),
    "INEXACT_PSF": PlaneDefinition(15, "the PSF model is inexact here"),
    "SENSOR_EDGE": PlaneDefinition(16, "edge of a detector"),
    "SAT_TEMPLATE": PlaneDefinition(17, "saturated in the template"),
    "HIGH_VARIANCE": PlaneDefinition(18, "template of high variance"),
    "UNMASKEDNAN": PlaneDefinition(19, "not a number in an input, without a flag"),
    "PARTLY_VIGNETTED": PlaneDefinition(20, "partly vignetted"),
    "NOT_DEBLENDED": PlaneDefinition(21, "source that was not deblended"),
}
"""Planes every skytool program knows, with the bit they get in a new mask."""

_NAME = re.compile(r"[!-<>-~]{1,60}")  # what a keyword of any length can be made of

N_BITS = 31  # bit 31 is the sign of an int32

# Bits for other planes: first those that no usual plane has.
_USUAL_BITS = sorted({plane.bit for plane in PLANES.values()})
_ROWS = 32  # rows that are compared at once: they stay in the cache of the processor
_FREE_BITS = (*(bit for bit in range(N_BITS) if bit not in _USUAL_BITS), *_USUAL_BITS)


@dataclass(frozen=True, eq=False)
class Mask:
    """A bit plane for every named condition.

    Parameters
    ----------
    array : ndarray of int32, shape (ny, nx)
        Bits of every pixel.
    bits : mapping of str to int
        Bit number (0 to 30) of every plane of this mask.
    """

    array: NDArray[np.int32]
    bits: Mapping[str, int]

    @classmethod
    def empty(cls, shape: tuple[int, int], planes: Iterable[str] = ()) -> Self:
        """Return a mask with the usual planes, and further named ones, set nowhere."""
        mask = cls(np.zeros(shape, np.int32), {name: PLANES[name].bit for name in PLANES})
        return mask.with_planes(planes)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)``."""
        ny, nx = self.array.shape
        return ny, nx

    def bitmask(self, planes: Iterable[str]) -> np.int32:
        """Return the value with the bits of the named planes; an absent plane has none.

        Raises
        ------
        IncompatibleError
            If neither this mask nor the program knows a name.
        """
        value = 0
        for name in planes:
            if name in self.bits:
                value |= 1 << self.bits[name]
            elif name not in PLANES:
                raise _unknown(name, {**PLANES, **self.bits})
        return np.int32(value)

    def any_of(self, planes: Iterable[str]) -> NDArray[np.bool_]:
        """Return True, shape ``(ny, nx)``, where a pixel has any of the named planes."""
        flagged, bits = np.empty(self.shape, np.bool_), self.bitmask(planes)
        for start in range(0, len(flagged), _ROWS):
            rows = slice(start, start + _ROWS)
            np.not_equal(self.array[rows] & bits, 0, out=flagged[rows])
        return flagged

    def with_planes(self, planes: Iterable[str]) -> Self:
        """Return this mask with the named planes declared, each at its usual or the next free bit.

        Raises
        ------
        InputError
            If no bit is free.
        """
        bits = dict(self.bits)
        for name in planes:
            if name in bits:
                continue
            taken = set(bits.values())
            wanted = [PLANES[name].bit] if name in PLANES else []
            free = [bit for bit in (*wanted, *_FREE_BITS) if bit not in taken]
            if not free:
                raise InputError(f"no bit is free for mask plane {name}: all {N_BITS} are taken.")
            bits[name] = free[0]
        return type(self)(self.array, bits)

    def with_flagged(self, where: NDArray[np.bool_], *planes: str) -> Self:
        """Return a new mask with the named planes set also where ``where`` is True."""
        mask = self.with_planes(planes)
        array = mask.array.copy()
        array[where] |= mask.bitmask(planes)
        return type(self)(array, mask.bits)

    def renumbered(self, bits: Mapping[str, int]) -> Self:
        """Return the same planes under other bit numbers.

        Parameters
        ----------
        bits : mapping of str to int
            Bit of every plane; a plane of this mask that is missing there and is set nowhere is
            dropped, one that is set somewhere is an error.

        Raises
        ------
        ValueError
            If a plane that is set somewhere has no bit.
        """
        if all(bits.get(name) == bit for name, bit in self.bits.items()):
            return type(self)(self.array, dict(bits))
        used = int(np.bitwise_or.reduce(self.array, axis=None))
        array = np.zeros_like(self.array)
        for shift, value in self._moves(bits, used).items():
            moved = self.array & np.int32(value)
            array |= moved << np.int32(shift) if shift >= 0 else moved >> np.int32(-shift)
        return type(self)(array, dict(bits))

    def _moves(self, bits: Mapping[str, int], used: int) -> dict[int, int]:
        """Return which bits, as a value, move how far up or down; most stay, by 0, together."""
        moves: dict[int, int] = {}
        for name, bit in self.bits.items():
            if not used >> bit & 1:
                continue
            if name not in bits:
                msg = f"plane {name} is set but has no bit to go to"
                raise ValueError(msg)
            shift = bits[name] - bit
            moves[shift] = moves.get(shift, 0) | 1 << bit
        return moves

    def merged_bits(self, other: Mask) -> dict[str, int]:
        """Return bit numbers for the planes of this mask and of ``other``, by name.

        Raises
        ------
        InputError
            If together they have more planes than bits.
        """
        return dict(self.with_planes(other.bits).bits)

    def cards(self) -> list[tuple[str, str | int, str]]:
        """Return the header cards that name the planes, in the order of their bits."""
        cards: list[tuple[str, str | int, str]] = []
        for index, (name, bit) in enumerate(sorted(self.bits.items(), key=lambda item: item[1])):
            meaning = PLANES[name].meaning if name in PLANES else ""
            key = f"MP_{name}"
            cards += [
                (key if len(key) <= 8 else f"HIERARCH {key}", bit, ""),
                (f"MSKN{index:04d}", name, "mask plane"),
                (f"MSKM{index:04d}", 1 << bit, "its value"),
                (f"MSKD{index:04d}", meaning, ""),
            ]
        return cards

    @classmethod
    def from_array(cls, array: NDArray[np.integer], header: fits.Header, *, name: str) -> Self:
        """Build a mask from an extension's pixels and the plane cards of its header.

        Parameters
        ----------
        array : ndarray of integer, shape (ny, nx)
            Pixels, in any integer type.
        header : `~astropy.io.fits.Header`
            ``MP_<plane>`` cards give the bits; ``MSKNnnnn`` and ``MSKMnnnn`` where there are none.
        name : str
            What messages call the extension.

        Raises
        ------
        InputError
            If a bit is set that no card names, or a bit number is impossible.
        """
        bits: dict[str, int] = {}
        for plane, bit in declared_bits(header).items():
            if not _NAME.fullmatch(plane):
                raise InputError(f"{name}: a mask plane has the impossible name {plane!r}.")
            if not isinstance(bit, int) or isinstance(bit, bool) or not 0 <= bit < N_BITS:
                raise InputError(f"{name}: mask plane {plane} has the impossible bit {bit}.")
            bits[plane] = bit
        used = int(np.bitwise_or.reduce(array, axis=None)) if array.size else 0
        unnamed = used & ~sum(1 << bit for bit in set(bits.values()))
        if unnamed:
            raise InputError(
                f"{name}: pixels have the mask value {unnamed}, which no MP_ card names.",
                hint="Add the cards, or give --layout and --dq-map.",
            )
        return cls(np.ascontiguousarray(array, dtype=np.int32), bits)


def declared_bits(header: fits.Header) -> dict[str, object]:
    """Return the bit of every plane that a header names; what is no bit is returned as it is."""
    bits: dict[str, object] = {key[3:]: header[key] for key in header if key.startswith("MP_")}
    if bits:
        return bits
    for key in header:
        if key.startswith("MSKN"):
            value = header.get(f"MSKM{key[4:]}")
            single = isinstance(value, int) and value > 0 and value & (value - 1) == 0
            bits[str(header[key])] = value.bit_length() - 1 if single else f"of value {value}"
    return bits


def parse_planes(text: str, known: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the plane names of a comma-separated list.

    Raises
    ------
    IncompatibleError
        If a name is neither usual nor among ``known``; numbers are refused.
    """
    names = tuple(part.strip().upper() for part in text.split(",") if part.strip())
    every = {*PLANES, *known}
    for name in names:
        if name not in every:
            raise _unknown(name, every)
    return names


def _unknown(name: str, known: Iterable[str]) -> IncompatibleError:
    close = get_close_matches(name, list(known), 1)
    guess = f" Did you mean {close[0]}?" if close else ""
    return IncompatibleError(
        f"unknown mask plane {name!r}.{guess}", hint=f"Known: {', '.join(sorted(known))}."
    )
