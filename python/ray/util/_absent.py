"""What an import of a part says that is not there."""


def message(name: str, instead: str = "") -> str:
    """Text of the ImportError for the module name."""
    hint = f" {instead}" if instead else ""
    return f"not supported: {name} is not part of this package, which provides the core of Ray.{hint}"
