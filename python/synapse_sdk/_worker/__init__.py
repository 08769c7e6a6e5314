"""Owns the worker: a Python process of its own, in which the command runs a plugin's code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synapse_sdk._worker.channel import Channel

SDK_VARIABLE = "SYNAPSE_WORKER_SDK"
FDS_VARIABLE = "SYNAPSE_WORKER_FDS"


def main() -> None:
    """Serve the command that started this process; the bootstrap calls it. Ends by SystemExit."""
    sdk = os.environ.pop(SDK_VARIABLE)
    read, write, lock = (int(fd) for fd in os.environ.pop(FDS_VARIABLE).split(","))
    channel: Channel | None = None
    try:
        _tidy()
        if sys.dont_write_bytecode:
            _compile(sdk)
        from synapse_sdk._worker.channel import PROTOCOL, Channel

        channel = Channel.on(read, write, lock)
        version = ".".join(str(part) for part in sys.version_info[:3])
        channel.send(
            "hello", protocol=PROTOCOL, python=version, executable=sys.executable, pid=os.getpid()
        )
        code = _serve(channel, (read, write, lock), sdk)
    except KeyboardInterrupt as error:
        # While the worker began, before the action had begun, after its end, or between two
        # inspections: whoever ended it knows, and wants no traceback of ours.
        if channel is not None and not channel.told:
            from synapse_sdk._worker.report import failure

            channel.send("error", **failure("keyboard-interrupt", error, message="Aborted"))
        code = 130
    raise SystemExit(code)


def _serve(channel: Channel, fds: tuple[int, int, int], sdk: str) -> int:
    from synapse_sdk._worker.channel import PROTOCOL
    from synapse_sdk._worker.report import failure

    try:
        request = channel.receive()
        if request is None:
            return 0
        if request.get("protocol") != PROTOCOL:
            raise ValueError(f"protocol {request.get('protocol')!r}, not {PROTOCOL}")
        command = request["command"]
        if command not in ("run", "check", "inspect-server"):
            raise ValueError(f"no such command: {command!r}")
    except (ValueError, KeyError, EOFError) as error:
        channel.send("error", **failure("protocol", error))
        return 1
    if command == "inspect-server":
        from synapse_sdk._worker.inspect import serve

        return serve(channel, fds, request)
    from synapse_sdk._worker.run import run

    return run(channel, request, sdk, check=command == "check")


def _compile(sdk: str) -> None:
    """Keep the payload's bytecode, once for each Python.

    Who wants none written means their own files; the payload is the command's, and to read its
    sources anew takes longer than many an action. A package that is no payload is left alone.
    """
    mark = os.path.join(sdk, f".compiled-{sys.implementation.cache_tag}")
    if sys.pycache_prefix or os.path.exists(mark):
        return
    if not os.path.exists(os.path.join(sdk, ".complete")):
        return
    try:
        # First, so that it is tried once, by one process.
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except OSError:
        return
    from compileall import compile_dir
    from py_compile import PycInvalidationMode

    try:
        compile_dir(
            os.path.join(sdk, "synapse_sdk"),
            quiet=2,
            invalidation_mode=PycInvalidationMode.TIMESTAMP,
        )
    except BaseException:
        os.unlink(mark)
        raise


def _tidy() -> None:
    """Take the bootstrap's names out of `__main__`: multiprocessing and pickle look there."""
    names = vars(sys.modules["__main__"])
    for name in ("os", "sys", "main"):
        names.pop(name, None)
