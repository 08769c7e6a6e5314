from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from synapse_sdk.plugins.errors import ExecutionError
from synapse_sdk.plugins.executors.local import LocalExecutor

from plugin.steps import SendStep
from plugin.upload import UploadAction, UploadParams


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the backend: names of the files that were sent. One name is refused."""
    names: list[str] = []

    def send(self: SendStep, context: Any, path: Path) -> dict[str, Any]:
        if path.name == "refused.txt":
            raise OSError("the line is dead")
        names.append(path.name)
        return {"id": len(names)}

    monkeypatch.setattr(SendStep, "send", send)
    return names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.txt", "below/a.TXT", "c.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


def upload(path: Path, **more: Any) -> Any:
    return LocalExecutor(env={}).execute(action_cls=UploadAction, params={"path": path, **more})


def test_files_with_the_extension_are_sent(folder: Path, sent: list[str]) -> None:
    result = upload(folder, extensions=[".txt"])
    assert result["uploaded_files"] == 2
    assert sent == ["b.txt", "a.TXT"]


def test_folders_below_can_be_left_out(folder: Path, sent: list[str]) -> None:
    upload(folder, is_recursive=False)
    assert sent == ["b.txt", "c.jpg"]


def test_a_lost_file_does_not_stop_the_others(folder: Path, sent: list[str]) -> None:
    (folder / "refused.txt").write_text("x")
    (folder / "empty.txt").touch()
    result = upload(folder, extensions=[".txt"])
    assert result["partial_failure"] is True
    reasons = {Path(lost["file"]).name: lost["reason"] for lost in result["lost_files"]}
    assert reasons == {"empty.txt": "it is empty", "refused.txt": "the line is dead"}
    assert sent == ["b.txt", "a.TXT"]


def test_an_empty_folder_is_an_error(tmp_path: Path, sent: list[str]) -> None:
    with pytest.raises(ExecutionError, match="there are no files to upload"):
        upload(tmp_path)
    assert sent == []


def test_extensions_begin_with_a_dot() -> None:
    with pytest.raises(ValidationError, match="txt must begin with a dot"):
        UploadParams(path=Path(), extensions=["txt"])
