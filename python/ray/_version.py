"""The version of upstream's API that this package is compatible with."""

__version__ = "2.60.0"
__commit__ = ""
