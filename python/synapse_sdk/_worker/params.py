"""Owns holding params against an action's model before its environment is made."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args

from synapse_sdk._worker.stubs import stub_in

# Kinds of errors that depend on the plugin's own code, or on files that are not there.
_NOT_OURS = ("value_error", "assertion_error", "path_")
# Steps of a schema in which code runs before pydantic has looked, and changes what it sees.
_BEFORE = ("function-before", "function-wrap", "function-plain")


# Where names come from that mean the same in every environment.
_KNOWN = ("pydantic", "typing", "typing_extensions", "annotated_types")


def refused(
    target: Any, given: Any, text_of: Callable[[str], str | None]
) -> list[dict[str, Any]] | None:
    """Return what is certainly wrong with the params `given` to an action; None if nothing is.

    Errors that a run in the action's own environment may not have are left out: those of the
    plugin's validators, of models that use an absent module, and of fields whose declaration is
    not written out, since it may depend on variables, files and packages. `text_of` gives a
    module's source. Each error is `{"loc": [...], "message": str, "type": str, "input": ...}`, as a
    run reports it.
    """
    from pydantic import ValidationError

    from synapse_sdk._worker.report import field_errors
    from synapse_sdk.plugins.executors.invocation import action_class, model_errors, params_model_of

    try:
        model: Any = params_model_of(action_class(target))
        if model is None or stub_in(model):
            return None
        if any(stub_in(part) for part in deep_parts(model, set())):
            return None
        if any(step in _BEFORE for step in _steps(model.__pydantic_core_schema__)):
            return None
        try:
            model.model_validate({} if given is None else given, context={"client": None})
            return None
        except ValidationError as error:
            errors = _certain(model_errors(error, model))
            return field_errors([own for own in errors if _plain(own, model, text_of)]) or None
    except Exception:
        # Whatever the plugin's code does here, a run will tell.
        return None


def _plain(error: dict[str, Any], model: Any, text_of: Callable[[str], str | None]) -> bool:
    """Say whether what an error goes by is written out in the source."""
    if not error["loc"]:
        return bool(error["type"] == "model_type")
    name = error["loc"][0]
    steps = [step for step in model.__mro__ if name in inspect.get_annotations(step)]
    owner: Any = steps[0] if steps else None
    text = text_of(owner.__module__) if owner is not None else None
    if text is None or model.model_config.get("strict"):
        return False
    tree = ast.parse(text)
    bodies = [
        own.body
        for own in tree.body
        if isinstance(own, ast.ClassDef) and own.name == owner.__qualname__
    ]
    if len(bodies) != 1:
        return False
    fields = [
        own
        for own in bodies[0]
        if isinstance(own, ast.AnnAssign)
        and isinstance(own.target, ast.Name)
        and own.target.id == name
    ]
    names = _names_of(tree)
    if not names.get("*", True):
        return False
    return len(fields) == 1 and all(
        names.get(own.id, isinstance(getattr(builtins, own.id, None), type))
        if isinstance(own, ast.Name)
        # A name in quotes.
        else not (isinstance(own, ast.Constant) and isinstance(own.value, str) and of_type)
        for part, of_type in ((fields[0].annotation, True), (fields[0].value, False))
        for own in _without_literals(part)
    )


def _without_literals(part: ast.AST | None) -> Iterator[ast.AST]:
    """Yield all of an expression but the texts that `Literal[...]` lists."""
    if part is None:
        return
    yield part
    if isinstance(part, ast.Subscript) and isinstance(part.value, ast.Name):
        listed = part.slice.elts if isinstance(part.slice, ast.Tuple) else [part.slice]
        if part.value.id == "Literal" and all(isinstance(own, ast.Constant) for own in listed):
            yield part.value
            return
    for inner in ast.iter_child_nodes(part):
        yield from _without_literals(inner)


def _names_of(tree: ast.Module) -> dict[str, bool]:
    """Map each name that a module binds anywhere to whether it means the same everywhere."""
    found: dict[str, bool] = {}

    def bind(name: str, known: bool) -> None:
        found[name] = known and found.get(name, True)

    for own in ast.walk(tree):
        if isinstance(own, ast.ImportFrom):
            known = not own.level and (own.module or "").partition(".")[0] in _KNOWN
            for alias in own.names:
                bind(alias.asname or alias.name, known)
        elif isinstance(own, ast.Import):
            for alias in own.names:
                top = alias.name.partition(".")[0]
                bind(alias.asname or top, top in _KNOWN)
        elif isinstance(own, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bind(own.name, False)
        elif isinstance(own, ast.Name) and isinstance(own.ctx, ast.Store):
            bind(own.id, False)
    return found


def _certain(errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out errors that the plugin's code had a part in, and others of the same field."""
    from pydantic_core.core_schema import ErrorType

    known = get_args(ErrorType)
    doubtful = {
        str(error["loc"][:1])
        for error in errors
        if error["type"] not in known or error["type"].startswith(_NOT_OURS)
    }
    if str([]) in doubtful:
        return []
    return [error for error in errors if str(error["loc"][:1]) not in doubtful]


def _steps(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema["type"]
        for name, part in schema.items():
            # Not validation: what is written, and what is only told.
            if name not in ("serialization", "metadata"):
                yield from _steps(part)
    elif isinstance(schema, (list, tuple)):
        for part in schema:
            yield from _steps(part)


def deep_parts(model: Any, seen: set[type]) -> Iterator[Any]:
    """Yield every part of a model's fields that may hold a stub, nested models included."""
    seen.add(model)
    for _, part in field_parts(model):
        yield part
        for inner in _models(part):
            if inner not in seen:
                yield from deep_parts(inner, seen)


def field_parts(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield each field's name with each of its parts."""
    for name, field in model.model_fields.items():
        # A factory is left out: it never shows in a form.
        for part in (
            field.annotation,
            field.metadata,
            field.default,
            field.json_schema_extra,
            field.description,
            field.title,
        ):
            yield name, part


def _models(part: Any) -> Iterator[Any]:
    if issubclass(type(part), type) and hasattr(part, "model_fields"):
        yield part
    for inner in getattr(part, "__args__", None) or ():
        yield from _models(inner)
