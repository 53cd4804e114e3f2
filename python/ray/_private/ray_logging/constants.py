"""Names of what a log record carries."""

#: Attributes that every log record of the standard library has.
STANDARD_ATTRIBUTES = (
    "name",
    "msg",
    "args",
    "levelname",
    "levelno",
    "pathname",
    "filename",
    "module",
    "exc_info",
    "exc_text",
    "stack_info",
    "lineno",
    "funcName",
    "created",
    "msecs",
    "relativeCreated",
    "thread",
    "threadName",
    "processName",
    "process",
    "message",
    "asctime",
    "taskName",
)

#: Attributes that are always in a JSON record.
DEFAULT_ATTRIBUTES = ("asctime", "levelname", "message", "filename", "lineno")
