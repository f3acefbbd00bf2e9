"""`agent data fetch` against a server that does everything servers do."""

import dataclasses
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from misbehaving_server import Server, picture, serving
from ray_cluster import RayCluster
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.data.images import fetch_ray
from molmo_agent.data.images.download import FetchError, Limits, host_of, inspect, retry_after
from molmo_agent.data.images.fetch import FAILED_FILE, Summary, fetch, read_failures
from molmo_agent.data.images.fetch_ray import deal, ray_engine
from molmo_agent.data.images.store import ImageStore
from molmo_agent.data.images.url_list import ImageRequest, read_lists
from molmo_agent.errors import MissingExtraError, UsageError

QUICK = Limits(
    jobs=8, per_host=4, connect_s=20, read_s=20, total_s=60, max_bytes=50_000, backoff_s=0.02, longest_wait_s=0.1,
    local=True,
)  # fmt: skip
IMPATIENT = dataclasses.replace(QUICK, read_s=0.4, total_s=0.8)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def wanted(*urls: str, hashes: frozenset[str] = frozenset()) -> list[ImageRequest]:
    return [ImageRequest(url, f"list.parquet row {n}", 1, set(hashes)) for n, url in enumerate(urls)]


def reasons(summary: Summary) -> dict[str, str]:
    return {failure.url.split("/")[3]: failure.reason for failure in summary.failures}


def only(summary: Summary) -> str:
    (failure,) = summary.failures
    return f"{failure.reason}: {failure.detail}"


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def assert_only_whole_pictures(folder: Path, count: int) -> None:
    files = [path for path in folder.glob("*/*") if path.is_file()]
    assert len(files) == count
    for path in files:
        inspect(path.read_bytes())


def test_pictures_lie_where_readers_look_for_them(server: Server, tmp_path: Path) -> None:
    urls = [server.url(f"/good/{n}") for n in range(20)]
    summary = fetch(wanted(*urls), tmp_path, QUICK)
    assert (summary.num_fetched, summary.num_present, summary.failures) == (20, 0, [])
    store = ImageStore(tmp_path)
    assert [store.path(url).read_bytes() for url in urls] == [picture(n) for n in range(20)]
    assert summary.fetched_bytes == sum(len(picture(n)) for n in range(20))


def test_an_answer_in_chunks_is_put_together(server: Server, tmp_path: Path) -> None:
    url = server.url("/chunked")
    assert fetch(wanted(url), tmp_path, QUICK).num_fetched == 1
    assert ImageStore(tmp_path).path(url).read_bytes() == picture()


def test_the_server_learns_who_asks_and_gets_no_password(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    fetch(wanted(server.url("/good/1")), tmp_path / "store", QUICK)
    assert server.headers[0]["User-Agent"].startswith("molmo-agent/")
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    ("path", "expected", "asked"),
    [
        ("/slow", "too slow: not complete after 0.8 s", 3),
        ("/slowheader", "no answer in time: ", 3),
        ("/silent", "no answer in time: ReadTimeout", 3),
        ("/endless", "too large: more than 50000 bytes", 1),
        ("/huge", "too large: 1000000000000 bytes, more than 50000", 1),
        ("/cut", "cut off: .*IncompleteRead", 3),
        ("/reset", "cut off: .*Connection", 3),
        ("/missing", "HTTP 404: Not Found", 1),
        ("/html", "not an image: 43 bytes that begin with '<!doctype html>", 1),
        ("/empty", "empty: ", 1),
        ("/loop", "redirects: more than 5, the last to http://127.0.0.1", 6),
        ("/to/file:///etc/passwd", r"no address: expected http:// or https:// and a host, got 'file:///etc/passwd'", 1),
        ("/to/ftp://127.0.0.1/a.png", "no address: expected http:// or https://", 1),
        ("/to/http://a,b/", "no address: ", 1),
        ("/later/429/31536000", "HTTP 429: Too Many Requests", 3),
    ],
)
def test_what_goes_wrong_is_recorded_and_never_stored(
    server: Server, tmp_path: Path, path: str, expected: str, asked: int
) -> None:
    # Where an answer does not come at all, or not to its end.
    limits = IMPATIENT if path.startswith("/s") else QUICK
    began = time.monotonic()
    summary = fetch(wanted(server.url(path), server.url("/good/3")), tmp_path, limits)
    assert time.monotonic() - began < 60
    assert re.match(expected, only(summary)), only(summary)
    assert summary.num_fetched == 1
    assert server.asked[path] == asked
    assert_only_whole_pictures(tmp_path, 1)
    (line,) = (tmp_path / FAILED_FILE).read_text().splitlines()
    assert json.loads(line) == dataclasses.asdict(summary.failures[0])
    assert json.loads(line)["row"] == "list.parquet row 0"


