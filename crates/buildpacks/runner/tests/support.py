"""Starts the runner as a process of its own, as an image does, on a service made of texts."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

RUNNER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MARKER = "PlanQK:Job:MultilineResult"


class RunnerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.base = os.path.realpath(folder.name)
        self.root = os.path.join(self.base, "workspace")
        os.mkdir(self.root)

    def write(self, files, below=None):
        for name, text in files.items():
            path = os.path.join(below or self.root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)

    def start(self, *arguments, **environ):
        # -S: what happens to be installed on this machine must not be found.
        clean = {"PATH": "/invalid", "PYTHONPATH": RUNNER, "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C"}
        clean.update(environ)
        return subprocess.run(
            [sys.executable, "-S", "-m", "hoist_runner"] + list(arguments),
            cwd=self.root,
            env=clean,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=60,
        )

    def g1(self, program, data=None, params=None, code=0, **environ):
        """Runs `program` as src/program.py and answers the result, stdout outside of the block, and stderr."""
        if program is not None:
            self.write({"src/program.py": program})
        for name, value in (("data", data), ("params", params)):
            if value is not None:
                self.write({name + ".json": json.dumps(value)}, self.base)
                environ[name.upper() + "_FILE"] = os.path.join(self.base, name + ".json")
        done = self.start(HOIST_CONTRACT="G1", **environ)
        self.assertEqual(done.returncode, code, done.stderr)
        parts = done.stdout.split(MARKER + "\n")
        result = json.loads(parts[1]) if len(parts) == 3 else None
        return result, parts[0], done.stderr

    def g2(self, program, given=None, code=0, **environ):
        """Runs `program` and answers what is in the output directory and stderr."""
        self.write({"src/program.py": program})
        inputs, outputs = os.path.join(self.base, "input"), os.path.join(self.base, "output")
        os.makedirs(inputs, exist_ok=True)
        for key, value in (given or {}).items():
            name = key if "." in key else key + ".json"
            self.write({name: value if "." in key else json.dumps(value)}, inputs)
        environ.update(INPUT_DIRECTORY=inputs, OUTPUT_DIRECTORY=outputs)
        done = self.start(**environ)
        self.assertEqual(done.returncode, code, done.stderr)
        found = {}
        for name in os.listdir(outputs) if os.path.isdir(outputs) else []:
            with open(os.path.join(outputs, name), encoding="utf-8") as stream:
                found[name] = json.load(stream)
        return found, done.stderr

    def check(self, static=False, **environ):
        done = self.start("--check-static" if static else "--check", **environ)
        verdict = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0 if verdict["ok"] else 1, done.stderr)
        return verdict
