"""Reads what a job was given: files and variables of the first generation (G1), files and secrets of the second (G2)."""
import base64
import binascii
import json
import os
import re


class InputError(Exception):
    """An input that cannot be used; the text names its source and what is wrong."""


def _refuse_constant(name):
    raise ValueError("%s is not JSON" % name)


def parse_json(text, source):
    """The value of a JSON text; NaN and infinities are refused."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InputError("%s is not JSON: line %d, column %d: %s" % (source, error.lineno, error.colno, error.msg)) from None
    except (ValueError, RecursionError) as error:
        raise InputError("%s is not JSON: %s" % (source, error)) from None


def _truthy(environ, name, default="true"):
    return environ.get(name, default).strip().lower() in ("yes", "true", "1")


def read_g1(environ, log, input_dir="/var/input"):
    """`data` and `params`; a file wins over `*_VALUE`, that over the deprecated name, and what is missing is {}."""
    found = {}
    for name in ("data", "params"):
        upper = name.upper()
        encoded = _truthy(environ, "BASE64_ENCODED") and _truthy(environ, upper + "_BASE64_ENCODED")
        explicit = "BASE64_ENCODED" in environ or upper + "_BASE64_ENCODED" in environ
        file = environ.get(upper + "_FILE") or ""
        if file and not os.path.isfile(file):
            raise InputError("%s_FILE names %s, which is no file" % (upper, file))
        places = [file, os.path.join(input_dir, name, name + ".json"), os.path.join(input_dir, name + ".json")]
        path = next((place for place in places if place and os.path.isfile(place)), None)
        if path:
            with open(path, "rb") as stream:
                found[name] = _decode(stream.read(), True, path, None)
            continue
        for variable in (upper + "_VALUE", "INPUT_" + upper):
            text = environ.get(variable, "")
            if text.strip():
                said = log if encoded and explicit else None
                found[name] = _decode(text.encode("utf-8", "surrogateescape"), encoded, variable, said)
                break
        else:
            found[name] = {}
    return found


def _decode(raw, may_be_base64, source, log):
    """JSON, or JSON in base64 (URL-safe or not, padded or not)."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("%s is not UTF-8: byte %d" % (source, error.start)) from None
    if not text.strip():
        return {}
    if may_be_base64:
        inner = _from_base64(text)
        if inner is not None:
            try:
                return parse_json(inner, source)
            except InputError:
                pass
    try:
        value = parse_json(text, source)
    except InputError as error:
        if may_be_base64 and _from_base64(text) is not None:
            raise InputError("%s decodes from base64, but what it holds is not JSON: %s" % (source, _from_base64(text)[:60])) from None
        raise error
    if log:
        log("%s is plain JSON although BASE64_ENCODED says otherwise; it was taken as it is" % source)
    return value


def _from_base64(text):
    packed = re.sub(r"\s", "", text).replace("-", "+").replace("_", "/").rstrip("=")
    if not packed or re.search(r"[^A-Za-z0-9+/]", packed):
        return None
    try:
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


class Given:
    """One value of G2: what was sent, and its text where it is one that a `str` parameter may want as it is."""

    def __init__(self, value, text=None):
        self.value, self.text = value, text


def read_g2(environ):
    """One value for each file in the input directory, by the file's name up to its first dot."""
    folder = environ.get("INPUT_DIRECTORY") or "/var/runtime/input"
    found = {}
    if not os.path.isdir(folder):
        return found
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        key = name.split(".")[0]
        if not os.path.isfile(path) or not key or key.startswith("$"):
            continue
        if key in found:
            raise InputError("two files in %s give %s" % (folder, key))
        with open(path, "rb") as stream:
            raw = stream.read()
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError("%s is not UTF-8: byte %d" % (path, error.start)) from None
        try:
            found[key] = Given(parse_json(text, path), text)
        except InputError:
            if name.endswith(".json"):
                raise
            found[key] = Given(text, text)
    return found


def secret_name(parameter):
    """`apiKey` and `api_key` are both SECRET_API_KEY."""
    return "SECRET_" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", parameter).upper()