def test_another_picture_than_the_one_that_was_meant_is_refused(server: Server, tmp_path: Path) -> None:
    right = wanted(server.url("/good/1"), hashes=frozenset({"0" * 64, sha(picture(1))}))
    wrong = wanted(server.url("/good/2"), hashes=frozenset({sha(picture(1))}))
    summary = fetch(right + wrong, tmp_path, QUICK)
    assert summary.num_fetched == 1
    assert only(summary) == f"another image: its SHA-256 is {sha(picture(2))}, expected {sha(picture(1))}"
    assert_only_whole_pictures(tmp_path, 1)


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    summary = fetch(wanted(server.url("/later/503"), server.url("/later/429/0")), tmp_path, QUICK)
    assert (summary.num_fetched, summary.failures) == (2, [])


def test_a_server_that_wants_rest_is_left_alone_but_not_for_years(server: Server, tmp_path: Path) -> None:
    limits = dataclasses.replace(QUICK, per_host=1, tries=2, longest_wait_s=0.4)
    urls = [server.url("/later/429/31536000"), *(server.url(f"/good/{n}") for n in range(5))]
    fetch(wanted(*urls), tmp_path, limits)
    (first, asked), (_, then) = server.times[:2]
    assert first == "/later/429/31536000"
    assert 0.4 <= then - asked < 60, "the whole host rests, as long as is waited at most"


def test_a_host_never_has_more_requests_at_once_than_allowed(server: Server, tmp_path: Path) -> None:
    # All jobs are there for it, redirected ones too: they are counted where they go.
    urls = [server.url(f"/busy/{n}") for n in range(20)]
    urls += [server.url(f"/to/{server.url(f'/busy/{n}')}", "localhost") for n in range(20, 30)]
    limits = dataclasses.replace(QUICK, per_host=3, jobs=16)
    with serving() as other:
        urls += [other.url(f"/to/{server.url(f'/busy/{n}')}", "localhost") for n in range(30, 40)]
        summary = fetch(wanted(*urls), tmp_path, limits)
    assert summary.num_fetched == 40
    # The name "localhost" is a host of its own, which this server serves as well: 3 + 3.
    assert 3 <= server.most <= 6
    server.most = 0
    summary = fetch(wanted(*(server.url(f"/busy/{n}") for n in range(50, 70))), tmp_path, limits)
    assert (summary.num_fetched, server.most) == (20, 3)


def test_a_dead_host_is_given_up_and_the_others_are_not(server: Server, tmp_path: Path) -> None:
    limits = dataclasses.replace(QUICK, give_up_after=4, per_host=2, tries=2)
    dead = [server.url(f"/later/503/31536000?{n}", "localhost") for n in range(30)]
    summary = fetch(wanted(*dead, server.url("/good/1")), tmp_path, dataclasses.replace(limits, longest_wait_s=0.02))
    counts = {reason: len(failures) for reason, failures in summary.reasons()}
    assert summary.num_fetched == 1
    assert counts["host given up"] >= 24
    assert sum(counts.values()) == 30
    assert sum(server.asked.values()) < 15
    given_up = dict(summary.reasons())["host given up"][0]
    assert given_up.detail == "4 addresses of localhost failed in a row, the last: HTTP 503"


