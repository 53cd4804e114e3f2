"""The token that opens a cluster's HTTP endpoints."""

import os
from typing import Dict, Mapping, Optional


def token() -> Optional[str]:
    """The token of this user: RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token.

    None where there is none, or where RAY_AUTH_MODE says that none is wanted.
    """
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return None
    given = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    if given:
        return given
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or os.path.join(os.path.expanduser("~"), ".ray", "auth_token")
    try:
        with open(path) as file:
            return file.read().strip() or None
    except OSError:
        return None


def headers(own: Optional[Mapping[str, str]] = None) -> Dict[str, str]:
    """The user's own headers and those that carry the token, where there is one.

    Someone's own ``Authorization`` is for a server in front of the cluster: the
    token goes beside it.
    """
    result = dict(own or {})
    found = token()
    if found:
        taken = any(name.lower() == "authorization" for name in result)
        result["X-Ray-Authorization" if taken else "Authorization"] = f"Bearer {found}"
    return result
