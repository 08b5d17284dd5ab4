"""Tables as PSFEx writes them."""

import numpy as np
from astropy.io import fits


def psfex_table(images, *, degree, zero=(0.0, 0.0), scale=(1.0, 1.0), sampling=1.0, **cards):
    """Return the table of images (n, h, w), of terms u^i v^j with the power of u running first."""
    n, h, w = images.shape
    column = fits.Column(
        "PSF_MASK", f"{n * h * w}E", dim=f"({w},{h},{n})", array=images[None].astype(np.float32)
    )
    hdu = fits.BinTableHDU.from_columns([column], name="PSF_DATA")
    hdu.header.update({"POLNAXIS": 2 if degree else 0, "PSF_SAMP": sampling, "PSFNAXIS": 3})
    hdu.header.update({"PSFAXIS1": w, "PSFAXIS2": h, "PSFAXIS3": n, "PSF_FWHM": 3.0})
    if degree:
        for number, name in enumerate(("X_IMAGE", "Y_IMAGE")):
            hdu.header[f"POLGRP{number + 1}"] = 1
            hdu.header[f"POLNAME{number + 1}"] = name
            hdu.header[f"POLZERO{number + 1}"] = zero[number]
            hdu.header[f"POLSCAL{number + 1}"] = scale[number]
        hdu.header["POLNGRP"], hdu.header["POLDEG1"] = 1, degree
    hdu.header.update(cards)
    return hdu
