"""Objects as plain data, and back. The form is Keras's, so that each library reads what the other wrote."""

from __future__ import annotations

import base64
import contextvars
import inspect
import marshal
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.errors import did_you_mean

_registered: dict[str, Any] = {}  # "package>name" -> class or function
_names: dict[Any, str] = {}  # and back
_NONE: Mapping[str, Any] = types.MappingProxyType({})
_in_scope: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar("pellucid_custom_objects", default=_NONE)
_safe: contextvars.ContextVar[bool] = contextvars.ContextVar("pellucid_safe_mode", default=True)
_aliases: dict[str, Any] = {}  # Keras's names of what has another name here
_FUNCTIONS = tuple(f"pellucid.{place}" for place in ("activations", "losses", "metrics", "ops"))  # whose names alone are enough
_TYPES: dict[str, type] = {t.__name__: t for t in (bool, int, float, complex, str)}


# ---- Classes and functions of the user's own ----


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Any], Any]:
    """A decorator: a class or function is found again by the name ``package>name`` when a config is read.

    Args:
        package: tells equal names of several projects apart.
        name: by default that of the class or function.

    Raises:
        TypeError: for what is neither.
        ValueError: for a class without ``get_config``.

    Example:
        >>> import pellucid
        >>> @pellucid.saving.register_keras_serializable("my_project")
        ... class Twice(pellucid.layers.Layer):
        ...     def call(self, x):
        ...         return 2 * x
        >>> pellucid.saving.get_registered_name(Twice)
        'my_project>Twice'
    """

    def register(thing: Any) -> Any:
        if not isinstance(thing, type) and not isinstance(thing, types.FunctionType):
            raise TypeError(f"register_keras_serializable: got {thing!r}; expected a class or a function, under the decorator.")
        if isinstance(thing, type) and not hasattr(thing, "get_config"):
            raise ValueError(
                f"register_keras_serializable: the class {thing.__name__!r} has no get_config. Define `def get_config(self): …`, which "
                "returns the arguments of __init__ as a dict, and the classmethod from_config."
            )
        registered = f"{package}>{name or thing.__name__}"
        _registered[registered], _names[thing] = thing, registered
        return thing

    return register


def get_custom_objects() -> dict[str, Any]:
    """The table of registered classes and functions by name. It may be changed."""
    return _registered


def get_registered_name(obj: Any) -> str:
    """The name under which a class or function was registered, else its own."""
    return _names.get(obj) or obj.__name__


def get_registered_object(name: str, custom_objects: dict[str, Any] | None = None, module_objects: dict[str, Any] | None = None) -> Any:
    """The class or function of a name, or None: in the scope, among the registered ones, in two further tables."""
    for table in (_in_scope.get(), _registered, custom_objects or {}, module_objects or {}):
        if name in table:
            return table[name]
    return None


class CustomObjectScope:
    """Inside the ``with`` classes and functions are known by the given names.

    Args:
        custom_objects: from names to classes or functions.

    Example:
        >>> import pellucid
        >>> def double(x):
        ...     return 2 * x
        >>> with pellucid.saving.custom_object_scope({"double": double}):
        ...     pellucid.activations.get("double") is double
        True
    """

    def __init__(self, custom_objects: dict[str, Any]):
        if not isinstance(custom_objects, dict):
            raise TypeError(f"custom_object_scope: custom_objects={custom_objects!r}; expected a dict from names to classes or functions.")
        self.custom_objects = custom_objects
        self._tokens: list[Any] = []

    def __enter__(self) -> CustomObjectScope:
        self._tokens.append(_in_scope.set({**_in_scope.get(), **self.custom_objects}))
        return self

    def __exit__(self, *_: Any) -> None:
        _in_scope.reset(self._tokens.pop())


custom_object_scope = CustomObjectScope


def alias(name: str, thing: Any) -> None:
    """Enters a class under a name that Keras writes for it."""
    _aliases[name] = thing


# ---- Names of classes and functions ----


def is_ours(thing: Any) -> bool:
    """Whether a class or function is the library's own."""
    return (getattr(thing, "__module__", None) or "").split(".")[0] == "pellucid"


