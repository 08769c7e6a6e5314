"""Owns looking at one action of a plugin: its class attributes and its params' schemas."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from synapse_sdk._worker.params import field_parts, refused
from synapse_sdk._worker.sources import Sources, failing_place
from synapse_sdk._worker.stubs import Stub, StubBase, StubModule, stub_in, top_of
from synapse_sdk.plugins.executors.invocation import reason as told
from synapse_sdk.plugins.results import plain

# What `repr` shows of an object that says nothing better.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+>")
_WITHOUT = "which inspection does without"


class Undetermined(Exception):
    """Why something cannot be known: a sentence, the absent module to blame, and where."""

    def __init__(
        self,
        sentence: str,
        *,
        module: str | None = None,
        place: dict[str, Any] | None = None,
        syntax: bool = False,
    ) -> None:
        super().__init__(sentence)
        self.module = module
        self.place = place
        self.syntax = syntax


def answer(**known: Any) -> dict[str, Any]:
    """Return one action's reply with every key there is."""
    return {
        "kind": None,
        "metadata": None,
        "metadata_reason": None,
        "model": None,
        "ui_schemas": None,
        "excluded": [],
        "exclude_model": False,
        "refused": None,
        "reason": None,
        "module": None,
        "place": None,
        "syntax": False,
        **known,
    }


