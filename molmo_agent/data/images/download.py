"""One request for one image: asked for politely, within limits, and looked at before it counts as one.

Knows nothing of lists and of other requests. Addresses come from outside, and so does every byte of every answer.
"""

import email.utils
import hashlib
import http.cookiejar
import io
import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import PIL.Image
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, ProtocolError

from molmo_agent import __version__

USER_AGENT = f"molmo-agent/{__version__} (downloads the images that public training data lists by address)"
_CHUNK_BYTES = 1 << 16
_MAX_PIXELS = 100_000_000
_REDIRECTS = (301, 302, 303, 307, 308)
# Pillow knows more; some of them run other programs.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "TIFF", "WEBP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is asked of the network, and how long an answer may take."""

    # Requests at once: of all hosts together, and of one host.
    jobs: int = 32
    per_host: int = 4
    # Seconds until a host answers, between two parts of an answer, and for an answer as a whole.
    connect_s: float = 10.0
    read_s: float = 20.0
    total_s: float = 120.0
    max_bytes: int = 30_000_000
    redirects: int = 5
    # Requests for an address that a host cannot serve at the moment; seconds before the second one, doubled for each.
    tries: int = 3
    backoff_s: float = 1.0
    # Most seconds that a host's Retry-After is waited for: some servers send one of years.
    longest_wait_s: float = 30.0
    # A host that fails so many addresses in a row, every try of them, is not asked for the rest.
    give_up_after: int = 8
    # Whether this machine and private networks may be asked. Lists come from outside.
    local: bool = False


@dataclass(eq=False)
class Lost(Exception):
    """No image, and why."""

    # A few words that are the same for everything that fails this way; what exactly came.
    reason: str
    detail: str = ""
    # Whether it may be another time.
    passing: bool = False
    # Seconds that the host asks for.
    wait_s: float | None = None

    def __str__(self) -> str:
        """Say all of it."""
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


@dataclass(frozen=True, slots=True)
class Moved:
    """The image is at another address."""

    target: str


def host_of(url: str) -> str:
    """Return whose requests are counted together.

    Raises:
        Lost: this is no address that is asked.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise Lost("no address", str(error)) from error
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch(r"[\w.:-]+", host):
        raise Lost("no address", f"expected http:// or https:// and a host, got {url[:80]!r}")
    return host.lower()


class _Guarded:
    """A connection that refuses this machine and private networks, and whose header comes in time or not at all."""

    limits: Limits

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        connection: Any = self
        # The address that was connected to, not what its name meant a moment before.
        address: Any = ipaddress.ip_address(connection.sock.getpeername()[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if not (self.limits.local or address.is_global):
            connection.close()
            raise Lost("local address", f"{address} is this machine or a private network (see --local)")

    def getresponse(self) -> Any:
        connection: Any = self
        late = threading.Event()

        def cut() -> None:
            late.set()
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)

        # A read timeout alone lets a server send its header byte by byte for ever.
        timer = threading.Timer(self.limits.total_s, cut)
        timer.daemon = True
        timer.start()
        try:
            answer = super().getresponse()  # type: ignore[misc]
        finally:
            timer.cancel()
        # What came of a header may look like a whole one.
        if late.is_set():
            answer.close()
            raise TimeoutError(f"no whole header after {self.limits.total_s:g} s")
        return answer


def new_session(limits: Limits) -> requests.Session:
    """Return a session that keeps connections, takes no cookies, and sends no passwords of the user's."""

    def kind(connection: type, pool: type) -> type:
        guarded = type("Guarded", (_Guarded, connection), {"limits": limits})
        return type("Pool", (pool,), {"ConnectionCls": guarded})

    session = requests.Session()
    session.headers.update({"User-Agent": USER_AGENT, "Accept": "image/*", "Accept-Encoding": "identity"})
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.auth = lambda request: request  # else ~/.netrc is read
    adapter = HTTPAdapter(pool_connections=2 * limits.jobs, pool_maxsize=limits.per_host)
    # Through a proxy, the proxy decides what may be reached.
    adapter.poolmanager.pool_classes_by_scheme = {
        "http": kind(HTTPConnection, HTTPConnectionPool),
        "https": kind(HTTPSConnection, HTTPSConnectionPool),
    }
    for scheme in ("http://", "https://"):
        session.mount(scheme, adapter)
    return session


