"""Uploading from Python: what is asked of the command, and what becomes of its answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synapse_sdk.plugins import archive_and_upload, build_and_upload
from synapse_sdk.plugins import errors as plugin_errors
from synapse_sdk.plugins import upload as module

Fake = Callable[..., Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A stand-in for the command, which notes its arguments and says what it is told to."""

    def make(stdout: str, code: int = 0, stderr: str = "") -> Path:
        notes = tmp_path / "arguments.json"
        script = tmp_path / "synapse"
        script.write_text(
            f"#!{sys.executable}\n"
            "import json, pathlib, sys\n"
            f"pathlib.Path({str(notes)!r}).write_text(json.dumps(sys.argv[1:]))\n"
            f"sys.stdout.write({stdout!r})\nsys.stderr.write({stderr!r})\nsys.exit({code})\n"
        )
        script.chmod(0o755)
        monkeypatch.setattr(module, "find_synapse", lambda: script)
        return notes

    return make


def answer(**changes: Any) -> str:
    entry = {
        "storage": "prod", "kind": "archive", "status": "stored", "name": "dev-0a.zip",
        "url": "s3://bucket/dev-0a.zip", "size": 7, "md5": "0a", "verified": "etag", "error": None,
    }  # fmt: skip
    wheel = {**entry, "kind": "wheel", "status": "there", "name": "x.whl", "url": "s3://b/x"}
    plugin = {
        "code": "tiny", "version": "1.0.0", "variant": None, "checksum": {"md5": "0a"},
        "objects": [entry, wheel], "wheel": {"file": "x.whl"},
    }  # fmt: skip
    document = {"schema": 1, "command": "upload", "ok": True, "plugins": [plugin], "errors": []}
    return json.dumps({**document, **changes})


def test_an_answer_becomes_what_is_where(fake: Fake) -> None:
    notes = fake(answer())
    done = build_and_upload("here", ["prod", "-x"], profile="p", allow_secrets=["*.pem"])
    assert json.loads(notes.read_text()) == [
        "plugin", "upload", "--json", "--path", "here", "--storage=prod", "--storage=-x",
        "--allow-secret=*.pem", "--profile=p", "--wheel",
    ]  # fmt: skip
    assert (done.code, done.version, done.variant, done.checksum) == ("tiny", "1.0.0", None, "0a")
    assert (done.url, done.wheel_url) == ("s3://bucket/dev-0a.zip", "s3://b/x")
    assert [stored.is_new for stored in done.objects] == [True, False]
    assert done.wheel == "x.whl"


def test_an_archive_alone(fake: Fake, tmp_path: Path) -> None:
    notes = fake(answer())
    archive_and_upload(tmp_path, "s3://bucket", config=tmp_path / "c.yaml", release=True)
    assert json.loads(notes.read_text()) == [
        "plugin", "upload", "--json", "--path", str(tmp_path), "--storage=s3://bucket",
        f"--config={tmp_path / 'c.yaml'}", "--release",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("build-failed", "BuildError"),
        ("checksum-mismatch", "ChecksumMismatchError"),
        ("credential", "ArchiveError"),
        ("config-bad-code", "ArchiveError"),
        ("not-authenticated", "PluginUploadError"),
        ("storage-missing", "PluginUploadError"),
    ],
)
def test_errors_have_the_class_of_their_cause(fake: Fake, code: str, kind: str) -> None:
    error = {"code": code, "message": "it went wrong", "where": "there", "hint": "do this"}
    fake(answer(errors=[error]), 3)
    with pytest.raises(plugin_errors.PluginError) as caught:
        build_and_upload()
    assert type(caught.value).__name__ == kind
    assert caught.value.message == "it went wrong (there); do this"
    assert caught.value.details == [error]


@pytest.mark.parametrize("said", ["", "no JSON", "[]", "{}"])
def test_no_document_is_an_error_with_what_was_said(fake: Fake, said: str) -> None:
    fake(said, 2, "error: what is this\n")
    with pytest.raises(plugin_errors.PluginUploadError, match="what is this"):
        archive_and_upload()


def test_a_failure_without_a_reason_is_one(fake: Fake) -> None:
    fake(answer(), 255)
    with pytest.raises(plugin_errors.PluginUploadError, match="255"):
        archive_and_upload()


def test_without_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "find_synapse", lambda: None)
    with pytest.raises(plugin_errors.PluginUploadError, match="SYNAPSE_BIN"):
        archive_and_upload()
    broken = tmp_path / "synapse"
    monkeypatch.setattr(module, "find_synapse", lambda: broken)
    with pytest.raises(plugin_errors.PluginUploadError, match="cannot start"):
        archive_and_upload()
