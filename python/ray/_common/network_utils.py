"""Addresses as text: IPv4, names, and IPv6 in brackets."""

import socket
from contextlib import closing
from typing import Optional, Tuple, Union


def parse_address(address: str) -> Optional[Tuple[str, str]]:
    """Splits ``host:port`` or ``[v6]:port``; None when there is no port in it."""
    if address.startswith("["):
        host, closing_bracket, rest = address[1:].partition("]")
        return (host, rest[1:]) if closing_bracket and rest.startswith(":") else None
    if address.count(":") != 1:
        return None
    host, _, port = address.partition(":")
    return host, port


def build_address(host: str, port: Union[int, str]) -> str:
    """``host:port``, with brackets around an IPv6 host."""
    return f"[{host}]:{port}" if host and ":" in host else f"{host}:{port}"


def is_ipv6(host: str) -> bool:
    """Whether the host is an IPv6 address, or a name that has such addresses only.

    Raises:
        ValueError: the name has no address.
    """
    try:
        found = socket.getaddrinfo(host, None)
    except socket.gaierror as error:
        raise ValueError(f"host {host!r} has no address: {error}") from None
    return all(family == socket.AF_INET6 for family, *_ in found)


def is_localhost(host: str) -> bool:
    """Whether the host is one of the names of this machine's loopback."""
    return host in ("localhost", "127.0.0.1", "::1")


def is_all_interfaces(host: str) -> bool:
    """Whether to listen on the host is to listen on every interface."""
    return host in ("0.0.0.0", "::")


def get_localhost_ip() -> str:
    """The loopback address of this machine."""
    return "127.0.0.1"


def get_all_interfaces_ip() -> str:
    """The address that stands for every interface."""
    return "0.0.0.0"


def find_free_port(family: int = socket.AF_INET) -> int:
    """A TCP port that nobody listens on now; another may take it before you do."""
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("", 0))
        return probe.getsockname()[1]
