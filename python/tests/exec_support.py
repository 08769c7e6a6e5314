"""Owns starting real workers for tests: a Python, its pipes, and the messages that come back."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

SDK = str(Path(__file__).resolve().parents[1])
BOOTSTRAP = (
    "import os,sys;sys.path[:]=[os.environ['SYNAPSE_WORKER_SDK'],*filter(None,sys.path)];"
    "from synapse_sdk._worker import main;main()"
)


def plugin(root: Path, **files: str) -> Path:
    """Write a plugin's files: `train="..."` is plugin/train.py, `a__b` is a/b.py."""
    (root / "plugin").mkdir(parents=True, exist_ok=True)
    (root / "plugin/__init__.py").touch()
    for name, text in files.items():
        path = root / (name.replace("__", "/") if "__" in name else f"plugin/{name}")
        path = path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


class Worker:
    """A worker process. Its stdout and stderr go to files."""

    def __init__(
        self, cwd: Path, *, python: str = sys.executable, env: dict[str, str] | None = None
    ) -> None:
        request, self._request = os.pipe()
        self._events, events = os.pipe()
        lock, self._out, self._err = _file(), _file(), _file()
        fds = (request, events, lock)
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(cwd),
            "PYTHONDONTWRITEBYTECODE": "1",
            "SYNAPSE_WORKER_SDK": SDK,
            "SYNAPSE_WORKER_FDS": ",".join(map(str, fds)),
            **(env or {}),
        }
        self.process = subprocess.Popen(
            [python, "-c", BOOTSTRAP],
            pass_fds=fds,
            cwd=cwd,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            # A shell starts jobs in the background with interrupts ignored, which is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(request)
        os.close(events)
        os.close(lock)
        self.messages: list[dict[str, Any]] = []

    def send(self, **message: Any) -> None:
        payload = json.dumps(message).encode()
        rest = memoryview(struct.pack("<I", len(payload)) + payload)
        while rest:
            rest = rest[os.write(self._request, rest) :]

    def end(self) -> None:
        """Say that no more requests come."""
        if self._request >= 0:
            os.close(self._request)
            self._request = -1

    def next(self) -> dict[str, Any] | None:
        head = self._exactly(4)
        if head is None:
            return None
        body = self._exactly(struct.unpack("<I", head)[0])
        assert body is not None, "half a frame"
        message = json.loads(body)
        self.messages.append(message)
        return message

    def until(self, kind: str) -> dict[str, Any]:
        while (message := self.next()) is not None:
            if message["type"] == kind:
                return message
        raise AssertionError(f"no {kind}: {self.messages[-3:]} {self.stderr}")

    def _exactly(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            part = os.read(self._events, min(size - len(parts), 1 << 20))
            if not part:
                assert not parts, "half a frame"
                return None
            parts += part
        return bytes(parts)

    def finish(self) -> int:
        """Take all messages to the end; return the exit code."""
        self.end()
        while self.next() is not None:
            pass
        code = self.process.wait()
        os.close(self._events)
        return code

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    @property
    def stdout(self) -> str:
        return _text(self._out)

    @property
    def stderr(self) -> str:
        return _text(self._err)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]


def _file() -> int:
    """Return the descriptor of a file without a name."""
    fd, path = tempfile.mkstemp()
    os.unlink(path)
    return fd


def _text(fd: int) -> str:
    with open(os.dup(fd), "rb") as file:
        file.seek(0)
        return file.read().decode()


def request(
    root: Path, entrypoint: str = "plugin.train:TrainAction", **more: Any
) -> dict[str, Any]:
    return {
        "command": "run",
        "protocol": 1,
        "plugin": {"dir": str(root), "code": "p", "version": "0.1.0", "name": "P"},
        "action": "train",
        "entrypoint": entrypoint,
        "params": {},
        "job_id": "job-1",
        "language": None,
        "debug": True,
        "backend": None,
        "checkpoint": None,
        "cache": None,
        "result_file": None,
        **more,
    }


class Run:
    """A run to its end: exit `code`, `last` message (result or error), the worker."""

    def __init__(
        self,
        root: Path,
        entrypoint: str = "plugin.train:TrainAction",
        env: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        self.worker = Worker(root, env=env)
        self.worker.send(**request(root, entrypoint, **more))
        self.code = self.worker.finish()
        said = self.worker.of("result") + self.worker.of("error")
        assert len(said) <= 1, said
        self.last = said[0] if said else None

    @property
    def value(self) -> Any:
        assert self.last is not None and self.last["type"] == "result", (
            self.last,
            self.worker.stderr,
        )
        return self.last["value"]

    @property
    def error(self) -> dict[str, Any]:
        assert self.last is not None and self.last["type"] == "error", self.last
        return self.last


class Server:
    """An inspection server and its count of requests."""

    def __init__(
        self,
        cwd: Path,
        python: str = sys.executable,
        env: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        self.worker = Worker(cwd, python=python, env=env)
        self.worker.send(command="inspect-server", protocol=1, stdlib=None, **more)
        self.cwd = cwd
        self.count = 0

    def ask(
        self,
        sources: dict[str, str] | str,
        target: str = "plugin.train:TrainAction",
        **more: Any,
    ) -> int:
        if isinstance(sources, str):
            sources = {"plugin/__init__.py": "", "plugin/train.py": sources}
        module, _, name = target.partition(":")
        wanted = {"action": "train", "module": module, "object": name, "params": None, "ui": True}
        self.count += 1
        message = {
            "id": self.count,
            "plugin_dir": str(self.cwd / "the-plugin"),
            "sources": {name: textwrap.dedent(text) for name, text in sources.items()},
            "wanted": [wanted],
            "real": False,
            **more,
        }
        self.worker.send(**message)
        return self.count

    def one(self, *args: Any, **more: Any) -> dict[str, Any]:
        """Ask, and return the reply's action `train`, with `stubbed` beside its own keys."""
        number = self.ask(*args, **more)
        reply = self.worker.until("inspected")
        assert reply["id"] == number
        return {**reply["actions"]["train"], "stubbed": reply["stubbed"]}

    def fields(self, *args: Any, **more: Any) -> dict[str, Any]:
        """Return the defaults shown in the form."""
        reply = self.one(*args, **more)
        assert reply["reason"] is None, reply
        return {item["name"]: item.get("value") for item in reply["ui_schemas"]}
