import os
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The first call of a compiled function takes seconds: a time limit would fail at random.
settings.register_profile("skytool", deadline=None, derandomize=True)
settings.load_profile("skytool")


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


@pytest.fixture
def small_disk(tmp_path):
    """Folder with room for 64 kilobytes only."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "small-disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", folder], check=True)
