"""Rules of the house that no linter knows; which layer may import which is import-linter's part (pyproject.toml)."""

import ast
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "vecna"
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(PACKAGE.rglob("*.lua"))

MAX_LINES = 400
TARGET_LINES = 300
MAX_PORT_METHODS = 8
VAGUE_WORDS = {"base", "common", "helper", "helpers", "impl", "manager", "managers", "misc", "util", "utils"}

# What beside the standard library an inner layer may import. import-linter forbids what it lists; this also catches
# what nobody has thought of.
THIRD_PARTY = {
    "domain": {"attrs", "croniter", "msgspec", "typing_extensions"},
    "ports": {"attrs"},
    "kit": {"attrs"},
    "log.py": set[str](),
}
# The one place that knows each of these.
HOMES = {
    "click": "cli",
    "hiredis": "adapters/redis",
    "pytest": "testing",
    "redis": "adapters/redis",
    "yaml": "app/config_yaml",
}
# The domain neither waits nor reads nor writes.
IMPURE = {"asyncio", "concurrent", "logging", "multiprocessing", "os", "queue", "select", "socket", "subprocess"} | {
    "signal",
    "threading",
    "time",
}


def too_long(source: str) -> Iterator[str]:
    lines = source.count("\n")
    if lines > MAX_LINES:
        yield f"{lines} lines; {MAX_LINES} is the limit, {TARGET_LINES} the aim"


def code_in_ports(source: str) -> Iterator[str]:
    for port in [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef) and _is_abstract(node)]:
        methods = _methods(port)
        if len(methods) > MAX_PORT_METHODS:
            yield f"{port.name} has {len(methods)} methods; more than {MAX_PORT_METHODS} are two roles"
        for method in methods:
            if not _decorated(method, "abstractmethod"):
                yield f"{port.name}.{method.name} is not abstract: a port carries no code"
            elif any(not _is_empty(statement) for statement in method.body):
                yield f"{port.name}.{method.name} has code: a port carries none"
            elif not ast.get_docstring(method):
                yield f"{port.name}.{method.name} has no docstring: what does it promise?"


def vague_names(path: str, source: str = "") -> Iterator[str]:
    for word in VAGUE_WORDS.intersection(re.split(r"[/._]", path)):
        yield f"the path {path} says {word!r}, which says nothing"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            for word in VAGUE_WORDS.intersection(re.findall(r"[a-z]+", re.sub("([A-Z])", r" \1", node.name).lower())):
                yield f"class {node.name} says {word!r}, which says nothing"


def foreign_imports(layer: str, source: str) -> Iterator[str]:
    known = {"vecna", *sys.stdlib_module_names, *THIRD_PARTY[layer]}
    for name in _imported(source):
        if name not in known:
            yield f"imports {name}; {layer} has the standard library and {sorted(THIRD_PARTY[layer])}"
        if layer == "domain" and name in IMPURE:
            yield f"imports {name}; the domain neither waits nor reads nor writes"


def away_from_home(path: str, source: str) -> Iterator[str]:
    for name in _imported(source):
        home = HOMES.get(name)
        if home and not path.startswith((f"vecna/{home}/", f"vecna/{home}.py")):
            yield f"{path} imports {name}, which lives in vecna/{home} only"


def script_without_header(source: str) -> Iterator[str]:
    header = []
    for line in source.splitlines():
        if not line.startswith("--"):
            break
        header.append(line)
    for word in ("KEYS", "ARGV", "Returns"):
        if not re.search(rf"\b{word}\b", "\n".join(header), re.IGNORECASE):
            yield f"its header comment does not mention {word} (say 'none' if there are none)"


def faults(paths: Iterable[Path], check: Callable[[str], Iterable[str]]) -> list[str]:
    return [f"{path.relative_to(ROOT)}: {fault}" for path in paths for fault in check(path.read_text(encoding="utf-8"))]


def in_layer(layer: str) -> list[Path]:
    return [path for path in MODULES if path.relative_to(PACKAGE).parts[0] == layer]


