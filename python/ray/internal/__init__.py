"""Nothing public lives here; the name is importable because programs and tools import it."""

from typing import List

__all__: List[str] = []
