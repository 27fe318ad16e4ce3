"""What code imports, however late: the static closure over contracts, shared and services."""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

OWN = ("contracts", "shared", "services", "deploy")


def module_names(folder: Path, root: Path) -> list[str]:
    """Return the modules below a folder."""
    return [".".join(path.relative_to(root).with_suffix("").parts) for path in sorted(folder.rglob("*.py"))]


def closure(modules: Iterable[str], root: Path) -> tuple[set[str], set[str]]:
    """Return the modules of the project that these need, and the foreign top-level packages that all of them import."""
    own: set[str] = set()
    foreign: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if top not in OWN:
            foreign |= {top} - sys.stdlib_module_names
        elif name not in own and (path := _file(name, root)) is not None:
            own.add(name)
            waiting += _imported(path)
    return own, foreign


def _file(name: str, root: Path) -> Path | None:
    path = root.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
