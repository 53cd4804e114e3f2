"""The verbs of ``ray`` as commands of click, for programs and tests that invoke them there.

Each hands its arguments to the program ``ray`` as they are and ends with its exit
status. click is needed for this module alone; nothing else of the package imports it.
"""

import subprocess
import sys
from typing import Any, Optional

import click

from ray._core.finding import find_binary

# Attributes by upstream's names, and the verbs behind those that are called otherwise.
_VERBS = (
    "attach check_open_ports cluster_dump cpp dashboard debug disable_usage_stats down drain_node "
    "enable_usage_stats exec get_auth_token get_head_ip get_worker_ips global_gc kill_actor "
    "kill_random_node kuberay_autoscaler local_dump memory microbenchmark monitor rsync_down rsync_up "
    "sanity_check stack start status stop submit symmetric_run timeline up"
).split()
_OTHERWISE = {
    "healthcheck": "health-check",
    "ray_get": "get",
    "ray_list": "list",
    "job_cli_group": "job",
    "logs_state_cli_group": "logs",
    "metrics_group": "metrics",
    "summary_state_cli_group": "summary",
}


def _end_to_end(words: "list[str]") -> int:
    """Run the program; its output goes to where click writes now, which a test may read."""
    command = [find_binary(), *words]
    if sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__:
        return subprocess.call(command)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace")
    click.echo(done.stdout, nl=False)
    click.echo(done.stderr, nl=False, err=True)
    return done.returncode


class _Verb(click.Command):
    """A command whose arguments are the program's to read: no option is click's, and no ``--`` is taken out."""

    def parse_args(self, ctx: click.Context, args: "list[str]") -> "list[str]":
        ctx.params["words"] = list(args)
        return []


def _command(verb: Optional[str]) -> click.Command:
    def run(words: "list[str]") -> None:
        sys.exit(_end_to_end([verb, *words] if verb else words))

    return _Verb(verb or "ray", callback=run, add_help_option=False)


def __getattr__(name: str) -> Any:
    if name not in _OTHERWISE and name not in _VERBS and name != "cli":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = _command(None if name == "cli" else _OTHERWISE.get(name, name.replace("_", "-")))
    globals()[name] = made
    return made


def main() -> None:
    """``ray`` with this process's arguments."""
    sys.exit(_end_to_end(sys.argv[1:]))


if __name__ == "__main__":
    main()
