"""Fits what was given to the parameters of `run`."""
import inspect
import os

from . import convert, inputs
from .entry import EntryPointError


def signature_of(function):
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def check_signature(function, name, contract):
    """Raises where `run` cannot be called under the contract, whatever the input is."""
    signature = signature_of(function)
    if signature is None:
        return
    for parameter in signature.parameters.values():
        if contract == "G2" and parameter.kind is parameter.POSITIONAL_ONLY:
            raise EntryPointError(
                "bad_signature",
                "%s has the positional-only parameter %s, and inputs are given by name" % (name, parameter.name),
                "remove the / from def %s%s" % (name, signature),
            )
    if contract == "G1":
        needed = _needed(signature, ("data", "params"))
        if len(needed) > 2 - sum(key in signature.parameters for key in ("data", "params")):
            raise EntryPointError(
                "bad_signature",
                "%s%s needs %s, and a service of this generation (G1) is given data and params" % (name, signature, ", ".join(needed)),
                "give it a default, read it from params, or build with the contract G2",
            )


def _needed(signature, known):
    return [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and parameter.name not in known
    ]


def bind_g1(function, name, given, log):
    """Arguments for `run(data, params)` and its variants."""
    signature = signature_of(function)
    if signature is None:
        return (), given
    check_signature(function, name, "G1")
    parameters = signature.parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints = convert.hints_of(function)
    positional_only = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_ONLY]
    left, args, kwargs = dict(given), [], {}
    for key in ("data", "params"):
        if (key in parameters and key not in positional_only) or (takes_any and key not in parameters):
            kwargs[key] = _as_hint(left.pop(key), hints.get(key), key)
    # run(input_data, config): parameters by other names that must be given take data and params in this order.
    for parameter in parameters.values():
        if not left or parameter.name in kwargs or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.default is not parameter.empty and parameter.name not in positional_only:
            continue
        key = next(iter(left))
        value = _as_hint(left.pop(key), hints.get(parameter.name), key)
        log("%s calls its parameter %s; it is given %s" % (name, parameter.name, key))
        if parameter.kind is parameter.POSITIONAL_ONLY:
            args.append(value)
        else:
            kwargs[parameter.name] = value
    for key, value in left.items():
        if value not in ({}, None):
            log("%s was sent, but %s%s takes no %s" % (key, name, signature, key))
    return args, kwargs


def _as_hint(value, hint, key):
    """G1 gives plain values; only a class of the user's own is made of them."""
    if convert.is_pydantic(hint) or (isinstance(hint, type) and hasattr(hint, "__dataclass_fields__")):
        return convert.convert(value, hint, key)
    return value


def bind_g2(function, name, given, environ, log):
    """Arguments by name, each as its annotation wants it."""
    signature = signature_of(function)
    if signature is None:
        return (), {key: item.value for key, item in given.items()}
    check_signature(function, name, "G2")
    hints = convert.hints_of(function)
    left, kwargs, missing, takes_any = dict(given), {}, [], False
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_any = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            hint = hints.get(parameter.name, convert.ANY)
            found, value = _value(parameter.name, hint, left, environ)
            if found:
                kwargs[parameter.name] = value
            elif parameter.default is parameter.empty:
                if convert._is_union(hint) and convert.NONE in convert.typing.get_args(hint):
                    kwargs[parameter.name] = None
                else:
                    missing.append(parameter.name)
    if missing:
        raise inputs.InputError(
            "%s%s needs %s, and the input has %s" % (name, signature, ", ".join(missing), ", ".join(sorted(given)) or "nothing")
        )
    if takes_any:
        kwargs.update({key: item.value for key, item in left.items() if key not in kwargs})
    else:
        for key in left:
            log("%s was sent, but %s%s takes no %s" % (key, name, signature, key))
    return (), kwargs


def _value(name, hint, left, environ):
    item = left.pop(name, None)
    folder = os.path.join(environ.get("DATAPOOL_DIRECTORY") or "/var/runtime/datapool", name)
    reference = item is not None and isinstance(item.value, dict) and item.value.get("ref") == "DATAPOOL"
    if reference or (convert.wants_data_pool(hint) and os.path.isdir(folder)):
        if not os.path.isdir(folder):
            raise inputs.InputError("%s is a data pool, and there is no folder %s with its files" % (name, folder))
        return True, convert.data_pool(hint, folder)
    if item is None:
        secret = environ.get(inputs.secret_name(name))
        return (False, None) if secret is None else (True, convert.convert(secret, hint, name))
    if convert.wants_text(hint) and item.text is not None and not isinstance(item.value, str) and item.value is not None:
        return True, convert.convert(item.text.rstrip("\n"), hint, name)
    return True, convert.convert(item.value, hint, name)
