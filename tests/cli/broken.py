"""Inputs that cannot be read, and what every command that reads one has to say of them."""

from astropy.io import fits

from tests.io.foreign import image_hdu, planes, primary, wcs_header, write


def make_broken(folder, rng):
    """Write files that no command can read, and good ones: ``good.fits`` and ``other.fits``."""
    pixels = planes(rng)
    cards = wcs_header()
    for name in ("good", "other"):
        sci = image_hdu(pixels.image, "SCI", header=cards)
        variance = image_hdu(pixels.variance, "VAR")
        write(folder / f"{name}.fits", primary(BUNIT="adu"), sci, variance)
    (folder / "empty.fits").write_bytes(b"")
    (folder / "text.fits").write_text("SIMPLE is not what this is\n" * 200)
    whole = (folder / "good.fits").read_bytes()
    (folder / "truncated.fits").write_bytes(whole[:-20_000])
    (folder / "folder.fits").mkdir()
    table = fits.BinTableHDU.from_columns([fits.Column("X", "D", array=[1.0])], name="T")
    write(folder / "table.fits", primary(), table)
    write(folder / "line.fits", primary(), image_hdu(pixels.image[3]))
    write(folder / "cube.fits", primary(), image_hdu(pixels.image.reshape(3, 30, 70)))
    small = image_hdu(pixels.variance[:-1], "VAR")
    write(folder / "shapes.fits", primary(), image_hdu(pixels.image, "SCI"), small)
    newer = primary(SKYFMT=99, SKYTYPE="EXPOSURE")
    write(folder / "newer.fits", newer, *(image_hdu(pixels.image, n) for n in ("IMAGE", "MASK")))
    bad_wcs = image_hdu(pixels.image, "SCI", header=cards)
    bad_wcs.header["CRVAL1"] = "unknown"
    write(folder / "wcs.fits", primary(), bad_wcs, image_hdu(pixels.variance, "VAR"))


BROKEN = [
    # input, status, part of the line
    ("missing.fits", 3, "missing.fits does not exist"),
    ("*.fit", 3, "no file matches *.fit"),
    ("empty.fits", 3, "empty.fits is empty"),
    ("text.fits", 3, "text.fits is not a FITS file"),
    ("truncated.fits", 3, "truncated.fits is truncated"),
    ("folder.fits", 3, "folder.fits is a folder"),
    ("table.fits", 3, "table.fits has no layout that is known"),
    ("line.fits", 3, "line.fits has no layout that is known"),
    ("cube.fits", 3, "cube.fits has no layout that is known"),
    ("good.fits[NOSUCH]", 3, "good.fits[NOSUCH]: there is no such extension"),
    ("good.fits[7]", 3, "good.fits[7]: there is no such extension"),
    ("good.fits[]", 3, "[] names no extension"),
    ("table.fits[T]", 3, "table.fits[T] is no image"),
    ("newer.fits", 3, "newer.fits was written by a newer skytool"),
    ("shapes.fits", 4, "shapes.fits[VAR] has 70 x 89 pixels"),
    ("wcs.fits", 4, "wcs.fits: unusable WCS: CRVAL1 = unknown is no number"),
]