def test_modules_are_short_enough_to_read() -> None:
    for path in MODULES:
        lines = path.read_text(encoding="utf-8").count("\n")
        if TARGET_LINES < lines <= MAX_LINES:
            warnings.warn(f"over the target: {path.relative_to(ROOT)} has {lines} lines", stacklevel=1)

    assert faults(MODULES, too_long) == []


def test_ports_are_small_and_without_code() -> None:
    assert in_layer("ports")
    assert faults(in_layer("ports"), code_in_ports) == []


def test_names_say_what_is_behind_them() -> None:
    found = [
        fault
        for path in MODULES
        for fault in vague_names(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
    ]

    assert found == []


@pytest.mark.parametrize("layer", THIRD_PARTY)
def test_inner_layers_import_only_what_is_listed(layer: str) -> None:
    assert faults(in_layer(layer), lambda source: foreign_imports(layer, source)) == []


def test_each_driver_has_one_home() -> None:
    found = [
        fault
        for path in MODULES
        for fault in away_from_home(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
    ]

    assert found == []


def test_each_lua_script_says_what_it_takes_and_returns() -> None:
    assert faults(SCRIPTS, script_without_header) == []


PORT = """
from abc import ABC, abstractmethod
class Broker(ABC):
    '''Keeps messages.'''
    @abstractmethod
    def publish(self):
        '''Atomic.'''
"""


def test_what_keeps_the_rules_passes() -> None:
    assert list(code_in_ports(PORT)) == []
    assert list(away_from_home("vecna/adapters/redis/broker.py", "import redis")) == []
    assert list(code_in_ports("class Value:\n    def doubled(self): return 2 * self.x")) == []


@pytest.mark.parametrize(
    ("check", "source", "fault"),
    [
        (too_long, "x = 1\n" * (MAX_LINES + 1), "401 lines"),
        (code_in_ports, PORT + "        return 1\n", "has code"),
        (code_in_ports, PORT + "    def ack(self):\n        '''Ends it.'''\n", "not abstract"),
        (code_in_ports, PORT + "    @abstractmethod\n    def ack(self): ...\n", "no docstring"),
        (
            code_in_ports,
            PORT + "".join(f"    @abstractmethod\n    def m{n}(self): 'Does.'\n" for n in range(MAX_PORT_METHODS)),
            "9 methods",
        ),
        (lambda _: vague_names("vecna/app/task_utils.py"), "", "says 'utils'"),
        (lambda source: vague_names("vecna/app/x.py", source), "class LockManager: ...", "says 'manager'"),
        (lambda source: foreign_imports("domain", source), "import redis.asyncio", "imports redis"),
        (lambda source: foreign_imports("ports", source), "from croniter import croniter", "imports croniter"),
        (lambda source: foreign_imports("domain", source), "def f():\n    import time", "imports time"),
        (lambda source: away_from_home("vecna/bootstrap.py", source), "from redis import Redis", "imports redis"),
        (lambda source: away_from_home("vecna/adapters/redis_extra.py", source), "import redis", "imports redis"),
        (lambda source: away_from_home("vecna/app/worker.py", source), "import click", "vecna/cli only"),
        (script_without_header, "local x = KEYS[1]\n-- ARGV[1] id\n-- Returns 1", "not mention KEYS"),
        (script_without_header, "-- KEYS[1] queue\n-- Returns 1\n", "not mention ARGV"),
    ],
)
def test_each_rule_notices_its_breach(check: Callable[[str], Iterable[str]], source: str, fault: str) -> None:
    assert any(fault in found for found in check(source))


def _is_abstract(node: ast.ClassDef) -> bool:
    written = {ast.unparse(base) for base in [*node.bases, *(keyword.value for keyword in node.keywords)]}
    return bool(written & {"ABC", "abc.ABC", "ABCMeta", "abc.ABCMeta"}) or any(
        _decorated(method, "abstractmethod") for method in _methods(node)
    )


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]


def _decorated(method: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
    return any(ast.unparse(decorator).split(".")[-1] == name for decorator in method.decorator_list)


def _is_empty(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
