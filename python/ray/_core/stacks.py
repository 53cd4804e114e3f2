"""What the threads of this process do now."""

import os
import sys
import threading
import traceback

from ray._core import state


def stack_text() -> str:
    """The stacks of all threads."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    parts = [f"Process {os.getpid()}: {state._process_task.name if state._process_task else 'idle'}"]
    for ident, frame in sys._current_frames().items():
        parts.append(f"Thread {names.get(ident, ident)}:\n" + "".join(traceback.format_stack(frame)))
    return "\n".join(parts) + "\n"
