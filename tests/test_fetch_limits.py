"""Limits of a fetch: compressed answers, bombs, placeholders, cut images and local addresses."""

import dataclasses
import hashlib
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from misbehaving_server import Server, bomb, picture, serving

from molmo_agent.data.images.download import FetchError, Limits, check_redirect, inspect, is_public
from molmo_agent.data.images.fetch import FAILED_FILE, SAME_IMAGE, Summary, fetch
from molmo_agent.data.images.store import ImageStore
from molmo_agent.data.images.url_list import ImageRequest

LIMITS = Limits(jobs=4, connect_s=5, read_s=20, total_s=60, max_bytes=2_000_000, tries=1, local=True)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def wanted(*urls: str, hashes: frozenset[str] = frozenset()) -> list[ImageRequest]:
    return [ImageRequest(url, f"list.txt row {n}", 1, set(hashes)) for n, url in enumerate(urls)]


def failures(summary: Summary) -> dict[str, str]:
    return {failure.url: failure.reason for failure in summary.failures}


# --- Compressed answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "GZIP"])
def test_an_answer_that_was_compressed_unasked_is_read(encoding: str, server: Server, tmp_path: Path) -> None:
    url = server.url(f"/gzip/{encoding}")
    assert fetch(wanted(url), tmp_path, LIMITS).failures == []
    assert ImageStore(tmp_path).path(url).read_bytes() == picture(7)


@pytest.mark.parametrize(
    ("path", "reason", "detail"),
    [
        ("/gzip/br", "encoded answer", "got the encoding 'br'"),
        ("/gzip/zstd", "encoded answer", "got the encoding 'zstd'"),
        ("/bomb/2", "encoded answer", "got the encoding 'gzip, gzip'"),
        ("/gzip/cut/gzip", "cut off", "the compressed answer ends early"),
    ],
)
def test_other_encodings_and_cut_ones_are_refused(
    path: str, reason: str, detail: str, server: Server, tmp_path: Path
) -> None:
    (failure,) = fetch(wanted(server.url(path)), tmp_path, LIMITS).failures
    assert failure.reason == reason
    assert detail in failure.detail


def test_an_answer_that_unpacks_to_very_much_is_given_up_at_the_limit(server: Server, tmp_path: Path) -> None:
    assert len(bomb(1)) < 400_000
    tracemalloc.start()
    try:
        (failure,) = fetch(wanted(server.url("/bomb/1")), tmp_path, LIMITS).failures
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (failure.reason, failure.detail) == ("too large", "more than 2000000 bytes")
    assert peak < 20_000_000


# --- Placeholders -----------------------------------------------------------------------------------------------------


def test_one_file_at_several_addresses_stands_for_missing_images(server: Server, tmp_path: Path) -> None:
    gone = [server.url(f"/static/{n}", host) for n in range(2) for host in ("127.0.0.1", "localhost")]
    good = [server.url(f"/good/{n}") for n in range(5)]
    summary = fetch(wanted(*gone, *good), tmp_path, LIMITS)
    assert failures(summary) == dict.fromkeys(gone, "placeholder")
    assert "the same file as at 3 other addresses, such as http://" in summary.failures[0].detail
    assert (summary.num_fetched, summary.num_present) == (5, 0)
    assert not any(ImageStore(tmp_path).path(url).exists() for url in gone)
    lines = [json.loads(line) for line in (tmp_path / FAILED_FILE).read_text().split("\n")[:-1]]
    assert {line["reason"] for line in lines} == {"placeholder"}
    again = fetch(wanted(*gone, *good), tmp_path, LIMITS)
    assert (again.num_present, failures(again)) == (5, failures(summary))


def test_a_file_at_few_addresses_or_with_a_known_digest_is_kept(server: Server, tmp_path: Path) -> None:
    few = [server.url(f"/static/{n}") for n in range(SAME_IMAGE - 1)]
    assert failures(fetch(wanted(*few), tmp_path / "few", LIMITS)) == {}

    digest = hashlib.sha256(picture(99)).hexdigest().upper()
    known = wanted(*(server.url(f"/static/{n}") for n in range(5)), hashes=frozenset({digest}))
    assert fetch(known, tmp_path / "known", LIMITS).num_fetched == 5
    assert fetch(known, tmp_path / "known", LIMITS).num_present == 5


