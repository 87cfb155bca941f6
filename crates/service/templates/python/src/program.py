"""The service: `run` is called with what input/data.json and input/params.json hold."""


def run(data=None, params=None):
    values = data.get("values", [])
    round_off = params.get("round_off", False)
    total = sum(values)
    return {"sum": round(total) if round_off else total, "count": len(values)}
