"""Owns what stands in for modules that inspection does without: objects that can be used like
anything at import time, and that are recognised where they end up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Union

# Starts every text made of a stub, so that one is recognised in a default.
MARK = "<absent:"
_BASES: dict[str, type] = {}
_ERRORS: dict[str, type[BaseException]] = {}


class Stub:
    """An attribute of an absent module, or anything computed from one. False, empty, callable."""

    def __init__(self, name: str) -> None:
        self.__dict__["_stub_name"] = name

    def __repr__(self) -> str:
        return f"{MARK}{self._stub_name}>"

    __str__ = __repr__

    def __fspath__(self) -> str:
        return repr(self)

    def __format__(self, spec: str) -> str:
        return repr(self)

    # As an object.

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, self.__dict__["_stub_name"], name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _called(self._stub_name, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        return Stub(f"{self._stub_name}[]")

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __delitem__(self, key: Any) -> None:
        pass

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __reversed__(self) -> Iterator[Any]:
        return iter(())

    def __contains__(self, item: Any) -> bool:
        return False

    def __hash__(self) -> int:
        return hash(self._stub_name)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __copy__(self) -> Stub:
        return self

    def __deepcopy__(self, memo: Any) -> Stub:
        return self

    def __reduce__(self) -> Any:
        return Stub, (self._stub_name,)

    # As a context, awaitable and descriptor's part.

    def __enter__(self) -> Any:
        return Stub(f"{self._stub_name}.__enter__()")

    def __exit__(self, *exception: Any) -> None:
        pass

    async def __aenter__(self) -> Any:
        return self.__enter__()

    async def __aexit__(self, *exception: Any) -> None:
        pass

    def __await__(self) -> Iterator[Any]:
        return iter(())

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        raise StopAsyncIteration

    # As a number.

    def __int__(self) -> int:
        return 0

    def __index__(self) -> int:
        return 0

    def __float__(self) -> float:
        return 0.0

    def __complex__(self) -> complex:
        return 0j

    def __lt__(self, other: Any) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __lt__

    # As a type.

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (base_of(self._stub_name),)

    def __instancecheck__(self, instance: Any) -> bool:
        return False

    def __subclasscheck__(self, subclass: Any) -> bool:
        return False

    def __or__(self, other: Any) -> Any:
        return Union[self, other] if _type_like(other) else _computed(self)  # noqa: UP007

    def __ror__(self, other: Any) -> Any:
        return Union[other, self] if _type_like(other) else _computed(self)  # noqa: UP007

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return _any_schema() if source is self else handler(source)


def _computed(self: Stub, *_others: Any) -> Stub:
    return Stub(f"{self._stub_name}~")


for _name in (
    *(
        f"__{side}{name}__"
        for name in [
            "add",
            "sub",
            "mul",
            "matmul",
            "truediv",
            "floordiv",
            "mod",
            "pow",
            "lshift",
            "rshift",
            "and",
            "xor",
        ]
        for side in ("", "r", "i")
    ),
    *(
        f"__{name}__"
        for name in ["ior", "divmod", "rdivmod", "neg", "pos", "abs", "invert", "round"]
    ),
):
    setattr(Stub, _name, _computed)
for _name in ("__trunc__", "__floor__", "__ceil__"):
    setattr(Stub, _name, Stub.__int__)


def _type_like(other: Any) -> bool:
    return (
        other is None
        or isinstance(other, (type, Stub))
        or getattr(type(other), "__module__", "") in ("typing", "types", "typing_extensions")
    )


def _called(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if len(args) == 1 and not kwargs:
        (given,) = args
        wrapped = isinstance(given, (staticmethod, classmethod, property))
        if not isinstance(given, Stub) and (wrapped or callable(given)):
            return given
    if len(args) == 3 and isinstance(args[0], str) and isinstance(args[1], tuple):
        made, bases, names = args
        if isinstance(names, dict) and "__module__" in names:
            return type(made, bases, names)
    return Stub(f"{name}()")


def _attribute(owner: Any, path: str, name: str) -> Any:
    if name.startswith("__") and name.endswith("__") and name not in ("__version__", "__file__"):
        raise AttributeError(f"{path} has no {name}")
    full = f"{path}.{name}"
    made: Any
    if name.endswith(("Error", "Exception", "Warning")) and name[0].isupper():
        made = _error_of(full)
    else:
        made = Stub(full)
    owner.__dict__[name] = made
    return made


class StubBase:
    """What classes derive from whose base is a stub."""

    _stub_name = "?"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__()

    def __class_getitem__(cls, key: Any) -> Any:
        return cls

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, f"{type(self)._stub_name}()", name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _called(type(self)._stub_name, args, kwargs)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic import BaseModel

        if issubclass(cls, BaseModel):
            return super().__get_pydantic_core_schema__(source, handler)  # type: ignore[misc]
        return _any_schema()


def base_of(name: str) -> type:
    """Return the class that stands for the stub `name` as a base."""
    found = _BASES.get(name)
    if found is None:
        short = name.rpartition(".")[2].strip("[]()~") or "Base"
        module = name.rpartition(".")[0] or name
        found = type(short, (StubBase,), {"_stub_name": name, "__module__": module})
        _BASES[name] = found
    return found


def _error_of(name: str) -> type[BaseException]:
    found = _ERRORS.get(name)
    if found is None:
        module, _, short = name.rpartition(".")
        base = Warning if short.endswith("Warning") else Exception
        found = type(short, (base,), {"_stub_name": name, "__module__": module})
        _ERRORS[name] = found
    return found


def _any_schema() -> Any:
    from pydantic_core import core_schema

    return core_schema.any_schema()


class StubModule(ModuleType):
    """An absent module."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return _attribute(self, self.__name__, name)


