import os
import zlib
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng(request):
    """Random numbers that depend on nothing but the name of the test."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(scope="session")
def shared():
    """Folder of golden and real data, kept outside of the repository."""
    folder = Path(os.environ.get("SKYTOOL_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} of reference data; SKYTOOL_SHARED names another")
    return folder
