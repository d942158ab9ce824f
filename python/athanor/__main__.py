"""`python -m athanor`: the program `athanor`."""
import os
import sys
from pathlib import Path

program = Path(__file__).parent / "bin" / "athanor"
if not program.exists():
    sys.exit(f"athanor: error: the program is not installed at {program}")
os.execv(program, [str(program), *sys.argv[1:]])
