"""Looks at the service's text without executing it: syntax, the entry function, and whether every imported module can be found.

Made to start fast (`python -I -S static_check.py APP_DIR [--site DIR]...`): it imports next to nothing, follows only what the entry point
reaches, and asks the import system's own finder. Answers one line of JSON with a fingerprint of all import statements: while that stays the
same and the environment too, importing the service would find the same modules.
"""
import _ast
import os
import sys
from _blake2 import blake2b
from _frozen_importlib_external import PathFinder
from _json import encode_basestring_ascii as quote

MAX_FILES = 2000
MAX_FILE_BYTES = 4 << 20
# The entry points that a service may have, as in entry.py.
DEFAULTS = ("src/program.py", "app/user_code/src/program.py", "app/user-code/src/program.py", "user_code/src/program.py")
GUARDS = ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")


class Check:
    def __init__(self, root, search_path, open_ended):
        self.root = root
        self.search_path = search_path
        self.open_ended = open_ended
        self.statements = set()
        self.wanted = {}
        self.lazy = {}
        self.done = set()
        self.problem = None
        self.bases = []

    def run(self, path, function):
        """Walks from the entry file through everything of the app that it imports."""
        folder = os.path.dirname(path)
        self.bases = [self.root, os.path.join(self.root, "app"), os.path.dirname(folder), folder]
        waiting = [path]
        while folder.startswith(self.root + "/"):
            package = os.path.join(folder, "__init__.py")
            if os.path.isfile(package):
                waiting.append(package)
            folder = os.path.dirname(folder)
        while waiting and len(self.done) < MAX_FILES and not self.problem:
            file = waiting.pop()
            if file in self.done:
                continue
            self.done.add(file)
            tree = self.parse(file)
            if tree is None:
                break
            if file == path and function and not self.has(tree, function):
                self.problem = {
                    "kind": "no_function",
                    "file": self.shown(file),
                    "message": "%s has no function %s" % (self.shown(file), function),
                    "hint": "define def %s(data, params) in %s" % (function, self.shown(file)),
                }
            waiting += self.imports(tree, file)

    def shown(self, file):
        return file[len(self.root) + 1:] if file.startswith(self.root + "/") else file

    def parse(self, file):
        try:
            with open(file, "rb") as stream:
                source = stream.read(MAX_FILE_BYTES)
            return compile(source, file, "exec", _ast.PyCF_ONLY_AST, True, 0)
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", None)
            why = getattr(error, "msg", None) or str(error)
            self.problem = {
                "kind": "syntax_error",
                "file": self.shown(file),
                "line": line,
                "message": "%s line %s is not Python %d.%d: %s" % ((self.shown(file), line) + sys.version_info[:2] + (why,)),
                "hint": "correct that line",
            }
        except OSError as error:
            self.problem = {"kind": "import_error", "message": str(error), "hint": "look at the file's permissions"}
        return None

    def has(self, tree, name):
        """Whether the module's top level may bind `name`; what can't be told from the text counts as yes."""
        waiting = list(tree.body)
        while waiting:
            node = waiting.pop()
            kind = type(node).__name__
            if kind in ("FunctionDef", "AsyncFunctionDef", "ClassDef"):
                if node.name == name:
                    self.statements.add("def %s %s" % (name, [argument.arg for argument in getattr(node, "args", None) and node.args.args or ()]))
                    return True
                continue
            if kind in ("Import", "ImportFrom"):
                if any((alias.asname or alias.name) == name or alias.name == "*" for alias in node.names):
                    return True
            if kind == "Name" and node.id == name and type(node.ctx).__name__ == "Store":
                return True
            waiting += children(node)
        return False

    def imports(self, tree, file):
        """Notes what the file imports and answers the app's own files among it."""
        local = []
        waiting = [(node, False, False) for node in tree.body]
        while waiting:
            node, guarded, inside = waiting.pop()
            kind = type(node).__name__
            if kind == "Import":
                for alias in node.names:
                    self.statements.add("import " + alias.name)
                    local += self.note(alias.name, file, node.lineno, guarded, inside)
            elif kind == "ImportFrom":
                self.statements.add("from %s%s import %s" % ("." * (node.level or 0), node.module or "", ",".join(sorted(alias.name for alias in node.names))))
                local += self.note_from(node, file, guarded, inside)
            elif kind in ("Try", "TryStar"):
                caught = any(catches(handler.type) for handler in node.handlers)
                waiting += [(child, guarded or caught, inside) for child in node.body]
                rest = node.orelse + node.finalbody + [child for handler in node.handlers for child in handler.body]
                waiting += [(child, guarded or caught, inside) for child in rest]
            elif kind == "If":
                # Under a condition (TYPE_CHECKING, a version, __main__) an import may never happen.
                waiting += [(child, True, inside) for child in node.body + node.orelse]
            elif kind in ("FunctionDef", "AsyncFunctionDef"):
                waiting += [(child, guarded, True) for child in node.body]
            elif kind in ("ClassDef", "With", "For", "While", "AsyncWith", "AsyncFor", "Match"):
                waiting += [(child, guarded, inside) for child in children(node)]
            elif kind == "match_case":
                waiting += [(child, True, inside) for child in node.body]
        return local

    def note(self, name, file, line, guarded, inside):
        found = self.local_files(name)
        if found:
            return found
        if not guarded:
            (self.lazy if inside else self.wanted).setdefault(name, (file, line))
        return []

    def note_from(self, node, file, guarded, inside):
        names = [alias.name for alias in node.names]
        if not node.level:
            found = self.local_files(node.module, names)
            return found or self.note(node.module, file, node.lineno, guarded, inside)
        folder = os.path.dirname(file)
        for _ in range(node.level - 1):
            folder = os.path.dirname(folder)
        parts = node.module.split(".") if node.module else []
        found = files_of(folder, parts, names)
        if not found and not guarded and not inside and not os.path.isdir(os.path.join(folder, *parts)):
            module = "." * node.level + (node.module or "")
            self.problem = {
                "kind": "missing_module",
                "module": module,
                "file": self.shown(file),
                "line": node.lineno,
                "message": "the module %s is not there (%s line %d)" % (module, self.shown(file), node.lineno),
                "hint": "%s is the service's own: look for a missing or misspelt file" % module,
            }
        return found

    def local_files(self, name, names=()):
        parts = name.split(".")
        for base in self.bases:
            if os.path.isfile(os.path.join(base, parts[0] + ".py")) or os.path.isdir(os.path.join(base, parts[0])):
                found = files_of(base, parts, names)
                if found:
                    return found
        return []

    def missing(self, wanted):
        """The first module of `wanted` that the import system would not find."""
        for name in sorted(wanted):
            parts = name.split(".")
            if parts[0] in sys.builtin_module_names or parts[0] in ("__future__", "__main__"):
                continue
            spec = PathFinder.find_spec(parts[0], self.bases + self.search_path)
            if spec is None:
                return parts[0] if len(parts) == 1 else name
            if spec.loader is None and len(parts) > 1 and spec.submodule_search_locations is not None:
                if PathFinder.find_spec(".".join(parts[:2]), list(spec.submodule_search_locations)) is None:
                    return ".".join(parts[:2])
        return None


