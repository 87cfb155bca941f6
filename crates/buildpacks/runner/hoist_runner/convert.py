"""Gives a JSON value the type that a parameter's annotation wants."""
import collections.abc
import dataclasses
import enum
import json
import os
import sys
import typing

NONE = type(None)
ANY = object()


class ConvertError(Exception):
    """A value that cannot be what the parameter wants."""


def hints_of(function):
    """Annotations by parameter name; texts that cannot be looked up are left out."""
    try:
        return typing.get_type_hints(function)
    except Exception:
        pass
    found = {}
    space = getattr(function, "__globals__", {})
    for name, hint in getattr(function, "__annotations__", {}).items():
        if isinstance(hint, str):
            try:
                hint = eval(hint, space)  # the user's own annotation, as typing.get_type_hints would
            except Exception:
                continue
        found[name] = hint
    return found


def type_name(hint):
    return getattr(hint, "__name__", None) if isinstance(hint, type) else str(hint).replace("typing.", "")


def is_pydantic(hint):
    return isinstance(hint, type) and (hasattr(hint, "model_validate") or hasattr(hint, "parse_obj"))


def _is_union(hint):
    if typing.get_origin(hint) is typing.Union:
        return True
    union = getattr(sys.modules.get("types"), "UnionType", None)
    return union is not None and isinstance(hint, union)


def wants_text(hint):
    """Whether the hint is `str` or `Optional[str]`, so that a text is taken as it is."""
    if _is_union(hint):
        return all(part is NONE or wants_text(part) for part in typing.get_args(hint))
    return isinstance(hint, type) and (issubclass(hint, str) and not issubclass(hint, enum.Enum) or hint.__name__ in ("SecretValue", "SecretStr"))


def convert(value, hint, path):
    """`value` as `hint` wants it; `path` names it in errors."""
    if hint is None or hint is NONE:
        if value is None:
            return None
        raise _wrong(value, "null", path)
    if hint in (ANY, typing.Any, object) or isinstance(hint, typing.TypeVar):
        return value
    if hasattr(hint, "__supertype__"):
        return convert(value, hint.__supertype__, path)
    if _is_union(hint):
        return _union(value, typing.get_args(hint), path)
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if str(origin) == "typing.Annotated" or hasattr(hint, "__metadata__"):
        return convert(value, arguments[0], path)
    if origin is getattr(typing, "Literal", ANY):
        if value in arguments:
            return value
        raise ConvertError("%s is %s, which is none of %s" % (path, json.dumps(value)[:80], ", ".join(map(repr, arguments))))
    if isinstance(origin, type):
        return _container(value, origin, arguments, path)
    if isinstance(hint, type):
        return _class(value, hint, path)
    return value


def _union(value, parts, path):
    if value is None and NONE in parts:
        return None
    simple = {bool: (bool,), int: (int,), float: (float,), str: (str,)}.get(type(value), ())
    for part in parts:
        if part in simple:
            return value
    errors = []
    for part in parts:
        if part is NONE:
            continue
        try:
            return convert(value, part, path)
        except ConvertError as error:
            errors.append(str(error))
    raise ConvertError(errors[0] if len(errors) == 1 else "%s fits none of its types: %s" % (path, "; ".join(errors)))


def _container(value, origin, arguments, path):
    if issubclass(origin, collections.abc.Mapping):
        if not isinstance(value, dict):
            raise _wrong(value, "an object", path)
        key_hint, item_hint = arguments if len(arguments) == 2 else (ANY, ANY)
        return {_key(key, key_hint, path): convert(item, item_hint, "%s.%s" % (path, key)) for key, item in value.items()}
    if issubclass(origin, (collections.abc.Sequence, collections.abc.Set, collections.abc.Iterable)):
        if not isinstance(value, list):
            raise _wrong(value, "a list", path)
        if issubclass(origin, tuple) and arguments and arguments[-1] is not Ellipsis:
            if len(value) != len(arguments):
                raise ConvertError("%s has %d values, and %d are wanted" % (path, len(value), len(arguments)))
            hints = arguments
        else:
            hints = [arguments[0] if arguments else ANY] * len(value)
        items = [convert(item, hint, "%s[%d]" % (path, at)) for at, (item, hint) in enumerate(zip(value, hints))]
        if issubclass(origin, (set, frozenset, tuple)):
            return origin(items)
        return set(items) if issubclass(origin, collections.abc.Set) else items
    return value


