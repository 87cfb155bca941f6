# Compiles the files named on standard input (separated by NUL) to unchecked hash-based .pyc files; prints how many have errors.
import sys
# Neither the folder it was started in nor any other that is not Python's own: a types.py of the app is not Python's.
sys.path[:] = [path for path in sys.path if path]
import os
from importlib import _bootstrap_external as machinery
from importlib.util import cache_from_source, source_hash

failed = 0
for path in sys.stdin.buffer.read().split(b"\0"):
    path = os.fsdecode(path)
    with open(path, "rb") as file:
        source = file.read()
    try:
        code = compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        failed += 1
        continue
    target = cache_from_source(path)
    data = machinery._code_to_hash_pyc(code, source_hash(source), False)
    del code
    try:
        file = open(target, "wb")
    except FileNotFoundError:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        file = open(target, "wb")
    with file:
        file.write(data)
print(failed)