class Look:
    """Looks at the actions of one plugin, whose modules are imported as they are needed.

    Args:
        folder: The plugin's directory.
        sources: What imports it, or None where the normal machinery does.
    """

    def __init__(self, folder: str, sources: Sources | None) -> None:
        self.folder = folder
        self.sources = sources
        self._failed: dict[str, Undetermined] = {}

    def action(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Return the reply for one wanted action. Never raises on account of the plugin."""
        found = answer()
        target: Any = None
        missed: Undetermined | None = None
        try:
            target = self._action(wanted["module"], wanted["object"])
            found["kind"] = "class" if isinstance(target, type) else "function"
            found["metadata"] = _metadata(target)
        except Undetermined as why:
            missed = why
            found["metadata_reason"] = str(why)
        if wanted.get("check") and missed is None:
            found["refused"] = refused(target, wanted.get("given"), self._text)
        try:
            if not wanted.get("ui", True):
                found["syntax"] = missed is not None and missed.syntax
                return found
            if wanted.get("params"):
                module, _, name = wanted["params"].rpartition(":")
                model = self._object(module, name)
            elif missed is not None:
                raise missed
            else:
                model = _params(target, wanted["object"])
            if model is None:
                found["ui_schemas"] = []
            else:
                found.update(self._schemas(model, wanted["action"]))
        except Undetermined as why:
            found.update(reason=str(why), module=why.module, place=why.place, syntax=why.syntax)
        return found

    def _action(self, module: str, name: str) -> Any:
        target = self._object(module, name)
        if isinstance(target, (Stub, StubModule)):
            raise _blamed(f"`{name}` comes from", stub_in(target))
        if isinstance(target, type):
            if not hasattr(target, "dispatch"):
                if issubclass(target, StubBase):
                    raise _blamed(f"`{name}` derives from", stub_in(target))
                raise Undetermined(f"`{name}` is not an action")
        elif not callable(target):
            raise Undetermined(f"`{name}` is not an action")
        return target

    def _object(self, module: str, name: str) -> Any:
        found: Any = self._module(module)
        for part in name.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                raise Undetermined(f"{module} has no {name}") from None
        return found

    def _module(self, module: str) -> Any:
        if module in self._failed:
            raise self._failed[module]
        try:
            return import_module(module)
        except BaseException as error:
            self._failed[module] = self._failure(module, error)
            raise self._failed[module] from None

    def _failure(self, module: str, error: BaseException) -> Undetermined:
        place = failing_place(error, self.folder)
        uncompiled = self.sources.uncompiled if self.sources else None
        if isinstance(error, SyntaxError) or error is uncompiled:
            where = place["file"] if place else module
            text = getattr(error, "msg", None) or str(error)
            line = f" (line {place['line']})" if place else ""
            sentence = f"{where} cannot be compiled: {text}{line}"
            own = self.sources is None or error is uncompiled
            return Undetermined(sentence, place=place, syntax=own)
        if isinstance(error, SystemExit):
            return Undetermined("importing it ends the process", place=place)
        missing = isinstance(error, ModuleNotFoundError) and error.name
        if missing and place is None and f"{module}.".startswith(f"{missing}."):
            return Undetermined(f"there is no module {missing}")
        text = told(error)
        if not text.startswith(type(error).__name__):
            text = f"{type(error).__name__}: {text}"
        text = text.replace(self.folder + os.sep, "").replace(os.getcwd() + os.sep, "")
        return Undetermined(f"importing {module} fails: {text}", place=place)

    def _schemas(self, model: Any, action: str) -> dict[str, Any]:
        from pydantic import BaseModel

        name = getattr(model, "__name__", "the params")
        stub = stub_in(model)
        if stub is not None:
            raise _blamed(f"`{name}` derives from", stub)
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise Undetermined(f"`{name}` is not a pydantic model")
        for field, part in field_parts(model):
            stub = stub_in(part)
            if stub is not None:
                raise _blamed(f"the field `{field}` of `{name}` uses", stub)
        from synapse_sdk.plugins.ui_schema import get_action_ui_schema

        try:
            schemas: Any = get_action_ui_schema(model, action)["ui_schemas"]
        except Exception as error:
            raise Undetermined(f"the form of `{name}` cannot be made: {told(error)}") from error
        schemas = plain(schemas, finite=True)
        for item in schemas:
            if any(_ADDRESS.search(text) for text in _texts(item)):
                raise Undetermined(
                    f"the default of `{item.get('name')}` of `{name}` has no plain form"
                )
            local = next((text for text in _texts(item) if self._local(text)), None)
            if local is not None:
                raise Undetermined(
                    f"the default of `{item.get('name')}` of `{name}` is a path of this machine"
                )
        return {
            "model": f"{model.__module__}:{model.__qualname__}",
            "ui_schemas": schemas,
            "excluded": [n for n, field in model.model_fields.items() if _excluded(field)],
            "exclude_model": _marks(model.model_config.get("json_schema_extra")),
        }

    def _text(self, module: str) -> str | None:
        place = module.replace(".", "/")
        sources = self.sources.texts if self.sources else {}
        return next(
            (sources[p] for p in (f"{place}.py", f"{place}/__init__.py") if p in sources), None
        )

    def _local(self, text: str) -> bool:
        home = os.path.expanduser("~")
        places = [self.folder, os.getcwd(), *([home] if home.count(os.sep) > 1 else [])]
        return any(f"{text}{os.sep}".startswith(place + os.sep) for place in places)


def look_at(target: type) -> None:
    """Look at an action class as at a plugin's, for what stays warm after it."""
    model = _params(target, target.__name__)
    if model is not None:
        Look(os.sep, None)._schemas(model, _metadata(target)["action_name"] or "")


def _blamed(start: str, stub: str | None) -> Undetermined:
    module = top_of(stub or "?")
    return Undetermined(f"{start} {module}, {_WITHOUT}", module=module)


def _params(target: Any, name: str) -> Any:
    if not isinstance(target, type):
        model = getattr(target, "_action_params", None)
    else:
        model = getattr(target, "params_model", None)
        if model is None:
            stub = next((stub for stub in map(stub_in, _generics(target)) if stub), None)
            if stub is not None:
                raise _blamed(f"the params of `{name}` derive from", stub)
    stub = stub_in(model)
    if stub is not None and not (isinstance(model, type) and hasattr(model, "model_fields")):
        raise _blamed(f"the params of `{name}` derive from", stub)
    return model if isinstance(model, type) else None


def _generics(target: type) -> Iterator[Any]:
    for step in target.__mro__:
        for base in step.__dict__.get("__orig_bases__", ()):
            yield from getattr(base, "__args__", ())


def _metadata(target: Any) -> dict[str, Any]:
    prefix = "" if isinstance(target, type) else "_action_"

    def text(name: str) -> str | None:
        value = getattr(target, name, None)
        if stub_in(value) is not None:
            return None
        value = getattr(value, "value", value)
        return value if isinstance(value, str) else None

    def semantic(name: str) -> str | None:
        value = getattr(target, name, None)
        value = getattr(value, "name", None) if isinstance(value, type) else value
        return value if isinstance(value, str) else None

    return {
        "action_name": text("action_name" if not prefix else "_action_name"),
        "method": text(f"{prefix}method"),
        "category": text(f"{prefix}category"),
        "description": text(f"{prefix}description"),
        "input_type": semantic("input_type"),
        "output_type": semantic("output_type"),
    }


def _excluded(field: Any) -> bool:
    return _marks(field.json_schema_extra)


def _marks(extra: Any) -> bool:
    return isinstance(extra, dict) and bool(extra.get("exclude_from_ui"))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
