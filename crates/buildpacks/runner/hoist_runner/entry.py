"""Finds and imports the entry point.

`ENTRY_POINT` (or `ENTRYPOINT`) is `module.path:function`, `path/to/file.py:function`, or either without the function, which is then run as
`__main__`. Modules are looked for below the app and below its `app` folder, because job templates are started from either.
"""
import importlib
import importlib.machinery
import os
import sys
import types

DEFAULTS = (
    ("src/program.py", "src.program:run"),
    ("app/user_code/src/program.py", "app.user_code.src.program:run"),
    ("app/user-code/src/program.py", "app/user-code/src/program.py:run"),
    ("user_code/src/program.py", "user_code.src.program:run"),
)


class EntryPointError(Exception):
    """The entry point cannot be what it says; the text says why and what to do."""

    def __init__(self, kind, message, hint=""):
        super().__init__(message)
        self.kind = kind
        self.hint = hint


class Entry:
    """Where the entry point lies: `module` below the folder `base`, in the file `path`."""

    def __init__(self, text, base, module, path, function):
        self.text, self.base, self.module, self.path, self.function = text, base, module, path, function

    @property
    def project_dir(self):
        """The folder of the user code: the one above `src`, else the one that has the file."""
        folder = os.path.dirname(self.path)
        return os.path.dirname(folder) if os.path.basename(folder) == "src" else folder


def locate(root, environ):
    """The entry point below `root`, not imported yet."""
    text = (environ.get("ENTRY_POINT") or environ.get("ENTRYPOINT") or "").strip()
    if not text:
        for path, default in DEFAULTS:
            if os.path.isfile(os.path.join(root, path)):
                text = default
                break
        else:
            raise EntryPointError(
                "no_entry_point",
                "there is no src/program.py below %s and ENTRY_POINT is not set" % root,
                "write src/program.py with a function run(data, params), or set ENTRY_POINT=package.module:function",
            )
    place, _, function = text.partition(":")
    if place.endswith(".py") or "/" in place:
        return _locate_path(root, text, place, function)
    parts = place.split(".")
    bases = [root, os.path.join(root, "app")]
    for base in bases:
        stem = os.path.join(base, *parts)
        for path in (stem + ".py", os.path.join(stem, "__init__.py" if function else "__main__.py")):
            if os.path.isfile(path):
                return Entry(text, base, place, path, function)
    raise EntryPointError(
        "no_entry_point",
        "the entry point %s is not there: no %s below %s" % (text, "/".join(parts) + ".py", " or ".join(bases)),
        _near_programs(root),
    )


def _locate_path(root, text, place, function):
    path = os.path.normpath(os.path.join(root, place))
    if not os.path.isfile(path):
        raise EntryPointError("no_entry_point", "the entry point %s is not there" % text, _near_programs(root))
    # The longest part of the path that can be a dotted name; `src` always stays a package, for its relative imports.
    names = os.path.relpath(path, root)[: -len(".py")].split(os.sep)
    first = len(names) - 1
    while first > 0 and names[first - 1].isidentifier():
        first -= 1
    base = os.path.join(root, *names[:first])
    return Entry(text, os.path.normpath(base), ".".join(names[first:]), path, function)


def _near_programs(root):
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in ("node_modules", "venv")][:50]
        if "program.py" in files:
            found.append(os.path.relpath(os.path.join(folder, "program.py"), root))
        if len(found) >= 3 or folder.count(os.sep) - root.count(os.sep) > 4:
            folders[:] = []
    if found:
        return "there is %s; move it to src/program.py or set ENTRY_POINT=%s:run" % (found[0], found[0])
    return "write src/program.py with a function run(data, params), or set ENTRY_POINT"


def prepare_path(entry, root):
    """Puts what the code may import on sys.path: the app first; the user code and its `src` behind the standard library, so that a
    user's `types.py` there hides nothing, and before site-packages, so that nobody's `utils` hides the user's."""
    front = [entry.base] + [path for path in (root,) if path != entry.base]
    for path in reversed(front):
        if path in sys.path:
            sys.path.remove(path)
        sys.path.insert(0, path)
    middle = next(
        (at for at, path in enumerate(sys.path) if "site-packages" in path or "dist-packages" in path), len(sys.path)
    )
    for path in (os.path.dirname(entry.path), entry.project_dir):
        if path not in sys.path:
            sys.path.insert(middle, path)


def import_module(entry):
    """Imports the entry's module. Packages without `__init__.py` are made, so that no installed `src` can take their place."""
    parts = entry.module.split(".")
    folder = entry.base
    for count in range(1, len(parts)):
        folder = os.path.join(folder, parts[count - 1])
        name = ".".join(parts[:count])
        if not os.path.isfile(os.path.join(folder, "__init__.py")):
            package = types.ModuleType(name)
            package.__path__ = [folder]
            package.__package__ = name
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [folder]
            package.__spec__ = spec
            sys.modules[name] = package
            if count > 1:
                setattr(sys.modules[".".join(parts[: count - 1])], parts[count - 1], package)
        elif name not in sys.modules:
            importlib.import_module(name)
    return importlib.import_module(entry.module)


def find_function(entry, module):
    """The function of the entry point."""
    function = getattr(module, entry.function, None)
    if callable(function):
        return function
    shown = os.path.basename(entry.path)
    if function is not None:
        raise EntryPointError(
            "no_function",
            "%s in %s is no function but %s" % (entry.function, shown, type(function).__name__),
            "define def %s(data, params) there" % entry.function,
        )
    import difflib

    there = [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    ]
    near = difflib.get_close_matches(entry.function, there, 1, 0.5) or there[:1]
    hint = "define def %s(data, params) in %s" % (entry.function, shown)
    if near:
        hint += "; there is %s: rename it, or set ENTRY_POINT=%s:%s" % (near[0], entry.module, near[0])
    raise EntryPointError("no_function", "%s has no function %s" % (shown, entry.function), hint)
