"""The explicit causes of an exception (``raise … from …``), which pickling leaves out."""

import pickle
from typing import List, Optional

from ray._core import serialization

# A chain longer than this is cut.
_MOST = 16


def packed(error: Optional[BaseException]) -> bytes:
    """The chain of error's causes; b"" where there is none or it cannot be pickled."""
    chain: List[BaseException] = []
    while error is not None and error.__cause__ is not None and len(chain) < _MOST:
        error = error.__cause__
        if any(error is seen for seen in chain):
            break
        chain.append(getattr(error, "_plain", error))
    if not chain:
        return b""
    try:
        return serialization.dump_any(chain, None)
    except Exception:
        return b""


def put_back(error: BaseException, chain: bytes) -> None:
    """Gives error the causes that it had; they stay away where they cannot be read."""
    if not chain:
        return
    try:
        for cause in pickle.loads(chain):
            error.__cause__ = cause
            error = cause
    except Exception:
        return
