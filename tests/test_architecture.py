"""Who may import whom: the order of design, top to bottom, and torch only where torch is used."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cellcycle

PACKAGE = Path(cellcycle.__file__).parent
# A module may import those of earlier lines, and of its own line.
ORDER = [
    {"errors", "arrays", "ending", "phases", "files", "tasks", "graphs", "metrics"},
    {"names"},
    {"confine"},
    {"images"},
    {"dna_content"},
    {"segmentation"},
    {"nuclei"},
    {"light", "scale"},
    {"stain"},
    {"masks", "outlines"},
    {"simulation"},
    {"splits"},
    {"cutting", "grain"},
    {"inputs"},
    {"card"},
    {"datasets"},
    {"results"},
    {"networks"},
    {"training"},
    {"tuning"},
    {"confidence"},
    {"explain"},
    {"comparisons"},
    {"summaries"},
    {"checkpoint"},
    {"predict"},
    {"plots"},
    {"evaluate"},
    {"train"},
    {"review"},
    {"report"},
    {"study"},
    {"app"},
    {"cnncc", "cli"},
    {"__main__"},
]
TORCH = {"networks", "training", "tuning", "explain"}
LEVEL = {name: i for i, names in enumerate(ORDER) for name in names}
FILES = sorted(f for f in PACKAGE.rglob("*.py") if f.parent != PACKAGE or f.name != "__init__.py")


def module_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(file: Path):
    """Yield (imported name, whether at module level) of a source file."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    top = {id(n) for n in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module != "cellcycle" else [f"cellcycle.{a.name}" for a in node.names]
            yield from ((name, id(node) in top) for name in names)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_modules_import_only_from_above(file):
    assert module_of(file) in LEVEL, f"{module_of(file)} has no place in the order"
    for name, _ in imports_of(file):
        parts = name.split(".")
        if parts[0] == "cellcycle" and len(parts) > 1:
            assert LEVEL[parts[1]] <= LEVEL[module_of(file)], f"{file.name} imports {name}"


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_torch_is_imported_only_where_it_is_used(file):
    for name, at_top in imports_of(file):
        root = name.split(".")[0]
        # torchvision takes as long to import as torch, and only colours need it.
        if root == "torchvision" or (root == "torch" and module_of(file) not in TORCH):
            assert not at_top, f"{file.name} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_file_reads_in_one_sitting(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 320


@pytest.mark.slow
@pytest.mark.parametrize("module", ["cellcycle.datasets", "cellcycle.results", "cellcycle.simulation", "cellcycle.cli"])
def test_reading_and_simulating_need_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("modules", ["cellcycle.predict.command, cellcycle.review", "cellcycle.app.fine_tune"])
def test_prediction_imports_neither_training_nor_plotting(modules):
    """Nor does the page, whose processes begin anew after each that was ended."""
    heavy = ("torch", "sklearn", "matplotlib", "skops", "onnx", "scipy.stats")
    code = f"import sys, {modules}; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_imports_nothing_heavy():
    code = "import sys, cellcycle.cli; sys.exit(any(m in sys.modules for m in ('numpy', 'pandas', 'scipy', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_installed_package_holds_every_file_of_the_checkout():
    """Only files that a pattern of pyproject.toml names are installed; a checkout would hide a missing one."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["cellcycle"]
    named = {file for pattern in patterns for file in PACKAGE.glob(pattern) if file.suffix != ".py"}
    others = {f for f in PACKAGE.rglob("*") if f.is_file() and f.suffix not in (".py", ".pyc")}
    assert others == named
    assert all((f.parent / "__init__.py").is_file() for f in PACKAGE.rglob("*.py"))