def public_module(thing: Any) -> str | None:
    """The public module of the library that has a class or function under its name, such as ``pellucid.layers``."""
    parts = thing.__module__.split(".")
    places = [".".join(parts[:end]) for end in range(2, len(parts) + 1)]
    if thing.__module__.startswith("pellucid.models."):
        places.insert(0, "pellucid")
    elif thing.__module__.startswith("pellucid.core."):
        places = ["pellucid.layers", "pellucid"]
    return next((p for p in places if _own(p, _public_name(thing)) is thing), None)


def _public_name(thing: Any) -> str:
    """The name under which the library's public module has a class or function: Keras has one whose class is named otherwise."""
    return vars(thing).get("public_name", thing.__name__)


def _entry(obj: Any) -> dict[str, Any]:
    """What says of which class an object is."""
    cls = type(obj)
    if hasattr(obj, "_keras_entry") and cls not in _names:
        entry = obj._keras_entry()
        if entry is not None:
            return dict(zip(("module", "class_name", "registered_name"), entry, strict=True))
    if cls in _names:
        return {"module": cls.__module__, "class_name": cls.__name__, "registered_name": _names[cls]}
    if is_ours(cls):
        module = public_module(cls)
        name = cls.__module__ if module is None else module.replace("pellucid", "keras", 1)
        return {"module": name, "class_name": _public_name(cls), "registered_name": None}
    return {"module": cls.__module__, "class_name": cls.__qualname__, "registered_name": cls.__name__}


def _find_class(config: dict[str, Any]) -> Any:
    name, module, registered = config["class_name"], config.get("module"), config.get("registered_name")
    for known in (registered, name):
        found = get_registered_object(known) if known else None
        if found is not None:
            return found
    found = _in_library(module, name) if _is_library(module) else _in_module(module, name)
    if isinstance(found, type) and hasattr(found, "from_config"):
        return found
    if _is_library(module):
        raise ValueError(
            f"The config asks for {module}.{name}, which does not exist here. {did_you_mean(name, _classes_near(module))} "
            f"For a class of your own pass custom_objects={{{name!r}: …}}."
        )
    raise ValueError(
        f"The config asks for the class {name!r} of module {module!r}, which is not known here. Decorate it with "
        "@pellucid.saving.register_keras_serializable() and import its module before reading the config, or pass "
        f"custom_objects={{{(registered or name)!r}: …}}."
    )


def _is_library(module: str | None) -> bool:
    return module is not None and module.split(".")[0] in ("keras", "pellucid")


def _places(module: str) -> list[str]:
    parts = module.replace("keras.src", "keras", 1).split(".")
    return [".".join(["pellucid", *parts[1:end]]) for end in range(len(parts), 0, -1)]


def _in_library(module: Any, name: str) -> Any:
    found = next((found for place in _places(module) if (found := _own(place, name)) is not None), None)
    return _aliases.get(name) if found is None else found


def _own(place: str, name: str) -> Any:
    """What a module of the library has under a name, or None. Its public packages are imported for it; nothing else is."""
    package, *folders = place.split(".")
    getattr(sys.modules[package], "".join(folders[:1]), None)
    return getattr(sys.modules.get(place), name, None)


def _in_module(module: str | None, name: str) -> Any:
    """Only what was imported before: reading data must not run code of a module that the data name."""
    found: Any = sys.modules.get(module or "__main__")
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _classes_near(module: Any) -> list[str]:
    for place in _places(module):
        public = sys.modules.get(place)
        names = dir(public) if public else []
        found = [name for name in names if isinstance(getattr(public, name), type)]
        if found:
            return found
    return []


# ---- Writing ----


