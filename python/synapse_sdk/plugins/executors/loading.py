"""Owns finding the action that an entrypoint names."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from synapse_sdk.plugins.errors import ActionNotFoundError


class EntrypointError(ActionNotFoundError):
    """An entrypoint that names nothing, or something that is no action.

    `details` holds `module` and `object`.
    """


def split_entrypoint(text: str) -> tuple[str, str]:
    """Return (module, object) of `module:Object` or `module.Object`. Raises EntrypointError."""
    mark = ":" if ":" in text else "."
    module, _, name = text.strip().rpartition(mark)
    if not module or not all(part.isidentifier() for part in f"{module}.{name}".split(".")):
        raise EntrypointError(
            f"the entrypoint {text!r} is neither module.path:ClassName nor module.path.ClassName",
            details={"module": None, "object": None},
        )
    return module, name


def load_entrypoint(text: str) -> Any:
    """Import what `text` names, a class or a function, and return it.

    Raises EntrypointError when the module or the object is not there or is no action; whatever
    the module raises while it is imported comes through.
    """
    module, name = split_entrypoint(text)
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        # The entrypoint's own module, not one that it imports.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        if _imported_by_plugin(error):
            raise
        raise EntrypointError(
            f"there is no module {error.name}", details={"module": module, "object": name}
        ) from None
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise EntrypointError(
                f"{module} has no {name}{_near(found, part)}",
                details={"module": module, "object": name},
            ) from None
    if not is_action(found):
        raise EntrypointError(
            f"{module}:{name} is no action: it is neither a class with `execute` that derives "
            "from BaseAction nor a function",
            details={"module": module, "object": name},
        )
    return found


def is_action(found: Any) -> bool:
    """Say whether `found` can be executed: an action class, or a function."""
    if isinstance(found, type):
        return hasattr(found, "dispatch")
    return callable(found)


def _imported_by_plugin(error: ModuleNotFoundError) -> bool:
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if "importlib" not in code.co_filename and code.co_filename != __file__:
            return True
        step = step.tb_next
    return False


def _near(found: Any, name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, [n for n in vars(found) if not n.startswith("_")], 1)
    return f"; did you mean {near[0]}?" if near else ""
