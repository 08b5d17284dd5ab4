"""Files of sky maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from skytool.io.filespec import FileSpec

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from astropy.io import fits

    from skytool.models.skymap.skymap import SkyMap

KIND = "SKYMAP"
"""SKYTYPE of the file."""


def read_sky_map(file: str) -> SkyMap:
    """Return the sky map of a file.

    Raises
    ------
    InputError
        If it cannot be read or holds none.
    """
    from skytool.io.fits import opened
    from skytool.models.skymap.hdus import sky_map_from_hdus

    spec = FileSpec.parse(file)
    with opened(FileSpec(spec.path)) as hdus:
        return sky_map_from_hdus(hdus, name=spec.file_name)


def write_sky_map(
    output: str | os.PathLike[str],
    sky_map: SkyMap,
    *,
    history: str,
    records: Iterable[fits.BinTableHDU] = (),
    overwrite: bool = False,
) -> None:
    """Write a sky map.

    Parameters
    ----------
    output : path-like
        The file.
    sky_map : SkyMap
        The sky map.
    history : str
        Line that says how it was made.
    records : iterable of BinTableHDU
        Tables of inputs and settings.
    overwrite : bool
        Whether the file may be replaced.

    Raises
    ------
    OutputError
        If it exists or cannot be written.
    IncompatibleError
        If the projection cannot show a tract.
    """
    from astropy.io import fits

    from skytool.io.fits import write_hdus
    from skytool.models.exposure_hdus import FORMAT
    from skytool.models.keywords import set_card
    from skytool.models.skymap.hdus import sky_map_hdus

    primary = fits.Header()
    set_card(primary, "SKYFMT", FORMAT)
    set_card(primary, "SKYTYPE", KIND)
    set_card(primary, "SKYSTAGE", "skymap")
    primary.add_history(history)
    write_hdus(output, [*sky_map_hdus(sky_map), *records], primary=primary, overwrite=overwrite)
