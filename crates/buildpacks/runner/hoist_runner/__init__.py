"""Runs the `run` function of a service: inputs in, result out. Standard library only, Python 3.9 and newer.

`python -m hoist_runner` runs the service, `--check` imports it without running it, `--check-static` looks at its text alone.
"""
