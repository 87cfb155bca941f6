"""One execution of a service: import, inputs, run, result, exit code."""
import json
import logging
import os
import runpy
import sys

from . import call, convert, diagnosis, entry, inputs, values

MARKER = "PlanQK:Job:MultilineResult"


def log(text):
    """A line of the runner's own, on stderr, where it can't be taken for a result."""
    sys.stderr.write("hoist: " + text + "\n")
    sys.stderr.flush()


def fail(text, hint=None):
    log("error: " + text)
    if hint:
        log("  do: " + hint)


def contract_of(environ):
    """G1 or G2: what the image or the platform says, else what the job was given."""
    said = environ.get("HOIST_CONTRACT", "").strip().upper()
    if said in ("G1", "G2"):
        return said
    second = environ.get("INPUT_DIRECTORY") or environ.get("OUTPUT_DIRECTORY") or os.path.isdir("/var/runtime/input")
    return "G2" if second else "G1"


def set_up_logging(environ):
    level = environ.get("LOG_LEVEL", "").strip().upper()
    if level in ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG"):
        logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        environ.setdefault("LOGURU_LEVEL", level)


def main(environ=None, root=None):
    environ = os.environ if environ is None else environ
    root = os.path.abspath(root or os.getcwd())
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    set_up_logging(environ)
    contract = contract_of(environ)
    try:
        place = entry.locate(root, environ)
        entry.prepare_path(place, root)
        if not place.function:
            return run_as_main(place, root)
        try:
            function = entry.find_function(place, entry.import_module(place))
        except (entry.EntryPointError, SystemExit):
            raise
        except BaseException as error:
            return import_failed(error, root, contract, environ)
        return execute(function, place.function, contract, environ, root)
    except entry.EntryPointError as error:
        fail(str(error), error.hint)
        problem(contract, environ, "EntryPointError", str(error))
        return 1


def run_as_main(place, root):
    """An entry point without a function: the file is a program of its own, which prints its own markers."""
    sys.argv = [place.path]
    try:
        runpy.run_module(place.module, run_name="__main__", alter_sys=True)
    except SystemExit:
        raise
    except BaseException as error:
        sys.stderr.write(diagnosis.user_traceback(error))
        return interrupted(error)
    return 0


def import_failed(error, root, contract, environ):
    verdict = diagnosis.explain_import(error, root)
    sys.stderr.write(verdict["traceback"])
    fail(verdict["message"], verdict.get("hint"))
    problem(contract, environ, type(error).__name__, verdict["message"])
    return interrupted(error)


def interrupted(error):
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def execute(function, name, contract, environ, root):
    try:
        if contract == "G2":
            args, kwargs = call.bind_g2(function, name, inputs.read_g2(environ), environ, log)
        else:
            args, kwargs = call.bind_g1(function, name, inputs.read_g1(environ, log), log)
    except (inputs.InputError, convert.ConvertError) as error:
        log("input error: " + str(error))
        log("  do: correct the input and run the job again")
        problem(contract, environ, "InputError", str(error))
        return 1
    try:
        result = finished(function(*args, **kwargs))
    except SystemExit:
        raise
    except BaseException as error:
        sys.stderr.write(diagnosis.user_traceback(error))
        problem(contract, environ, type(error).__name__, str(error))
        return interrupted(error)
    try:
        if contract == "G2":
            return answer_g2(result, environ, root)
        return answer_g1(result, root)
    except values.NotJson as error:
        fail(str(error), error.hint)
        problem(contract, environ, "NotJson", str(error))
        return 1


def finished(result):
    """Waits for a coroutine: `async def run` is allowed."""
    import inspect

    if inspect.iscoroutine(result):
        import asyncio

        return asyncio.run(result)
    return result


def answer_g1(result, root):
    """Writes the result between two marker lines, in one piece, when everything the program printed is out."""
    if result is None:
        return 0
    text = values.dumps(result, root)
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)  # what threads that still run print from now on can't fall into the block
    write_all(stdout, ("\n%s\n%s\n%s\n" % (MARKER, text, MARKER)).encode())
    os.close(stdout)
    return 1 if is_error(result) else 0


def is_error(result):
    return type(result).__name__ == "ErrorResponse"


def write_all(descriptor, data):
    while data:
        data = data[os.write(descriptor, data):]


def answer_g2(result, environ, root):
    """Scalars to output.txt, all else to output.json, nothing for None."""
    if result is None:
        return 0
    text = values.dumps(result, root, compact=isinstance(result, (str, int, float)))
    write_output(environ, "output.txt" if isinstance(result, (str, int, float)) else "output.json", text)
    return 1 if is_error(result) else 0


def write_output(environ, name, text):
    folder = environ.get("OUTPUT_DIRECTORY") or "/var/runtime/output"
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path + ".part", "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(path + ".part", path)


def problem(contract, environ, title, detail):
    """The error body of G2 (RFC 7807); G1 has none."""
    if contract != "G2":
        return
    body = {"type": "about:blank", "status": 500, "title": title, "detail": detail}
    try:
        write_output(environ, "output.json", json.dumps(body, indent=2))
    except OSError as error:
        log("the error could not be written to the output directory: %s" % error)
