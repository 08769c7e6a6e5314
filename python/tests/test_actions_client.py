"""The client: retries, tokens, redirects, uploads, downloads, which backend is taken."""

from __future__ import annotations

import json
import os
import pickle
import stat
import sys
import threading
from pathlib import Path

import pytest

from synapse_sdk import exceptions as errors
from synapse_sdk.clients import upload as uploading
from synapse_sdk.clients.backend import BackendClient
from synapse_sdk.clients.credentials import get_client
from synapse_sdk.clients.download import DownloadMismatchError
from synapse_sdk.clients.embedded import EmbeddedClient
from synapse_sdk.clients.transport import Transport, retry_after, shown
from tests.action_run import backend_fixture, client_fixture  # noqa: F401
from tests.fake_backend import TOKEN, FakeBackend, sha256


def test_a_read_is_asked_again_after_what_the_server_says(backend, client):
    waits: list[float] = []
    client.transport.sleep = waits.append
    backend.faults[("GET", "jobs/1/")] = [
        (503, {"Retry-After": "7"}, {"detail": "busy"}),
        (429, {"Retry-After": "0"}, {"detail": "slowly"}),
        (500, {}, {"detail": "oops"}),
    ]
    assert client.get_job(1)["id"] == 1
    assert waits[:2] == [7.0, 0.0]
    assert 0 < waits[2] < 10
    assert backend.count("GET", "jobs/1/") == 4


def test_a_wait_that_is_too_long_is_given_back(backend, client):
    backend.faults[("GET", "jobs/1/")] = [(429, {"Retry-After": "3600"}, {"detail": "later"})]
    with pytest.raises(errors.RateLimitError) as caught:
        client.get_job(1)
    assert caught.value.retry_after == 3600
    assert backend.count("GET", "jobs/1/") == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_write_is_never_sent_twice_after_an_error(backend, client, status):
    backend.faults[("POST", "logs/")] = [(status, {"Retry-After": "0"}, {"detail": "no"})]
    with pytest.raises(errors.HTTPError) as caught:
        client.create_logs({"event": "x"})
    assert caught.value.status_code == status
    assert backend.count("POST", "logs/") == 1


@pytest.mark.parametrize("fault", ["drop", "act-drop"])
def test_a_write_whose_answer_is_lost_is_not_resent(backend, client, fault):
    backend.faults[("POST", "logs/")] = [fault]
    with pytest.raises(errors.ClientConnectionError):
        client.create_logs({"event": "x"})
    assert backend.count("POST", "logs/") == 1
    assert len(backend.logs) == (1 if fault == "act-drop" else 0)


def test_a_write_that_times_out_is_not_resent(backend):
    release = threading.Event()
    import tests.fake_backend as fake

    original = fake.route

    def slow(*args):
        release.wait(10)
        return original(*args)

    fake.route = slow
    try:
        hasty = BackendClient(backend.url, TOKEN, timeout=0.2)
        hasty.transport.sleep = lambda _: None
        with pytest.raises(errors.ClientTimeoutError):
            hasty.create_logs({"event": "x"})
        with pytest.raises(errors.ClientTimeoutError):
            hasty.get_job(1)
    finally:
        release.set()
        fake.route = original
    assert backend.count("POST", "logs/") == 1
    assert backend.count("GET", "jobs/1/") == 4


def test_a_refused_connection_was_not_sent_and_says_so():
    lonely = BackendClient("http://127.0.0.1:9", TOKEN)
    tries: list[float] = []
    lonely.transport.sleep = tries.append
    with pytest.raises(errors.ClientConnectionError) as caught:
        lonely.create_logs({"event": "x"})
    assert caught.value.nothing_sent
    assert len(tries) == 3
    assert "127.0.0.1:9" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_errors_by_status_name_the_call_and_no_token(backend, client):
    for status, kind in [
        (400, errors.ValidationError),
        (401, errors.AuthenticationError),
        (403, errors.AuthorizationError),
        (404, errors.NotFoundError),
        (409, errors.HTTPError),
        (501, errors.ServerError),
    ]:
        detail = {"detail": f"you sent {TOKEN}"}
        backend.faults[("POST", "logs/")] = [(status, {}, detail)]
        with pytest.raises(kind) as caught:
            client.create_logs({})
        assert caught.value.status_code == status
        assert TOKEN not in f"{caught.value} {caught.value.detail} {caught.value!r}"
        assert "POST" in str(caught.value) and "logs/" in str(caught.value)


def test_field_errors_and_pages_of_other_servers(backend, client):
    backend.faults[("POST", "logs/")] = [(400, {}, {"level": ["unknown"]})]
    with pytest.raises(errors.ValidationError, match="unknown"):
        client.create_logs({})
    backend.faults[("GET", "jobs/")] = [(200, {}, b"<html>welcome</html>")]
    with pytest.raises(errors.ClientError, match="not JSON"):
        client.list_jobs()


