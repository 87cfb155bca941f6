"""The template's own program: reads the input, calls the user code, prints the result between its markers."""
import json
import os
import sys

from app.user_code.src.program import run


def read(name):
    for path in (f"/var/input/{name}/{name}.json", f"/var/input/{name}.json"):
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as stream:
                return json.load(stream)
    return {}


def main():
    response = run(data=read("data"), params=read("params"))
    print("PlanQK:Job:MultilineResult")
    print(json.dumps(response.__dict__, sort_keys=True, indent=2))
    print("PlanQK:Job:MultilineResult")
    return 1 if type(response).__name__ == "ErrorResponse" else 0


if __name__ == "__main__":
    sys.exit(main())
