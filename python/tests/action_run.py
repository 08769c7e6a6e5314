"""Owns the fixtures of the action tests: a backend, a run's context, a logger that remembers."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synapse_sdk.clients.backend import BackendClient
from synapse_sdk.loggers import BaseLogger
from synapse_sdk.plugins.context import PluginEnvironment, RuntimeContext
from tests.fake_backend import TOKEN, FakeBackend


class Remembering(BaseLogger):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, dict[str, Any], str | None]] = []
        self.progress: list[tuple[str | None, float, float]] = []
        self.metrics: list[tuple[str, dict[str, Any]]] = []

    def _emit_log(self, level: Any, event: str, data: Any, file: Any, step: Any) -> None:
        self.events.append((event, dict(data), step))

    def _emit_progress(self, record: Any) -> None:
        self.progress.append((record.step, record.current, record.total))

    def _emit_metrics(self, step: str, values: Any) -> None:
        self.metrics.append((step, dict(values)))

    def messages(self) -> list[str]:
        return [data["content"] for event, data, _ in self.events if event == "message"]


@pytest.fixture(name="backend")
def backend_fixture() -> Iterator[FakeBackend]:
    fake = FakeBackend()
    yield fake
    fake.stop()


@pytest.fixture(name="client")
def client_fixture(backend: FakeBackend) -> BackendClient:
    made = BackendClient(backend.url, TOKEN, timeout=5)
    made.transport.sleep = lambda _: None
    return made


@pytest.fixture(name="ctx")
def ctx_fixture(
    client: BackendClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RuntimeContext:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNAPSE_STORE", str(tmp_path / "store"))
    return RuntimeContext(logger=Remembering(), env=PluginEnvironment({}), client=client)


def bare_ctx(**fields: Any) -> RuntimeContext:
    return RuntimeContext(logger=Remembering(), env=PluginEnvironment({}), **fields)


def png(width: int, height: int) -> bytes:
    """Return a grey PNG of that size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + b"\x80" * width for _ in range(height))
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
