"""The way to a server: past or through a proxy, with the key that is meant for it, and what failed on the way."""

import ipaddress
import os
import re
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from molmo_agent.errors import ModelError, UsageError

KEY_VARIABLE = "MOLMO_API_KEY"
"""The environment variable with the key for any server; a local server needs none."""

# The keys that belong to one host are sent to no other.
_VENDOR_KEYS = {"api.openai.com": "OPENAI_API_KEY"}
# Names that no public server has.
_PRIVATE_SUFFIXES = (".localhost", ".local", ".lan", ".internal", ".intranet", ".home.arpa")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_this_machine(host: str) -> bool:
    """Return whether a host name or address is the machine that runs this."""
    address = _address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def is_private(host: str) -> bool:
    """Return whether a host is on this machine or in its own network, where no proxy on the way out can reach it."""
    address = _address(host)
    if address is not None:
        return address.is_private or address.is_link_local
    return is_this_machine(host) or "." not in host or host.endswith(_PRIVATE_SUFFIXES)


def check_url(url: str) -> str:
    """Return the host of a server's address.

    Raises:
        UsageError: it has no host, or a user name or password, which would be printed and recorded.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"expected an address like http://host:8000/v1, got {url!r}: {error}") from error
    if parts.username or parts.password:
        raise UsageError(
            f"the address of {host} holds a user name or a password, which would be recorded; "
            f"remove it, and set {KEY_VARIABLE} to the key of the server"
        )
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"expected an address like http://host:8000/v1, got {url!r}")
    return host.lower()


def key_for(url: str) -> str | None:
    """Return the key to send to a server: the one in MOLMO_API_KEY, or that of the vendor whose host it is.

    Raises:
        UsageError: the key would leave this machine in clear.
    """
    host = check_url(url)
    variables = [KEY_VARIABLE, *filter(None, [_VENDOR_KEYS.get(host)])]
    variable = next((name for name in variables if os.environ.get(name)), None)
    if variable is None:
        return None
    if urlsplit(url).scheme != "https" and not is_this_machine(host):
        raise UsageError(
            f"{variable} is set, and http would send it to {host} in clear: use https, a tunnel to this machine "
            f"(ssh -L), or unset {variable} if that server needs no key"
        )
    return os.environ[variable]


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url)


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


def http_client(openai: Any, url: str) -> Any:
    """Return an HTTP client for one server. It follows no redirects, which would carry screenshots elsewhere.

    Raises:
        ModelError: the proxy needs a package that is missing, or is no address of a proxy.
    """
    proxy = proxy_for(url)
    options: dict[str, Any] = {"trust_env": False, "follow_redirects": False}
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        options["verify"] = ssl.create_default_context()
    if proxy is None:
        return openai.DefaultHttpxClient(**options)
    variable, address = proxy
    host = check_url(url)
    try:
        return openai.DefaultHttpxClient(proxy=address, **options)
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
