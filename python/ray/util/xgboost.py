"""Not part of this package: importing it raises ImportError."""

from ray.util._absent import message

raise ImportError(message("ray.util.xgboost"))
