"""Request one image over HTTP, within limits, and check the answer.

URLs and answers are untrusted input.
"""

import email.utils
import hashlib
import http.cookiejar
import ipaddress
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, ProtocolError

from molmo_agent import __version__
from molmo_agent.errors import ImageError
from molmo_agent.images import read_image

USER_AGENT = f"molmo-agent/{__version__} (downloads the images that public training data lists by address)"
_CHUNK_BYTES = 1 << 16
# IPv4 addresses on a network of IPv6 alone, and protocols' own addresses: a cloud has its metadata there.
_NAT64, _PROTOCOLS = ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv4Network("192.0.0.0/24")
_REDIRECTS = (301, 302, 303, 307, 308)
# The largest side of images that hosts send instead of a missing one: a tracking pixel, a dot.
_PLACEHOLDER_PX = 2
_MISSING = re.compile(
    r"removed|deleted|unavailable|not[-_ ]?(?:found|available)|no[-_ ]?(?:image|photo|picture)\b|missing|placeholder"
    r"|\b404\b",
    re.IGNORECASE,
)
_IMAGE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of requests, sizes and times."""

    # Concurrent requests: in total, and per host.
    jobs: int = 32
    per_host: int = 4
    # Timeouts in seconds: connecting, between two chunks, and for the whole answer.
    connect_s: float = 10.0
    read_s: float = 20.0
    total_s: float = 120.0
    max_bytes: int = 30_000_000
    redirects: int = 5
    # Tries of a URL that fails temporarily; seconds before the second try, doubled for each further one.
    tries: int = 3
    backoff_s: float = 1.0
    # Upper limit for Retry-After in seconds: some servers send years.
    longest_wait_s: float = 30.0
    # A host is given up after this many failed URLs in a row.
    give_up_after: int = 8
    # Whether requests to this machine and to private networks are allowed. URL lists are untrusted.
    local: bool = False


@dataclass(eq=False)
class FetchError(Exception):
    """A failed request, with its reason."""

    # A short category of the failure; the details of this one.
    reason: str
    detail: str = ""
    # Whether a retry may succeed.
    temporary: bool = False
    # Seconds of pause that the host asks for.
    wait_s: float | None = None

    def __str__(self) -> str:
        """Return reason and detail."""
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect to another URL."""

    target: str


def host_of(url: str) -> str:
    """Return the host of a URL, whose requests are limited together.

    Raises:
        FetchError: the URL is invalid or has another scheme.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise FetchError("no address", str(error)) from error
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch(r"[\w.:-]+", host):
        raise FetchError("no address", f"expected http:// or https:// and a host, got {url[:80]!r}")
    return host.lower()


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to a machine on the internet, behind any form of IPv4 within IPv6."""
    ip: Any = ipaddress.ip_address(address)
    if ip.version == 6:
        if ip in _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        else:
            ip = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (ip,))[-1]
    is_special = ip in _PROTOCOLS if ip.version == 4 else ip.is_site_local
    return bool(ip.is_global and not (is_special or ip.is_reserved or ip.is_multicast))


class _Guarded:
    """A connection that rejects local and private addresses and limits the time for the header."""

    limits: Limits

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        connection: Any = self
        # Check the connected address: the name may have resolved differently a moment ago (DNS rebinding).
        address = connection.sock.getpeername()[0]
        if not (self.limits.local or is_public(address)):
            connection.close()
            raise FetchError("local address", f"{address} is this machine or a private network (see --local)")

    def getresponse(self) -> Any:
        connection: Any = self
        late = threading.Event()

        def cut() -> None:
            late.set()
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)

        # With a read timeout alone, a server could send its header byte by byte forever.
        timer = threading.Timer(self.limits.total_s, cut)
        timer.daemon = True
        timer.start()
        try:
            answer = super().getresponse()  # type: ignore[misc]
        finally:
            timer.cancel()
        # A truncated header may look complete.
        if late.is_set():
            answer.close()
            raise TimeoutError(f"no complete header after {self.limits.total_s:g} s")
        return answer


