"""G1: files and variables in, a marked block on stdout out."""
import base64
import json

from .support import RunnerTest

ECHO = "def run(data=None, params=None):\n    return {'data': data, 'params': params}\n"


class Inputs(RunnerTest):
    def test_files_win_over_values_and_values_over_deprecated_names(self):
        value = base64.b64encode(b'{"from": "value"}').decode()
        result, _, _ = self.g1(ECHO, data={"from": "file"}, DATA_VALUE=value, PARAMS_VALUE=value, INPUT_PARAMS="e30=")
        self.assertEqual(result, {"data": {"from": "file"}, "params": {"from": "value"}})
        result, _, _ = self.g1(ECHO, INPUT_DATA=value)
        self.assertEqual(result, {"data": {"from": "value"}, "params": {}})

    def test_base64_of_either_alphabet_and_plain_json_are_taken(self):
        text = json.dumps({"a": "???>>>ü"})
        for packed in (base64.b64encode(text.encode()), base64.urlsafe_b64encode(text.encode())):
            result, _, _ = self.g1(ECHO, DATA_VALUE=packed.decode().rstrip("="))
            self.assertEqual(result["data"], {"a": "???>>>ü"})
        result, _, said = self.g1(ECHO, DATA_VALUE=text, BASE64_ENCODED="true")
        self.assertEqual(result["data"], {"a": "???>>>ü"})
        self.assertIn("plain JSON", said)
        result, _, said = self.g1(ECHO, DATA_VALUE="1234", PARAMS_VALUE="[1]", BASE64_ENCODED="false")
        self.assertEqual(result, {"data": 1234, "params": [1]})

    def test_what_does_not_decode_is_an_error_and_not_empty(self):
        for value in ("{'a': 1}", "no json", "{\"a\": NaN}", base64.b64encode(b"{broken").decode()):
            result, _, said = self.g1(ECHO, code=1, DATA_VALUE=value)
            self.assertIsNone(result)
            self.assertIn("DATA_VALUE", said)
        _, _, said = self.g1(ECHO, code=1, DATA_FILE="/nonexistent.json")
        self.assertIn("DATA_FILE", said)

    def test_signatures_of_all_kinds_are_called(self):
        for program, wanted in (
            ("def run(data, params): return [data, params]", [{"a": 1}, {"b": 2}]),
            ("def run(data=None): return data", {"a": 1}),
            ("def run(**kwargs): return kwargs", {"data": {"a": 1}, "params": {"b": 2}}),
            ("def run(params, data, more=3): return [data, params, more]", [{"a": 1}, {"b": 2}, 3]),
            ("def run(x, y): return [x, y]", [{"a": 1}, {"b": 2}]),
            ("def run(): return 5", 5),
            ("async def run(data, params): return data", {"a": 1}),
        ):
            result, _, _ = self.g1(program, data={"a": 1}, params={"b": 2})
            self.assertEqual(result, wanted, program)
        _, _, said = self.g1("def run(): return 5", data={"a": 1})
        self.assertIn("data was sent, but run() takes no data", said)
        _, _, said = self.g1("def run(data, params, shots): pass", code=1)
        self.assertIn("needs shots", said)


