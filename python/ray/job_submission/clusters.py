"""Which server an address means, with what has to be sent along.

An address of the form ``module://rest`` asks the Python module of that name:
its ``get_job_submission_client_cluster_info`` gives the answer.
"""

import importlib
from dataclasses import dataclass
from typing import Any, Dict, Optional

from ray._private.addresses import DEFAULT_DASHBOARD, dashboard_url

#: Where a cluster is looked for if nothing else is known.
DEFAULT_DASHBOARD_ADDRESS = DEFAULT_DASHBOARD
#: What an address may begin with that no module is asked about.
_OWN_SCHEMES = ("http", "https", "ray")


@dataclass
class ClusterInfo:
    """A job server.

    Attributes:
        address: http(s)://host:port.
        cookies, headers: sent with every call.
        metadata: joined to the metadata of each job.
    """

    address: str
    cookies: Optional[Dict[str, Any]] = None
    metadata: Optional[Dict[str, Any]] = None
    headers: Optional[Dict[str, Any]] = None


def get_job_submission_client_cluster_info(
    address: str,
    *,
    create_cluster_if_needed: Optional[bool] = False,
    cookies: Optional[Dict[str, Any]] = None,
    metadata: Optional[Dict[str, Any]] = None,
    headers: Optional[Dict[str, Any]] = None,
    _use_tls: Optional[bool] = False,
    **kwargs: Any,
) -> ClusterInfo:
    """The server at host:port; the function that a module for ``module://`` has, too."""
    return ClusterInfo(f"{'https' if _use_tls else 'http'}://{address}", cookies, metadata, headers)


def parse_cluster_info(
    address: Optional[str] = None,
    create_cluster_if_needed: bool = False,
    cookies: Optional[Dict[str, Any]] = None,
    metadata: Optional[Dict[str, Any]] = None,
    headers: Optional[Dict[str, Any]] = None,
    **kwargs: Any,
) -> Any:
    """The server that an address means.

    Args:
        address: see :func:`ray._private.addresses.dashboard_url`; or ``module://rest``.
        create_cluster_if_needed: passed on to the module; nothing here starts a cluster.
        cookies, metadata, headers: kept in the answer, or passed on to the module.

    Returns:
        A ClusterInfo, or what the module gives instead.

    Raises:
        RuntimeError: there is no such module, or it lacks the function.
        ValueError, ConnectionError: see :func:`ray._private.addresses.dashboard_url`.
    """
    scheme, separator, rest = (address or "").partition("://")
    if not separator or scheme in _OWN_SCHEMES:
        return ClusterInfo(dashboard_url(address), cookies, metadata, headers)
    try:
        module = importlib.import_module(scheme)
    except ImportError as error:
        raise RuntimeError(
            f"Module: {scheme} does not exist. It was taken from the address {address!r}, which must be "
            f"http(s)://host:port, host:port, ray://host:port, auto, or name a module that can be imported ({error})."
        ) from None
    function = getattr(module, "get_job_submission_client_cluster_info", None)
    if function is None:
        raise RuntimeError(
            f"Module: {scheme} does not have `get_job_submission_client_cluster_info`. "
            f"It was taken from the address {address!r}."
        )
    return function(
        rest,
        create_cluster_if_needed=create_cluster_if_needed,
        cookies=cookies,
        metadata=metadata,
        headers=headers,
        **kwargs,
    )
