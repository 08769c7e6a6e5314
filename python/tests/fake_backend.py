"""Owns a small Synapse backend in this process, for tests: it counts what it is asked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "canary-token-3141592653"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class FakeBackend:
    """The endpoints that the client uses, over dicts in memory."""

    def __init__(self) -> None:
        self.datasets: dict[int, dict[str, Any]] = {}
        self.items: dict[int, list[dict[str, Any]]] = {}
        self.files: dict[str, bytes] = {}
        self.models: dict[int, dict[str, Any]] = {}
        self.jobs: dict[int, dict[str, Any]] = {1: {"id": 1, "status": "RUNNING"}}
        self.logs: list[Any] = []
        self.uploads: dict[int, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        # Answers to give first, each once: (method, path prefix) -> list of (status, headers, body)
        # or the word "drop" (no answer) or "cut" (half of it).
        self.faults: dict[tuple[str, str], list[Any]] = {}
        self.token: str | None = TOKEN
        self.page = 100
        self.connections: list[socket.socket] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet per answer
            backend = owner

            def setup(self) -> None:
                super().setup()
                owner.connections.append(self.connection)

            def log_message(self, *args: Any) -> None:
                pass

            def handle(self) -> None:
                # Tests hang up in the middle of answers.
                with contextlib.suppress(ConnectionError):
                    super().handle()

            def finish(self) -> None:
                # Flushes what is left of an answer that nobody waits for.
                with contextlib.suppress(ConnectionError):
                    super().finish()

            def handle_any(self) -> None:
                answer(self, owner)

            do_GET = do_POST = do_PUT = do_PATCH = handle_any

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def count(self, method: str, prefix: str) -> int:
        return sum(1 for m, path, _ in self.requests if m == method and path.startswith(prefix))

    def add_file(self, content: bytes) -> str:
        digest = sha256(content)
        self.files[digest] = content
        return f"{self.url}/files/{digest}"

    def add_dataset(
        self, dataset_id: int, files: dict[str, tuple[str | None, bytes]], **fields: Any
    ) -> None:
        splits: dict[str, int] = {}
        rows = []
        for number, (name, (split, content)) in enumerate(files.items(), 1):
            if split:
                splits[split] = splits.get(split, 0) + 1
            rows.append(
                {
                    "id": number,
                    "name": name,
                    "split": split,
                    "file": self.add_file(content),
                    "checksum": sha256(content),
                    "size": len(content),
                }
            )
        listed = json.dumps([(row["name"], row["checksum"]) for row in rows])
        self.items[dataset_id] = rows
        self.datasets[dataset_id] = {
            "id": dataset_id,
            "name": f"dataset-{dataset_id}",
            "format": "yolo",
            "count": len(rows),
            "size": sum(len(content) for _, content in files.values()),
            "checksum": sha256(listed.encode()),
            "splits": splits,
            **fields,
        }

    def add_model(self, model_id: int, name: str, content: bytes, **fields: Any) -> None:
        self.files[f"{sha256(content)}/{name}"] = content
        self.models[model_id] = {
            "id": model_id,
            "name": f"model-{model_id}",
            "category": "base",
            "file": f"{self.url}/files/{sha256(content)}/{name}",
            "checksum": sha256(content),
            "size": len(content),
            **fields,
        }


def answer(handler: BaseHTTPRequestHandler, backend: FakeBackend) -> None:
    parts = urlsplit(handler.path)
    path, query = parts.path.lstrip("/"), parse_qs(parts.query)
    method = handler.command
    body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    backend.requests.append((method, path, dict(handler.headers.items())))
    cut = False
    for (wanted, prefix), faults in backend.faults.items():
        if wanted == method and path.startswith(prefix) and faults:
            fault = faults.pop(0)
            if fault == "drop":
                handler.close_connection = True
                handler.connection.close()
                return
            if fault == "act-drop":
                with contextlib.suppress(Exception):
                    route(backend, method, path, query, body, handler.headers)
                handler.close_connection = True
                handler.connection.close()
                return
            if fault == "cut":
                cut = True
                break
            send(handler, *fault)
            return
    if path == "health/":
        challenge = query.get("challenge", [""])[0]
        proof = sha256(f"{backend.token}:{challenge}".encode())
        send(handler, 200, {}, {"status": "ok", "proof": proof})
        return
    if backend.token and handler.headers.get("Synapse-Access-Token") != f"Token {backend.token}":
        send(handler, 401, {}, {"detail": "no such token"})
        return
    status, headers, content = route(backend, method, path, query, body, handler.headers)
    send(handler, status, headers, content, cut=cut)


def send(
    handler: BaseHTTPRequestHandler,
    status: int,
    headers: dict[str, str],
    content: Any,
    *,
    cut: bool = False,
) -> None:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(raw)))
    handler.end_headers()
    handler.wfile.write(raw[: len(raw) // 2] if cut else raw)
    if cut:
        handler.close_connection = True
        handler.wfile.flush()


def paged(backend: FakeBackend, rows: list[Any], query: dict[str, list[str]]) -> Any:
    offset = int(query.get("offset", ["0"])[0])
    limit = min(int(query.get("limit", ["100"])[0]), backend.page)
    more = offset + limit < len(rows)
    return {
        "count": len(rows),
        "next": "more" if more else None,
        "previous": None,
        "results": rows[offset : offset + limit],
    }


def form(body: bytes, kind: str) -> dict[str, bytes]:
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    return {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
        for part in message.iter_parts()
    }


def route(
    backend: FakeBackend,
    method: str,
    path: str,
    query: dict[str, list[str]],
    body: bytes,
    headers: Any,
) -> tuple[int, dict[str, str], Any]:
    missing = (404, {}, {"detail": "not found"})
    if match := re.fullmatch(r"ground_truth_dataset_versions/(\d+)/", path):
        found = backend.datasets.get(int(match[1]))
        return (200, {}, found) if found else missing
    if path == "ground_truths/":
        rows = backend.items.get(int(query["ground_truth_dataset_versions"][0]), [])
        return 200, {}, paged(backend, rows, query)
    if match := re.fullmatch(r"files/(.+)", path):
        content = backend.files.get(match[1])
        if content is None:
            return missing
        span = re.fullmatch(r"bytes=(\d+)-", headers.get("Range") or "")
        if span and int(span[1]) < len(content):
            start = int(span[1])
            shown = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return 206, {"Content-Range": shown}, content[start:]
        return 200, {}, content
    if match := re.fullmatch(r"models/(\d+)/", path):
        model = backend.models.get(int(match[1]))
        return (200, {}, model) if model else missing
    if path == "models/" and method == "GET":
        return 200, {}, paged(backend, list(backend.models.values()), query)
    if path == "models/":
        data = json.loads(body)
        upload = backend.uploads.get(int(data.pop("chunked_upload", 0)))
        if upload is None or not upload["done"]:
            return 400, {}, {"chunked_upload": ["not a finished upload"]}
        number = len(backend.models) + 1
        backend.add_model(number, upload["name"], upload["content"], category="fine_tuned")
        backend.models[number].update(data)
        return 201, {}, backend.models[number]
    if match := re.fullmatch(r"chunked_upload/(?:(\d+)/)?", path):
        return chunk(backend, method, int(match[1]) if match[1] else None, body, headers)
    if match := re.fullmatch(r"jobs/(\d+)/", path):
        job = backend.jobs[int(match[1])]
        if method == "PATCH":
            job.update(json.loads(body))
        return 200, {}, job
    if path == "jobs/":
        return 200, {}, paged(backend, list(backend.jobs.values()), query)
    if path == "logs/":
        backend.logs.append(json.loads(body))
        return 201, {}, {}
    return missing


def chunk(
    backend: FakeBackend, method: str, upload_id: int | None, body: bytes, headers: Any
) -> tuple[int, dict[str, str], Any]:
    if upload_id is None:
        upload_id = len(backend.uploads) + 1
        backend.uploads[upload_id] = {"content": b"", "done": False, "name": ""}
    upload = backend.uploads[upload_id]
    said = {
        "id": upload_id,
        "url": f"{backend.url}/chunked_upload/{upload_id}/",
        "offset": len(upload["content"]),
    }
    if method == "GET":
        return 200, {}, {**said, "completed_at": "now" if upload["done"] else None}
    if method == "POST":
        md5 = hashlib.md5(upload["content"]).hexdigest()
        if json.loads(body)["md5"] != md5:
            return 400, {}, {"detail": "md5 differs", "checksum": md5}
        upload["done"] = True
        size = len(upload["content"])
        return 200, {}, {"id": upload_id, "checksum": md5, "size": size, "completed_at": "now"}
    fields = form(body, headers["Content-Type"])
    span = headers["Content-Range"]
    if span != "bytes */0":
        start = int(re.match(r"bytes (\d+)-", span)[1])  # type: ignore[index]
        if start != len(upload["content"]):
            return 400, {}, {"detail": "wrong offset", "offset": len(upload["content"])}
    upload["content"] += fields["file"]
    upload["name"] = fields["filename"].decode()
    return 200, {}, {**said, "offset": len(upload["content"])}
