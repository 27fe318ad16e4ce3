"""What pages of the documentation name, and whether it is there: settings, metrics, tests, commands, files, links."""

import ast
import functools
import importlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import typer
import yaml
from pydantic_settings import BaseSettings

from contracts.topology import CONSUMERS, STREAMS
from services.cli.main import build_app
from tests.architecture.test_rules import PROJECT, SERVICES
from tests.telemetry.registry import registry

UNITS: Final[Mapping[str, float]] = {
    "": 1,
    "s": 1,
    "minutes": 60,
    "hours": 3_600,
    "days": 86_400,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
# A volume of Compose.
NOT_MEASURED: Final = frozenset({"rag_secrets"})
# Set by whoever calls the command line, and read by it alone; `RAG_X` stands for any setting.
OF_THE_COMMANDS: Final = frozenset({"RAG_URL", "RAG_X"})
CODE: Final = re.compile(r"`([^`\n]+)`")
FENCED: Final = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
SETTING: Final = re.compile(r"\bRAG_[A-Z0-9]+(?:_[A-Z0-9]+)*\b(?!_)")
DEFAULT: Final = re.compile(
    r"`(RAG_[A-Z0-9_]+)`\s+\(`?([\d.]+(?:,\d{3})*|true|false)`?(?: (s|minutes|hours|days|KiB|MiB|GiB))?(?=[,;:)= ])"
)
FOLDERS: Final = ("contracts", "deploy", "docs", "observability", "services", "shared", "tests")


@functools.cache
def defaults() -> dict[str, list[Any]]:
    """Return the default of every setting of every service and of the command line, by its variable."""
    found: dict[str, list[Any]] = {}
    for service in (*SERVICES, "cli"):
        module = importlib.import_module(f"services.{service}.settings")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseSettings):
                for field, info in value.model_fields.items():
                    found.setdefault(f"RAG_{field.upper()}", []).append(info.default)
    return found


def unknown_settings(text: str) -> set[str]:
    """Return variables that no settings class has; the file that holds a secret belongs to the secret's setting."""
    known = defaults().keys() | OF_THE_COMMANDS
    return {name for name in SETTING.findall(text) if name.removesuffix("_FILE") not in known and name not in known}


def wrong_defaults(text: str) -> list[str]:
    """Return what stands as a default behind a setting, as in `RAG_X` (30 s), and is none of it."""
    found = []
    for name, number, unit in DEFAULT.findall(text):
        told = number == "true" if number in {"true", "false"} else float(number.replace(",", "")) * UNITS[unit]
        if told not in defaults().get(name, []):
            found.append(f"{name}: {number} {unit}".rstrip())
    return found


def unknown_metrics(text: str) -> set[str]:
    """Return names of metrics in code that the registry does not declare; PromQL in blocks is read as such."""
    known = registry().labels_of.keys() | {one.prometheus for one in registry().metrics}
    code = " ".join(CODE.findall(text))
    known |= {label for labels in registry().labels_of.values() for label in labels} | NOT_MEASURED
    found = {name for name in re.findall(r"\brag_[a-z_]+[a-z]\b", code) if name not in known}
    for block in re.findall(r"^```promql\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        found |= registry().undeclared(block)
    return found


def unknown_labels(text: str) -> set[str]:
    """Return labels that a metric in code is asked for and does not have."""
    asked = [code for code in CODE.findall(text) if re.fullmatch(r"rag_[a-z_]+\{[^}]*\}", code)]
    return {missing for code in asked if '"' in code for missing in registry().undeclared(code)}


@functools.cache
def tests_in(path: str) -> frozenset[str]:
    """Return the names of the tests of a file, none when there is no such file."""
    file = PROJECT / path
    if not file.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    functions = (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def unknown_tests(text: str) -> set[str]:
    """Return tests that are named by file and function, or by function alone, and are not there."""
    found = {
        f"{path}::{name}" for path, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", text) if name not in tests_in(path)
    }
    return found | {name for name in re.findall(r"`(test_\w+)`", text) if name not in _every_test()}


@functools.cache
def _every_test() -> frozenset[str]:
    files = (PROJECT / "tests").rglob("test_*.py")
    return frozenset(name for file in files for name in tests_in(str(file.relative_to(PROJECT))))


def unknown_files(text: str) -> set[str]:
    """Return paths of the repository in code that lead nowhere; a part in capitals stands for any name."""
    found = set()
    for code in CODE.findall(text):
        path = code.partition("::")[0]
        if re.fullmatch(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*", path) and not _is_there(path):
            found.add(code)
    return found


def _is_there(path: str) -> bool:
    return any(PROJECT.glob(path.rstrip("/").replace("NAME", "*")))


def dead_links(page: Path, text: str) -> set[str]:
    """Return relative links whose file or heading is not there."""
    found = set()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if "://" in target:
            continue
        if not file.exists() or (anchor and anchor not in headings(file)):
            found.add(target)
    return found


@functools.cache
def headings(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, as they are made of their text."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles)


def wrong_commands(text: str) -> list[str]:
    """Return commands of `rag` and targets of `make` that are not there, with what is wrong about them."""
    lines = [*CODE.findall(text), *(line for block in FENCED.findall(text) for line in block.splitlines())]
    targets = set(re.findall(r"^([\w-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    found = []
    for line in lines:
        if line.startswith("rag "):
            found += [f"{line}: {wrong}" for wrong in _wrong_words(line.split()[1:])]
        elif named := re.match(r"make ([\w-]+)", line):
            found += [] if named[1] in targets else [f"{line}: no such target"]
    return found


@functools.cache
def _rag() -> Any:
    return typer.main.get_command(build_app())


def _wrong_words(words: list[str]) -> Iterator[str]:
    command = _rag()
    words = list(itertools.takewhile(lambda word: not word.startswith("#"), words))
    while words and hasattr(command, "commands") and re.match(r"[a-z]", words[0]):
        if (found := command.commands.get(words[0])) is None:
            yield f"no command {words[0]}"
            return
        command, words = found, words[1:]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    yield from (f"no option {word}" for word in words if word.startswith("--") and word not in options)


def unknown_alerts(text: str) -> set[str]:
    """Return alerts in code that no rule makes."""
    files = (PROJECT / "observability" / "prometheus" / "rules").glob("*.yml")
    groups = [group for file in files for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    known = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    return {code for code in CODE.findall(text) if re.fullmatch(r"Rag[A-Z][A-Za-z]+", code)} - known


def unknown_streams(text: str) -> set[str]:
    """Return what looks like a stream in code, alone or with its consumer, and is not declared."""
    streams, places = {one.name for one in STREAMS}, {f"{one.stream}/{one.name}" for one in CONSUMERS}
    named = {code for code in CODE.findall(text) if re.fullmatch(r"[A-Z]{4,}(?:/[a-z-]+)?", code)}
    return {code for code in named if code.partition("/")[0] not in streams or ("/" in code and code not in places)}


CHECKS: Final[Mapping[str, Callable[[str], Any]]] = {
    "settings": unknown_settings,
    "defaults": wrong_defaults,
    "metrics": unknown_metrics,
    "labels": unknown_labels,
    "tests": unknown_tests,
    "files": unknown_files,
    "commands": wrong_commands,
    "alerts": unknown_alerts,
}
