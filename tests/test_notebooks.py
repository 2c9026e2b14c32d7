"""Static rules of the notebooks; `test_study.py` runs them."""

import ast
import re

import nbformat
import pytest

from cellcycle import files

FOLDER = files.repository() / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda f: f.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lines_of(cell):
    return [line for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_the_course_is_complete():
    assert [f.stem for f in NOTEBOOKS] == [
        "01_exploring_the_nuclei",
        "02_augmentation",
        "03_balancing",
        "04_logistic_regression",
        "05_neural_network",
        "06_resnet",
        "07_nagao",
        "08_transfer_learning",
        "09_tuning",
        "10_confidence",
        "11_explaining",
        "12_your_own_images",
        "13_figures",
    ]


def test_notebook_is_valid_and_small(notebook, request):
    nbformat.validate(notebook)
    assert (FOLDER / f"{request.node.callspec.id}.ipynb").stat().st_size < 1_000_000
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


def test_it_opens_with_a_title_and_ends_with_a_summary(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert len(re.findall(r"^# ", text, flags=re.M)) == 1
    headings = re.findall(r"^## (.+)", text, flags=re.M)
    assert "Data" in headings
    assert headings[-1] == "Summary"


def test_parameters_are_literals(notebook):
    tagged = [c for c in code_cells(notebook) if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    for node in ast.parse(tagged[0].source).body:
        assert isinstance(node, ast.AnnAssign)
        ast.literal_eval(node.value)
    assert not any("injected-parameters" in c.metadata.get("tags", []) for c in code_cells(notebook))


def test_cells_are_short_and_clean(notebook):
    cells = code_cells(notebook)
    assert sum(len(lines_of(c)) for c in cells) <= 150
    imports = [c for c in cells if re.search(r"^(import|from) ", c.source, flags=re.M)]
    assert len(imports) == 1
    assert imports[0].source.startswith("%matplotlib inline")
    for cell in cells:
        assert len(lines_of(cell)) <= 15, cell.source
        for line in lines_of(cell):
            assert not line.rstrip().endswith(";"), line
            assert not re.search(r"pip install|sys\.path|import \*|tqdm|/home/|/root/|/tmp/|[A-Z]:\\\\", line), line
            assert not line.startswith(("!", "%%")), line


def test_functions_in_cells_are_short(notebook):
    for cell in code_cells(notebook):
        source = cell.source.replace("%matplotlib inline", "")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 10, node.name


def test_outputs_hold_no_error_and_no_warning(notebook):
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.get("text")


def test_a_checked_cell_holds_its_output(notebook):
    checked = [c for c in code_cells(notebook) if "NBVAL_CHECK_OUTPUT" in c.source]
    assert checked
    for cell in checked:
        assert cell.outputs, cell.source


def test_prose_types_in_no_results(notebook):
    # Numbers that a run computes belong in computed text: decimals in markdown are settings or formulas at most.
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\b0\.\d{2,}\b|\b\d{1,2}\.\d %", cell.source), cell.source
