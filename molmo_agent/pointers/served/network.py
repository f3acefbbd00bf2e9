"""The way to a server: past or through a proxy, with the key that is meant for it, and what failed on the way.

What may be sent is decided here, request by request, and not by the client library, which reads keys, account names
and headers from the environment for whatever server it is given.
"""

import importlib
import ipaddress
import os
import queue
import re
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from molmo_agent.errors import ModelError, UsageError

KEY_VARIABLE = "MOLMO_API_KEY"
"""The environment variable with the key for any server; a local server needs none."""


@dataclass(frozen=True, slots=True)
class _Vendor:
    """The environment variables that belong to one host and are sent to no other."""

    key: str
    # Header -> variables that may hold its value, the first one that is set.
    accounts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_VENDORS = {
    "api.openai.com": _Vendor(
        "OPENAI_API_KEY",
        {
            "OpenAI-Organization": ("OPENAI_ORG_ID", "OPENAI_ORGANIZATION"),
            "OpenAI-Project": ("OPENAI_PROJECT_ID", "OPENAI_PROJECT"),
        },
    )
}
# Headers that a request needs; others, such as cookies and what a library adds, are not sent.
_NEEDED = "accept accept-encoding connection content-length content-type host transfer-encoding user-agent"
# The last one is how the client remembers that it streams.
_HEADERS = frozenset((*_NEEDED.split(), "x-stainless-raw-response"))
_PORTS = {"http": 80, "https": 443}
# Names that no public server has.
_PRIVATE_SUFFIXES = (".localhost", ".local", ".lan", ".internal", ".intranet", ".home.arpa")
_ASCII_HOST = re.compile(r"[a-z0-9._-]+", re.ASCII)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_this_machine(host: str) -> bool:
    """Return whether a host name or address is certainly the machine that runs this.

    Names such as ``gpu.localhost`` are not certain: some systems ask a name server for them.
    """
    address = _address(host)
    return address.is_loopback if address else host == "localhost"


def is_private(host: str) -> bool:
    """Return whether a host is on this machine or in its own network, where no proxy on the way out can reach it."""
    address = _address(host)
    if address is not None:
        return address.is_private or address.is_link_local
    return is_this_machine(host) or "." not in host or host.endswith(_PRIVATE_SUFFIXES)


def shown_address(text: str) -> str:
    """Return a server's address for people and records: without a password, a token or a malformed port."""
    text = re.sub(r"^([a-z]+:/*)?.*@", r"\1***@", text, flags=re.DOTALL | re.IGNORECASE)
    address, mark, model = text.partition("#")
    address = re.sub(r"(//[^/?:\[]*|//\[[^\]]*\]):(?!\d{1,5}(?:[/?]|$)).*", r"\1:***", address, flags=re.DOTALL)
    return re.sub(r"\?.+", "?***", address, flags=re.DOTALL) + mark + model


def check_url(url: str) -> str:
    """Return the host of a server's address, in lower case.

    Raises:
        UsageError: it has no host, or a user name, a password or a query, which would be printed and recorded, or a
            host that can be mistaken for another one.
    """
    shown = shown_address(url)
    if any(char.isspace() or char == "\\" or not char.isprintable() for char in url):
        raise UsageError(f"expected an address without blanks, backslashes and control characters, got {shown!r}")
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        # Without the reason: it quotes what stands where the port should be, which may be a password.
        raise UsageError(f"expected an address like http://host:8000/v1, got {shown!r}") from error
    if "@" in url:
        of_host = f" of {host}" if parts.username is not None else ""
        raise UsageError(
            f"the address{of_host} holds a user name or a password, which would be recorded; "
            f"remove it, and set {KEY_VARIABLE} to the key of the server"
        )
    if parts.query:
        raise UsageError(
            f"the address of {host} holds a query, which may be a key and would be recorded; "
            f"remove it, and set {KEY_VARIABLE} to the key of the server"
        )
    if parts.scheme not in _PORTS or not host:
        raise UsageError(f"expected an address like http://host:8000/v1, got {shown!r}")
    if not (_ASCII_HOST.fullmatch(host) or _address(host)):
        raise UsageError(
            f"the host {host!r} has characters that can be mistaken for others; write it with a-z, 0-9, '-' and '.' "
            "(international names as xn--...)"
        )
    return host


