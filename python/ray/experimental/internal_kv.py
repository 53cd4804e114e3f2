"""The key-value store of the cluster's head. For libraries, not for programs.

Keys and values are bytes; text is encoded as UTF-8.
"""

from typing import Any, Dict, List, Optional, Union

Text = Union[str, bytes]


def _bytes(value: Text) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, bytes):
        raise TypeError(f"keys and values are str or bytes, got {type(value)}")
    return value


def _place(key: Text, namespace: Optional[Text]) -> Dict[str, Any]:
    """Parameters that name a key; bytes travel as latin-1 text."""
    plain = _bytes(key)
    if plain.startswith(b"@namespace_"):
        from ray.exceptions import RaySystemError

        raise RaySystemError("Key can't start with @namespace_")
    space = _bytes(namespace) if namespace else b""
    return {"ns": space.decode("latin-1"), "key": plain.decode("latin-1")}


def _call(method: str, params: Dict[str, Any], tail: bytes = b"") -> Any:
    from ray._core import state

    return state.connected().call(method, params, tail)


def _internal_kv_initialized() -> bool:
    """Whether this process is connected."""
    from ray._core import state

    return state.is_connected()


def _internal_kv_get(key: Text, *, namespace: Optional[Text] = None) -> Optional[bytes]:
    """The value of a key, None if there is none."""
    reply, tail = _call("kv.get", _place(key, namespace))
    return bytes(tail) if reply["found"] else None


def _internal_kv_exists(key: Text, *, namespace: Optional[Text] = None) -> bool:
    """Whether there is a value for key."""
    return bool(_call("kv.exists", _place(key, namespace))[0]["exists"])


def _internal_kv_put(key: Text, value: Text, overwrite: bool = True, *, namespace: Optional[Text] = None) -> bool:
    """Stores a value.

    Returns:
        Whether the key had a value before.
    """
    params = {**_place(key, namespace), "overwrite": bool(overwrite)}
    return not _call("kv.put", params, _bytes(value))[0]["added"]


def _internal_kv_del(key: Text, *, del_by_prefix: bool = False, namespace: Optional[Text] = None) -> int:
    """Removes a key, or all keys that begin with it; gives how many."""
    params = {**_place(key, namespace), "prefix": bool(del_by_prefix)}
    return int(_call("kv.del", params)[0]["count"])


def _internal_kv_list(prefix: Text, *, namespace: Optional[Text] = None) -> List[bytes]:
    """All keys that begin with prefix."""
    place = _place(prefix, namespace)
    reply, _ = _call("kv.list", {"ns": place["ns"], "prefix": place["key"]})
    return [key.encode("latin-1") for key in reply["keys"] or []]


def _internal_kv_reset() -> None:
    """Kept for libraries that call it: there is nothing to reset."""