class StubLoader:
    """Makes stub modules, and knows the top-level names of those that were asked for."""

    def __init__(self) -> None:
        self.made: set[str] = set()

    def spec(self, name: str) -> ModuleSpec:
        """Return the spec of the stub module `name`."""
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make the module; the import system calls this."""
        self.made.add(spec.name.partition(".")[0])
        return StubModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: there is no code."""


def stub_in(value: Any, depth: int = 0) -> str | None:
    """Return the name of a stub that `value` (an annotation, a default) is or holds, if any."""
    if isinstance(value, Stub):
        return str(value._stub_name)
    # By `type()`: on 3.10 `list[int]` claims to be a class.
    if issubclass(type(value), type):
        return next((name for name in map(_named, value.__mro__) if name), None)
    if isinstance(value, StubBase):
        return _named(type(value)) or type(value).__name__
    if isinstance(value, StubModule):
        return value.__name__
    if isinstance(value, str):
        start = value.find(MARK)
        return value[start + len(MARK) :].partition(">")[0] if start >= 0 else None
    if depth > 8 or value is None or isinstance(value, (int, float, bytes)):
        return None
    parts: list[Any] = []
    if isinstance(value, Mapping):
        parts += [*value.keys(), *value.values()]
    elif isinstance(value, (Sequence, set, frozenset)):
        parts += value
    else:
        parts += getattr(value, "__args__", None) or ()
        parts += getattr(value, "__metadata__", None) or ()
        origin = getattr(value, "__origin__", None)
        parts += [origin] if origin is not None else []
        if hasattr(value, "_member_map_"):
            parts.append(value.value)
        elif hasattr(value, "__fspath__"):
            parts.append(str(value))
    found = (stub_in(part, depth + 1) for part in parts)
    return next((name for name in found if name), None)


def _named(step: type) -> str | None:
    return step.__dict__.get("_stub_name") if step is not StubBase else None


def top_of(name: str) -> str:
    """Return the module at the top of a stub's name."""
    return name.partition(".")[0].partition("[")[0].partition("(")[0]
