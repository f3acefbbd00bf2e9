"""Files appear whole or not at all, and a link is never written through."""

import errno
import os
import signal
import stat
import subprocess
import sys

import pytest

from molmo_agent import files
from molmo_agent.files import append_line, open_to_append, whole_file, write_whole


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "result.json"
    for content in ("{}", b"\x00\xff", "größer \udc80"):
        write_whole(path, content)
    assert path.read_bytes() == "größer \\udc80".encode()
    assert names(tmp_path) == ["result.json"]


def test_an_error_while_writing_keeps_the_old_file(tmp_path):
    path = tmp_path / "page.html"
    write_whole(path, "old")

    def write_half():
        with whole_file(path) as part:
            part.write_text("half of the new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["page.html"]


@pytest.mark.parametrize("name", ["page.html", "run.png", "without_suffix"])
def test_a_link_is_replaced_and_what_it_leads_to_is_not_touched(tmp_path, name):
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    for target in (precious, tmp_path / "not there", tmp_path):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).symlink_to(target)
        write_whole(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"
        assert not (tmp_path / name).is_symlink()
    assert precious.read_text() == "keep me"
    assert names(tmp_path) == sorted(["precious", name])


def test_a_line_is_not_appended_through_a_link(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    for target in (precious, tmp_path / "not there"):
        link = tmp_path / f"link to {target.name}"
        link.symlink_to(target)
        for write in (lambda path: append_line(path, "x"), open_to_append):
            with pytest.raises(OSError, match="symbolic link, which is not written through"):
                write(link)
    assert precious.read_text() == "keep me"
    assert not (tmp_path / "not there").exists()


def test_a_folder_or_a_pipe_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    places = [tmp_path / "folder"]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        places.append(tmp_path / "pipe")
    for place in places:
        with pytest.raises(OSError, match=r"Is a directory|It is a pipe or a device"):
            write_whole(place, "x")
        with pytest.raises(OSError, match=r"Is a directory|It is a pipe or a device"):
            append_line(place, "x")
    assert names(tmp_path) == sorted(place.name for place in places)


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="this system has no /dev/stdout")
def test_the_standard_output_can_be_named_as_a_file():
    before = os.lstat("/dev/stdout")
    code = "from molmo_agent.files import write_whole; write_whole('/dev/stdout', 'result')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"result"
    assert os.lstat("/dev/stdout") == before


@pytest.mark.skipif(os.name == "nt", reason="permissions are Unix's")
def test_permissions_are_those_of_the_old_file_or_of_any_new_one(tmp_path):
    (tmp_path / "plain").touch()
    write_whole(tmp_path / "new", "x")
    (tmp_path / "secret").touch(0o600)
    write_whole(tmp_path / "secret", "x")
    append_line(tmp_path / "lines", "x")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"plain": modes["plain"], "new": modes["plain"], "lines": modes["plain"], "secret": 0o600}


def test_a_full_disk_leaves_the_old_file_and_no_half_line(tmp_path, monkeypatch):
    write_whole(tmp_path / "config.yaml", "old")
    append_line(tmp_path / "metrics.jsonl", '{"step": 1}')
    real_write, real_sync = os.write, os.fsync

    def half(descriptor, data):
        if len(data) < 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(descriptor, data[: len(data) // 2])

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "write", half)
    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        append_line(tmp_path / "metrics.jsonl", '{"step": 2}')
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "config.yaml", "new")
    monkeypatch.setattr(files.os, "write", real_write)
    monkeypatch.setattr(files.os, "fsync", real_sync)
    append_line(tmp_path / "metrics.jsonl", '{"step": 2}')
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
    assert (tmp_path / "config.yaml").read_text() == "old"
    assert names(tmp_path) == ["config.yaml", "metrics.jsonl"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_writer_leaves_the_old_or_the_new_file(tmp_path):
    code = (
        "import sys; from molmo_agent.files import write_whole; print(flush=True)\n"
        "for number in range(10**9): write_whole(sys.argv[1], str(number % 10) * 300_000)"
    )
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "f")], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            for _ in range(3):
                while not (tmp_path / "f").exists():
                    pass
                assert len(set((tmp_path / "f").read_bytes())) == 1
            process.kill()
        content = (tmp_path / "f").read_bytes()
        assert len(content) == 300_000
        assert len(set(content)) == 1
