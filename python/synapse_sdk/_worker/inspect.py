"""Owns the fork server of inspections: one warm process, and one short-lived child per plugin."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from synapse_sdk._worker import report
from synapse_sdk._worker.channel import Channel, PythonLine

# Seconds that importing one plugin may take, unless the command says otherwise.
LIMIT = 20.0
TOO_LONG = "importing it takes too long"
ENDED = "importing it ends the process"
# How often a child that holds its pipe open is looked for, in seconds.
_TICK = 0.1


class Child:
    """One inspection under way: the process, and what it has told so far."""

    def __init__(
        self,
        request: dict[str, Any],
        limit: float,
        fds: tuple[int, ...],
        strangers: Sequence[str],
    ) -> None:
        self.request = request
        self.strangers = strangers
        self.actions: dict[str, Any] = {}
        self.stubbed: list[str] = []
        self.why: str | None = None
        self.done = False
        self.complete = False
        self._text = b""
        self.folder = tempfile.mkdtemp(prefix="inspect-")
        self.pipe, write = os.pipe()
        self.deadline = time.monotonic() + limit
        self.pid = os.fork()
        if self.pid == 0:
            _become(self, write, fds)
        os.close(write)
        os.set_blocking(self.pipe, False)

    def read(self) -> None:
        """Take some of what the child has written; its end is noticed."""
        try:
            part = os.read(self.pipe, 1 << 20)
        except BlockingIOError:
            part = b""
        if not part:
            self.done = True
            return
        *lines, self._text = (self._text + part).split(b"\n")
        for line in lines:
            try:
                told = json.loads(line)
                self.stubbed = [str(name) for name in told["stubbed"]]
                if told["action"] is None:
                    self.done = self.complete = True
                else:
                    self.actions[told["action"]] = told["answer"]
            except (ValueError, KeyError, TypeError):
                # Only the plugin's own code could have written that.
                self.done, self.why = True, "importing it disturbs the inspection"

    def look(self, now: float) -> None:
        """Notice a limit that has passed, and an end that the pipe does not tell."""
        if now > self.deadline:
            self.done, self.why = True, TOO_LONG
        elif not self.done:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = -self.pid
                self._ended(status)
                # It may have written more since it was last listened to.
                while not self.done:
                    self.read()

    def close(self) -> None:
        """End the child and all of its own children, and take its folder away."""
        group = abs(self.pid)
        if self.pid > 0 and self.why is None and not self.complete:
            # It said no more, so it is about to leave; how is worth knowing.
            self._ended(self._wait(0.05))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        if self.pid > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
        os.close(self.pipe)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self, seconds: float) -> int | None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = -self.pid
                return status
            time.sleep(0.0005)
        return None

    def _ended(self, status: int | None) -> None:
        if status is not None and os.WIFSIGNALED(status):
            self.why = f"importing it crashes Python (signal {os.WTERMSIG(status)})"

    def reply(self) -> dict[str, Any]:
        """Return the fields of the `inspected` message."""
        from synapse_sdk._worker.look import answer

        why = self.why or ENDED
        actions = {
            wanted["action"]: self.actions.get(wanted["action"])
            or answer(reason=why, metadata_reason=why)
            for wanted in self.request["wanted"]
        }
        return {
            "id": self.request["id"],
            "actions": actions,
            "stubbed": self.stubbed,
            "real": bool(self.request.get("real")),
        }


def serve(channel: Channel, fds: tuple[int, int, int], request: dict[str, Any]) -> int:
    """Answer inspection requests until their end; return the exit code.

    Of `request`: `limit`, seconds per plugin; `parallel`, children at once.
    """
    # The pipe is waited on, so nothing may be read ahead of it.
    channel = Channel(PythonLine(*fds))
    warm = Warm()
    limit = float(request.get("limit") or LIMIT)
    parallel = max(1, int(request.get("parallel") or 1))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    children: dict[int, Child] = {}
    reading = True
    try:
        while (reading or children) and channel.open:
            waited = [*children, *([fds[0]] if reading and len(children) < parallel else [])]
            timeout = _TICK if children else None
            ready, _, _ = select.select(waited, [], [], timeout)
            for fd in ready:
                if fd in children:
                    children[fd].read()
                else:
                    reading = _start(channel, children, limit, fds, warm)
            _finish(channel, children)
    finally:
        for child in children.values():
            child.close()
    return 0


def _start(
    channel: Channel,
    children: dict[int, Child],
    limit: float,
    fds: tuple[int, ...],
    warm: Warm,
) -> bool:
    wanted: Any = None
    try:
        wanted = channel.receive()
        if wanted is None:
            return False
        _check(wanted)
    except (ValueError, KeyError, TypeError) as error:
        number = wanted.get("id") if isinstance(wanted, dict) else None
        channel.send("error", id=number, **report.failure("protocol", error))
        return True
    except EOFError:
        return False
    warm.next()
    child = Child(wanted, float(wanted.get("limit") or limit), fds, warm.strangers)
    children[child.pipe] = child
    return True


def _check(request: dict[str, Any]) -> None:
    request["id"]
    if not isinstance(request["plugin_dir"], str) or not isinstance(request["sources"], dict):
        raise TypeError("plugin_dir must be text, sources an object")
    for wanted in request["wanted"]:
        if not all(isinstance(wanted[name], str) for name in ("action", "module", "object")):
            raise TypeError("action, module and object must be text")


def _finish(channel: Channel, children: dict[int, Child]) -> None:
    now = time.monotonic()
    for fd, child in list(children.items()):
        child.look(now)
        if child.done:
            del children[fd]
            child.close()
            channel.send("inspected", **child.reply())


class Warm:
    """What is imported once for all children: for one alone what any needs, for more all of it."""

    def __init__(self) -> None:
        # Plugins of pydantic itself would make schemas differ between machines.
        os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
        import pydantic
        import pydantic.networks

        import synapse_sdk._worker.look
        import synapse_sdk._worker.sources
        import synapse_sdk.plugins
        import synapse_sdk.plugins.executors.trace
        import synapse_sdk.plugins.types
        import synapse_sdk.plugins.ui_schema  # noqa: F401

        for name in ("BaseModel", "Field", "field_validator", "model_validator", "ConfigDict"):
            getattr(pydantic, name)
        self._asked = 0
        self._settle()

    def next(self) -> None:
        """Notice that another child is about to start."""
        self._asked += 1
        if self._asked == 2:
            self._all()

    def _settle(self) -> None:
        from synapse_sdk._worker.sources import strangers

        # Modules that a child must not know.
        self.strangers = strangers()
        # Out of the collector's way: what it touches is copied after a fork.
        gc.collect()
        gc.freeze()

    def _all(self) -> None:
        import dataclasses  # noqa: F401
        import logging  # noqa: F401
        import pathlib  # noqa: F401
        import traceback  # noqa: F401

        import pydantic

        import synapse_sdk.plugins
        from synapse_sdk._worker.look import Undetermined, look_at

        for name in synapse_sdk.plugins.__all__:
            # What cannot be had is for the plugin that asks for it to fail with.
            with contextlib.suppress(ImportError):
                getattr(synapse_sdk.plugins, name)

        class Sample(pydantic.BaseModel):
            number: int = pydantic.Field(default=1, ge=0)
            rate: float = 0.5
            name: str = "a"

        class SampleAction(synapse_sdk.plugins.BaseAction[Sample]):
            action_name = "sample"

            def execute(self) -> None:
                """Do nothing: only looked at."""

        # Done once here, it costs each child fewer copied pages.
        with contextlib.suppress(Undetermined):
            look_at(SampleAction)
        self._settle()


def _become(child: Child, write: int, fds: tuple[int, ...]) -> None:
    """Inspect, in the child, and leave without a trace."""
    try:
        os.setsid()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        _die_with_parent()
        gc.disable()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        kept = os.dup2(write, 3, inheritable=False) if write != 3 else 3
        os.closerange(4, max(1024, *fds, write, child.pipe) + 1)
        os.chdir(child.folder)
        _inspect(child.request, child.strangers, kept)
    finally:
        os._exit(0)


def _die_with_parent() -> None:
    with contextlib.suppress(ImportError, OSError):
        from synapse_native import die_with_parent

        die_with_parent()


def _inspect(request: dict[str, Any], strangers: Sequence[str], pipe: int) -> None:
    from synapse_sdk._worker.look import Look
    from synapse_sdk._worker.sources import Sources

    folder = os.path.abspath(request["plugin_dir"])
    sources = None
    if request.get("real"):
        sys.path.insert(0, folder)
    else:
        _without_mail()
        sources = Sources(folder, request["sources"], sys.path)
        sources.take_over(strangers)
    sys.argv[:] = [folder]
    look = Look(folder, sources)

    def tell(action: str | None, answer: Any) -> None:
        stubbed = sorted(sources.stubs.made) if sources else []
        told = {"action": action, "answer": answer, "stubbed": stubbed}
        rest = memoryview(json.dumps(told).encode() + b"\n")
        while rest:
            rest = rest[os.write(pipe, rest) :]

    for wanted in request["wanted"]:
        tell(wanted["action"], look.action(wanted))
    tell(None, None)


def _without_mail() -> None:
    """Let pydantic's e-mail fields do without the library that checks addresses."""
    networks = sys.modules["pydantic.networks"]
    if hasattr(networks, "import_email_validator"):
        networks.import_email_validator = lambda: None  # type: ignore[attr-defined]
