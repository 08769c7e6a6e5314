"""Owns the calls of the platform's HTTP API that a run makes, each as one method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from synapse_sdk import exceptions as errors
from synapse_sdk.clients.transport import Transport, shown

Json = dict[str, Any]
#: Items asked for in one page of a list.
PAGE = 500


class BackendClient:
    """A client of one Synapse backend. Ids are the backend's; what comes back is decoded JSON.

    Every call may raise the errors of `synapse_sdk.exceptions`: `HTTPError` (`NotFoundError`,
    `AuthenticationError`, ...) for an answer that is no success, `ClientConnectionError` and
    `ClientTimeoutError` where there is none, `ClientError` for one that makes no sense.

    Args:
        base_url: Address of the backend.
        access_token: Token of a user or machine. Goes to the host of `base_url` alone.
        user_token: With `tenant`: the other way to prove who is asking.
        tenant: The tenant that `user_token` acts for.
        agent_token: Sent along by agents.
        timeout: Seconds to wait for an answer.
    """

    def __init__(
        self,
        base_url: str,
        access_token: str | None = None,
        *,
        user_token: str | None = None,
        tenant: str | None = None,
        agent_token: str | None = None,
        timeout: float = 60.0,
    ) -> None:
        headers = {}
        if access_token:
            headers["Synapse-Access-Token"] = f"Token {access_token}"
        elif user_token:
            headers["Authorization"] = f"Token {user_token}"
            if tenant:
                headers["Synapse-Tenant"] = f"Token {tenant}"
        if agent_token:
            headers["SYNAPSE-Agent"] = f"Token {agent_token}"
        self._transport: Transport | None = Transport(base_url, headers, (10.0, timeout))

    @property
    def transport(self) -> Transport:
        """The conversation with the server; made on first use where that needs a start.

        Raises:
            ClientConnectionError: There is no server.
        """
        if self._transport is None:
            raise errors.ClientConnectionError("the client has no server")
        return self._transport

    @property
    def base_url(self) -> str:
        """The backend's address, ending in a slash."""
        return self.transport.base_url

    def __repr__(self) -> str:
        where = shown(self._transport.base_url) if self._transport else "not connected yet"
        return f"{type(self).__name__}({where})"

    def __reduce__(self) -> Any:
        """Refuse to be pickled: a token would lie in whatever the pickle is written to.

        Raises:
            TypeError: Always; the text says what to do.
        """
        raise TypeError(
            "a client holds a token and is not pickled; make one in the other process, with "
            "synapse_sdk.clients.get_client()"
        )

    # Jobs and their logs.

    def list_jobs(self, **query: Any) -> list[Json]:
        """Return all jobs that match the filters."""
        return list(self.pages("jobs/", query))

    def get_job(self, job_id: int | str) -> Json:
        """Return one job."""
        return self._object("GET", f"jobs/{_part(job_id)}/")

    def update_job(self, job_id: int | str, data: Mapping[str, Any]) -> Json:
        """Change `status`, `progress_record`, `metrics_record`, `result` and such of a job."""
        return self._object("PATCH", f"jobs/{_part(job_id)}/", dict(data))

    def list_job_console_logs(self, job_id: int | str) -> Any:
        """Return the console logs kept of a job."""
        return self.transport.json("GET", f"jobs/{_part(job_id)}/console_logs/")

    def tail_job_console_logs(self, job_id: int | str) -> Iterator[str]:
        """Yield the lines of a job's console as they come, until the server ends the stream.

        Raises:
            StreamError: The stream broke.
        """
        path = f"jobs/{_part(job_id)}/tail_console_logs/"
        answer = self.transport.open("GET", path, headers={"Accept": "*/*"})
        rest = b""
        try:
            with self.transport.reading(path):
                for block in answer.stream(8192, decode_content=True):
                    *lines, rest = (rest + block).split(b"\n")
                    for line in lines:
                        yield line.decode("utf-8", "replace")
        except errors.ClientError as error:
            raise errors.StreamError(error.message) from None
        finally:
            answer.close()
        if rest:
            yield rest.decode("utf-8", "replace")

    def create_logs(self, data: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Any:
        """Add one log entry or a list of them."""
        return self.transport.json("POST", "logs/", data=data)

    # Datasets.

    def get_dataset_version(self, dataset_id: int) -> Json:
        """Return a dataset version: id, name, format, count, checksum, splits."""
        return self._object("GET", f"ground_truth_dataset_versions/{_part(dataset_id)}/")

    def iter_ground_truths(self, dataset_id: int, **query: Any) -> Iterator[Json]:
        """Yield the items of a dataset version: id, name, split, file, checksum, size."""
        return self.pages("ground_truths/", {"ground_truth_dataset_versions": dataset_id, **query})

    # Models.

    def get_model(self, model_id: int) -> Json:
        """Return a model: id, name, category, file, checksum, ..."""
        return self._object("GET", f"models/{_part(model_id)}/")

    def list_models(self, **query: Any) -> list[Json]:
        """Return all models that match the filters."""
        return list(self.pages("models/", query))

    def create_model(self, data: Mapping[str, Any], file: str | Path | None = None) -> Json:
        """Create a model, uploading `file` in chunks first.

        Args:
            data: Fields of the model (name, plugin, version, checkpoint, configuration, ...).
            file: Its weights; not needed when `data` names a finished `chunked_upload`.
        """
        fields = dict(data)
        if file is not None:
            fields["chunked_upload"] = self.create_chunked_upload(file)["id"]
        return self._object("POST", "models/", fields)

    # Files.

    def create_chunked_upload(
        self,
        path: str | Path,
        *,
        name: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Json:
        """Upload one file in chunks and return the server's word on it: id, checksum, size.

        Args:
            path: The file.
            name: Its name on the server, by default its own.
            progress: Called with bytes sent and bytes in all.
        """
        from synapse_sdk.clients.upload import upload

        return upload(self.transport, Path(path), name, progress)

    def download(
        self,
        url: str,
        path: str | Path,
        checksum: str | None = None,
        *,
        size: int | None = None,
    ) -> Path:
        """Download `url` to the file `path`, whole or not at all.

        Args:
            url: Address; one relative to the backend gets its token, another host does not.
            path: Where to put it; folders are made.
            checksum: sha256 (64 hex) that the content must have.
            size: Bytes that it must have.
        """
        from synapse_sdk.clients.download import download

        return download(self.transport, url, Path(path), checksum, size)

    def get_storage(self, storage_id: int) -> Json:
        """Return a storage."""
        return self._object("GET", f"storages/{_part(storage_id)}/")

    # Plugins, agents, serving.

    def list_plugin_releases(self, plugin: str, **query: Any) -> list[Json]:
        """Return all releases of the plugin with that code."""
        return list(self.pages("plugin_releases/", {"plugin": plugin, **query}))

    def get_plugin_release(self, release: int | str, version: str | None = None) -> Json:
        """Return one release, by id, by `CODE@VERSION`, or by code and version."""
        name = f"{release}@{version}" if version else str(release)
        return self._object("GET", f"plugin_releases/{_part(name)}/")

    def run_plugin(
        self,
        code: str,
        action: str,
        params: Any = None,
        *,
        agent: int | None = None,
        version: str | None = None,
        debug: bool = False,
        language: str | None = None,
    ) -> Json:
        """Ask the backend to run an action; returns a job, or a result."""
        data = {
            "agent": agent,
            "action": action,
            "params": {} if params is None else params,
            "debug": debug,
            "version": version,
            "language": language,
        }
        sent = {key: value for key, value in data.items() if value is not None}
        return self._object("POST", f"plugins/{_part(code)}/run/", sent)

    def list_agents(self, **query: Any) -> list[Json]:
        """Return the agents that can run plugins."""
        return list(self.pages("agents/", query))

    def register_serve_application(self, data: Mapping[str, Any]) -> Json:
        """Make a deployed Serve application known to the backend."""
        return self._object("POST", "serve_applications/", dict(data))

    # How answers are read.

    def pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Json]:
        """Yield every result of a list, asking for one page after the other.

        Raises:
            ClientError: The answer is no list of results.
        """
        base = {**query, "limit": query.get("limit", PAGE)}
        offset = int(query.get("offset") or 0)
        while True:
            answer = self.transport.json("GET", path, query={**base, "offset": offset})
            if isinstance(answer, list):
                yield from answer
                return
            if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
                raise errors.ClientError(f"GET {path}: the answer is not a list of results")
            results = answer["results"]
            yield from results
            if not answer.get("next") or not results:
                return
            offset += len(results)

    def _object(self, method: str, path: str, data: Json | None = None) -> Json:
        answer = self.transport.json(method, path, data=data)
        if not isinstance(answer, dict):
            raise errors.ClientError(f"{method} {path}: the answer is not an object")
        return answer


def _part(value: int | str) -> str:
    """Return `value` as one part of a path."""
    part = quote(str(value), safe="@+")
    if part in ("", ".", ".."):
        raise errors.ClientError(f"not an id or a name: {value!r}")
    return part
