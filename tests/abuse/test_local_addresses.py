"""Addresses of this machine and of private networks, in every spelling: a real server there is never asked."""

import dataclasses
import ipaddress
import socket

import pytest
from misbehaving_server import serving

from molmo_agent.data.images import download
from molmo_agent.data.images.download import Limits, is_public
from molmo_agent.data.images.fetch import fetch
from molmo_agent.data.images.url_list import ImageRequest

LIMITS = Limits(jobs=16, connect_s=1, read_s=5, total_s=10, max_bytes=100_000, tries=1, local=False)
# Spellings that reach 127.0.0.1 or another address of this machine where somebody accepts them.
LOCAL = (
    *("127.0.0.1", "127.0.0.1.", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "0", "0.0.0.0", "00.0.0.0"),
    *("2130706433", "2130706434", "0x7f000001", "0x7F.0x0.0x0.0x1", "0x7f.1", "0177.0.0.1", "0177.0.0.01"),
    *("017700000001", "00177.0.0.1", "0x7f.0.1", "127.0x1", "0177.1", "4294967295", "localhost", "LocalHost"),
    *("localhost.", "ip6-localhost", "localhost.localdomain", "[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::]"),
    *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::ffff:0:127.0.0.1]", "[::127.0.0.1]"),
    *("[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[::1%25lo]", "[fe80::1%25lo]", "user@127.0.0.1", "a:b@localhost"),
    *("example.com@127.0.0.1", "example.com:80@127.0.0.1", "127.0.0.1%00.example.com", "①②⑦.⓪.⓪.①", "127。0。0。1"),
    *("127．0．0．1", "ⓛocalhost", "127.0.0.1\\@example.com", "%31%32%37.0.0.1", "127.0.0.1\t", "loca\u00adlhost"),
)


def _wanted(*urls):
    return [ImageRequest(url, f"list.txt row {n}", 1, set()) for n, url in enumerate(urls)]


def test_no_spelling_of_a_local_address_is_asked(tmp_path):
    assert len(set(LOCAL)) >= 49
    with serving() as server:
        urls = [f"http://{host}:{server.server_port}/good/{n}" for n, host in enumerate(LOCAL)]
        summary = fetch(_wanted(*urls), tmp_path, LIMITS)
        assert {failure.url for failure in summary.failures} >= {url for url in urls if url.isprintable()}
        assert dict(server.asked) == {}
        # It is there, and would have answered.
        assert fetch(_wanted(urls[0]), tmp_path / "2", dataclasses.replace(LIMITS, local=True)).failures == []
        assert sum(server.asked.values()) == 1


def test_a_name_that_leads_to_a_local_address_is_not_asked(tmp_path, monkeypatch):
    """Also one that leads to a public address when it is looked up first, and to a local one later."""
    real, answers = socket.getaddrinfo, {"inside.example": ["127.0.0.1"], "mapped.example": ["::ffff:127.0.0.1"]}
    answers["turning.example"] = ["192.0.2.1", "127.0.0.1"]

    def look_up(host, port, *args, **kwargs):
        addresses = answers.get(host)
        return (
            real(host, port, *args, **kwargs)
            if addresses is None
            else [
                (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                for address in addresses
            ]
        )

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with serving() as server:
        urls = [f"http://{name}:{server.server_port}/good/1" for name in answers]
        summary = fetch(_wanted(*urls), tmp_path, LIMITS)
        assert {failure.url for failure in summary.failures} == set(urls)
        assert dict(server.asked) == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "user@127.0.0.1"])
def test_a_public_server_cannot_send_us_inside(tmp_path, monkeypatch, host):
    # One address of this machine stands for a public server.
    real = is_public
    monkeypatch.setattr(download, "is_public", lambda address: address == "127.0.0.2" or real(address))
    with serving() as inner, serving("127.0.0.2") as outer:
        url = outer.url(f"/to/http://{host}:{inner.server_port}/good/1", host="127.0.0.2")
        (failure,) = fetch(_wanted(url), tmp_path, LIMITS).failures
        assert sum(outer.asked.values()) == 1
        assert dict(inner.asked) == {}
        assert failure.reason in ("local address", "no address", "no connection", "another address")
        assert fetch(_wanted(outer.url("/good/1", host="127.0.0.2")), tmp_path / "2", LIMITS).failures == []


def test_every_address_of_the_private_networks_is_private():
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10"):
        whole = ipaddress.ip_network(network)
        numbers = range(0, whole.num_addresses, max(whole.num_addresses // 997, 1))
        assert [n for n in numbers if is_public(str(whole[n]))] == []