def test_placeholders_of_an_earlier_fetch_are_found(server: Server, tmp_path: Path) -> None:
    urls = [server.url(f"/static/{n}") for n in range(4)]
    assert failures(fetch(wanted(*urls[:2]), tmp_path, LIMITS)) == {}
    summary = fetch(wanted(*urls), tmp_path, LIMITS)
    assert (failures(summary), summary.num_fetched, summary.num_present) == (dict.fromkeys(urls, "placeholder"), 0, 0)


@pytest.mark.parametrize("size", ["1/1", "2/1", "2/2", "1/2"])
def test_an_image_of_a_few_pixels_is_a_placeholder(size: str, server: Server, tmp_path: Path) -> None:
    small, image = server.url(f"/image/{size}/5"), server.url("/image/3/1/6")
    assert failures(fetch(wanted(small, image), tmp_path, LIMITS)) == {small: "placeholder"}


@pytest.mark.parametrize(
    ("url", "target", "is_placeholder"),
    [
        ("http://i.example/a8fK.png", "http://i.example/removed.png", True),
        ("http://i.example/1/2_b.jpg", "http://s.example/images/photo_unavailable_l.png", True),
        ("http://i.example/x.jpg", "http://i.example/static/image-not-found.gif", True),
        ("http://i.example/x.jpg", "http://i.example/No_Image.svg.png", True),
        ("http://i.example/x.jpg", "http://i.example/404.jpg", True),
        ("http://i.example/x.jpg", "http://cdn.example/x.jpg", False),
        ("http://i.example/IMG_1.jpg", "http://cdn.example/14045.jpg", False),
        ("http://i.example/removed-tree.jpg", "http://cdn.example/removed-tree.jpg", False),
        ("http://i.example/x.jpg", "http://cdn.example/noimagination.jpg", False),
    ],
)
def test_a_redirect_to_the_image_for_missing_ones_is_recognised(url: str, target: str, is_placeholder: bool) -> None:
    if is_placeholder:
        with pytest.raises(FetchError, match="placeholder"):
            check_redirect(url, target)
    else:
        check_redirect(url, target)


def test_the_redirect_is_not_followed_to_a_placeholder(server: Server, tmp_path: Path) -> None:
    url = server.url("/gone/1")
    (failure,) = fetch(wanted(url), tmp_path, LIMITS).failures
    assert (failure.reason, failure.detail) == ("placeholder", "the address leads to 'image_removed.png'")


# --- Images and addresses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_a_cut_image_is_not_stored(share: float) -> None:
    body = picture(3)
    with pytest.raises(FetchError, match="unreadable image"):
        inspect(body[: int(len(body) * share)])


def test_a_digest_in_capitals_is_the_same_digest() -> None:

    digest = hashlib.sha256(picture(3)).hexdigest()
    inspect(picture(3), frozenset({digest.upper()}))
    with pytest.raises(FetchError, match="another image"):
        inspect(picture(4), frozenset({digest.upper()}))


def test_no_form_of_a_local_address_is_asked(server: Server, tmp_path: Path) -> None:
    hosts = (
        *("127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "127.0.1", "2130706433", "0x7f000001"),
        *("0x7f.1", "0177.0.0.1", "017700000001", "0", "0.0.0.0", "127.0.0.1.", "127.255.255.254", "[::1]", "[::]"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "user@127.0.0.1", "a:b@localhost"),
    )
    urls = [f"http://{host}:{server.server_port}/good/{n}" for n, host in enumerate(hosts)]
    summary = fetch(wanted(*urls), tmp_path, dataclasses.replace(LIMITS, local=False))
    assert set(failures(summary)) == set(urls)
    assert not server.asked


# Behind each form of IPv4 within IPv6, too.
PRIVATE = (
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200"),
    *("192.0.0.192", "198.18.0.1", "0.0.0.0", "127.0.0.1", "255.255.255.255", "224.0.0.1", "240.0.0.1", "::", "::1"),
    *("fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
    *("64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "2002:7f00:1::", "2002:a00:1::", "64:ff9b:1::1", "100::1"),
    *("2001:db8::1", "fec0::1", "192.0.2.1", "203.0.113.9", "2001:0:7f00:1::f5ff:fffe"),
)  # fmt: skip
PUBLIC = ("8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")


def test_private_addresses_are_told_from_public_ones() -> None:
    assert [address for address in PRIVATE if is_public(address)] == []
    assert [address for address in PUBLIC if not is_public(address)] == []