def test_without_a_network_nothing_is_recorded_as_failed(tmp_path: Path) -> None:
    urls = [f"http://127.0.0.{n}:9/a.png" for n in range(2, 40)]
    with pytest.raises(UsageError, match=r"none of 10 hosts can be reached.*is there a network"):
        fetch(wanted(*urls), tmp_path, QUICK)
    assert read_failures(tmp_path) == {}


def test_this_machine_and_private_networks_are_asked_only_where_that_is_allowed(server: Server, tmp_path: Path) -> None:
    limits = dataclasses.replace(QUICK, local=False)
    summary = fetch(wanted(server.url("/good/1"), server.url("/good/2", "localhost")), tmp_path, limits)
    assert [failure.reason for failure in summary.failures] == ["local address"] * 2
    assert "127.0.0.1 is this machine or a private network (see --local)" in summary.failures[0].detail
    assert not server.asked


def test_what_is_there_and_right_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    pictures = wanted(server.url("/good/1"), hashes=frozenset({sha(picture(1))})) + wanted(server.url("/good/2"))
    fetch(pictures, tmp_path, QUICK)
    again = fetch(pictures, tmp_path, QUICK)
    assert (again.num_fetched, again.num_present) == (0, 2)
    assert sum(server.asked.values()) == 2
    damaged = ImageStore(tmp_path).path(pictures[0].url)
    damaged.write_bytes(b"bits have rotted")
    assert fetch(pictures, tmp_path, QUICK).num_fetched == 1
    assert damaged.read_bytes() == picture(1)


def test_what_failed_is_tried_again_only_on_request(server: Server, tmp_path: Path) -> None:
    pictures = wanted(server.url("/missing"), server.url("/later/503"), server.url("/good/1"))
    once = dataclasses.replace(QUICK, tries=1)
    first = fetch(pictures, tmp_path, once)
    assert reasons(first) == {"missing": "HTTP 404", "later": "HTTP 503"}
    second = fetch(pictures, tmp_path, once)
    assert (second.num_skipped, second.num_present, server.asked["/missing"]) == (2, 1, 1)
    third = fetch(pictures, tmp_path, once, retry=True)
    assert (third.num_skipped, third.num_fetched, reasons(third)) == (0, 1, {"missing": "HTTP 404"})
    assert list(read_failures(tmp_path)) == [server.url("/missing")]


def test_failures_of_another_list_stay_recorded(server: Server, tmp_path: Path) -> None:
    fetch(wanted(server.url("/missing/1")), tmp_path, QUICK)
    fetch(wanted(server.url("/missing/2")), tmp_path, QUICK)
    assert list(read_failures(tmp_path)) == [server.url("/missing/1"), server.url("/missing/2")]


def test_a_line_that_a_crash_cut_off_is_left_out(server: Server, tmp_path: Path) -> None:
    fetch(wanted(server.url("/missing/1")), tmp_path, QUICK)
    with (tmp_path / FAILED_FILE).open("a") as file:
        file.write('{"url": "http://127.0.0.1/x", "rea')
    assert list(read_failures(tmp_path)) == [server.url("/missing/1")]


def test_a_full_disk_stops_the_fetch_and_blames_no_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match=r"cannot use .*No space left on device; run the same command to resume"):
        fetch(wanted(server.url("/good/1")), tmp_path, QUICK)
    assert read_failures(tmp_path) == {}


def test_two_fetches_do_not_share_a_folder(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(UsageError, match="another fetch is running in"):
        fetch(wanted("http://127.0.0.1:9/a"), tmp_path, QUICK)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write to .*choose another --out"):
        fetch(wanted("http://127.0.0.1:9/a"), tmp_path / "file" / "store", QUICK)


def test_bytes_that_are_a_picture_too_large_to_hold_are_refused() -> None:
    header = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x2a\xf8\x00\x00\x2a\xf8\x08\x02\x00\x00\x00"
    with pytest.raises(FetchError) as caught:
        inspect(header + b"\x00" * 100)
    assert caught.value.reason == "unreadable image"


def test_a_format_that_runs_other_programs_is_no_picture() -> None:
    with pytest.raises(FetchError, match="not an image"):
        inspect(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n")


@pytest.mark.parametrize("url", ["", "cat.png", "file:///etc/passwd", "ftp://a/b", "http://", "http://[1", "data:,x"])
def test_only_web_addresses_are_asked(url: str) -> None:
    with pytest.raises(FetchError, match="no address"):
        host_of(url)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("", None), ("7", 7.0), ("soon", None), ("Mon, 01 Jan 2024 00:00:00 GMT", 0.0)],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds
    assert (retry_after("Fri, 01 Jan 2100 00:00:00 GMT") or 0) > 1e8


def write_parquet(path: Path, **columns: list[object]) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)
    return path


