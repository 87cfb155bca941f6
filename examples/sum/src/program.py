"""Adds the numbers of `data`; `params` may ask for a rounded sum."""


class ResultResponse:
    def __init__(self, result, metadata=None):
        self.result = result
        self.metadata = metadata


class ErrorResponse:
    def __init__(self, code, detail):
        self.code = code
        self.detail = detail


def run(data=None, params=None):
    values = data.get("values")
    if not isinstance(values, list):
        return ErrorResponse(code="400", detail="data has no list called values")
    total = sum(values)
    print("adding", len(values), "values")
    return ResultResponse({"sum": round(total) if params.get("round_off") else total}, {"count": len(values)})