def children(node):
    found = []
    for field in node._fields:
        value = getattr(node, field, None)
        for item in value if isinstance(value, list) else (value,):
            if isinstance(item, _ast.AST):
                found.append(item)
    return found


def catches(node):
    if node is None:
        return True
    names = node.elts if type(node).__name__ == "Tuple" else [node]
    return any(getattr(name, "id", getattr(name, "attr", "")) in GUARDS for name in names)


def files_of(base, parts, names=()):
    """The files that importing `parts` below `base` executes, with submodules called `names`."""
    found, folder = [], base
    for at, part in enumerate(parts):
        module = os.path.join(folder, part + ".py")
        folder = os.path.join(folder, part)
        if os.path.isfile(os.path.join(folder, "__init__.py")):
            found.append(os.path.join(folder, "__init__.py"))
        elif os.path.isfile(module):
            return found + [module]
        elif not os.path.isdir(folder):
            return found
    for name in names:
        for path in (os.path.join(folder, name + ".py"), os.path.join(folder, name, "__init__.py")):
            if os.path.isfile(path):
                found.append(path)
    return found


def search_path_of(sites, environ):
    """Where modules are found, and whether something there (a .pth file that imports) may find more."""
    path = [entry for entry in sys.path if entry and not entry.startswith(os.path.dirname(os.path.abspath(__file__)))]
    if not sites:
        sites = [entry for entry in environ.get("PYTHONPATH", "").split(":") if entry]
        homes = [environ.get("VIRTUAL_ENV"), os.path.dirname(os.path.dirname(sys.executable or ""))]
        for home in homes:
            if home and os.path.isfile(os.path.join(home, "pyvenv.cfg")):
                sites.append(os.path.join(home, "lib", "python%d.%d" % sys.version_info[:2], "site-packages"))
        here = os.path.join(os.path.dirname(os.__file__), "site-packages")
        if not any("site-packages" in site for site in sites + path):
            sites.append(here)
    open_ended = False
    for site in sites:
        path.append(site)
        try:
            names = os.listdir(site)
        except OSError:
            continue
        for name in names:
            if name.endswith(".pth"):
                with open(os.path.join(site, name), encoding="utf-8", errors="replace") as stream:
                    for line in stream.read(1 << 16).splitlines():
                        if line.startswith(("import ", "import\t")):
                            open_ended = open_ended or "distutils-precedence" not in name
                        elif line.strip() and not line.startswith("#"):
                            path.append(os.path.join(site, line.strip()))
    return path, open_ended


