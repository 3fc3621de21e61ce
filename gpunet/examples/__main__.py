"""List the examples, each with the first line of its docstring."""

import ast
from pathlib import Path

for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
    about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    print(f"python -m gpunet.examples.{path.stem}: {about.splitlines()[0]}")
