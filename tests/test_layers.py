import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "skytool"

# What each part may import of the package, beside itself.
MAY_IMPORT = {
    "errors": set(),
    "environment": set(),
    "worker": {"environment", "errors"},
    "parallel": {"worker", "errors"},
    "core": {"errors"},
    "models": {"core", "errors", "__version__"},
    "io": {"models", "core", "errors", "__version__"},
    "stages": {"models", "core", "errors", "__version__"},
    "pictures": {"models", "core", "errors"},
    "cli": {
        *("stages", "io", "pictures", "models", "core", "errors"),
        *("parallel", "environment", "__version__"),
    },
    "__init__": set(),
    "__main__": {"cli"},
}
# What each part may not import from outside.
FORBIDDEN = {
    "errors": {"click", "numpy", "astropy"},
    "environment": {"click", "numpy", "astropy"},
    "worker": {"click", "numpy", "astropy"},
    "parallel": {"click", "numpy", "astropy"},
    "core": {"click", "logging", "astropy.io", "os", "pathlib", "io", "tempfile"},
    "models": {"click", "tempfile"},
    "io": {"click"},
    "stages": {"click", "tempfile", "astropy.io.fits.open"},
    "pictures": {"click", "tempfile", "astropy.io.fits.open", "matplotlib.pyplot"},
}
# Calls that open, write or remove files, which io and the command line alone may do.
FILE_CALLS = {
    *("open", "read_text", "read_bytes", "write_text", "write_bytes", "writeto", "tofile"),
    *("fromfile", "memmap", "loadtxt", "savetxt", "savez", "unlink", "mkdir", "getdata"),
}
# What may be imported before it is known which command runs, and by the module of each command.
LIGHT = {"click", "skytool.cli", "skytool.errors", "skytool.environment", "skytool.__version__"}


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(tree):
    """Yield the full name of whatever is imported anywhere below a node, and the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def is_within(name, names):
    return any(name == each or name.startswith(f"{each}.") for each in names)


SOURCES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def test_every_part_has_a_rule():
    assert {part_of(path) for path in SOURCES} <= set(MAY_IMPORT)


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_lies_below_it(part):
    allowed = {f"skytool.{name}" for name in MAY_IMPORT[part] | {part}}
    broken = [
        f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        for path, tree in SOURCES.items()
        if part_of(path) == part
        for name, line in imports_of(tree)
        if (is_within(name, {"skytool"}) and not is_within(name, allowed))
        or is_within(name, FORBIDDEN.get(part, set()))
    ]

    assert not broken, "\n".join(broken)


def test_the_rule_sees_imports_within_functions_and_type_checking():
    text = "def f():\n    from skytool.io import fits\nif TYPE_CHECKING:\n    import skytool.cli.main\n"

    assert {name for name, _ in imports_of(ast.parse(text))} == {
        "skytool.cli.main",
        "skytool.io.fits",
    }
    assert not list(runs_at_import(ast.parse(text)))


@pytest.mark.parametrize("part", ["core", "models", "stages", "pictures"])
def test_only_io_and_the_command_line_touch_files(part):
    broken = [
        f"{path.relative_to(PACKAGE)}:{node.lineno} calls {ast.unparse(node.func)}"
        for path, tree in SOURCES.items()
        if part_of(path) == part
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in FILE_CALLS
    ]

    assert not broken, "\n".join(broken)


def runs_at_import(node):
    """Yield the import statements that run when the module itself is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from runs_at_import(child)


def module_of(name):
    """Return the source file of a module, or of the module that an imported name is in."""
    place = PACKAGE.parent.joinpath(*name.split("."))
    for path in (place.with_suffix(".py"), place / "__init__.py", place.parent.with_suffix(".py")):
        if path in SOURCES:
            return path
    return None


def late_commands(tree):
    """Yield the modules that tables of commands name, as ``module:attribute``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            module, colon, _ = node.value.partition(":")
            if colon and module.startswith("skytool.cli."):
                yield module


def test_the_command_line_imports_nothing_heavy_before_a_command_runs():
    waiting = [PACKAGE / "__main__.py"]
    seen, broken = set(), []
    while waiting:
        path = waiting.pop()
        if path is None or path in seen:
            continue
        seen.add(path)
        waiting += [module_of(name) for name in late_commands(SOURCES[path])]
        for node in runs_at_import(SOURCES[path]):
            for name, line in imports_of(node):
                if is_within(name, LIGHT):
                    waiting.append(module_of(name))
                elif name.split(".")[0] not in sys.stdlib_module_names:
                    broken.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")

    assert {PACKAGE / "cli" / "main.py", PACKAGE / "cli" / "warp" / "command.py"} <= seen
    assert not broken, "\n".join(broken)
