import os
import subprocess
import sys
import time
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


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Address of a real scheduler with two worker processes, of two threads each."""
    pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    folder = tmp_path_factory.mktemp("dask")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.cluster", folder / "address"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        cwd=folder,
        stdin=subprocess.PIPE,
    ) as process:
        end = time.monotonic() + 60
        while not (folder / "address").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        yield (folder / "address").read_text()
        process.stdin.close()
        process.wait(60)
