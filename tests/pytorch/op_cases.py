"""The table of single ops, tests/coverage/op_cases.json, as fragments. tests/coverage reads the same table."""
import json
import pathlib
import sys
from dataclasses import dataclass, field

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench" / "peers"))
from fragment_torch import FLOATS

TABLE = pathlib.Path(__file__).parents[1] / "coverage" / "op_cases.json"


@dataclass
class Case:
    fragment: dict
    ranges: dict = field(default_factory=dict)   # of inputs that need another than standard normal data
    rounded: bool = False                        # inputs are whole numbers: many are equal
    allowed: float = 2                           # times PyTorch's own error

    @property
    def name(self) -> str:
        return self.fragment["name"]


def _case(row: dict, dtype: str) -> Case:
    """One row: `inputs` are shapes, numbers, null, or objects with `shape` and what differs from a float that wants its gradient."""
    inputs, operands, ranges = [], [], {}
    for i, given in enumerate(row["inputs"]):
        if given is None or isinstance(given, (int, float)):
            operands.append(given)
            continue
        given = given if isinstance(given, dict) else {"shape": given}
        name = "weight" if given.get("weight") else f"i{i}"
        operands.append(name)
        if "range" in given:
            ranges[name] = tuple(given["range"])
        tensor = {"name": name, "dtype": given.get("dtype", dtype), "shape": given["shape"]}
        if "strides" in given:
            tensor["strides"] = given["strides"]
        if tensor["dtype"] in FLOATS and given.get("grad", True):
            tensor["grad"] = True
        inputs.append(tensor)
    outputs = [f"y{i}" for i in range(row.get("outputs", 1))]
    node = {"op": row["op"], "inputs": operands, "outputs": outputs, "attrs": row.get("attrs", {})}
    fragment = {"format": "athanor.fragment/1", "name": row["case"], "inputs": inputs, "nodes": [node], "outputs": outputs}
    return Case(fragment, ranges, row.get("rounded", False))


def op_cases(dtype: str) -> list[Case]:
    return [_case(row, dtype) for row in json.loads(TABLE.read_text())]
