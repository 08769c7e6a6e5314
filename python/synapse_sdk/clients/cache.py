"""Owns the downloaded files of this machine: by content, and the datasets laid out from them.

`files/<sha256>` holds each content once. A dataset is a folder of hard links to them (copies
where links are not possible), put in place by one rename. A link shares its bytes with the
cache, so every cached file is read-only and carries a fixed time: one that was written to
nevertheless shows another time or size, and is fetched again instead of being used.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import uuid
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from synapse_sdk import exceptions as errors
from synapse_sdk.clients.backend import BackendClient, Json

#: The time that an untouched cached file carries, in nanoseconds since 1970.
STAMP = 978_307_200_000_000_000
#: Downloads under way at once.
PARALLEL = 8
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Item:
    """One file of a dataset."""

    name: str
    url: str
    checksum: str | None
    size: int | None
    split: str | None


@dataclass(frozen=True)
class LocalDataset:
    """A dataset on this machine.

    Attributes:
        version: What the backend says of it.
        path: Its folder.
        splits: Files per split.
        count: Files in all.
        downloaded: Files that were fetched just now.
    """

    version: Json
    path: Path
    splits: dict[str, int]
    count: int
    downloaded: int


class DownloadCache:
    """The downloads under one folder, shared by all processes of the user.

    Args:
        folder: Where they are kept; made when needed.
        client: Whose backend they come from.
    """

    def __init__(self, folder: Path, client: BackendClient) -> None:
        self.folder = folder
        self.client = client

    def file(self, url: str, checksum: str, size: int | None = None) -> tuple[Path, bool]:
        """Return the cached file with that sha256, and whether it had to be downloaded."""
        checksum = checksum.lower()
        if not _SHA256.fullmatch(checksum):
            raise errors.ClientError(f"not a sha256: {checksum!r}")
        path = self.folder / "files" / checksum
        if _untouched(path, size):
            return path, False
        self.client.download(url, path, checksum, size=size)
        _seal(path)
        return path, True

    def dataset(
        self,
        dataset_id: int,
        splits: Sequence[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> LocalDataset:
        """Return a dataset version as a folder on this machine.

        What is here already is not downloaded again; a download that broke off continues with
        the files that are missing.

        Args:
            dataset_id: Id of the dataset version.
            splits: Only the files of these splits, and those of no split.
            progress: Called with files ready and files in all.

        Raises:
            ClientError: The backend has no such version, or a download failed.
        """
        version = self.client.get_dataset_version(dataset_id)
        wanted = sorted(set(splits)) if splits is not None else None
        known = version.get("checksum")
        items: list[Item] | None = None
        if isinstance(known, str) and known:
            key = _key(known, wanted)
        else:
            items = self._items(dataset_id, wanted)
            key = _key(_digest(items), wanted)
        with self._lock(key):
            kept = None if items is not None else self._kept(key)
            if kept is not None:
                items = kept
            elif items is None:
                items = self._items(dataset_id, wanted)
            folder, downloaded = self._assemble(key, items, progress)
        counts: dict[str, int] = {}
        for item in items:
            if item.split is not None:
                counts[item.split] = counts.get(item.split, 0) + 1
        given = version.get("splits")
        if wanted is None and isinstance(given, dict) and given:
            counts = dict(given)
        return LocalDataset(version, folder, counts, len(items), downloaded)

    def model(self, model: Json) -> Path:
        """Return a model's file on this machine; a packed folder is unpacked.

        Args:
            model: What `get_model` says: id, name, file, checksum.

        Raises:
            ValueError: The model has no file.
            ClientError: The download failed.
        """
        url = model.get("file")
        if not url:
            raise ValueError(f"model {model.get('id')} has no file")
        name = _basename(str(url), str(model.get("file_name") or ""))
        checksum = model.get("checksum")
        size = model.get("size")
        if isinstance(checksum, str) and _SHA256.fullmatch(checksum.lower()):
            known = checksum.lower()
            blob, _ = self.file(str(url), known, size if isinstance(size, int) else None)
        else:
            # Without a digest nothing tells whether an older download still is the model.
            known = uuid.uuid4().hex
            blob = self.folder / "unnamed" / known
            self.client.download(str(url), blob)
        place = self.folder / "models" / known
        path = place / (name.removesuffix(".zip") if name.endswith(".zip") else name)
        with self._lock(f"model-{known}"):
            if name.endswith(".zip"):
                if not path.is_dir():
                    _unpack(blob, path)
            elif not _untouched(path, blob.stat().st_size) or blob.parent.name == "unnamed":
                path.parent.mkdir(parents=True, exist_ok=True)
                _link(blob, path)
        if blob.parent.name == "unnamed":
            blob.unlink(missing_ok=True)
        return path

    def _items(self, dataset_id: int, splits: Sequence[str] | None) -> list[Item]:
        found: dict[str, Item] = {}
        for row in self.client.iter_ground_truths(dataset_id):
            item = _item(row)
            # Files of no split (labels, descriptions) belong to every one.
            if splits is not None and item.split is not None and item.split not in splits:
                continue
            if found.setdefault(item.name, item) is not item:
                raise errors.ClientError(f"dataset {dataset_id} names {item.name!r} twice")
        missing = set(splits or ()) - {item.split for item in found.values()}
        if missing:
            raise errors.ClientError(
                f"dataset {dataset_id} has no file in the split {', '.join(sorted(missing))}"
            )
        return list(found.values())

    def _assemble(
        self, key: str, items: Sequence[Item], progress: Callable[[int, int], None] | None
    ) -> tuple[Path, int]:
        """Make or mend the folder of a dataset; returns it and the number of downloads."""
        folder = self.folder / "datasets" / key
        whole = self._record(key).is_file() and folder.is_dir()
        missing = [item for item in items if not (whole and _present(folder, item))]
        if not missing and whole:
            return folder, 0
        target = folder
        if not whole:
            shutil.rmtree(folder, ignore_errors=True)
            target = folder.with_name(f".{key}-{uuid.uuid4().hex}")
            target.mkdir(parents=True)
        done = downloaded = 0

        def fetch(same: list[Item]) -> tuple[int, int]:
            """Put all items of one content in place; returns how many, and downloads."""
            places = [target.joinpath(*item.name.split("/")) for item in same]
            for place in places:
                place.parent.mkdir(parents=True, exist_ok=True)
            item = same[0]
            if item.checksum is None:
                self.client.download(item.url, places[0], size=item.size)
                _seal(places[0])
                return 1, 1
            blob, fresh = self.file(item.url, item.checksum, item.size)
            for place in places:
                _link(blob, place)
            return len(same), int(fresh)

        contents: dict[str, list[Item]] = {}
        for item in missing:
            contents.setdefault(item.checksum or f"name {item.name}", []).append(item)
        try:
            with ThreadPoolExecutor(PARALLEL) as pool:
                pending = [pool.submit(fetch, same) for same in contents.values()]
                try:
                    for future in pending:
                        placed, fresh = future.result()
                        done += placed
                        downloaded += fresh
                        if progress is not None:
                            progress(len(items) - len(missing) + done, len(items))
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
            if target != folder:
                os.rename(target, folder)
        except BaseException:
            if target != folder:
                shutil.rmtree(target, ignore_errors=True)
            raise
        self._remember(key, items)
        return folder, downloaded

    def _record(self, key: str) -> Path:
        """Return the file that says a dataset's folder is complete, and lists it."""
        return self.folder / "datasets" / f"{key}.complete.json"

    def _kept(self, key: str) -> list[Item] | None:
        """Return the items of a complete dataset, if all are as they were laid out."""
        try:
            rows = json.loads(self._record(key).read_bytes())["items"]
            items = [Item(**row) for row in rows]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        folder = self.folder / "datasets" / key
        # Addresses may have changed since: what is to be fetched needs a fresh list.
        return items if all(_present(folder, item) for item in items) else None

    def _remember(self, key: str, items: Sequence[Item]) -> None:
        record = self._record(key)
        # Addresses are left out: they can be signed.
        rows = [
            {"name": i.name, "url": "", "checksum": i.checksum, "size": i.size, "split": i.split}
            for i in items
        ]
        temporary = record.with_name(f".{record.name}-{uuid.uuid4().hex}")
        temporary.write_text(json.dumps({"items": rows}, ensure_ascii=False), "utf-8")
        os.replace(temporary, record)

    @contextlib.contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        """Hold the user's lock of `key`, against other processes and threads."""
        import fcntl

        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / key).open("ab") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError as error:
                # A filesystem without locks: renames still keep results whole.
                if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                    raise
            yield


