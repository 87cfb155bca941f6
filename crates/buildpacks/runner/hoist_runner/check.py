"""Imports the entry point without running it and answers, as one line of JSON on stdout, whether it could be called."""
import json
import os
import sys

from . import call, diagnosis, entry, job


def verdict_of(environ, root):
    try:
        place = entry.locate(root, environ)
        entry.prepare_path(place, root)
        if not place.function:
            return {"ok": True, "kind": "program", "message": "%s is run as a program" % place.text}
        try:
            module = entry.import_module(place)
        except entry.EntryPointError:
            raise
        except SystemExit as error:
            return {
                "ok": False,
                "kind": "import_error",
                "message": "importing %s ends the process (sys.exit(%s))" % (place.text, error.code),
                "hint": "put what is to run only as a program under if __name__ == \"__main__\":",
            }
        except BaseException as error:
            return diagnosis.explain_import(error, root)
        function = entry.find_function(place, module)
        call.check_signature(function, place.function, job.contract_of(environ))
        return {
            "ok": True,
            "kind": "ok",
            "entry_point": place.text,
            "signature": "%s%s" % (place.function, call.signature_of(function) or ""),
            "message": "%s can be called" % place.text,
        }
    except entry.EntryPointError as error:
        return {"ok": False, "kind": error.kind, "message": str(error), "hint": error.hint}


def main(arguments):
    root = os.path.abspath(arguments[0] if arguments else os.getcwd())
    # What the service prints while it is imported must not be taken for the verdict.
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    verdict = verdict_of(os.environ, root)
    sys.stdout.flush()
    sys.stderr.flush()
    job.write_all(stdout, (json.dumps(verdict) + "\n").encode())
    # A thread that the import left running must not hold up the build.
    os._exit(0 if verdict["ok"] else 1)
