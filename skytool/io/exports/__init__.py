"""Exposures in the layouts of other programs, for those that cannot read ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from skytool.io.exports import ccddata, dcr_subfilters, jwst, lsst_background, swarp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from astropy.io import fits

    from skytool.models.exposure import Exposure

__all__ = ["EXPORTS", "Export", "export_exposure"]


class Export(NamedTuple):
    """A layout to write.

    Parameters
    ----------
    paths : function of Path, mapping and str to tuple of Path
        The files that are written where one output is named, the image first; the mapping are the
        cards of the exposure, the text is what messages call it.
    write : function
        Writes an exposure; arguments of `export_exposure`.
    compressible : bool
        Whether its planes may be compressed by tiles.
    """

    paths: Callable[[Path, Mapping[str, Any], str], tuple[Path, ...]]
    write: Callable[..., None]
    compressible: bool = False


def _one(output: Path, header: Mapping[str, Any], name: str) -> tuple[Path, ...]:
    del header, name
    return (output,)


EXPORTS: dict[str, Export] = {
    "swarp": Export(swarp.paths, swarp.write),
    "jwst": Export(_one, jwst.write, compressible=True),
    "ccddata": Export(_one, ccddata.write),
    "lsst-background": Export(_one, lsst_background.write),
    "dcr-subfilters": Export(dcr_subfilters.paths, dcr_subfilters.write),
}
"""Layouts by the names that ``--to`` takes."""


def export_exposure(
    exposure: Exposure,
    output: Path,
    *,
    to: str,
    bad_planes: Sequence[str],
    notes: fits.Header,
    overwrite: bool = False,
    compress: str = "none",
) -> None:
    """Write an exposure in the layout of another program.

    Parameters
    ----------
    exposure : Exposure
        What to write.
    output : Path
        The file of the image.
    to : str
        Name of the layout.
    bad_planes : sequence of str
        Planes of pixels that are not to be used.
    notes : `~astropy.io.fits.Header`
        Cards about the conversion itself, its history among them.
    overwrite : bool
        Replace files that exist.
    compress : str
        Tile compression, for layouts that have it.

    Raises
    ------
    OutputError
        If a file cannot be written.
    IncompatibleError
        If a plane is not known, or the exposure lacks what the layout holds.
    ValueError
        If the layout cannot be compressed.
    """
    export = EXPORTS[to]
    if compress != "none" and not export.compressible:
        msg = f"{to} cannot be compressed by tiles: its image is in the primary"
        raise ValueError(msg)
    options = {"compress": compress} if export.compressible else {}
    export.write(
        exposure, output, bad_planes=bad_planes, notes=notes, overwrite=overwrite, **options
    )