def request(
    session: requests.Session, url: str, limits: Limits, stopping: Callable[[], bool] = lambda: False
) -> bytes | Moved:
    """Ask for an address once.

    Args:
        session: from :func:`new_session`.
        url: the address.
        limits: what is waited for.
        stopping: asked between two parts of the answer.

    Returns:
        The answer's body, or where else it is.

    Raises:
        Lost: neither came.
    """
    deadline = time.monotonic() + limits.total_s
    late = Lost("too slow", f"not whole after {limits.total_s:g} s", passing=True)
    try:
        with session.get(url, stream=True, allow_redirects=False, timeout=(limits.connect_s, limits.read_s)) as answer:
            if answer.status_code in _REDIRECTS and (target := session.get_redirect_target(answer)):
                return Moved(urljoin(url, target))
            if answer.status_code != 200:
                raise _refusal(answer)
            announced = answer.headers.get("Content-Length", "")
            if announced.isdecimal() and int(announced[:20]) > limits.max_bytes:
                raise Lost("too large", f"{announced[:20]} bytes, more than {limits.max_bytes}")
            body = bytearray()
            while chunk := answer.raw.read1(_CHUNK_BYTES, decode_content=True):
                body += chunk
                if len(body) > limits.max_bytes:
                    raise Lost("too large", f"more than {limits.max_bytes} bytes")
                if time.monotonic() > deadline:
                    raise late
                if stopping():
                    raise Lost("stopped", passing=True)
    except requests.exceptions.ConnectTimeout as error:
        raise Lost("no connection", _short(error), passing=True) from error
    except (requests.exceptions.Timeout, TimeoutError) as error:
        raise Lost("no answer in time", _short(error), passing=True) from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, UnicodeError) as error:
        raise Lost("no address", _short(error)) from error
    except (requests.exceptions.RequestException, HTTPError, OSError, ValueError) as error:
        if time.monotonic() > deadline:
            raise late from error
        # Where a connection was made and broke, requests calls that a connection error too.
        broke = not isinstance(error, requests.exceptions.ConnectionError) or isinstance(error.args[0], ProtocolError)
        raise Lost("cut off" if broke else "no connection", _short(error), passing=True) from error
    return bytes(body)


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _refusal(answer: requests.Response) -> Lost:
    """Return what a status other than 200 means."""
    code = answer.status_code
    passing = code in (408, 425, 429) or code >= 500
    wait = retry_after(answer.headers.get("Retry-After")) if passing else None
    return Lost(f"HTTP {code}", answer.reason or "", passing=passing, wait_s=wait)


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, None where there is none that can be read."""
    if not header:
        return None
    if header.strip().isdecimal():
        return float(header.strip()[:12])
    try:
        return max(email.utils.parsedate_to_datetime(header).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None


def inspect(body: bytes, hashes: frozenset[str] = frozenset()) -> None:
    """Make sure that bytes are an image, and the one that was meant.

    Args:
        body: of an answer.
        hashes: SHA-256 in hexadecimal digits; any of them will do. Empty: not known.

    Raises:
        Lost: they are not.
    """
    if not body:
        raise Lost("empty")
    PIL.Image.init()
    formats = [name for name in _FORMATS if name in PIL.Image.OPEN]
    try:
        with PIL.Image.open(io.BytesIO(body), formats=formats) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise Lost("too large", f"{image.width} x {image.height} pixels, more than {_MAX_PIXELS:,}")
            image.load()
    except Lost:
        raise
    except Exception as error:  # decoders raise anything on bytes from outside
        start = body[:40].decode("ascii", "replace")
        raise Lost("not an image", f"{len(body)} bytes that begin with {start!r}") from error
    found = hashlib.sha256(body).hexdigest()
    if hashes and found not in hashes:
        raise Lost("another image", f"its SHA-256 is {found}, expected {' or '.join(sorted(hashes))}")