class Results(RunnerTest):
    def test_prints_stay_outside_of_the_block(self):
        program = (
            "import os, threading, time\n"
            "def noise():\n"
            "    for _ in range(200):\n"
            "        print('noise'); time.sleep(0.001)\n"
            "def run(data, params):\n"
            "    print('PlanQK:Job:InterimResult: {\"p\": 1}')\n"
            "    print('no newline', end='')\n"
            "    os.write(1, b'raw')\n"
            "    threading.Thread(target=noise, daemon=True).start()\n"
            "    return list(range(20000))\n"
        )
        result, before, _ = self.g1(program)
        self.assertEqual(result, list(range(20000)))
        self.assertIn("no newline", before)
        self.assertIn("InterimResult", before)

    def test_response_classes_are_known_by_name(self):
        classes = (
            "class ResultResponse:\n    def __init__(self, result, metadata=None):\n        self.result, self.metadata = result, metadata\n"
            "class ErrorResponse:\n    def __init__(self, code, detail):\n        self.code, self.detail = code, detail\n"
        )
        result, _, _ = self.g1(classes + "def run(data, params): return ResultResponse({'x': 1})")
        self.assertEqual(result, {"metadata": None, "result": {"x": 1}})
        result, _, _ = self.g1(classes + "def run(data, params): return ErrorResponse('42', 'no')", code=1)
        self.assertEqual(result, {"code": "42", "detail": "no"})

    def test_none_is_no_result_and_an_exception_ends_with_its_traceback_alone(self):
        result, out, _ = self.g1("def run(data, params): pass")
        self.assertIsNone(result)
        self.assertEqual(out, "")
        program = "def helper():\n    raise ValueError('no')\ndef run(data, params):\n    try:\n        1/0\n    except ZeroDivisionError:\n        helper()\n"
        result, _, said = self.g1(program, code=1)
        self.assertTrue(said.rstrip().endswith("ValueError: no"), said)
        self.assertIn("ZeroDivisionError", said)
        self.assertNotIn("hoist_runner", said)
        _, _, _ = self.g1("import sys\ndef run(data, params): sys.exit(7)", code=7)

    def test_what_is_not_json_is_named_with_its_place(self):
        for value, place, what in (
            ("{'counts': {'00': 1j}}", 'result.counts["00"]', "complex"),
            ("[1, float('nan')]", "result[1]", "NaN"),
            ("{'a': [float('-inf')]}", "result.a[0]", "Infinity"),
            ("{1, 2}", "result", "set"),
            ("{'b': b'x'}", "result.b", "bytes"),
            ("{'o': object()}", "result.o", "object"),
            ("{(1, 2): 3}", "result[(1, 2)]", "a key of type tuple"),
        ):
            result, _, said = self.g1("def run(data, params): return %s" % value, code=1)
            self.assertIsNone(result)
            self.assertIn("%s: %s is not JSON" % (place, what), said)
            self.assertIn("do:", said)
        _, _, said = self.g1("def run(data, params):\n    a = []\n    a.append(a)\n    return a", code=1)
        self.assertIn("contains itself", said)

    def test_objects_that_have_a_json_form_are_taken(self):
        program = (
            "import dataclasses, datetime, decimal, enum, collections\n"
            "class Color(enum.Enum):\n    RED = 'red'\n"
            "@dataclasses.dataclass\nclass Point:\n    x: int\n    y: float\n"
            "class Mine:\n    def __init__(self): self.z = 3\n"
            "class Array:\n    __slots__ = ()\n    def tolist(self): return [1, [2.5]]\n"
            "class Scalar:\n    __slots__ = ()\n    def item(self): return 7\n"
            "Pair = collections.namedtuple('Pair', 'a b')\n"
            "def run(data, params):\n"
            "    return {1: Point(1, 2.0), 'c': Color.RED, 'm': Mine(), 'a': Array(), 's': Scalar(), 'p': Pair(1, 2), Color.RED: True,\n"
            "            'd': datetime.date(2026, 1, 2), 'n': decimal.Decimal('1.10'), 't': (1, None)}\n"
        )
        result, _, _ = self.g1(program)
        self.assertEqual(
            result,
            {
                "1": {"x": 1, "y": 2.0},
                "c": "red",
                "m": {"z": 3},
                "a": [1, [2.5]],
                "s": 7,
                "p": {"a": 1, "b": 2},
                "red": True,
                "d": "2026-01-02",
                "n": "1.10",
                "t": [1, None],
            },
        )


class EntryPoints(RunnerTest):
    def test_every_form_finds_its_function(self):
        text = "from .libs.a import value\nfrom libs import b\ndef run(data=None, params=None): return value + b.value\n"
        for base in ("src", "user_code/src", "app/user_code/src", "app/user-code/src"):
            with self.subTest(base):
                self.setUp()
                self.write({base + "/program.py": text, base + "/libs/a.py": "value = 1", base + "/libs/b.py": "value = 2"})
                forms = ["", base + "/program.py:run"]
                if "-" not in base:
                    forms.append(base.replace("/", ".") + ".program:run")
                if base == "app/user_code/src":
                    forms.append("user_code.src.program:run")
                for form in forms:
                    self.assertEqual(self.g1(None, ENTRY_POINT=form)[0], 3, form)

    def test_a_users_module_hides_neither_the_standard_library_nor_is_it_hidden(self):
        self.write({"src/types.py": "raise SystemExit(9)", "src/helper.py": "value = 4", "src/__init__.py": ""})
        self.assertEqual(self.g1("import types, helper\ndef run(): return helper.value")[0], 4)

    def test_without_a_function_the_file_is_the_program(self):
        self.write({"tool.py": "import sys\nprint(__name__, sys.argv[1:])\nsys.exit(3)"})
        _, out, _ = self.g1(None, code=3, ENTRY_POINT="tool.py")
        self.assertEqual(out, "__main__ []\n")

    def test_what_is_missing_is_named(self):
        _, _, said = self.g1(None, code=1)
        self.assertIn("there is no src/program.py", said)
        _, _, said = self.g1("def runn(data, params): pass", code=1)
        self.assertIn("program.py has no function run", said)
        self.assertIn("ENTRY_POINT=src.program:runn", said)
        _, _, said = self.g1("import cv2\ndef run(): pass", code=1)
        self.assertIn("add this line to requirements.txt: opencv-python-headless", said)
        self.assertIn("src/program.py line 1", said)

    def test_the_log_level_is_set_where_it_is_asked_for(self):
        program = "import logging\ndef run():\n    logging.info('hello')\n"
        self.assertIn("hello", self.g1(program, LOG_LEVEL="INFO")[2])
        self.assertNotIn("hello", self.g1(program)[2])
