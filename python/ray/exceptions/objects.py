"""Errors of objects: lost, freed, late, or without room."""

from typing import Any, Type

from ray.exceptions.base import RayError


class ObjectStoreFullError(RayError):
    """The object does not fit in the object store."""

    def __str__(self) -> str:
        text = super().__str__()
        return (
            text + "\nThe local object store is full of objects that are still in scope and cannot be evicted. "
            "`ray memory` lists them and who holds them."
        )


class OutOfDiskError(RayError):
    """The disk to which objects are spilled is full."""

    def __str__(self) -> str:
        return super().__str__() + "\nThe object cannot be made because the local disk is full."


class ObjectLostError(RayError):
    """The object's value is gone."""

    def __init__(self, object_ref_hex: str = "", owner_address: Any = None, call_site: str = "") -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.object_ref_hex = object_ref_hex
        self.owner_address = owner_address
        self.call_site = call_site or ""
        self.detail = ""

    def __reduce__(self) -> tuple:
        return _rebuild_lost, (type(self), self.object_ref_hex, self.owner_address, self.call_site, self.detail)

    def _base_str(self) -> str:
        return f"Failed to retrieve object {self.object_ref_hex}."

    _why = "All copies of the object are lost, because of node failures, and it cannot be made again."

    def __str__(self) -> str:
        text = f"{self._base_str()} {self.detail or self._why}"
        if self.call_site:
            text += f" The reference was created at: {self.call_site}"
        return text


def _rebuild_lost(cls: Type[ObjectLostError], object_hex: str, owner: Any, call_site: str, detail: str) -> Any:
    made = cls.__new__(cls)
    ObjectLostError.__init__(made, object_hex, owner, call_site)
    made.detail = detail
    return made


class ObjectFetchTimedOutError(ObjectLostError):
    """The object could not be fetched in time."""

    _why = "Its value could not be fetched from any node in time; the system may be overloaded."


class ObjectFreedError(ObjectLostError):
    """The object was freed by hand."""

    _why = "The object was freed with ray._private.internal_api.free, although a reference to it was left."


class OwnerDiedError(ObjectLostError):
    """The node that owned the object is gone."""

    _why = "The object's owner has exited, and with it went what was known about the object."


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The owner has already deleted the object."""

    _why = "The object has already been deleted by the reference counting protocol."


class ObjectReconstructionFailedError(ObjectLostError):
    """The object is lost and could not be made again."""

    def __init__(
        self,
        object_ref_hex: str = "",
        reason: Any = None,
        owner_address: Any = None,
        call_site: str = "",
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.reason = reason
        if reason:
            self.detail = f"The object cannot be made again: {reason}"

    _why = "The object cannot be made again because the retries of its task are used up."


class GetTimeoutError(RayError, TimeoutError):
    """``ray.get`` did not have its values in time."""


class PlasmaObjectNotAvailable(RayError):
    """An object is not in the local store."""


class OufOfBandObjectRefSerializationException(RayError):
    """An ObjectRef was pickled outside of the system, which the settings forbid."""