def _item(row: Json) -> Item:
    name = str(row.get("name") or "")
    if not name:
        name = _basename(str(row.get("file") or ""), "")
    pure = PurePosixPath(name)
    unsafe = pure.is_absolute() or ".." in pure.parts or not pure.parts
    if unsafe or "\\" in name or "\0" in name or pure.parts[0].endswith(":"):
        raise errors.ClientError(f"the dataset holds a file that may not be placed: {name!r}")
    if not row.get("file"):
        raise errors.ClientError(f"the dataset's {name!r} has no file")
    checksum = row.get("checksum")
    known = isinstance(checksum, str) and _SHA256.fullmatch(checksum.lower())
    size, split = row.get("size"), row.get("split")
    return Item(
        name=pure.as_posix(),
        url=str(row["file"]),
        checksum=str(checksum).lower() if known else None,
        size=size if isinstance(size, int) else None,
        split=split if isinstance(split, str) and split else None,
    )


def _digest(items: Sequence[Item]) -> str:
    rows = sorted((i.name, i.checksum or i.url.partition("?")[0], i.size or 0) for i in items)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _key(checksum: str, splits: Sequence[str] | None) -> str:
    if splits is None and re.fullmatch(r"[0-9a-f]{16,128}", checksum):
        return checksum
    return hashlib.sha256(json.dumps([checksum, splits]).encode()).hexdigest()