def entry_file(root, environ):
    """The entry point's file and function; no file where the app is no service."""
    text = (environ.get("ENTRY_POINT") or environ.get("ENTRYPOINT") or "").strip()
    if not text:
        found = next((path for path in DEFAULTS if os.path.isfile(os.path.join(root, path))), None)
        return (os.path.join(root, found) if found else None), "run"
    place, _, function = text.partition(":")
    if not place.endswith(".py"):
        place = place.replace(".", "/") + ".py"
    for base in (root, os.path.join(root, "app")):
        path = os.path.join(base, place)
        for candidate in (path, path[:-3] + ("/__init__.py" if function else "/__main__.py")):
            if os.path.isfile(candidate):
                return candidate, function
    return os.path.join(root, place), function


def verdict_of(root, sites, environ):
    path, function = entry_file(root, environ)
    if path is None:
        return {"ok": True, "kind": "no_service", "message": "there is no src/program.py", "fingerprint": ""}
    if not os.path.isfile(path):
        shown = path[len(root) + 1:]
        return {"ok": False, "kind": "no_entry_point", "message": "the entry point %s is not there" % shown, "hint": "write %s, or set ENTRY_POINT" % shown, "fingerprint": ""}
    search_path, open_ended = search_path_of(sites, environ)
    check = Check(root, search_path, open_ended)
    check.run(path, function)
    verdict = {"ok": True, "kind": "ok", "message": "all imports can be found", "files": len(check.done)}
    if check.problem:
        verdict.update(check.problem, ok=False)
    else:
        name = check.missing(check.wanted)
        if name:
            about_missing(verdict, check, name, check.wanted)
            # Something in site-packages finds modules in its own way: only importing tells.
            verdict["ok"] = open_ended
        else:
            name = check.missing(check.lazy)
            if name:
                later = {}
                about_missing(later, check, name, check.lazy)
                verdict["warning"] = later["message"]
                verdict["hint"] = later["hint"]
    lines = sorted(check.statements) + ["python %d.%d" % sys.version_info[:2], path[len(root):], function]
    verdict["fingerprint"] = blake2b("\n".join(lines).encode("utf-8", "replace"), digest_size=16).hexdigest()
    return verdict


def about_missing(verdict, check, name, wanted):
    if __package__:
        from .distributions import distribution_of
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
        from distributions import distribution_of

        del sys.path[0]

    file, line = next(place for module, place in sorted(wanted.items()) if module == name or module.startswith(name + "."))
    distribution = distribution_of(name)
    verdict.update(
        kind="missing_module",
        module=name,
        file=check.shown(file),
        line=line,
        distribution=distribution,
        line_to_add=distribution,
        message="the module %s is not installed (%s line %d)" % (name, check.shown(file), line),
        hint="add this line to requirements.txt: %s" % distribution,
    )


def to_json(verdict):
    """A flat object; `json` would take longer to import than everything else here."""
    words = {True: "true", False: "false", None: "null"}
    parts = []
    for key, value in verdict.items():
        text = words[value] if value is None or isinstance(value, bool) else str(value) if isinstance(value, int) else quote(value)
        parts.append(quote(key) + ": " + text)
    return "{" + ", ".join(parts) + "}"


def main(arguments):
    sites, folders, rest = [], [], list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--site" and rest:
            sites.append(rest.pop(0))
        else:
            folders.append(argument)
    root = os.path.abspath(folders[0] if folders else os.getcwd())
    verdict = verdict_of(root, sites, os.environ)
    sys.stdout.write(to_json(verdict) + "\n")
    sys.stdout.flush()
    return 0 if verdict["ok"] else 1


if __name__ == "__main__":
    code = main(sys.argv[1:])
    os._exit(code)
