"""Owns importing a plugin from memory: its own sources, the standard library, the SDK and
pydantic; everything else is a stub."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder
from types import CodeType, FrameType, ModuleType
from typing import Any

from synapse_sdk._worker.stubs import StubLoader

# What an inspection may import for real: the base environment holds it on every machine.
REAL = frozenset(
    {
        "synapse_sdk",
        "pydantic",
        "pydantic_core",
        "annotated_types",
        "typing_extensions",
        "typing_inspection",
    }
)
# Standard modules that some builds of Python lack, and the part whose absence tells.
_OPTIONAL = {
    "bz2": "_bz2",
    "ctypes": "_ctypes",
    "curses": "_curses",
    "dbm": "_dbm",
    "lzma": "_lzma",
    "readline": "readline",
    "sqlite3": "_sqlite3",
    "ssl": "_ssl",
    "tkinter": "_tkinter",
    "zoneinfo": "_zoneinfo",
}


class Sources:
    """A plugin's Python files, as a finder and loader of modules.

    Args:
        folder: Where the plugin is; modules get their real `__file__`.
        texts: File contents by path relative to `folder`, with `/`.
        path: `sys.path` as it was, for what is imported for real.
    """

    def __init__(self, folder: str, texts: Mapping[str, str], path: Sequence[str]) -> None:
        self.folder = folder
        self.texts = {name: text for name, text in texts.items() if name.endswith(".py")}
        self.path = list(path)
        self.stubs = StubLoader()
        self.uncompiled: SyntaxError | ValueError | None = None
        self._folders = {
            name[:end] for name in self.texts for end in range(len(name)) if name[end] == "/"
        }
        self._tops = {name.partition("/")[0].removesuffix(".py") for name in self.texts}

    # As a finder.

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of any module; None where there is nothing of that name."""
        own = self._own(name)
        if own is not None:
            return own
        top = name.partition(".")[0]
        if top in REAL or top in sys.stdlib_module_names:
            return self._standard(name, top, path)
        if top in self._tops:
            return self._namespace(name)
        # The standard library and the SDK try some modules and do without: so they shall.
        return self.stubs.spec(name) if self._asked_by_plugin() else None

    def _asked_by_plugin(self) -> bool:
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            asker = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if asker not in ("importlib", "_frozen_importlib", "_frozen_importlib_external"):
                file = str(frame.f_globals.get("__file__", ""))
                own = file.startswith(self.folder + os.sep)
                return own or not (asker in REAL or asker in sys.stdlib_module_names)
            frame = frame.f_back
        return True

    def _own(self, name: str) -> ModuleSpec | None:
        base = name.replace(".", "/")
        for file, package in ((f"{base}/__init__.py", True), (f"{base}.py", False)):
            if file in self.texts:
                origin = os.path.join(self.folder, file)
                spec = ModuleSpec(name, self, origin=origin, is_package=package)  # type: ignore[arg-type]
                spec.has_location = True
                if package:
                    spec.submodule_search_locations = [os.path.dirname(origin)]
                return spec
        return None

    def _namespace(self, name: str) -> ModuleSpec | None:
        base = name.replace(".", "/")
        if base not in self._folders:
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [os.path.join(self.folder, base)]
        return spec

    def _standard(self, name: str, top: str, path: Sequence[str] | None) -> ModuleSpec | None:
        if name == top and top in _OPTIONAL and _lacks(_OPTIONAL[top], self.path):
            return self.stubs.spec(name)
        if path is None:
            found = BuiltinImporter.find_spec(name) or FrozenImporter.find_spec(name)
            found = found or PathFinder.find_spec(name, self.path)
        else:
            found = FrozenImporter.find_spec(name, path) or PathFinder.find_spec(name, path)
        if found is None and name == top and top in self._tops:
            return self._namespace(name)
        return found

    # As a loader.

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave making the module to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's source in it."""
        exec(self.get_code(module.__name__), vars(module))

    def get_code(self, name: str) -> CodeType:
        """Return a module's compiled source. Raises SyntaxError or ValueError."""
        try:
            return compile(self.get_source(name), self.get_filename(name), "exec", 0, True)
        except (SyntaxError, ValueError) as error:
            self.uncompiled = error
            raise

    def get_source(self, name: str) -> str:
        """Return a module's source; tracebacks and `inspect` ask."""
        return self.texts[os.path.relpath(self.get_filename(name), self.folder)]

    def get_filename(self, name: str) -> str:
        """Return a module's real file."""
        spec = self._own(name)
        if spec is None or spec.origin is None:
            raise ImportError(f"no module {name} in the sources", name=name)
        return spec.origin

    def is_package(self, name: str) -> bool:
        """Say whether a module is a package."""
        spec = self._own(name)
        return spec is not None and spec.submodule_search_locations is not None

    # As this process's imports.

    def take_over(self, strangers: Sequence[str]) -> None:
        """Make this the only way in which this process imports anything from now on.

        No finder that knows distributions is left, so `importlib.metadata` finds none, installed
        or not. `strangers` are modules to forget.
        """
        # After a fork whatever is touched is copied: no walk through all modules here, and what the
        # finders of folders remember stays, since they mind the folders' times.
        for name in strangers:
            sys.modules.pop(name, None)
        sys.meta_path[:] = [self]
        sys.path[:] = [self.folder, *(entry for entry in self.path if not _site(entry))]


def strangers() -> list[str]:
    """Name the modules of this process that are not there on every machine.

    A `.pth` file of the environment may have imported them.
    """
    found = []
    for name in sys.modules:
        top = name.partition(".")[0]
        known = top in REAL or top in sys.stdlib_module_names or top == "__main__"
        if not known and not top.startswith("_frozen"):
            found.append(name)
    return found


def _lacks(part: str, path: Sequence[str]) -> bool:
    if part in sys.modules or part in sys.builtin_module_names:
        return False
    return PathFinder.find_spec(part, path) is None


def _site(entry: str) -> bool:
    return any(part in ("site-packages", "dist-packages") for part in entry.split(os.sep))


def failing_place(error: BaseException, folder: str) -> dict[str, Any] | None:
    """Return {"file", "line"} of the plugin's line at which an import failed."""
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno or 1
        if file.startswith(folder + os.sep):
            return {"file": os.path.relpath(file, folder), "line": line}
    found = None
    step = error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file.startswith(folder + os.sep):
            found = {"file": os.path.relpath(file, folder), "line": step.tb_lineno}
        step = step.tb_next
    return found
