"""G2: one file for each parameter in, files out."""
import os

from .support import RunnerTest


class Parameters(RunnerTest):
    def test_every_annotation_gives_its_type(self):
        program = (
            "from __future__ import annotations\n"
            "import dataclasses, enum\n"
            "from typing import Dict, List, Literal, Optional, Tuple, Union\n"
            "class Color(enum.Enum):\n    RED = 'red'\n"
            "@dataclasses.dataclass\nclass Point:\n    x: int\n    y: float = 0.5\n"
            "def run(a: int, b: float, c: bool, d: str, e: List[Point], f: Dict[str, int], g: Optional[int], h: Union[int, str],\n"
            "        i: Color, j: Literal['x', 'y'], k: Tuple[int, str], m, n: str = 'n', o: Optional[int] = 9, p: set = None):\n"
            "    assert isinstance(e[0], Point) and i is Color.RED and c is False and isinstance(b, float) and isinstance(k, tuple)\n"
            "    return [a, b, c, d, e, f, g, h, i, j, k, m, n, o]\n"
        )
        given = dict(a=3.0, b=2, c=False, d="text", e=[{"x": 1}], f={"k": 1}, h="q", i="red", j="y", k=[1, "z"], m={"any": 1})
        found, _ = self.g2(program, given)
        wanted = [3, 2.0, False, "text", [{"x": 1, "y": 0.5}], {"k": 1}, None, "q", "red", "y", [1, "z"], {"any": 1}, "n", 9]
        self.assertEqual(found["output.json"], wanted)

    def test_texts_are_taken_as_they_are(self):
        program = "def run(a: str, b: int, c: bool, d: str): return [a, b, c, d]"
        found, _ = self.g2(program, {"a.txt": "5", "b.txt": "7", "c.txt": "false", "d.txt": "hello world"})
        self.assertEqual(found["output.json"], ["5", 7, False, "hello world"])

    def test_a_value_of_another_type_is_named(self):
        for annotation, value, said in (
            ("int", 1.5, "x is 1.5, and a whole number is wanted"),
            ("int", True, "a whole number is wanted"),
            ("bool", "maybe", "true or false is wanted"),
            ("'List[int]'", [1, "b"], "x[1] is \"b\""),
        ):
            program = "from typing import List\ndef run(x: %s): return x" % annotation
            found, err = self.g2(program, {"x": value}, code=1)
            self.assertIn(said, err)
            self.assertEqual(found["output.json"]["status"], 500)

    def test_kwargs_get_what_was_sent_and_unknown_keys_are_warned_about(self):
        found, _ = self.g2("def run(a, **rest): return rest", {"a": 1, "b": False, "data": {"x": 1}})
        self.assertEqual(found["output.json"], {"b": False, "data": {"x": 1}})
        _, said = self.g2("def run(a): return None", {"a": 1, "b": 2})
        self.assertIn("b was sent, but run(a) takes no b", said)

    def test_missing_parameters_are_named(self):
        _, said = self.g2("def run(a, b, c=1): pass", {"a": 1}, code=1)
        self.assertIn("needs b, and the input has a", said)

    def test_a_file_that_is_not_json_is_an_error(self):
        _, said = self.g2("def run(a): pass", {"a.json": "{\n  'x': 1}"}, code=1)
        self.assertIn("a.json is not JSON: line 2, column 3", said)

    def test_secrets_come_from_variables(self):
        program = "class SecretValue:\n    def __init__(self, v): self.v = v\ndef run(apiKey: str, token: SecretValue): return [apiKey, token.v]"
        found, _ = self.g2(program, {}, SECRET_API_KEY="k", SECRET_TOKEN="t")
        self.assertEqual(found["output.json"], ["k", "t"])

    def test_data_pools_are_made_of_the_users_own_class(self):
        pool = os.path.join(self.base, "pool", "files")
        os.makedirs(pool)
        self.write({"a.txt": "inside"}, pool)
        own = "class DataPool:\n    def __init__(self, path): self.path = path\n    def read(self):\n        return open(self.path + '/a.txt').read()\n"
        environ = {"DATAPOOL_DIRECTORY": os.path.join(self.base, "pool")}
        given = {"files": {"id": "1", "ref": "DATAPOOL"}}
        found, _ = self.g2(own + "def run(files: DataPool): return files.read()", given, **environ)
        self.assertEqual(found["output.txt"], "inside")
        found, _ = self.g2("def run(files): return files.open('a.txt').read()", given, **environ)
        self.assertEqual(found["output.txt"], "inside")

    def test_pydantic_models_are_known_by_their_methods(self):
        """Stand-ins with pydantic's interface, because pydantic itself may not be installed."""
        for method, dump, fields in (("model_validate", "model_dump", "model_fields"), ("parse_obj", "dict", "__fields__")):
            program = (
                "class Model:\n    %s = {}\n    def __init__(self, **values): self.values = values\n"
                "    @classmethod\n    def %s(cls, value):\n        if 'x' not in value: raise ValueError('x is missing')\n        return cls(**value)\n"
                "    def %s(self): return {'model': self.values}\n"
                "def run(data: Model) -> Model:\n    assert isinstance(data, Model)\n    return data\n" % (fields, method, dump)
            )
            found, _ = self.g2(program, {"data": {"x": 1}})
            self.assertEqual(found["output.json"], {"model": {"x": 1}})
            _, said = self.g2(program, {"data": {}}, code=1)
            self.assertIn("x is missing", said)


class Results(RunnerTest):
    def test_scalars_are_a_text_file_and_none_is_no_file(self):
        for value, wanted in (("1.5", 1.5), ("'a'", "a"), ("False", False)):
            self.setUp()
            self.assertEqual(self.g2("def run(): return %s" % value)[0], {"output.txt": wanted})
        self.setUp()
        self.assertEqual(self.g2("def run(): return None")[0], {})
        self.assertEqual(self.g2("def run(): return [1]")[0], {"output.json": [1]})

    def test_an_exception_becomes_a_problem_document(self):
        found, said = self.g2("def run(): raise KeyError('x')", code=1)
        self.assertEqual(found["output.json"], {"type": "about:blank", "status": 500, "title": "KeyError", "detail": "'x'"})
        self.assertIn("KeyError: 'x'", said)
        self.assertNotIn("hoist_runner", said)
        found, _ = self.g2("def run(): return {1}", code=1)
        self.assertEqual(found["output.json"]["detail"], "result: set is not JSON")
