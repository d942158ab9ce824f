"""`pip install .` into a new virtual environment, and the package as a user meets it there. usage: test_install.py FOLDER

The folder is where the wheel is built, and it is kept: a second run rebuilds little. As a sibling of another build folder, its first run finds most objects
in ccache. The environment sees this interpreter's packages (PyTorch, NumPy) behind its own, through a .pth file.
"""
import os
import subprocess
import sys
import sysconfig
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
WORK = Path(sys.argv.pop(1) if len(sys.argv) > 1 else "build/wheel").resolve()

PROGRAM = """
import athanor, torch
assert athanor.__file__.startswith({environment!r}), athanor.__file__
torch.manual_seed(0)
model, x = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(), torch.nn.Linear(16, 4)), torch.randn(5, 8)
assert "athanor" in torch._dynamo.list_backends(), torch._dynamo.list_backends()
expected = model(x)
compiled = torch.compile(model, backend="athanor")
torch.testing.assert_close(compiled(x), expected, rtol=1e-5, atol=1e-5)
compiled(x).sum().backward()
found = athanor.explain(model, x)
assert not found.fallbacks and sum(g.operations for g in found.graphs) > 0, str(found)
print(athanor.__version__)
"""


def run(*command):
    # Not the package of the build tree. Compilers by the names that the build tree uses: ccache tells names apart.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"CC": "/usr/bin/cc", "CXX": "/usr/bin/c++", "ATHANOR_CACHE_DIR": str(WORK / "cache"), "CMAKE_BUILD_PARALLEL_LEVEL": "2"}
    done = subprocess.run([str(part) for part in command], cwd=WORK, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-6000:]}")
    return done.stdout


class InstallTest(unittest.TestCase):
    def test_a_new_environment(self):
        environment, python = WORK / "venv", WORK / "venv" / "bin" / "python"
        WORK.mkdir(parents=True, exist_ok=True)
        run(sys.executable, "-m", "venv", "--clear", environment)
        packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        (packages / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", f"--config-settings=build-dir={WORK}", SOURCE)
        version = run(python, "-W", "ignore", "-c", PROGRAM.format(environment=str(environment))).split()[-1]
        self.assertEqual(run(python, "-m", "athanor", "--version").split(), ["athanor", version])
        self.assertIn(version, run(python, "-m", "athanor", "info"))
        # The program and the library find one another within the package.
        words = run("ldd", packages / "athanor" / "bin" / "athanor").split()
        library = words[words.index("libathanor_cpp.so.0") + 2]
        self.assertEqual(Path(library).resolve(), (packages / "athanor" / "lib" / "libathanor_cpp.so.0").resolve())


if __name__ == "__main__":
    unittest.main()
