"""The service: each member of the input is a parameter of `run`, checked against its type."""
from dataclasses import dataclass


@dataclass
class Answer:
    total: float
    count: int


def run(values: list[float], round_off: bool = False) -> Answer:
    total = sum(values)
    return Answer(round(total) if round_off else total, len(values))
