"""The house: imports go down the floors, nothing hides in functions, and pieces stay small.

Nothing is imported to find that out; the sources are parsed.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "cotangent"
PACKAGE = "cotangent"

FLOORS = [
    "errors config checks dtypes shapes tree spelling callers late console _version",
    "ops backends runtime",
    "functional tensors tape gradients transforms variables creation random "
    "activations quantiles operators entries arrays rearrange indexing methods statistics "
    "sorting linalg scopes joint recompute mapping jacobians custom protocols narrow elementary "
    "placement weak",
    "compiler testing",
    "nn optim data io distributed",
    "train",
    "viz cli tabular sklearn demo",
    "__init__ __main__",
]
FLOOR = {name: i for i, names in enumerate(FLOORS) for name in names.split()}
ROOF = len(FLOORS) - 1

# The front door of the command is the roof's neighbour: `cli` and `demo` use the public names.
MAY_USE_THE_ROOF = {"cli", "demo", "__main__"}

# Optional or heavy packages, each imported inside functions, of one file only.
LAZY = {
    "llvmlite", "rich", "matplotlib", "safetensors", "torch", "sklearn", "polars", "urllib",
    "difflib", "ml_dtypes", "array_api_compat",
}  # fmt: skip

# The linter keeps the width of lines.
MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_A_FILE = 500

FILES = sorted(ROOT.rglob("*.py"))


def _module(path: Path) -> tuple[str, ...]:
    """The dotted name below the package, as parts; a package's `__init__` keeps its name."""
    return path.relative_to(ROOT).with_suffix("").parts


TREES = {_module(path): ast.parse(path.read_text("utf-8")) for path in FILES}


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _imports(tree: ast.AST, inside: bool = False) -> Iterator[tuple[ast.stmt, bool]]:
    """Import statements, and whether each is inside a function; not those for types only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node, inside
        elif not _is_type_checking(node):
            deeper = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _imports(node, deeper)


IMPORTS = {module: list(_imports(tree)) for module, tree in TREES.items()}


def _absolute(module: tuple[str, ...], node: ast.ImportFrom) -> tuple[str, ...]:
    """The module that ``from ... import`` names, below the package; () is the package itself."""
    named = tuple(node.module.split(".")) if node.module else ()
    if node.level == 0:
        return named
    package = (PACKAGE, *module[:-1])
    return package[: len(package) - node.level + 1] + named


def _resolve(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The module of the package that `parts` (below it) leads to."""
    while parts and parts not in TREES and (*parts, "__init__") not in TREES:
        parts = parts[:-1]
    return parts if parts in TREES else (*parts, "__init__")