def test_lists_are_read_to_the_end(backend, client):
    backend.jobs = {number: {"id": number} for number in range(1, 8)}
    backend.page = 3
    assert [job["id"] for job in client.list_jobs()] == list(range(1, 8))
    assert backend.count("GET", "jobs/") == 3


def test_a_token_goes_to_its_own_host_only(backend, client, tmp_path):
    other = FakeBackend()
    other.token = None
    try:
        other.files["weights"] = b"weights"
        # Straight to another host, and by a redirect.
        client.download(f"{other.url}/files/weights", tmp_path / "a")
        backend.faults[("GET", "files/moved")] = [
            (302, {"Location": f"{other.url}/files/weights"}, b"")
        ]
        client.download("files/moved", tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == b"weights"
        assert len(other.requests) == 2
        for _, _, headers in other.requests:
            assert not any(TOKEN in value for value in headers.values())
        assert any(TOKEN in value for value in backend.requests[0][2].values())
    finally:
        other.stop()


def test_a_write_is_not_carried_on_by_a_redirect(backend, client):
    backend.faults[("POST", "logs/")] = [(307, {"Location": "http://127.0.0.1:9/logs/"}, b"")]
    with pytest.raises(errors.HTTPError, match="moved to"):
        client.create_logs({})


def test_addresses_are_shown_without_credentials():
    assert shown("https://u:p@h:8/a/b?X-Amz-Signature=secret#f") == "https://h:8/a/b"
    with pytest.raises(errors.ClientError):
        Transport("ftp://host", {})
    with pytest.raises(errors.ClientError) as caught:
        BackendClient("http://host", "bad\ntoken")
    assert "bad" not in str(caught.value)
    assert "tok-123456" not in repr(BackendClient("http://host", "tok-123456"))


def test_retry_after_reads_seconds_and_dates():
    assert retry_after({"Retry-After": "3"}) == 3
    moment = "Wed, 21 Oct 2026 07:28:10 GMT"
    assert retry_after({"Retry-After": moment}, now=1792567680.0) == 10
    assert retry_after({"Retry-After": "soon"}) is None
    assert retry_after({}) is None


# Uploads.


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(uploading, "CHUNK", 4)


def test_a_file_goes_up_in_chunks_and_is_verified(backend, client, tmp_path, small_chunks):
    path = tmp_path / "größe best.pt"
    path.write_bytes(b"0123456789")
    seen: list[tuple[int, int]] = []
    done = client.create_chunked_upload(path, progress=lambda *span: seen.append(span))
    assert backend.uploads[done["id"]]["content"] == b"0123456789"
    assert backend.uploads[done["id"]]["name"] == path.name
    assert seen == [(4, 10), (8, 10), (10, 10)]
    ranges = [h["Content-Range"] for m, _, h in backend.requests if m == "PUT"]
    assert ranges == ["bytes 0-3/10", "bytes 4-7/10", "bytes 8-9/10"]


def test_an_empty_file_goes_up(backend, client, tmp_path):
    (tmp_path / "empty").touch()
    done = client.create_chunked_upload(tmp_path / "empty")
    assert backend.uploads[done["id"]] == {"content": b"", "done": True, "name": "empty"}


@pytest.mark.parametrize("fault", ["drop", "act-drop"])
def test_a_lost_chunk_is_asked_about_before_it_is_sent_again(
    backend, client, tmp_path, small_chunks, fault
):
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    backend.faults[("PUT", "chunked_upload/1/")] = [fault]
    done = client.create_chunked_upload(path)
    assert backend.uploads[done["id"]]["content"] == b"0123456789"
    assert backend.count("GET", "chunked_upload/1/") == 1
    assert backend.count("PUT", "chunked_upload/") == (4 if fault == "drop" else 3)


def test_a_lost_end_is_looked_at_and_not_repeated(backend, client, tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    backend.faults[("POST", "chunked_upload/1/")] = ["act-drop"]
    assert client.create_chunked_upload(tmp_path / "f")["id"] == 1
    assert backend.count("POST", "chunked_upload/1/") == 1


def test_a_chunk_refused_for_ever_ends(backend, client, tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    backend.faults[("PUT", "chunked_upload/")] = [(500, {}, {"detail": "disk full"})] * 9
    with pytest.raises(errors.ServerError, match="disk full"):
        client.create_chunked_upload(tmp_path / "f")
    assert backend.count("PUT", "chunked_upload/") == 4


def test_a_model_is_never_created_twice(backend, client, tmp_path):
    (tmp_path / "best.pt").write_bytes(b"w")
    backend.faults[("POST", "models/")] = ["act-drop"]
    with pytest.raises(errors.ClientConnectionError):
        client.create_model({"name": "m"}, file=tmp_path / "best.pt")
    assert len(backend.models) == 1


# Downloads.


def test_a_download_that_breaks_off_is_continued(backend, client, tmp_path):
    content = bytes(range(256)) * 800
    url = backend.add_file(content)
    backend.faults[("GET", "files/")] = ["cut"]
    path = client.download(url, tmp_path / "deep/er/f", sha256(content))
    assert path.read_bytes() == content
    start = int(backend.requests[-1][2]["Range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= len(content) // 2
    assert [entry.name for entry in path.parent.iterdir()] == ["f"]


def test_without_a_digest_a_broken_download_starts_again(backend, client, tmp_path):
    content = bytes(range(256)) * 40
    url = backend.add_file(content)
    backend.faults[("GET", "files/")] = ["cut"]
    assert client.download(url, tmp_path / "f").read_bytes() == content
    assert "Range" not in backend.requests[-1][2]


def test_a_wrong_download_leaves_nothing(backend, client, tmp_path):
    url = backend.add_file(b"what came")
    with pytest.raises(DownloadMismatchError, match="sha256"):
        client.download(url, tmp_path / "f", sha256(b"what was meant"))
    with pytest.raises(DownloadMismatchError, match="announced"):
        client.download(url, tmp_path / "f", size=3)
    assert list(tmp_path.iterdir()) == []


# Which backend.


@pytest.fixture
def home(monkeypatch, tmp_path):
    for name in list(os.environ):
        if name.startswith("SYNAPSE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SYNAPSE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr("synapse_sdk.clients.embedded._found", None)
    return tmp_path


def save(home: Path, **values: object) -> None:
    (home / "config").mkdir(exist_ok=True)
    (home / "config/config.json").write_text(json.dumps(values))


def sent(client: BackendClient | None) -> dict[str, str]:
    assert client is not None
    return {name: secret.value for name, secret in client.transport._secrets.items()}


def test_tokens_of_the_environment_come_first(home):
    save(home, host="https://saved", access_token="saved-token")
    made = get_client({"SYNAPSE_HOST": "https://own", "SYNAPSE_ACCESS_TOKEN": "own-token"})
    assert made is not None and made.base_url == "https://own/"
    assert sent(made) == {"Synapse-Access-Token": "Token own-token"}
    made = get_client(
        {
            "SYNAPSE_PLUGIN_RUN_URL_HOST": "https://run",
            "SYNAPSE_PLUGIN_RUN_USER_TOKEN": "u",
            "SYNAPSE_PLUGIN_RUN_TENANT": "t",
        }
    )
    assert sent(made) == {"Authorization": "Token u", "Synapse-Tenant": "Token t"}


def test_the_saved_token_goes_to_the_host_it_was_saved_for(home):
    save(home, host="https://saved", access_token="saved-token")
    assert sent(get_client({})) == {"Synapse-Access-Token": "Token saved-token"}
    assert sent(get_client({"SYNAPSE_HOST": "https://saved/"})) != {}
    assert sent(get_client({"SYNAPSE_HOST": "https://evil"})) == {}


def test_the_profile_in_use_is_the_one_that_counts(home):
    staging = {"host": "https://staging", "access_token": "staging-token"}
    user = {"host": "https://user", "user_token": "u", "tenant": "t"}
    save(
        home,
        host="https://saved",
        access_token="saved-token",
        profile="staging",
        profiles={"staging": staging, "user": user, "odd": 3},
    )
    made = get_client({})
    assert made is not None and made.base_url == "https://staging/"
    assert sent(made) == {"Synapse-Access-Token": "Token staging-token"}
    assert sent(get_client({"SYNAPSE_HOST": "https://saved"})) == {}
    made = get_client({"SYNAPSE_PROFILE": "user"})
    assert sent(made) == {"Authorization": "Token u", "Synapse-Tenant": "Token t"}
    assert sent(get_client({"SYNAPSE_PROFILE": "default"})) != {}
    for name in ("local", "odd", "unknown"):
        assert get_client({"SYNAPSE_PROFILE": name}) is None


def test_nothing_saved_and_no_command_is_no_client(home):
    assert get_client({}) is None
    save(home, profile="local", host="https://saved", access_token="t")
    assert get_client({}) is None


SERVER = """#!{python}
import json, sys
sys.path[:0] = {path!r}
from tests.fake_backend import FakeBackend
open({marks!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
fake = FakeBackend()
print(json.dumps({{"url": fake.url, "token": fake.token}}), flush=True)
sys.stdin.read()
open({marks!r}, "a").write("stopped\\n")
"""


def test_the_embedded_backend_starts_on_the_first_call_and_once(home, monkeypatch):
    real = os.path.realpath("/proc/self/exe") if sys.platform == "linux" else None
    if real is None:
        pytest.skip("needs /proc")
    marks = home / "marks"
    program = home / "synapse"
    path = [entry for entry in sys.path if entry]
    program.write_text(SERVER.format(python=real, path=path, marks=str(marks)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    registered: list[tuple] = []
    monkeypatch.setattr("atexit.register", lambda *args: registered.append(args))
    first, second = get_client({}), get_client({})
    assert isinstance(first, EmbeddedClient) and first
    assert not marks.exists()
    assert first.get_job(1)["id"] == 1
    assert second is not None and second.get_job(1)["id"] == 1
    assert marks.read_text() == "backend serve --until-stdin-closes --json\n"
    [(stop, process, owner)] = registered
    stop(process, owner + 1)  # a forked child leaves it alone
    assert process.poll() is None
    stop(process, owner)
    assert process.poll() == 0
    assert marks.read_text().endswith("stopped\n")


def test_an_embedded_backend_that_does_not_start_says_why(home):
    program = home / "synapse"
    program.write_text("#!/bin/sh\necho 'the folder is locked' >&2\nexit 3\n")
    program.chmod(0o755)
    made = get_client({})
    assert made is not None
    with pytest.raises(errors.ClientConnectionError, match="the folder is locked"):
        made.get_job(1)


def test_a_server_that_does_not_prove_itself_gets_no_token(home, backend):
    record = {"url": backend.url, "token": "embedded-token", "pid": os.getpid()}
    (home / "data/backend").mkdir(parents=True)
    (home / "data/backend/serve.json").write_text(json.dumps(record))
    made = get_client({})
    assert isinstance(made, EmbeddedClient)
    with pytest.raises(errors.ClientConnectionError):
        made.get_job(1)
    assert [path for _, path, _ in backend.requests] == ["health/"]
    assert not any("embedded-token" in str(headers) for _, _, headers in backend.requests)


def announce(home: Path, server: FakeBackend) -> None:
    record = {"url": server.url, "token": server.token, "pid": os.getpid()}
    (home / "data/backend").mkdir(parents=True, exist_ok=True)
    (home / "data/backend/serve.json").write_text(json.dumps(record))


def test_a_backend_that_went_is_found_again(home, backend, tmp_path):
    former = FakeBackend()
    former.token = "token-of-the-former"
    announce(home, former)
    made = get_client({})
    assert made is not None and made.get_job(1)["id"] == 1
    url = former.add_file(b"weights")
    former.stop()
    announce(home, backend)
    backend.add_file(b"weights")
    # A write too: nothing was sent to what does not listen.
    made.create_logs({"event": "x"})
    assert backend.logs == [{"event": "x"}]
    assert made.download(url, tmp_path / "f").read_bytes() == b"weights"
    assert not any("token-of-the-former" in str(headers) for _, _, headers in backend.requests)


def test_no_proxy_sees_what_goes_to_this_machine(backend, client, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert client.get_job(1)["id"] == 1
    far = BackendClient("http://backend.invalid", TOKEN)
    far.transport.sleep = lambda _: None
    with pytest.raises(errors.ClientConnectionError) as caught:
        far.get_job(1)
    assert TOKEN not in str(caught.value)


def test_a_proxy_is_used_for_other_hosts(backend, monkeypatch):
    monkeypatch.setenv("http_proxy", backend.url)
    monkeypatch.setenv("no_proxy", "")
    backend.faults[("GET", "jobs/1/")] = []
    far = BackendClient("http://backend.invalid", TOKEN)
    far.transport.sleep = lambda _: None
    assert far.get_job(1)["id"] == 1


def test_values_that_are_no_json_are_sent_as_what_they_mean(backend, client, tmp_path):
    client.create_logs({"path": tmp_path, "loss": float("nan")})
    assert backend.logs == [{"path": str(tmp_path), "loss": None}]


def test_a_token_is_in_no_pickle(client):
    with pytest.raises(TypeError, match=r"holds a token.*get_client"):
        pickle.dumps(client)


def test_an_embedded_client_finds_its_backend_in_another_process(home, backend):
    own = EmbeddedClient(timeout=7.0)
    own._transport = client = Transport(backend.url, {"Synapse-Access-Token": f"Token {TOKEN}"})
    assert own.transport is client
    blob = pickle.dumps(own)
    assert TOKEN.encode() not in blob
    other = pickle.loads(blob)
    assert isinstance(other, EmbeddedClient) and repr(other) == "EmbeddedClient(not connected yet)"
    assert other._timeout == 7.0
