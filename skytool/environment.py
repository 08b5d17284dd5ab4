"""What libraries read from their surroundings, settled before they are imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def settle_environment() -> None:
    """Make results independent of the machine's cores, hidden settings and the network.

    BLAS gets one thread unless the user gave it more, since the number of threads may change the
    last bit of a sum. astropy takes its settings from a file of this package instead of one in
    the user's home: no downloads, nothing on standard output, warnings left to Python.
    """
    for name in BLAS_THREADS:
        os.environ.setdefault(name, "1")
    os.environ["ASTROPY_CONFIG_DIR"] = str(Path(__file__).parent / "data" / "astropy")
    if "astropy.utils.iers" in sys.modules:
        sys.modules["astropy.utils.iers"].conf.auto_download = False
    if "astropy.utils.data" in sys.modules:
        sys.modules["astropy.utils.data"].conf.allow_internet = False
