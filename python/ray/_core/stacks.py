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


#: What the daemon sends to a process whose threads do not answer.
DUMP_SIGNAL = 41


def install() -> None:
    """Lets the daemon see this process's stacks although no thread of it can run Python code.

    The handler writes into a file in memory, which the daemon finds by its name.
    """
    try:
        import faulthandler

        file = os.memfd_create("ray-stacks")
        faulthandler.register(DUMP_SIGNAL, file=file, all_threads=True, chain=False)
    except (ImportError, AttributeError, OSError, RuntimeError, ValueError):
        pass  # no such file or signal here: only the threads themselves can say what they do
