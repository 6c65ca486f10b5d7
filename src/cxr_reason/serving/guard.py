"""Stops a server if its owner process was killed, and removes the files that it left."""

from __future__ import annotations

import subprocess
from pathlib import Path

# Reading ends when the owner closes the pipe, which the kernel does for it if it was killed.
_SCRIPT = """\
read -r _
kill -s KILL -- "-$1"
rm -rf -- "$2"
rm -f -- "$3"*
"""


class Guard:
    """Watches over one process group on behalf of this process.

    Args:
        group: Process group of the server.
        folder: The server's folder.
        shm_prefix: What the paths of its shared memory begin with.
    """

    def __init__(self, group: int, folder: Path, shm_prefix: Path) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "guard", str(group), str(folder), str(shm_prefix)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C at the terminal is for the owner.
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """End the watch; the owner cleans up itself. Idempotent."""
        self._process.kill()
        self._process.communicate()
