"""Runs inside the sandbox: sets the limits of one process and its children, gives up root, starts the program.

Arguments: the limits and the user as JSON, then the command. Standard library alone: it runs as a text.
"""

import json
import os
import resource
import sys


def main() -> None:
    """Replace this process by the program."""
    limits, command = json.loads(sys.argv[1]), sys.argv[2:]
    if limits["user"]:
        os.setgroups([])
        os.setgid(limits["user"])
        os.setuid(limits["user"])
    for name, value in (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_CPU", limits["cpu_s"]),
        ("RLIMIT_FSIZE", limits["scratch_bytes"]),
        ("RLIMIT_NOFILE", limits["files"]),
        ("RLIMIT_NPROC", limits["processes"]),
        ("RLIMIT_AS", limits["address_bytes"] or resource.RLIM_INFINITY),
    ):
        hard = value + 1 if name == "RLIMIT_CPU" else value
        resource.setrlimit(getattr(resource, name), (value, hard))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
