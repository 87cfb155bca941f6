"""Turns what `run` returned into JSON, or says at which place in it there is something that JSON does not have."""
import dataclasses
import datetime
import decimal
import enum
import json
import os
import pathlib
import sys
import uuid

MAX_DEPTH = 200

HINTS = {
    "NaN": "JSON has no NaN; return None or leave the value out",
    "Infinity": "JSON has no infinity; return None or leave the value out",
    "set": "return sorted(...) or list(...) of it",
    "frozenset": "return sorted(...) or list(...) of it",
    "complex": "return [z.real, z.imag] of it",
    "bytes": "return base64.b64encode(...).decode() of it",
    "bytearray": "return base64.b64encode(...).decode() of it",
    "generator": "return list(...) of it",
}


class NotJson(Exception):
    """A result that is not JSON; `path` names the place in it."""

    def __init__(self, path, what, hint=None):
        super().__init__("%s: %s is not JSON" % (path, what))
        self.path = path
        self.hint = hint or HINTS.get(what, "return numbers, texts, lists and dicts, or convert it: .tolist(), float(...), str(...)")


def dumps(value, root, compact=False):
    """The JSON text of a result, keys sorted."""
    tree = plain(value, root)
    if compact:
        return json.dumps(tree, sort_keys=True, allow_nan=False)
    return json.dumps(tree, sort_keys=True, allow_nan=False, indent=2)


def plain(value, root, path="result", above=()):
    """`value` made of None, bool, int, float, str, list and dict alone. Objects of classes that lie below `root` become their fields."""
    if value is None or value is True or value is False or type(value) is str:
        return value
    if type(value) is int:
        return value
    if isinstance(value, float):
        return _finite(float(value), path)
    if len(above) > MAX_DEPTH:
        raise NotJson(path, "something deeper than %d levels" % MAX_DEPTH, "return a flatter result")
    if id(value) in above:
        raise NotJson(path, "a value that contains itself", "return a tree")
    above = above + (id(value),)
    if isinstance(value, enum.Enum):
        return plain(value.value, root, path, above)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, dict):
        return {_key(key, path): plain(item, root, _member(path, key), above) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        if hasattr(value, "_asdict"):
            return plain(value._asdict(), root, path, above)
        return [plain(item, root, "%s[%d]" % (path, at), above) for at, item in enumerate(value)]
    return _object(value, root, path, above)


def _object(value, root, path, above):
    if isinstance(value, type):
        raise NotJson(path, "the class %s" % value.__name__)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID, pathlib.PurePath)):
        return str(value)
    for name in ("model_dump", "dict"):
        if hasattr(type(value), "model_fields" if name == "model_dump" else "__fields__") and hasattr(value, name):
            return plain(getattr(value, name)(), root, path, above)
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return plain(fields, root, path, above)
    for name in ("tolist", "item"):
        if callable(getattr(value, name, None)):
            try:
                inner = getattr(value, name)()
            except Exception:  # the object's own code; it is then named below
                continue
            if inner is not value:
                return plain(inner, root, path, above)
    name = type(value).__name__
    if name in ("ResultResponse", "ErrorResponse") or _is_users(type(value), root):
        fields = getattr(value, "__dict__", None)
        if fields or name in ("ResultResponse", "ErrorResponse"):
            return plain({key: item for key, item in (fields or {}).items() if not key.startswith("__")}, root, path, above)
    raise NotJson(path, name)


def _is_users(kind, root):
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return bool(file) and os.path.abspath(file).startswith(root + os.sep) and "site-packages" not in file


def _finite(number, path):
    if number != number:
        raise NotJson(path, "NaN")
    if number in (float("inf"), float("-inf")):
        raise NotJson(path, "Infinity")
    return number


def _member(path, key):
    if isinstance(key, str) and key.isidentifier():
        return "%s.%s" % (path, key)
    return "%s[%s]" % (path, json.dumps(key) if isinstance(key, str) else repr(key)[:60])


def _key(key, path):
    if isinstance(key, enum.Enum):
        key = key.value
    if isinstance(key, str):
        return str(key)
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    if isinstance(key, int):
        return str(int(key))
    if isinstance(key, float):
        return repr(_finite(float(key), path))
    if callable(getattr(key, "item", None)):
        return _key(key.item(), path)
    raise NotJson(
        _member(path, key), "a key of type %s" % type(key).__name__, "use texts as keys: {str(key): value for key, value in ...}"
    )