def serialize_keras_object(obj: Any) -> Any:
    """An object as plain data: dicts, lists, tuples, texts, numbers and None, which ``json`` can write.

    Objects with ``get_config`` become ``{"module", "class_name", "config", "registered_name"}``; functions are kept by name; arrays,
    slices, bytes have forms of their own. A lambda is kept as its code, which ``deserialize_keras_object`` refuses to run unless
    ``safe_mode=False``.

    Raises:
        TypeError: for what has none of these forms.

    Example:
        >>> import pellucid
        >>> pellucid.saving.serialize_keras_object(pellucid.initializers.Constant(0.5))
        {'module': 'keras.initializers', 'class_name': 'Constant', 'config': {'value': 0.5}, 'registered_name': None}
    """
    if obj is None or isinstance(obj, bool | int | float | str):
        return obj
    if isinstance(obj, list | tuple):
        return (
            type(obj)([serialize_keras_object(item) for item in obj]) if type(obj) in (list, tuple) else [*map(serialize_keras_object, obj)]
        )
    if isinstance(obj, dict):
        return {str(key): serialize_keras_object(value) for key, value in obj.items()}
    special = _special(obj)
    if special is not None:
        return special
    if hasattr(obj, "get_config") and not isinstance(obj, type):
        return _object(obj)
    if callable(obj) and getattr(obj, "__name__", None):
        return _function(obj)
    raise TypeError(
        f"{obj!r} of type {type(obj).__name__} cannot be written as plain data; expected numbers, texts, arrays, functions, or an object "
        "whose class has get_config and from_config."
    )


def _special(obj: Any) -> Any:
    """Values that are no objects with a config."""
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": obj.tolist(), "dtype": obj.dtype.name}}
    if isinstance(obj, jax.Array):
        return {"class_name": "__tensor__", "config": {"value": np.asarray(obj).tolist(), "dtype": obj.dtype.name}}
    if isinstance(obj, slice):
        return {"class_name": "__slice__", "config": {k: serialize_keras_object(getattr(obj, k)) for k in ("start", "stop", "step")}}
    if isinstance(obj, bytes):
        return {"class_name": "__bytes__", "config": {"value": obj.decode("latin-1")}}
    if obj is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(obj, np.dtype):
        return obj.name
    if isinstance(obj, type) and (issubclass(obj, np.generic) or obj in _TYPES.values()):
        name = np.dtype(obj).name if issubclass(obj, np.generic) else obj.__name__
        return {"module": "builtins", "class_name": "type", "config": name, "registered_name": "type"}
    return None


def _object(obj: Any) -> dict[str, Any]:
    config = obj.get_config()
    if not isinstance(config, dict):
        raise TypeError(f"get_config of {type(obj).__name__} returned {config!r}; expected a dict of the arguments of __init__.")
    entry = _entry(obj)
    data = {
        "module": entry["module"],
        "class_name": entry["class_name"],
        "config": {key: serialize_keras_object(value) for key, value in config.items()},
        "registered_name": entry["registered_name"],
    }
    for part in ("build_config", "compile_config"):
        more = getattr(obj, f"get_{part}", lambda: None)()
        if more is not None:
            data[part] = serialize_keras_object(more)
    return data


def _function(function: Any) -> dict[str, Any]:
    if function.__name__ == "<lambda>":
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        code = base64.b64encode(marshal.dumps(function.__code__)).decode()
        value = [code, serialize_keras_object(function.__defaults__), serialize_keras_object(cells) or None]
        return {"class_name": "__lambda__", "config": {"value": value}}
    name = get_registered_name(function)
    ours = any(_own(place, name) is function for place in _FUNCTIONS)
    where = "builtins" if ours or function in _names else function.__module__
    return {"module": where, "class_name": "function", "config": name, "registered_name": "function"}


# ---- Reading ----


def deserialize_keras_object(config: Any, custom_objects: dict[str, Any] | None = None, safe_mode: bool = True, **_: Any) -> Any:
    """The object that ``serialize_keras_object``, here or in Keras, described.

    Args:
        config: the data, also as ``json`` read them.
        custom_objects: classes and functions of your own by name.
        safe_mode: whether lambdas are refused: their code comes with the data. Modules are never imported for their name in the data.

    Raises:
        ValueError: for classes and functions that are not known, for a lambda in safe mode.

    Example:
        >>> import pellucid
        >>> data = pellucid.saving.serialize_keras_object(pellucid.layers.Dense(3, activation="relu"))
        >>> pellucid.saving.deserialize_keras_object(data).units
        3
    """
    token = _safe.set(_safe.get() and safe_mode)
    try:
        with CustomObjectScope(custom_objects or {}):
            found = get_registered_object(config) if isinstance(config, str) else None
            return _read(config) if found is None else found
    finally:
        _safe.reset(token)


