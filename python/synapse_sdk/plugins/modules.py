"""Owns keeping plugins apart within one process: each one's modules are there only while it is
at work, although all of them may be called `plugin.train`."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

# Never exchanged, whatever a plugin calls its files.
_SHARED = frozenset({"synapse_sdk", "synapse_native", "pydantic", "pydantic_core", "__main__"})


class _Frame:
    """A plugin at work: who began it, and how many threads are in it."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.thread = threading.get_ident()
        self.users = 1
        self.path = list(sys.path)
        self.displaced: dict[str, ModuleType] = {}
        self.home = False


_turn = threading.Condition()
_frames: list[_Frame] = []


class PluginModules:
    """The modules of the plugin in `root`."""

    def __init__(self, root: str | Path) -> None:
        self.root = os.path.realpath(root)
        self._kept: dict[str, ModuleType] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the plugin importable, and only this one; put everything back afterwards.

        Modules that it imported are kept for the next time. May be nested. While one thread is
        in a plugin, others wait for their turn with another one.
        """
        frame = self._enter()
        try:
            yield
        finally:
            self._leave(frame)

    def owns(self, module: ModuleType | None) -> bool:
        """Say whether a module comes from the plugin's own files, an environment within not."""
        places = [getattr(module, "__file__", None)]
        if places[0] is None:
            try:
                places = list(getattr(module, "__path__", []))
            except Exception:
                return False
        return any(isinstance(place, str) and self._within(place) for place in places)

    def _within(self, place: str) -> bool:
        real = os.path.realpath(place)
        if not f"{real}{os.sep}".startswith(self.root + os.sep):
            return False
        inner = real[len(self.root) :].split(os.sep)
        return "site-packages" not in inner and "dist-packages" not in inner

    def _enter(self) -> _Frame:
        with _turn:
            _turn.wait_for(
                lambda: (
                    not _frames
                    or _frames[-1].thread == threading.get_ident()
                    or _frames[-1].root == self.root
                )
            )
            if _frames and _frames[-1].root == self.root:
                _frames[-1].users += 1
                return _frames[-1]
            frame = _Frame(self.root)
            self._install(frame)
            _frames.append(frame)
            return frame

    def _leave(self, frame: _Frame) -> None:
        with _turn:
            frame.users -= 1
            if frame.users == 0:
                self._remove(frame)
                _frames.remove(frame)
            _turn.notify_all()

    def _install(self, frame: _Frame) -> None:
        frame.home = any(os.path.realpath(entry or os.getcwd()) == self.root for entry in sys.path)
        names = self._names()
        frame.displaced = {
            name: module
            for name, module in sys.modules.items()
            if self._in_the_way(name, module, names)
        }
        for name in frame.displaced:
            del sys.modules[name]
        for name, module in self._kept.items():
            sys.modules.setdefault(name, module)
        sys.path.insert(0, self.root)
        importlib.invalidate_caches()

    def _remove(self, frame: _Frame) -> None:
        own = {name: module for name, module in sys.modules.items() if self.owns(module)}
        self._kept = own
        if not frame.home or frame.displaced:
            for name in own:
                if name not in _SHARED:
                    del sys.modules[name]
        sys.modules.update(frame.displaced)
        sys.path[:] = frame.path
        importlib.invalidate_caches()

    def _names(self) -> dict[str, bool]:
        """Return the plugin's top-level module names, with whether each is a regular one."""
        names: dict[str, bool] = {}
        with os.scandir(self.root) as entries:
            for entry in entries:
                name, suffix = os.path.splitext(entry.name)
                if suffix == ".py" and name.isidentifier():
                    names[name] = True
                elif entry.name.isidentifier() and entry.is_dir():
                    regular = os.path.isfile(os.path.join(entry.path, "__init__.py"))
                    names.setdefault(entry.name, regular)
        return names

    def _in_the_way(self, name: str, module: ModuleType | None, names: dict[str, bool]) -> bool:
        top = name.partition(".")[0]
        if top not in names or top in _SHARED or top in sys.stdlib_module_names:
            return False
        if self.owns(module):
            return False
        # A folder without __init__.py gives way to an installed package, as it does in Python.
        place = getattr(module, "__file__", None) or ""
        return names[top] or "site-packages" not in place