def test_lists_are_read_from_parquet_json_lines_and_text(tmp_path: Path) -> None:
    path = write_parquet(
        tmp_path / "points.parquet", image_url=["http://a/1", "http://a/2", "http://a/1", None],
        image_sha256=["AA", "bb", "aa", "cc"], label=["x"] * 4,
    )  # fmt: skip
    lines = [{"image_url": "http://a/3"}, {"image_url": 5}, "nonsense", {"image_url": "http://a/\ud800"}]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{broken\n")
    (tmp_path / "list.txt").write_text("http://a/2\n\n http://a/4\n")
    listed = read_lists([path, tmp_path / "list.jsonl", tmp_path / "list.txt"])
    assert [(p.url, p.row, p.rows, p.hashes) for p in listed.images] == [
        ("http://a/1", "points.parquet row 0", 2, {"aa"}),
        ("http://a/2", "points.parquet row 1", 2, {"bb"}),
        ("http://a/3", "list.jsonl row 1", 1, set()),
        ("http://a/4", "list.txt row 3", 1, set()),
    ]
    assert listed.has_hashes
    assert [problem.record for problem in listed.problems.entries] == [3, 2, 3, 4, 5]
    assert "expected an address under 'image_url', got 5" in listed.problems.summary()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "expected a file that lists images, got the folder .*folder; name the files in it"),
        ("empty.txt", "no image is listed in .*empty.txt; everything was read"),
        ("other.parquet", "expected the column image_url in .*other.parquet, which has picture"),
        ("gone.txt", "gone.txt, but: No such file"),
    ],
)
def test_a_list_that_lists_nothing_is_told(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    write_parquet(tmp_path / "other.parquet", picture=["http://a/1"])
    with pytest.raises(UsageError, match=message):
        read_lists([tmp_path / name])


# --- The command ------------------------------------------------------------------------------------------------------


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "molmo_agent", "data", "fetch", *arguments]


ENVIRONMENT = os.environ | {"NO_COLOR": "1", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}