def split_address(address: str, options: Collection[str] = ()) -> tuple[str, str, dict[str, str]]:
    """Return (url, model, options) of an address like ``http://host:8000/v1#model?option=value``.

    Args:
        address: as people write it.
        options: names of those that may stand behind the model; without any, a ``?`` belongs to the model's name.

    Raises:
        UsageError: no model, an unknown option, or see :func:`check_url`.
    """
    # A password may hold a "#": whatever stands before an "@" there is refused.
    check_url(address.rpartition("#")[0] if "@" in address.rpartition("#")[0] else address.partition("#")[0])
    url, _, rest = address.partition("#")
    model, _, query = rest.partition("?") if options else (rest, "", "")
    if not model:
        raise UsageError(
            f"expected an address and a model, like http://host:8000/v1#Molmo-7B-D-0924, got {shown_address(address)!r}"
        )
    asked = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := [name for name in asked if name not in options]:
        raise UsageError(f"expected the options {', '.join(options)} after the model's name, got {unknown[0]!r}")
    return url, model, asked


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or _PORTS[parts.scheme]


def key_for(url: str) -> str | None:
    """Return the key to send to a server: that of the vendor whose host it is, or the one in MOLMO_API_KEY.

    Raises:
        UsageError: the key would leave this machine in clear, or cannot be sent.
    """
    host = check_url(url)
    is_encrypted = urlsplit(url).scheme == "https"
    # Another port of that host may be anybody's.
    vendor = _VENDORS.get(host) if _port(url) == _PORTS[urlsplit(url).scheme] else None
    variables = [*([vendor.key] if vendor else []), KEY_VARIABLE]
    variable = next((name for name in variables if os.environ.get(name, "").strip()), None)
    if variable is None:
        return None
    if not is_encrypted and not is_this_machine(host):
        raise UsageError(
            f"{variable} is set, and http would send it to {host} in clear: use https, a tunnel to this machine "
            f"(ssh -L), or unset {variable} if that server needs no key"
        )
    return _value(variable)


def _value(variable: str) -> str:
    """Return a value that is to become a header; an error about the header would quote it.

    Raises:
        UsageError: it holds characters that no header can have.
    """
    value = os.environ[variable].strip()
    if not all("!" <= char <= "~" for char in value):
        raise UsageError(
            f"{variable} holds blanks, line ends or letters that no key has: set it again, without anything around it"
        )
    return value


def credentials_for(url: str) -> dict[str, str]:
    """Return the headers that identify the user to a server: its key, and names of accounts at that vendor.

    Raises:
        UsageError: as :func:`key_for`.
    """
    key, vendor = key_for(url), _VENDORS.get(check_url(url))
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    if vendor and urlsplit(url).scheme == "https" and _port(url) == _PORTS["https"]:
        for header, variables in vendor.accounts.items():
            if variable := next((name for name in variables if os.environ.get(name, "").strip()), None):
                headers[header] = _value(variable)
    return headers


def _only_to(url: str) -> Callable[[Any], None]:
    """Return a check of every request before it is sent: to this server alone, with its credentials and no others."""
    host, port, scheme, credentials = check_url(url), _port(url), urlsplit(url).scheme, credentials_for(url)

    def check(request: Any) -> None:
        target = request.url
        if (target.scheme, target.host.lower(), target.port or _PORTS.get(target.scheme)) != (scheme, host, port):
            raise ModelError(
                f"a request for {host} was about to go to {target.scheme}://{target.host}; it was not sent"
            )
        for name in list(request.headers):
            if name.lower() not in _HEADERS:
                del request.headers[name]
        request.headers.update(credentials)

    return check


def _without_password(url: str) -> str:
    return re.sub(r"//.*@", "//***@", url, flags=re.DOTALL)