def _read(config: Any) -> Any:
    if isinstance(config, list | tuple):
        return type(config)([_read(item) for item in config])
    if not isinstance(config, dict):
        return config
    if "class_name" not in config or "config" not in config:
        return {key: _read(value) for key, value in config.items()}
    name, inner = config["class_name"], config["config"]
    if name in _READERS:
        return _READERS[name](inner)
    if name == "function":
        return find_function(inner, config.get("module"))
    if name == "type":
        return _TYPES[inner] if inner in _TYPES else jnp.dtype(inner).type
    if name == "DTypePolicy" and _is_library(config.get("module")) and _in_library(config["module"], name) is None:
        return inner["name"]
    return _make(_find_class(config), config)


def _make(cls: Any, config: dict[str, Any]) -> Any:
    made = cls.from_config(config["config"])
    if config.get("build_config") and hasattr(made, "build_from_config") and not made.built:
        made.build_from_config(config["build_config"])
    if config.get("compile_config") and hasattr(made, "compile_from_config"):
        made.compile_from_config(config["compile_config"])
    return made


def find_function(name: str, module: str | None = None) -> Callable[..., Any]:
    """A function by its name: a registered one, one of the library's, or one of a module that was imported before."""
    found = get_registered_object(name)
    if found is None and (module in (None, "builtins") or _is_library(module)):
        places = [_own(place, name) for place in _FUNCTIONS]
        found = next((function for function in places if callable(function)), None)
    if found is None and module not in (None, "builtins"):
        found = _in_module(module, name)
    if not callable(found):
        raise ValueError(
            f"The config asks for the function {name!r}, which is not known here. Decorate it with "
            f"@pellucid.saving.register_keras_serializable() and import its module first, or pass custom_objects={{{name!r}: …}}."
        )
    return found


def _lambda(inner: dict[str, Any]) -> Any:
    if _safe.get():
        raise ValueError(
            "The config holds a lambda, whose code would run here. Pass safe_mode=False if you trust where the data come from; or write "
            "a function with a name, decorated with @pellucid.saving.register_keras_serializable()."
        )
    code, defaults, cells = inner["value"] if "value" in inner else (inner["code"], inner["defaults"], inner["closure"])
    closure = tuple(types.CellType(cell) for cell in _read(cells) or ())
    defaults = None if defaults is None else tuple(_read(defaults))
    return types.FunctionType(marshal.loads(base64.b64decode(code)), vars(sys.modules["__main__"]), "<lambda>", defaults, closure)


_READERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "__numpy__": lambda inner: np.array(inner["value"], jnp.dtype(inner["dtype"])),
    "__tensor__": lambda inner: jnp.asarray(inner["value"], inner["dtype"]),
    "__slice__": lambda inner: slice(*(_read(inner[k]) for k in ("start", "stop", "step"))),
    "__bytes__": lambda inner: inner["value"].encode("latin-1"),
    "__ellipsis__": lambda inner: Ellipsis,
    "__lambda__": _lambda,
}


# ---- Configs from the arguments of __init__ ----


class Recorded:
    """The arguments that an object was made from."""

    __slots__ = ("args", "kwargs")

    def __init__(self, args: tuple, kwargs: dict):
        self.args, self.kwargs = args, kwargs


