"""Asks a Django project what it would do with static files: `manage.py help collectstatic`, then its settings. The answer is JSON in a file."""
import contextlib
import io
import json
import os
import runpy
import sys

manage, answer_path = sys.argv[1:3]
answer = {"enabled": False, "said": "", "root": None, "storage": "", "local": True}


def ask():
    said = io.StringIO()
    sys.argv = [manage, "help", "collectstatic"]
    sys.path[0] = os.path.dirname(os.path.abspath(manage))
    code = None
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            runpy.run_path(manage, run_name="__main__")
    except SystemExit as ended:
        code = ended.code
    answer["said"] = said.getvalue()[-4000:]
    if code not in (None, 0):
        if "Unknown command" not in answer["said"]:
            print(answer["said"], file=sys.stderr)
            sys.exit(f"manage.py help collectstatic ended with {code}")
        return
    from django.conf import settings
    from django.contrib.staticfiles.storage import staticfiles_storage
    from django.core.exceptions import ImproperlyConfigured

    answer["enabled"] = True
    if settings.STATIC_ROOT:
        answer["root"] = os.path.abspath(os.fspath(settings.STATIC_ROOT))
    try:
        answer["storage"] = staticfiles_storage.__class__.__name__
        staticfiles_storage.path("")
    except NotImplementedError:
        answer["local"] = False
    except ImproperlyConfigured:
        if answer["root"]:  # else it says that there is none
            raise


ask()
with open(answer_path, "w", encoding="utf-8") as file:
    json.dump(answer, file)
