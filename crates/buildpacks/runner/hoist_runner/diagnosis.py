"""What an exception means for the user: which distribution is missing, which line to add, where in the user's code it happened."""
import importlib
import os
import sys
import traceback

from .distributions import distribution_of

IMPORTLIB = importlib.__file__
RUNNER_DIR = os.path.dirname(os.path.abspath(__file__))


def package_of(library):
    """The Debian package that has a shared library, as libraries.txt beside this file says."""
    with open(os.path.join(RUNNER_DIR, "libraries.txt"), encoding="utf-8") as stream:
        for line in stream:
            name, _, package = line.strip().partition(" ")
            if name == library:
                return package
    return None


def user_traceback(error):
    """The traceback as text, without the runner's and the import system's frames, causes included."""
    whole = traceback.TracebackException.from_exception(error)
    waiting, seen = [whole], set()
    while waiting:
        part = waiting.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        kept = [frame for frame in part.stack if not _is_ours(frame.filename)]
        part.stack[:] = kept
        waiting += [part.__cause__, part.__context__] + list(getattr(part, "exceptions", None) or [])
    return "".join(whole.format())


def _is_ours(filename):
    if filename.startswith("<frozen ") or filename == IMPORTLIB:
        return True
    return os.path.abspath(filename).startswith(RUNNER_DIR + os.sep)


def place_of(error, root):
    """File (relative to the app) and line of the innermost frame in the app's own code."""
    place = (None, None)
    trace = error.__traceback__
    while trace is not None:
        filename = os.path.abspath(trace.tb_frame.f_code.co_filename)
        if filename.startswith(root + os.sep) and not _is_ours(filename):
            place = (os.path.relpath(filename, root), trace.tb_lineno)
        trace = trace.tb_next
    return place


def explain_import(error, root):
    """A verdict about an exception that importing the entry point raised."""
    file, line = place_of(error, root)
    verdict = {"ok": False, "file": file, "line": line, "traceback": user_traceback(error)}
    where = " (%s line %s)" % (file, line) if file else ""
    if isinstance(error, SyntaxError):
        file = error.filename and os.path.relpath(error.filename, root)
        verdict.update(
            kind="syntax_error",
            file=file,
            line=error.lineno,
            message="%s line %s is not Python %d.%d: %s" % ((file, error.lineno) + sys.version_info[:2] + (error.msg,)),
            hint="correct that line",
        )
    elif isinstance(error, ModuleNotFoundError) and error.name:
        missing_module(verdict, error.name, where, root)
    elif isinstance(error, ImportError) and "cannot open shared object file" in str(error):
        library = str(error).split(":")[0].strip()
        package = package_of(library)
        hint = "write the Debian package %s into a file apt.txt" % package if package else "the image lacks the system library: write the Debian package that has it into a file apt.txt"
        if library == "libcuda.so.1":
            hint = "the NVIDIA driver brings it: run the job on a machine with a GPU, or require a build for the CPU"
        if library in ("libGL.so.1", "libgthread-2.0.so.0"):
            hint = "use opencv-python-headless instead of opencv-python in requirements.txt, or write %s into a file apt.txt" % package
        verdict.update(kind="system_library", module=library, message="%s is missing%s" % (library, where), hint=hint)
    else:
        text = traceback.format_exception_only(type(error), error)[-1].strip()
        verdict.update(
            kind="import_error",
            message="importing the service failed%s: %s" % (where, text),
            hint="the traceback shows where; a library of another version than the code was written for is the usual cause",
        )
    return verdict


def missing_module(verdict, module, where, root):
    """Fills `verdict` for a module that is not there."""
    top = module.split(".")[0]
    verdict.update(kind="missing_module", module=module)
    local = top in ("src", "app", "user_code", "libs") or os.path.exists(os.path.join(root, top))
    if local or top in getattr(sys, "stdlib_module_names", ()):
        verdict["message"] = "the module %s is not there%s" % (module, where)
        verdict["hint"] = (
            "%s is the service's own: look for a missing or misspelt file" % module
            if local
            else "%s belongs to Python, but to another version than %d.%d" % ((module,) + sys.version_info[:2])
        )
        return
    distribution = distribution_of(module)
    verdict.update(
        distribution=distribution,
        line_to_add=distribution,
        message="the module %s is not installed%s" % (module, where),
        hint="add this line to requirements.txt: %s" % distribution,
    )