def config_of(obj: Any, base: type, recorded: Recorded, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The arguments that make an equal object, as plain data: what ``get_config`` of a base class returns.

    The library's own classes keep arguments as attributes. Of a user's class the arguments are those of ``__init__`` that it was
    made from; where it has a ``get_config`` of its own that calls this one, only those that the library's class below it takes.

    Args:
        obj: the object.
        base: the library's base class, such as Layer.
        recorded: what it was made from.
        without: arguments to leave out.

    Raises:
        NotImplementedError: for an argument of a user's class that cannot be written as plain data.
    """
    mro = type(obj).__mro__
    definer = next(cls for cls in mro if "get_config" in vars(cls))
    below = mro if is_ours(definer) else mro[mro.index(definer) + 1 :]
    whole = type(obj) if is_ours(definer) else next(cls for cls in below if is_ours(cls))
    if is_ours(_init_of(whole)):
        values = _by_attributes(obj, whole, base, recorded)
    else:
        values = _by_arguments(obj, whole, base, recorded)
    return {name: _plain(type(obj), name, value) for name, value in values.items() if name not in without}


def _init_of(cls: type) -> type:
    return next(c for c in cls.__mro__ if "__init__" in vars(c))


def _parameters(cls: type) -> list[inspect.Parameter]:
    return [] if _init_of(cls) is object else list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]


def _named(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    return [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


def _takes_others(parameters: list[inspect.Parameter]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def _by_attributes(obj: Any, cls: type, base: type, recorded: Recorded) -> dict[str, Any]:
    own = _parameters(cls)
    first = _named(_parameters(base)) if _takes_others(own) else []
    given = _given(type(obj), recorded) if cls is type(obj) else {}
    return {
        p.name: getattr(obj, p.name) if hasattr(obj, p.name) else given.get(p.name, p.default)
        for p in (*first, *(p for p in _named(own) if p.name not in {q.name for q in first}))
    }


def _by_arguments(obj: Any, cls: type, base: type, recorded: Recorded) -> dict[str, Any]:
    own = _parameters(cls)
    of_base = [p.name for p in _named(_parameters(base))]
    names = {p.name for p in _named(own)}
    values = {name: getattr(obj, name) for name in of_base if _takes_others(own) or name in names}
    defaults = {p.name: p.default for p in _named(own) if p.default is not p.empty and _is_plain(p.default)}
    return {**values, **{k: v for k, v in {**defaults, **_given(cls, recorded)}.items() if k not in values}}


def _given(cls: type, recorded: Recorded) -> dict[str, Any]:
    bound = inspect.signature(cls.__init__).bind_partial(None, *recorded.args, **recorded.kwargs)  # type: ignore[misc]
    values: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = bound.signature.parameters[name].kind
        values.update(value if kind is inspect.Parameter.VAR_KEYWORD else {name: value})
    return values


def _is_plain(value: Any) -> bool:
    try:
        serialize_keras_object(value)
    except (TypeError, NotImplementedError):
        return False
    return True


def _plain(cls: type, name: str, value: Any) -> Any:
    if isinstance(value, types.FunctionType) and public_module(value) == "pellucid.activations":
        return value.__name__
    try:
        return serialize_keras_object(value)
    except (TypeError, NotImplementedError) as error:
        raise NotImplementedError(
            f"{cls.__name__}: the argument {name}={value!r} cannot be written as plain data ({error}). Say how, in the class:\n\n"
            f"    def get_config(self):\n        return {{**super().get_config(), {name!r}: …}}  # numbers, texts, lists, dicts\n\n"
            f"    @classmethod\n    def from_config(cls, config):\n        return cls(**config)  # make {name} of it again"
        ) from error


def arguments_from(cls: type, config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of ``__init__`` for a config, its objects made again.

    A config of Keras may hold arguments that the library's class does not offer. They are left out where they ask for nothing.

    Raises:
        ValueError: where they do.
    """
    config = {name: _read(value) if isinstance(value, dict | list | tuple) else value for name, value in config.items()}
    taken = _taken(cls)
    if taken is None or not is_ours(cls):
        return config
    neutral = getattr(cls, "keras_defaults", {})
    for name in [n for n in config if n not in taken]:
        value = config.pop(name)
        if value is not None and value is not False and (name not in neutral or neutral[name] != value):
            raise ValueError(
                f"{cls.__name__}: the config has {name}={value!r}, an argument that is not offered here. Take it out of the config, or "
                f"set it to {neutral.get(name)!r}. {did_you_mean(name, taken)}"
            )
    return config


def _taken(cls: type) -> set[str] | None:
    """The arguments that a class takes, base classes behind ``**`` included; None for any."""
    found: set[str] = set()
    for place in cls.__mro__:
        if "__init__" in vars(place) and place is not object:
            own = list(inspect.signature(place.__init__).parameters.values())[1:]  # type: ignore[misc]
            found |= {p.name for p in _named(own)}
            others = next((p.name for p in own if p.kind is p.VAR_KEYWORD), None)
            if others in (None, "unknown"):  # those are refused
                return found
            if others == "options":  # any further arguments of a function
                return None
    return found
