"""The README's tables name what the tests show. usage: readme_test.py SOURCE_DIR PROGRAM"""
import json
import re
import subprocess
import sys
import unittest
from pathlib import Path

PROGRAM = sys.argv.pop(2)
SOURCE = Path(sys.argv.pop(1))
README = (SOURCE / "README.md").read_text()


def cells(head):
    """Of the table under a row that begins with `head`: what stands in backticks, by row."""
    lines = README.split("\n| " + head, 1)[1].split("\n")[2:]
    rows = lines[:next(i for i, line in enumerate(lines) if not line.startswith("|"))]
    return [[re.findall(r"`([^`]+)`", cell) for cell in row.strip("|").split("|")] for row in rows]


class Tables(unittest.TestCase):
    def test_operations_are_those_of_the_table_of_cases(self):
        cases = json.loads((SOURCE / "tests/coverage/op_cases.json").read_text())
        listed = [op for row in cells("operations") for op in row[1]]
        self.assertEqual(sorted(listed), sorted({case["op"] for case in cases}))

    def test_fusions_have_their_tests(self):
        sources = "".join(path.read_text() for path in (SOURCE / "tests").rglob("*_test.cpp"))
        tests = {f"{suite}.{name}" for suite, name in re.findall(r"^TEST(?:_[PF])?\((\w+), (\w+)\)", sources, re.MULTILINE)}
        rows = cells("fusion")
        self.assertTrue(rows)
        for row in rows:
            self.assertTrue(row[1] and set(row[1]) <= tests, f"no such tests: {set(row[1]) - tests or row}")

    def test_networks_are_those_of_the_program(self):
        message = subprocess.run([PROGRAM, "export", "model:nothing"], capture_output=True, text=True, check=False).stderr
        networks = message.split("expected one of ")[1].strip().split(", ")
        self.assertEqual(sorted(name for row in cells("networks") for name in row[0]), sorted(networks))


if __name__ == "__main__":
    unittest.main()
