"""FileField: URLs, data URIs and paths that become local files."""

from __future__ import annotations

import base64
import http.server
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from synapse_sdk.enums import FileField


class Params(BaseModel):
    image: FileField
    more: FileField | None = None


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "datamaker" / "media"


class Site:
    """A web server with one file, which counts what it sends."""

    def __init__(self) -> None:
        self.content = b"image"
        self.tag: str | None = '"1"'
        self.status = 200
        self.sent: list[int] = []
        self.url = ""


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = made.status
            if made.tag is not None and self.headers.get("If-None-Match") == made.tag:
                status = 304
            made.sent.append(status)
            self.send_response(status)
            if made.tag is not None:
                self.send_header("ETag", made.tag)
            self.send_header("Content-Length", str(0 if status == 304 else len(made.content)))
            self.end_headers()
            if status != 304:
                self.wfile.write(made.content)

        def log_message(self, *args: Any) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}/a/b%20c.jpg?token=secret"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_url_is_downloaded(site: Site, folder: Path) -> None:
    image = Params(image=site.url).image  # type: ignore[arg-type]
    assert isinstance(image, FileField)
    assert isinstance(image, str)
    assert Path(image).parent == folder
    assert Path(image).suffix == ".jpg"
    assert Path(image).read_bytes() == b"image"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert Params(image=site.url).model_dump(mode="json") == {"image": image, "more": None}


def test_an_unchanged_file_is_not_sent_again(site: Site) -> None:
    first = Params(image=site.url).image  # type: ignore[arg-type]
    assert Params(image=site.url).image == first  # type: ignore[arg-type]
    assert site.sent == [200, 304]
    site.content, site.tag = b"changed", '"2"'
    again = Params(image=site.url).image  # type: ignore[arg-type]
    assert Path(again).read_bytes() == b"changed"
    site.content, site.tag = b"untagged", None
    Params(image=site.url)  # type: ignore[arg-type]
    site.content, site.tag = b"second", '"2"'
    again = Params(image=site.url).image  # type: ignore[arg-type]
    assert Path(again).read_bytes() == b"second"


def test_a_download_that_fails(site: Site, folder: Path) -> None:
    site.status = 404
    with pytest.raises(ValidationError, match="answers with status 404") as caught:
        Params(image=site.url)  # type: ignore[arg-type]
    message = caught.value.errors()[0]["msg"]
    assert "secret" not in message
    assert list(folder.iterdir()) == []


def test_a_host_that_is_not_there() -> None:
    with pytest.raises(ValidationError, match="cannot be downloaded"):
        Params(image="http://127.0.0.1:9/x.jpg")  # type: ignore[arg-type]


def test_data_uris(folder: Path) -> None:
    encoded = base64.b64encode(b"image").decode()
    image = Params(image=f"data:image/png;base64,{encoded}").image  # type: ignore[arg-type]
    assert Path(image).parent == folder
    assert Path(image).suffix == ".png"
    assert Path(image).read_bytes() == b"image"
    again = Params(image=f"data:image/png;base64,{encoded}").image  # type: ignore[arg-type]
    assert again == image
    text = Params(image="data:,a%20b").image  # type: ignore[arg-type]
    assert Path(text).read_bytes() == b"a b"


def test_a_local_file_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a")
    assert Params(image=str(path)).image == str(path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("no/such/file", "is neither"),
        ("ftp://host/file", "is neither"),
        ("file:///etc/passwd", "is neither"),
        ("data:image/png;base64", "without data"),
        ("data:image/png;base64,???", "not base64"),
        ("", "at least 1 character"),
        (3, "valid string"),
    ],
)
def test_other_values(value: Any, text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Params(image=value)


def test_a_folder_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "datamaker").mkdir(mode=0o700)
    (tmp_path / "datamaker").chmod(0o777)
    image = Params(image="data:,a").image  # type: ignore[arg-type]
    assert Path(image).parent.parent.name.startswith("datamaker-")


def test_json_schema() -> None:
    schema = Params.model_json_schema()
    assert schema["properties"]["image"]["type"] == "string"
    assert schema["required"] == ["image"]
