"""The token that opens a cluster's HTTP endpoints."""

import os
from typing import Dict, Optional


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


def headers() -> Dict[str, str]:
    """Headers that carry the token; {} where there is none."""
    found = token()
    return {"Authorization": f"Bearer {found}"} if found else {}
