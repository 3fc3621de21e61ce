from compiler.conftest import _compiler

__all__ = ["_compiler"]