def _key(key, hint, path):
    if hint is int or hint is float:
        try:
            return hint(key)
        except ValueError:
            raise ConvertError("%s has the key %r, which is no %s" % (path, key, hint.__name__)) from None
    return key


def _class(value, hint, path):
    if hint is bool:
        return _bool(value, path)
    if hint is int or hint is float:
        return _number(value, hint, path)
    if hint is str:
        if isinstance(value, str):
            return value
        raise _wrong(value, "a text", path)
    if hint in (dict, list, tuple, set, frozenset):
        return _container(value, hint, (), path)
    if issubclass(hint, enum.Enum):
        for member in hint:
            if value == member.value or value == member.name:
                return member
        raise ConvertError("%s is %s, which is none of %s" % (path, json.dumps(value)[:80], ", ".join(str(m.value) for m in hint)))
    if is_pydantic(hint):
        return _pydantic(value, hint, path)
    if dataclasses.is_dataclass(hint):
        return _dataclass(value, hint, path)
    if hint.__name__ == "SecretValue" or hint.__name__ == "SecretStr":
        return hint(value)
    if isinstance(value, hint) or getattr(hint, "__total__", None) is not None:
        return value
    if hint.__module__ == "builtins":
        raise _wrong(value, type_name(hint), path)
    return value


def _bool(value, path):
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false", "1", "0", "yes", "no"):
        return value.strip().lower() in ("true", "1", "yes")
    if value in (0, 1) and isinstance(value, int):
        return bool(value)
    raise _wrong(value, "true or false", path)


def _number(value, hint, path):
    if not isinstance(value, bool):
        if isinstance(value, int) or (isinstance(value, float) and (hint is float or value.is_integer())):
            return hint(value)
        if isinstance(value, str):
            try:
                return hint(value.strip())
            except ValueError:
                pass
    raise _wrong(value, "a whole number" if hint is int else "a number", path)


def _pydantic(value, hint, path):
    try:
        return hint.model_validate(value) if hasattr(hint, "model_validate") else hint.parse_obj(value)
    except Exception as error:
        problems = []
        if callable(getattr(error, "errors", None)):
            for problem in error.errors()[:5]:
                place = "".join("[%d]" % part if isinstance(part, int) else "." + str(part) for part in problem.get("loc", ()))
                problems.append("%s%s: %s" % (path, place, problem.get("msg", "")))
        raise ConvertError("; ".join(problems) or "%s does not fit %s: %s" % (path, hint.__name__, error)) from None


def _dataclass(value, hint, path):
    if not isinstance(value, dict):
        raise _wrong(value, "an object with the fields of %s" % hint.__name__, path)
    hints = hints_of(hint)
    fields = {field.name: field for field in dataclasses.fields(hint) if field.init}
    given = {name: convert(item, hints.get(name, ANY), "%s.%s" % (path, name)) for name, item in value.items() if name in fields}
    missing = [
        name
        for name, field in fields.items()
        if name not in given and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConvertError("%s lacks %s, which %s needs" % (path, ", ".join(missing), hint.__name__))
    return hint(**given)


def _wrong(value, wanted, path):
    return ConvertError("%s is %s, and %s is wanted" % (path, json.dumps(value, default=str)[:80], wanted))


class LocalDataPool:
    """A data pool for a service that brings no class of its own: a folder of files."""

    def __init__(self, path):
        self.path = str(path)

    def list_files(self):
        """File names and where they are."""
        return {name: os.path.join(self.path, name) for name in sorted(os.listdir(self.path))}

    def open(self, name, mode="r"):
        """Opens a file of the pool."""
        return open(os.path.join(self.path, os.path.basename(name)), mode)

    def __fspath__(self):
        return self.path


def data_pool(hint, folder):
    """An object of the user's DataPool class (whatever module it is from), or a LocalDataPool."""
    if isinstance(hint, type) and "DataPool" in hint.__name__:
        for argument in (folder, __import__("pathlib").Path(folder)):
            try:
                return hint(argument)
            except TypeError:
                continue
    if hint is str:
        return folder
    return LocalDataPool(folder)


def wants_data_pool(hint):
    if _is_union(hint):
        return any(wants_data_pool(part) for part in typing.get_args(hint))
    return isinstance(hint, type) and "DataPool" in hint.__name__
