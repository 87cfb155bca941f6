"""The two checks that follow a build: by import and by text alone."""
import os
import subprocess
import sys
import time

from .support import RUNNER, RunnerTest

STATIC = os.path.join(RUNNER, "hoist_runner", "static_check.py")


class Import(RunnerTest):
    def test_a_service_that_can_be_called_is_good(self):
        self.write({"src/program.py": "print('hello')\ndef run(data, params): raise SystemExit(5)"})
        verdict = self.check()
        self.assertEqual((verdict["ok"], verdict["kind"]), (True, "ok"))

    def test_every_failure_has_its_kind(self):
        for program, kind, words in (
            ("import sklearn\ndef run(): pass", "missing_module", "scikit-learn"),
            ("import src.gone\ndef run(): pass", "missing_module", "the service's own"),
            ("def run(:", "syntax_error", "src/program.py line 1"),
            ("x = 1/0\ndef run(): pass", "import_error", "ZeroDivisionError"),
            ("import sys\nsys.exit(0)", "import_error", "__main__"),
            ("def other(): pass", "no_function", "other"),
            ("run = 3", "no_function", "is no function"),
            ("raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')", "system_library", "libgl1"),
            ("def run(a, b, c): pass", "bad_signature", "G1"),
        ):
            self.write({"src/program.py": program})
            verdict = self.check()
            self.assertEqual((verdict["ok"], verdict["kind"]), (False, kind), program)
            self.assertIn(words, verdict["message"] + " " + verdict["hint"], program)
        self.assertEqual(self.check(HOIST_CONTRACT="G2")["ok"], True)

    def test_the_line_to_add_is_given(self):
        self.write({"src/program.py": "import yaml\ndef run(): pass"})
        self.assertEqual(self.check()["line_to_add"], "PyYAML")


class Static(RunnerTest):
    def test_nothing_is_executed_and_imports_are_followed(self):
        self.write(
            {
                "src/program.py": "raise SystemExit(3)\nfrom .libs import a\nfrom libs.b import c\ndef run(): pass",
                "src/libs/a.py": "import json, os.path\nimport xml.etree.ElementTree",
                "src/libs/b.py": "import numpie_is_missing as n",
                "src/unused.py": "this is no python",
            }
        )
        verdict = self.check(static=True)
        self.assertEqual((verdict["kind"], verdict["module"], verdict["file"], verdict["line"]), ("missing_module", "numpie_is_missing", "src/libs/b.py", 1))
        self.write({"src/libs/b.py": "c = 1"})
        self.assertEqual((self.check(static=True)["kind"]), "ok")

    def test_packages_above_the_program_are_looked_at_too(self):
        self.write({"src/program.py": "def run(): pass", "src/__init__.py": "import gone_with_the_package"})
        self.assertEqual(self.check(static=True)["file"], "src/__init__.py")

    def test_guarded_and_late_imports_do_not_fail(self):
        self.write(
            {
                "src/program.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import gone1\ntry:\n    import gone2\nexcept ImportError:\n    import gone3\n"
                "def run():\n    import gone4\n"
            }
        )
        verdict = self.check(static=True)
        self.assertTrue(verdict["ok"])
        self.assertIn("gone4", verdict["warning"])

    def test_syntax_and_a_missing_function_are_seen(self):
        self.write({"src/program.py": "def run():\n  return (1\n"})
        self.assertEqual(self.check(static=True)["kind"], "syntax_error")
        self.write({"src/program.py": "def walk(): pass"})
        self.assertEqual(self.check(static=True)["kind"], "no_function")
        for program in ("from .a import run", "run = lambda: 1", "from .a import *", "try:\n    pass\nfinally:\n    def run(): pass"):
            self.write({"src/program.py": program, "src/a.py": "def run(): pass"})
            self.assertTrue(self.check(static=True)["ok"], program)
        self.write({"src/program.py": "from .gone import x\ndef run(): pass"})
        self.assertEqual(self.check(static=True)["kind"], "missing_module")

    def test_the_fingerprint_follows_the_imports_alone(self):
        def fingerprint(program):
            self.write({"src/program.py": program})
            return self.check(static=True)["fingerprint"]

        first = fingerprint("import json\ndef run(): return 1")
        self.assertEqual(first, fingerprint("# note\nimport json\n\ndef run(): return 2"))
        self.assertNotEqual(first, fingerprint("import json, os\ndef run(): return 1"))
        self.assertNotEqual(first, fingerprint("import json\ndef run(data): return 1"))

    def test_it_finds_what_lies_in_given_folders_and_starts_fast(self):
        site = os.path.join(self.base, "site-packages")
        self.write({"thing/__init__.py": "", "space/part/__init__.py": ""}, site)
        self.write({"src/program.py": "import thing, space.part\ndef run(): pass"})
        command = [sys.executable, "-I", "-S", STATIC, self.root, "--site", site]
        best = 9.0
        for _ in range(5):
            start = time.monotonic()
            done = subprocess.run(command, stdout=subprocess.PIPE, universal_newlines=True)
            best = min(best, time.monotonic() - start)
        self.assertIn('"kind": "ok"', done.stdout)
        self.assertLess(best, 0.25)
        self.write({"src/program.py": "import thing, space.other\ndef run(): pass"})
        done = subprocess.run(command, stdout=subprocess.PIPE, universal_newlines=True)
        self.assertIn('"module": "space.other"', done.stdout)