def _basename(url: str, given: str) -> str:
    from urllib.parse import unquote, urlsplit

    name = PurePosixPath(given or unquote(urlsplit(url).path)).name.replace("\\", "_")
    return name if name not in ("", ".", "..") and "\0" not in name else "file"


def _untouched(path: Path, size: int | None) -> bool:
    try:
        stat = path.stat()
    except OSError:
        return False
    return stat.st_mtime_ns == STAMP and (size is None or stat.st_size == size)


def _present(folder: Path, item: Item) -> bool:
    return _untouched(folder.joinpath(*item.name.split("/")), item.size)


def _seal(path: Path) -> None:
    """Mark a file as verified: read-only, with the fixed time."""
    path.chmod(0o444)
    os.utime(path, ns=(STAMP, STAMP))


def _link(blob: Path, place: Path) -> None:
    """Put `blob` at `place`, replacing what is there: by hard link, else as a copy.

    Descriptions in YAML are copies that may be written to: training code sets their `path`.
    """
    temporary = place.with_name(f".{uuid.uuid4().hex}")
    own = place.suffix.lower() in (".yaml", ".yml")
    try:
        if own:
            raise OSError
        os.link(blob, temporary)
    except OSError:
        shutil.copyfile(blob, temporary)
        if own:
            os.utime(temporary, ns=(STAMP, STAMP))
        else:
            _seal(temporary)
    os.replace(temporary, place)
    # Renaming one link of a file over another of the same file does nothing.
    temporary.unlink(missing_ok=True)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip into `folder`, whole or not at all."""
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        with zipfile.ZipFile(archive) as source:
            for entry in source.infolist():
                parts = PurePosixPath(entry.filename).parts
                if entry.filename.startswith("/") or ".." in parts or "\\" in entry.filename:
                    raise errors.ClientError(f"the model's archive names {entry.filename!r}")
            source.extractall(temporary)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise errors.ClientError(f"the model's archive cannot be read: {error}") from None
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    os.rename(temporary, folder)


def pack(folder: Path, archive: Path) -> None:
    """Write `folder` as a zip: the same files give the same bytes anywhere.

    Raises:
        ValueError: A folder in it is a symbolic link.
    """
    names = []
    for path in folder.rglob("*"):
        if path.is_symlink() and path.is_dir():
            raise ValueError(f"{path} is a link to a folder; put the folder itself there")
        if path.is_file():
            names.append((path.relative_to(folder).as_posix(), path))
    names.sort()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, path in names:
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
            with path.open("rb") as source, target.open(entry, "w", force_zip64=True) as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
