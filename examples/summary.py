"""Print what a difference image has found: python examples/summary.py SOURCES.fits [TRUTH.fits]"""

import sys

import numpy as np
from astropy.table import Table


def described(source):
    """Return a line on one source."""
    position = f"{source['RA']:.5f} {source['DEC']:+.5f}"
    if "FLUXNJY" in source.colnames:
        flux = f"{source['FLUXNJY'] / 1000:8.2f} +- {source['ERRNJY'] / 1000:.2f} uJy"
    else:
        flux = f"{source['FLUX']:8.0f} +- {source['FLUXERR']:.0f} counts"
    return f"  {position}  S/N {source['SNR']:5.1f}  {flux}"


def main(sources, truth=None):
    """Print the sources of a difference, and which of them is the transient of the simulation."""
    found = Table.read(sources, hdu="SOURCES")
    found.sort("SNR", reverse=True)
    print(f"{len(found)} sources stand out of the difference:")
    for source in found[:5]:
        print(described(source))
    if truth is None:
        return
    known = Table.read(truth, hdu="SOURCES")
    transient = known[known["KIND"] == "transient"][0]
    east = (found["RA"] - transient["RA"]) * np.cos(np.radians(transient["DEC"]))
    distance = 3600 * np.hypot(east, found["DEC"] - transient["DEC"])
    nearest = int(np.argmin(distance))
    if distance[nearest] > 1.0:
        sys.exit("The transient of the simulation is not among them.")
    print(f"The transient of the simulation, {transient['FLUX'] / 1000:.2f} uJy, is found")
    print(f"{distance[nearest]:.2f} arcsec from its place:")
    print(described(found[nearest]))


if __name__ == "__main__":
    main(*sys.argv[1:])
