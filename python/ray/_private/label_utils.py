"""Label selectors: ``"v"``, ``"!v"``, ``"in(a, b)"``, ``"!in(a, b)"``."""

import re
from typing import Any, Dict, List, Optional

_NAME = r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_VALUE = re.compile(rf"({_NAME})?")
_KEY = re.compile(rf"([a-z0-9]([a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME}")
_SET = re.compile(r"!?in\((.*)\)")


def validate_label_key(key: Any) -> Optional[str]:
    """What is wrong with the name of a label; None if nothing is."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        return (
            f"Invalid label key {key!r}: it is a name of at most 63 letters, digits, '-', '_' and '.', "
            "beginning and ending with a letter or digit, with an optional DNS prefix before a '/'."
        )
    return None


def validate_label_value(value: Any) -> Optional[str]:
    """What is wrong with the value of a label; None if nothing is."""
    if not isinstance(value, str) or not _VALUE.fullmatch(value):
        return (
            f"Invalid label value {value!r}: it is empty or has at most 63 letters, digits, '-', '_' and '.', "
            "beginning and ending with a letter or digit."
        )
    return None


def selector_values(selector: str) -> List[str]:
    """The values that a selector text names."""
    found = _SET.fullmatch(selector)
    if found:
        return [value.strip() for value in found.group(1).split(",")]
    return [selector[1:] if selector.startswith("!") else selector]


def validate_label_selector(selector: Optional[Dict[str, str]]) -> Optional[str]:
    """What is wrong with a map of label to selector text; None if nothing is."""
    if selector is None:
        return None
    if not isinstance(selector, dict):
        return f"A label selector is a dict, got {type(selector)}."
    for key, text in selector.items():
        error = validate_label_key(key)
        if error:
            return error
        if not isinstance(text, str):
            return f"The selector of label {key!r} must be a string, got {type(text)}."
        values = selector_values(text)
        if _SET.fullmatch(text) and values == [""]:
            return f"Invalid label selector value `{text}` of {key!r}: it names no value."
        for value in values:
            if validate_label_value(value):
                return (
                    f'Invalid label selector value `{text}` of {key!r}: write "v", "!v", "in(a, b)" or '
                    f'"!in(a, b)"; {validate_label_value(value)}'
                )
    return None
