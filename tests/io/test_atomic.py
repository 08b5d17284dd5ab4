import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from skytool.errors import InputError, OutputError
from skytool.io.atomic import is_written_through, replacing


def write(path, content=b"new", **options):
    with replacing(path, **options) as part:
        part.write_bytes(content)


def fail(path, error, **options):
    with replacing(path, **options) as part:
        part.write_bytes(b"half")
        raise error


def write_behind(path):
    with replacing(path) as part:
        part.write_bytes(b"mine")
        path.write_bytes(b"other")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_output_appears_only_when_it_is_complete(tmp_path):
    output = tmp_path / "a.fits"

    with replacing(output) as part:
        part.write_bytes(b"half")
        assert not output.exists()
        assert part.parent == tmp_path
        assert part.suffix == ".fits"
        assert part.name.startswith(".")

    assert output.read_bytes() == b"half"
    assert names(tmp_path) == ["a.fits"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_when_the_block_fails(tmp_path, error):
    output = tmp_path / "a.fits"
    output.write_bytes(b"old")

    with pytest.raises(error):
        fail(output, error, overwrite=True)

    assert output.read_bytes() == b"old"
    assert names(tmp_path) == ["a.fits"]


def test_an_existing_output_is_kept_unless_asked(tmp_path):
    output = tmp_path / "a.fits"
    output.write_bytes(b"old")

    with pytest.raises(OutputError, match="--overwrite"):
        write(output)
    assert output.read_bytes() == b"old"

    write(output, overwrite=True)
    assert output.read_bytes() == b"new"


def test_an_output_made_meanwhile_is_kept(tmp_path):
    output = tmp_path / "a.fits"

    with pytest.raises(OutputError, match="exists"):
        write_behind(output)

    assert output.read_bytes() == b"other"
    assert names(tmp_path) == ["a.fits"]


def test_a_folder_is_no_output(tmp_path):
    with pytest.raises(OutputError, match="folder"):
        write(tmp_path, overwrite=True)


def test_missing_folders_are_made(tmp_path):
    write(tmp_path / "one" / "two" / "a.fits")

    assert (tmp_path / "one/two/a.fits").read_bytes() == b"new"


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "one").touch()

    with pytest.raises(OutputError, match=r"one.a\.fits cannot be written"):
        write(tmp_path / "one" / "a.fits")


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "a.fits")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "a.fits").stat().st_mode) == 0o640


def test_a_link_is_replaced_and_its_target_untouched(tmp_path):
    target = tmp_path / "raw.fits"
    target.write_bytes(b"raw")
    link = tmp_path / "a.fits"
    link.symlink_to(target)

    write(link, overwrite=True)

    assert target.read_bytes() == b"raw"
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"


def test_a_dangling_link_counts_as_existing(tmp_path):
    link = tmp_path / "a.fits"
    link.symlink_to(tmp_path / "missing.fits")

    with pytest.raises(OutputError, match="exists"):
        write(link)
    write(link, overwrite=True)

    assert not link.is_symlink()
    assert names(tmp_path) == ["a.fits"]


def test_the_null_device_stays_a_device():
    write(Path("/dev/null"), overwrite=True)

    assert Path("/dev/null").is_char_device()


def test_a_named_pipe_is_written_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "a.fits"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()

    write(pipe)
    reader.join(timeout=30)

    assert received == [b"new"]
    assert pipe.is_fifo()
    assert names(tmp_path) == ["a.fits"]


def test_the_link_to_standard_output_is_never_replaced(tmp_path):
    # as `skytool ... -o /dev/stdout > file`: the link leads to a regular file
    script = f"""
        import os
        from pathlib import Path
        from skytool.io.atomic import replacing
        os.dup2(os.open({str(tmp_path / "out")!r}, os.O_CREAT | os.O_WRONLY), 1)
        with replacing("/dev/stdout", overwrite=True) as path:
            path.write_bytes(b"new")
    """
    before = Path("/dev/stdout").is_symlink()
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=60)

    assert Path("/dev/stdout").is_symlink() == before
    assert (tmp_path / "out").read_bytes() == b"new"


def test_shared_memory_is_an_ordinary_folder():
    folder = Path("/dev/shm")  # noqa: S108
    if not os.access(folder, os.W_OK):
        pytest.skip("no writable /dev/shm")
    output = folder / f"skytool-test-{os.getpid()}"
    try:
        output.write_bytes(b"old")
        assert not is_written_through(output)
    finally:
        output.unlink()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_errors_of_the_file_system_name_the_output(tmp_path, code):
    with pytest.raises(OutputError) as caught:
        fail(tmp_path / "a.fits", OSError(code, os.strerror(code)))

    assert str(tmp_path / "a.fits") in str(caught.value)
    assert os.strerror(code)[1:] in str(caught.value)
    assert names(tmp_path) == []


def test_a_reader_that_went_away_is_no_error_of_the_output(tmp_path):
    with pytest.raises(BrokenPipeError), replacing(tmp_path / "a.fits"):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(InputError, match="some input"), replacing(tmp_path / "a.fits"):
        raise InputError("some input is damaged.")


def test_a_full_disk_leaves_nothing(small_disk):
    with pytest.raises(OutputError, match="space"):
        write(small_disk / "a.fits", bytes(1 << 20))

    assert names(small_disk) == []


def test_the_longest_name_of_a_file_system_can_be_written(tmp_path):
    output = tmp_path / ("a" * 250 + ".fits")

    write(output)

    assert names(tmp_path) == [output.name]


def test_a_name_that_is_too_long_is_an_error_of_the_output(tmp_path):
    with pytest.raises(OutputError, match="name too long"):
        write(tmp_path / ("a" * 300 + ".fits"))


def test_no_part_file_is_left_after_a_signal(tmp_path):
    # handlers of signals raise an exception in the main thread, as that of the program does
    script = f"""
        import signal, sys, time
        from skytool.io.atomic import replacing
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        with replacing({str(tmp_path / "a.fits")!r}) as part:
            part.write_bytes(b"half")
            print("ready", flush=True)
            time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        assert len(names(tmp_path)) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143

    assert names(tmp_path) == []