def _targets(module: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The modules of this package that `module` imports, and whether inside a function."""
    for node, inside in IMPORTS[module]:
        if isinstance(node, ast.Import):
            found = [tuple(alias.name.split(".")) for alias in node.names]
        else:
            base = _absolute(module, node)
            found = [(*base, alias.name) for alias in node.names]
        for parts in found:
            if parts[0] == PACKAGE:
                yield _resolve(parts[1:]), inside


def _packages(module: tuple[str, ...], inside_only: bool) -> set[str]:
    """Packages from elsewhere that `module` imports."""
    names: set[str] = set()
    for node, inside in IMPORTS[module]:
        if inside_only and not inside:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names - {PACKAGE}


def _floor(module: tuple[str, ...]) -> int:
    return FLOOR[module[0]]


@pytest.mark.parametrize("module", TREES, ids=".".join)
def test_imports_only_go_down(module):
    assert module[0] in FLOOR, f"{module[0]} has no floor; enter it in FLOORS"
    for target, _ in _targets(module):
        if target == ("__init__",) and module[0] in MAY_USE_THE_ROOF:
            continue
        assert _floor(target) <= _floor(module), f"{'.'.join(module)} imports {'.'.join(target)}"


@pytest.mark.parametrize("module", TREES, ids=".".join)
def test_no_import_hides_in_a_function(module):
    if _floor(module) == ROOF:
        return  # the roof may load the upper floors when they are first asked for
    hidden = [".".join(target) for target, inside in _targets(module) if inside]
    assert not hidden, f"imports of this package inside functions: {hidden}"
    strangers = _packages(module, inside_only=True) - LAZY
    assert not strangers, f"only optional or heavy packages are imported late, not {strangers}"


@pytest.mark.parametrize("package", sorted(LAZY))
def test_an_optional_package_is_imported_in_one_file_and_late(package):
    files = [".".join(m) for m in TREES if package in _packages(m, inside_only=False)]
    if package == "sklearn":
        # The folder for its users, whose classes derive from its own; nothing else imports that.
        files = [name for name in files if not name.startswith("sklearn.")]
    early = [
        ".".join(m)
        for m in TREES
        for node, inside in IMPORTS[m]
        if not inside
        and m[0] != package
        and package in ast.unparse(node).replace(".", " ").split()
        and package in _packages(m, inside_only=False)
    ]
    assert len(files) <= 1 and not early, (files, early)


def test_no_cycles():
    edges = {
        module: {target for target, _ in _targets(module) if target != module} for module in TREES
    }
    done: set[tuple[str, ...]] = set()
    for start in TREES:
        path: list[tuple[str, ...]] = []
        stack = [(start, iter(sorted(edges[start])))] if start not in done else []
        if stack:
            path.append(start)
        while stack:
            module, rest = stack[-1]
            target = next(rest, None)
            if target is None:
                done.add(module)
                stack.pop()
                path.pop()
            elif target in path:
                loop = [*path[path.index(target) :], target]
                pytest.fail("cycle: " + " -> ".join(".".join(m) for m in loop))
            elif target not in done:
                path.append(target)
                stack.append((target, iter(sorted(edges[target]))))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))


@pytest.mark.parametrize("module", TREES, ids=".".join)
def test_pieces_are_small(module):
    path = ROOT.joinpath(*module).with_suffix(".py")
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) < MOST_LINES_OF_A_FILE, f"{len(lines)} lines"
    for function in _functions(TREES[module]):
        length = function.end_lineno - function.lineno + 1
        assert length < MOST_LINES_OF_A_FUNCTION, f"{function.name}: {length} lines"


@pytest.mark.parametrize("module", TREES, ids=".".join)
def test_no_assert_outside_tests(module):
    found = [node.lineno for node in ast.walk(TREES[module]) if isinstance(node, ast.Assert)]
    assert not found, f"assert in lines {found}; raise an exception of errors.py"


@pytest.mark.parametrize("module", TREES, ids=".".join)
def test_everything_public_is_documented(module):
    tree = TREES[module]
    assert ast.get_docstring(tree) or not tree.body, "the module has no docstring"
    missing = [
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not missing, f"no docstring: {missing}"


def _public_names() -> set[str]:
    """The names that the roof binds, except submodules that it imports as such."""
    tree = TREES[("__init__",)]
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    for node in ast.walk(tree):  # names that are loaded lazily
        if isinstance(node, ast.Dict):
            names |= {
                key.value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and not _names_a_module(value, key.value)
            }
    return names


def _names_a_module(value: ast.expr, key: object) -> bool:
    return isinstance(value, ast.Constant) and str(value.value).rpartition(".")[2] == key


def test_no_public_name_is_a_submodule():
    modules = {parts[0] for parts in TREES} - {"__init__", "__main__"}
    assert not modules & _public_names()


def test_the_tools_of_this_file_see_what_they_should():
    tree = ast.parse("import a\ndef f():\n    from .b import c\n")
    assert [inside for _, inside in _imports(tree)] == [False, True]
    node = ast.parse("from ..x import y").body[0]
    assert _absolute(("ops", "reduce"), node) == (PACKAGE, "x")
    assert _absolute(("ops", "__init__"), ast.parse("from .z import y").body[0]) == (
        PACKAGE, "ops", "z",
    )  # fmt: skip
    assert _resolve(("ops", "reduce", "sum")) == ("ops", "reduce")
    assert _resolve(("ops", "exp")) == ("ops", "__init__")
    assert all(len(set(group)) == 1 for _, group in itertools.groupby(sorted(FLOOR)))