def proxy_for(url: str) -> tuple[str, str] | None:
    """Return (variable or source, address) of the proxy on the way to a server, or None for a direct way.

    The system's settings are read as other programs do, with one exception: a server on this machine or in its own
    network is always asked directly.
    """
    host = check_url(url)
    if is_private(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    scheme = next((name for name in (urlsplit(url).scheme, "all") if proxies.get(name)), None)
    if scheme is None:
        return None
    name = f"{scheme}_proxy"
    variable = next((found for found in (name, name.upper()) if os.environ.get(found)), "the system's proxy settings")
    address = proxies[scheme]
    return variable, address if "://" in address else f"http://{address}"


def within(seconds: float, send: Callable[[], Any]) -> Any:
    """Return what a function returns.

    Time limits of HTTP clients hold for every single read: a server that sends a byte now and then keeps them waiting.

    Raises:
        TimeoutError: it takes longer. It continues in the background, and its response is closed then.
    """
    done: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(1)
    is_late = threading.Event()

    def run() -> None:
        try:
            response, error = send(), None
        # Every exception: it is raised where the result is waited for.
        except BaseException as problem:
            response, error = None, problem
        if is_late.is_set() and response is not None:
            response.close()
        done.put((response, error))

    # A daemon: it does not keep the process from ending.
    threading.Thread(target=run, daemon=True, name="request").start()
    try:
        response, error = done.get(timeout=seconds)
    except queue.Empty:
        is_late.set()
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return response


def _timed(base: Any, seconds: float) -> Any:
    """Return a class of HTTP clients whose answers begin within so many seconds in all."""
    http = importlib.import_module(base.__mro__[1].__module__.partition(".")[0])

    class TimedClient(base):
        def send(self, request: Any, **options: Any) -> Any:
            try:
                return within(seconds, partial(super().send, request, **options))
            except TimeoutError as error:
                raise http.ReadTimeout(str(error), request=request) from error

    return TimedClient


def http_client(openai: Any, url: str, timeout_s: float) -> Any:
    """Return an HTTP client for one server. It follows no redirects, which would carry screenshots elsewhere.

    An answer has to begin within ``timeout_s`` seconds, however slowly the server sends.

    It reads no ``.netrc``. A key never passes a proxy in clear: it is sent over https, which a proxy cannot read, or to
    this machine, which no proxy is asked for.

    Raises:
        UsageError: as :func:`key_for`.
        ModelError: the proxy needs a package that is missing, or is no address of a proxy.
    """
    proxy, make = proxy_for(url), _timed(openai.DefaultHttpxClient, timeout_s)
    options: dict[str, Any] = {
        "trust_env": False,
        "follow_redirects": False,
        "event_hooks": {"request": [_only_to(url)]},
    }
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        options["verify"] = ssl.create_default_context()
    if proxy is None:
        return make(**options)
    variable, address = proxy
    host = check_url(url)
    try:
        return make(proxy=address, **options)
    except ImportError as error:
        raise ModelError(
            f"{variable} names the SOCKS proxy {_without_password(address)}, which needs another package: "
            f"pip install socksio. Or ask {host} directly: NO_PROXY={host}"
        ) from error
    except ValueError as error:
        raise ModelError(
            f"expected {variable} to name a proxy such as http://proxy:3128, got {_without_password(address)!r}; "
            f"correct or unset it, or ask {host} directly: NO_PROXY={host}"
        ) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def no_way(url: str, error: BaseException) -> ModelError:
    """Return the error for a server that could not be reached, with its cause and what to do."""
    host, causes = check_url(url), list(_causes(error))
    reason = next((text for text in map(str, causes[1:]) if text), str(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes) or "CERTIFICATE_VERIFY" in reason:
        return ModelError(
            f"the certificate of {host} is not trusted: {reason}. If it is your own server, name the certificate of "
            "its authority: SSL_CERT_FILE=/path/to/ca.pem"
        )
    if any(isinstance(cause, ssl.SSLError) for cause in causes) or "SSL" in reason:
        plain = urlunsplit(urlsplit(url)._replace(scheme="http"))
        return ModelError(
            f"{host} does not speak TLS as expected: {reason}. If it is a server without https, use {plain}"
        )
    if proxy := proxy_for(url):
        variable, address = proxy
        return ModelError(
            f"cannot reach {url} through the proxy {_without_password(address)} ({variable}): {reason}. "
            f"Is the proxy running? To ask {host} directly: NO_PROXY={host}"
        )
    return ModelError(f"cannot reach {url}: {reason}. Is the server running?")