def new_session(limits: Limits) -> requests.Session:
    """Return a session that reuses connections, rejects cookies, and never sends the user's passwords."""

    def kind(connection: type, pool: type) -> type:
        guarded = type("Guarded", (_Guarded, connection), {"limits": limits})
        return type("Pool", (pool,), {"ConnectionCls": guarded})

    session = requests.Session()
    session.headers.update({"User-Agent": USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"})
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.auth = lambda request: request  # else ~/.netrc is read
    adapter = HTTPAdapter(pool_connections=2 * limits.jobs, pool_maxsize=limits.per_host)
    # With a proxy, the proxy decides which addresses are reachable.
    adapter.poolmanager.pool_classes_by_scheme = {
        "http": kind(HTTPConnection, HTTPConnectionPool),
        "https": kind(HTTPSConnection, HTTPSConnectionPool),
    }
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


def request(
    session: requests.Session, url: str, limits: Limits, stopping: Callable[[], bool] = lambda: False
) -> bytes | Redirect:
    """Request a URL once.

    Args:
        session: from :func:`new_session`.
        url: the URL.
        limits: of size and time.
        stopping: called between two chunks; True aborts the request.

    Returns:
        The body of the answer, or the redirect.

    Raises:
        FetchError: the request failed.
    """
    deadline = time.monotonic() + limits.total_s
    late = FetchError("too slow", f"not complete after {limits.total_s:g} s", temporary=True)
    try:
        with session.get(url, stream=True, allow_redirects=False, timeout=(limits.connect_s, limits.read_s)) as answer:
            if answer.status_code in _REDIRECTS and (target := session.get_redirect_target(answer)):
                return Redirect(urljoin(url, target))
            if answer.status_code != 200:
                raise _refusal(answer)
            announced = answer.headers.get("Content-Length", "")
            if announced.isdecimal() and int(announced[:20]) > limits.max_bytes:
                raise FetchError("too large", f"{announced[:20]} bytes, more than {limits.max_bytes}")
            body, encoded = bytearray(), _Encoded(answer.headers.get("Content-Encoding", ""))
            while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=False):
                body += encoded.decode(chunk, limits.max_bytes + 1 - len(body))
                if len(body) > limits.max_bytes:
                    raise FetchError("too large", f"more than {limits.max_bytes} bytes")
                if time.monotonic() > deadline:
                    raise late
                if stopping():
                    raise FetchError("stopped", temporary=True)
            if not encoded.complete:
                raise FetchError("cut off", "the compressed answer ends early", temporary=True)
    except requests.exceptions.ConnectTimeout as error:
        raise FetchError("no connection", _short(error), temporary=True) from error
    except (requests.exceptions.Timeout, TimeoutError) as error:
        raise FetchError("no answer in time", _short(error), temporary=True) from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError) as error:
        raise FetchError("no address", _short(error)) from error
    except (requests.exceptions.RequestException, HTTPError, OSError, ValueError) as error:
        if time.monotonic() > deadline:
            raise late from error
        # requests reports a broken connection as a connection error too.
        broke = not isinstance(error, requests.exceptions.ConnectionError) or isinstance(error.args[0], ProtocolError)
        raise FetchError("cut off" if broke else "no connection", _short(error), temporary=True) from error
    return bytes(body)


class _Encoded:
    """Decodes an answer that is compressed although that was not asked for: gzip or deflate, once.

    Raises:
        FetchError: the encoding is another one, or several.
    """

    def __init__(self, encoding: str) -> None:
        self._unzip: Any = None
        if encoding.strip().lower() in ("gzip", "x-gzip", "deflate"):
            # 32: with the header of gzip or of zlib.
            self._unzip = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
        elif encoding.strip().lower() not in ("", "identity"):
            raise FetchError(
                "encoded answer", f"expected the image itself, or gzip, got the encoding {encoding[:80]!r}"
            )

    @property
    def complete(self) -> bool:
        """Whether the end of the compressed answer was reached."""
        return self._unzip is None or self._unzip.eof

    def decode(self, chunk: bytes, most: int) -> bytes:
        """Return the next bytes, at most ``most``: more would be beyond the limit anyway.

        Raises:
            FetchError: the bytes are not compressed.
        """
        if self._unzip is None or self._unzip.eof:
            return chunk if self._unzip is None else b""
        try:
            decoded: bytes = self._unzip.decompress(chunk, most)
        except zlib.error as error:
            raise FetchError("encoded answer", f"its compressed bytes are damaged: {error}") from error
        return decoded


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _refusal(answer: requests.Response) -> FetchError:
    """Return the failure for a status other than 200."""
    code = answer.status_code
    temporary = code in (408, 425, 429) or code >= 500
    wait = retry_after(answer.headers.get("Retry-After")) if temporary else None
    return FetchError(f"HTTP {code}", answer.reason or "", temporary=temporary, wait_s=wait)


def retry_after(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header; None if it is missing or unreadable."""
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header.strip()[:12])
    try:
        return max(email.utils.parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None


def inspect(body: bytes, hashes: frozenset[str] = frozenset()) -> None:
    """Check that bytes are an image that can be read, and the expected one.

    Args:
        body: of the answer.
        hashes: accepted SHA-256 in hexadecimal digits, in either case. Empty: unknown.

    Raises:
        FetchError: the bytes are not the expected image, or one of a few pixels, which stands for a missing one.
    """
    if not body:
        raise FetchError("empty")
    try:
        height, width = read_image(body).shape[:2]
    except ImageError as error:
        if body.startswith(_IMAGE_STARTS):
            raise FetchError("unreadable image", str(error)) from error
        start = body[:40].decode("ascii", "replace")
        raise FetchError("not an image", f"{len(body)} bytes that begin with {start!r}") from error
    digest = hashlib.sha256(body).hexdigest()
    expected = {known.strip().lower() for known in hashes}
    if expected and digest not in expected:
        raise FetchError("another image", f"its SHA-256 is {digest}, expected {' or '.join(sorted(expected))}")
    if not expected and max(width, height) <= _PLACEHOLDER_PX:
        raise FetchError("placeholder", f"an image of {width} x {height} pixels stands for a missing one")


def check_redirect(url: str, target: str) -> None:
    """Check that a redirect does not lead from an image to the one that its host shows for missing images.

    Raises:
        FetchError: the name of the new file says so.
    """
    name = urlsplit(target).path.rpartition("/")[2]
    if _MISSING.search(name) and not _MISSING.search(urlsplit(url).path):
        raise FetchError("placeholder", f"the address leads to {name[:80]!r}")