def test_the_command_tells_what_was_lost_and_where_the_list_is(server: Server, tmp_path: Path) -> None:
    urls = [server.url(path) for path in ("/good/1", "/missing/1", "/missing/1", "/missing/2", "/html", "/good/2")]
    hashes = [sha(picture(1)), *["0" * 64] * 5]
    path = write_parquet(tmp_path / "train.parquet", image_url=urls, image_sha256=hashes)
    out = tmp_path / "pictures"
    done = subprocess.run(
        command(str(path), "--out", str(out), "--local"),
        env=ENVIRONMENT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = re.sub(r"\s+", " ", done.stdout)
    assert f"1 of 5 images are in {out}: 1 fetched now" in told
    assert "4 could not be fetched; 5 rows without an image" in told
    assert "HTTP 404 2 3 train.parquet row 1, train.parquet row 3" in told
    assert "another image 1 1 train.parquet row 5" in told
    assert "--retry tries them again" in told
    assert len((out / FAILED_FILE).read_text().splitlines()) == 4
    nothing = command(str(path), "--out", str(tmp_path / "none"), "--jobs", "1")
    done = subprocess.run(nothing, env=ENVIRONMENT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 1, "not one picture is there: this machine may not be asked"
    assert "local address" in done.stdout


def test_stopping_it_leaves_what_it_had_and_the_same_command_goes_on(server: Server, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("".join(server.url(f"/busy/{n}") + "\n" for n in range(60)))
    out = tmp_path / "pictures"
    line = command(str(tmp_path / "list.txt"), "--out", str(out), "--local", "--per-host", "1")
    running = subprocess.Popen(line, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len(server.asked) < 5:
        time.sleep(0.02)
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "the same command fetches the images still missing" in stderr
    before = len([path for path in out.glob("*/*") if path.is_file()])
    assert 3 <= before < 60
    assert not list(out.glob("*/*.part"))
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{60 - before} fetched now" in re.sub(r"\s+", " ", done.stdout)
    assert_only_whole_pictures(out, 60)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("molmo_agent.data.images.download", "fetching images needs the extra 'train'"),
        ("ray", "fetching on Ray needs the extra 'train'"),
    ],
)
def test_a_missing_library_is_told(module: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.txt").write_text("http://a/1\n")
    monkeypatch.setitem(sys.modules, module, None)
    arguments = ["data", "fetch", str(tmp_path / "list.txt"), "--out", str(tmp_path / "x"), "--ray"]
    with pytest.raises(MissingExtraError, match=message):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_at_least_one_request_is_made_at_once(tmp_path: Path) -> None:
    arguments = ["data", "fetch", str(tmp_path / "list.txt"), "--out", str(tmp_path / "x"), "--per-host", "0"]
    with pytest.raises(UsageError, match="expected --jobs and --per-host of at least 1, got 32 and 0"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


# --- Ray --------------------------------------------------------------------------------------------------------------


def test_a_host_belongs_to_one_task() -> None:
    urls = [f"http://h{n % 5}/{n}" for n in range(100)] + [f"http://big/{n}" for n in range(70)] + ["nonsense"]
    shares = deal(wanted(*urls), 3)
    assert sorted(p.url for share in shares for p in share) == sorted(urls)
    hosts = [{p.url.split("/")[2] if "/" in p.url else "" for p in share} for share in shares]
    assert sum(map(len, hosts)) == len(set.union(*hosts)) == 7
    assert max(map(len, shares)) <= 70
    assert [len(share) for share in deal(wanted("http://a/1"), 4)] == [1]


@pytest.mark.slow
@pytest.mark.timeout(300)  # Ray starts many processes
def test_ray_fetches_the_same_even_if_a_worker_on_another_machine_dies(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_cluster: RayCluster
) -> None:
    paths = [f"/busy/{n}" for n in range(8)] + ["/missing", "/html", "/cut", "/to/file:///etc/passwd"]
    urls = [server.url(path, host) for path in paths for host in ("127.0.0.1", "localhost")] + ["nonsense"]
    limits = dataclasses.replace(QUICK, per_host=1, jobs=2)
    here = fetch(wanted(*urls), tmp_path / "here", limits)

    def kill_one() -> None:
        server.asked.clear()
        while len(server.asked) < 4:
            time.sleep(0.02)
        victims = [p for p in psutil.process_iter(["cmdline"]) if "ray::_Share" in " ".join(p.info["cmdline"] or [])]
        victims[0].kill()

    killers = [threading.Thread(target=kill_one, daemon=True) for _ in range(2)]
    killers[0].start()
    there = fetch(wanted(*urls), tmp_path / "there", limits, engine=ray_engine())
    killers[0].join(60)
    assert not killers[0].is_alive(), "one was killed"
    monkeypatch.setattr(fetch_ray, "_STARTS", 1)
    killers[1].start()
    with pytest.raises(UsageError, match=r"a Ray worker died 1 times: .*run the same command to resume"):
        fetch(wanted(*urls), tmp_path / "again", limits, engine=ray_engine())
    assert there.num_fetched + there.num_present == here.num_fetched == 16
    assert len(there.failures) == len(here.failures) == 9

    def files(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.glob("*/*")}

    assert files(tmp_path / "here") == files(tmp_path / "there")

    def failed(folder: Path) -> list[tuple[str, str]]:
        return [(failure.url, failure.reason) for failure in read_failures(folder).values()]

    assert failed(tmp_path / "here") == failed(tmp_path / "there")
