"""Static rules of the notebooks; `test_study.py` runs them."""

import ast
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from cellcycle import files
from cellcycle.images import read_plane
from cellcycle.phases import PHASES
from cellcycle.predict import Predictor, Settings
from cellcycle.segmentation.flags import FLAGS
from cellcycle.study.notebooks import contents, times

FOLDER = files.repository() / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Opens a cell whose output is the same under every profile.
CHECKED = "# NBVAL_CHECK_OUTPUT\n"
TRAINING = "from cellcycle import training"


@pytest.fixture(params=NOTEBOOKS, ids=lambda f: f.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def section(notebook, title):
    """Return the cells between the heading `## title`, which ends its cell or stands alone in it, and the next."""
    heads = [i for i, c in enumerate(notebook.cells) if c.cell_type == "markdown" and re.search("^## ", c.source, re.M)]
    (start,) = [i for i in heads if re.search(f"^## {title}$", notebook.cells[i].source, re.M)]
    end = min([i for i in heads if i > start], default=len(notebook.cells))
    return notebook.cells[start + 1 : end]


def tagged(cell, tag):
    return tag in cell.metadata.get("tags", [])


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lines_of(cell):
    return [line for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#")]


@pytest.mark.slow
def test_the_course_is_complete():
    assert [f.stem for f in NOTEBOOKS] == [
        "00_why_phases",
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
        "14_a_plate",
    ]
    listed = contents()
    assert list(listed["file"]) == [f.name for f in NOTEBOOKS]
    assert listed["title"].is_unique


@pytest.mark.slow
def test_the_first_notebook_prints_the_minutes_that_the_others_take():
    opened = nbformat.read(NOTEBOOKS[0], as_version=4)
    printed = "\n".join(o.data.get("text/markdown", "") for c in code_cells(opened) for o in c.outputs if "data" in o)
    listed = contents()
    rows = re.findall(r"^\| \[(\d\d) .+ \| (\d+) \|$", printed, flags=re.M)
    assert dict(rows) == listed["minutes"].astype(str).to_dict()
    ways = re.findall(r"^- \*\*.+\*\*: ([\d, ]+) \((\d+) minutes\)$", printed, flags=re.M)
    assert len(ways) >= 3
    for numbers, minutes in ways:
        assert int(minutes) == listed["minutes"][numbers.split(", ")].sum()


def test_notebook_is_valid_and_small(notebook, request):
    nbformat.validate(notebook)
    assert (FOLDER / f"{request.node.callspec.id}.ipynb").stat().st_size < 1_000_000
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


def test_it_opens_with_a_title_and_its_sections_end_in_order(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert len(re.findall(r"^# ", text, flags=re.M)) == 1
    headings = re.findall(r"^## (.+)", text, flags=re.M)
    assert "Data" in headings
    assert headings[-3:] == ["Answer", "Questions", "Exercises"]


def test_parameters_are_literals(notebook):
    (parameters,) = [c for c in code_cells(notebook) if tagged(c, "parameters")]
    for node in ast.parse(parameters.source).body:
        assert isinstance(node, ast.AnnAssign)
        ast.literal_eval(node.value)
    assert not any(tagged(c, "injected-parameters") for c in code_cells(notebook))


def test_cells_are_short_and_clean(notebook):
    cells = code_cells(notebook)
    story = [c for c in cells if not tagged(c, "exercise") and not tagged(c, "solution")]
    assert sum(len(lines_of(c)) for c in story) <= 150
    first, *later = [c for c in cells if re.search(r"^(import|from) ", c.source, flags=re.M)]
    assert first.source.startswith("%matplotlib inline")
    # What needs torch may wait for the cell that trains.
    assert all(re.findall(r"^(?:import|from) .*", c.source, flags=re.M) == [TRAINING] for c in later)
    assert not later or TRAINING not in first.source
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
    checked = [c for c in code_cells(notebook) if c.source.startswith(CHECKED)]
    assert checked, f"no cell begins with {CHECKED}"
    for cell in checked:
        assert cell.outputs, cell.source


def test_prose_types_in_no_results(notebook):
    # Numbers that a run computes belong in computed text: decimals in markdown are settings or formulas at most.
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\b0\.\d{2,}\b|\b\d{1,2}\.\d %", cell.source), cell.source


def test_a_lesson_opens_with_its_question_aims_needs_and_time(notebook, request):
    opening = notebook.cells[0].source
    assert "**Question.**" in opening
    aims = re.search(r"\*\*You will be able to\*\*\n\n((?:- .+\n)+)", opening)
    assert len(aims[1].splitlines()) >= 2
    assert "**It assumes**" in opening
    assert f"**It takes** {times(request.node.callspec.id, notebook)}" in opening


def test_a_lesson_answers_its_question_in_a_computed_sentence(notebook):
    (cell,) = [c for c in section(notebook, "Answer") if c.cell_type == "code"]
    names = {node.id for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)}
    assert names - {"display", "Markdown"}, "typed in, not computed"
    (answer,) = [o.data["text/markdown"] for o in cell.outputs]
    assert answer.endswith(".")
    assert len(answer.split()) <= 80


def test_a_lesson_asks_questions_whose_answer_speaks_of_every_option(notebook):
    questions = section(notebook, "Questions")
    assert 2 <= len(questions) <= 3
    for i, cell in enumerate(questions, start=1):
        asked, answer = re.split(r"<details><summary>Answer</summary>\n\n", cell.source)
        assert asked.startswith(f"### Question {i}")
        options = re.findall(r"^- \*\*([A-E])\*\* ", asked, flags=re.M)
        assert options == list("ABCDE"[: len(options)])
        assert len(options) >= 3
        assert set(re.findall(r"\*\*([A-E])\.?\*\*", answer)) == set(options)
        assert answer.endswith("\n\n</details>")


def test_every_exercise_has_a_hint_a_place_to_work_and_a_solution_that_ran(notebook):
    cells = section(notebook, "Exercises")
    starts = [i for i, cell in enumerate(cells) if cell.source.startswith("### Exercise ")]
    assert starts[0] == 0
    assert 3 <= len(starts) <= 5
    for n, (start, end) in enumerate(zip(starts, [*starts[1:], len(cells)], strict=True), start=1):
        task, place, solution, *judgement = cells[start:end]
        assert task.source.startswith(f"### Exercise {n}: ")
        assert "<details><summary>Hint</summary>\n\n" in task.source
        assert task.source.endswith("\n\n</details>")
        assert place.cell_type == solution.cell_type == "code"
        assert tagged(place, "exercise")
        assert not lines_of(place)
        assert tagged(solution, "solution")
        assert solution.source.startswith(f"# Solution {n}: ")
        assert solution.metadata.jupyter == {"source_hidden": True, "outputs_hidden": True}
        assert solution.execution_count, "the solution was not executed"
        assert re.search(r"\bassert", solution.source) or draws(solution)
        for cell in judgement:
            assert tagged(cell, "solution")
            assert cell.source.startswith("<details><summary>Solution</summary>\n\n")


def draws(cell):
    return any("image/png" in output.get("data", {}) for output in cell.get("outputs", []))


def test_one_solution_draws_a_figure_and_one_argues_a_judgement(notebook):
    solutions = [cell for cell in section(notebook, "Exercises") if tagged(cell, "solution")]
    assert any(draws(cell) for cell in solutions)
    assert any(cell.cell_type == "markdown" for cell in solutions)


def test_every_link_to_the_glossary_finds_its_term():
    glossary = (files.repository() / "docs" / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^### (.+)$", glossary, flags=re.M)
    anchors = {re.sub(r"[^a-z0-9 -]", "", term.lower()).replace(" ", "-") for term in terms}
    assert len(anchors) == len(terms)
    texts = [f.read_text(encoding="utf-8") for f in (*NOTEBOOKS, *files.repository().glob("*.md"))]
    wanted = set(re.findall(r"docs/glossary\.md#([\w-]+)\)", "".join(texts)))
    assert wanted
    assert wanted <= anchors, wanted - anchors


def test_what_undecided_means_is_said_before_the_first_table_that_has_it():
    cells = [cell for file in NOTEBOOKS for cell in nbformat.read(file, as_version=4).cells]
    first = next(i for i, cell in enumerate(cells) if "undecided" in str(cell.get("outputs", "")))
    assert any("glossary.md#undecided)" in cell.source for cell in cells[:first])


@pytest.mark.slow
def test_the_notebook_of_own_images_opens_without_torch():
    first = code_cells(nbformat.read(FOLDER / "12_your_own_images.ipynb", as_version=4))[0].source
    run = first.replace("%matplotlib inline", "import sys") + "\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", run], check=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("pixel_size_um", [None, 0.325])
def test_a_flag_of_the_whole_picture_empties_nothing_and_is_said_once(pixel_size_um, capsys):
    cells = code_cells(nbformat.read(FOLDER / "12_your_own_images.ipynb", as_version=4))
    sorting, counting = (
        next(c.source for c in cells if mark in c.source) for mark in ("of_all = ", "listed = reasons")
    )
    plane = read_plane(files.repository() / "data" / "sample" / "fields" / "fields" / "field_001.tif")
    names = {"model": "auto", "pixel_size_um": 0, "plane": replace(plane, pixel_size_um=pixel_size_um)}
    names |= {"Predictor": Predictor, "Settings": Settings, "FLAGS": FLAGS, "Path": Path}
    exec(f"{sorting}\n{counting.replace('listed[~', 'shown = listed[~')}", names)
    assert len(names["sound"]) == 60
    assert "edge" in names["shown"].index
    assert "scale_unknown" not in names["shown"].index
    assert ("set `pixel_size_um`" in capsys.readouterr().out) == (pixel_size_um is None)


def source_with(notebook, mark):
    cells = code_cells(nbformat.read(FOLDER / f"{notebook}.ipynb", as_version=4))
    return next(cell.source for cell in cells if mark in cell.source)


def test_a_nucleus_without_a_call_is_not_held_against_the_truth():
    table = pd.DataFrame({"truth": ["G1", "S", None], "call": ["G1", "", "G1"]})
    source = source_with("00_why_phases", "known = ")
    (line,) = [line for line in source.splitlines() if line.startswith("known = ")]
    exec(line, names := {"table": table})
    assert len(names["known"]) == 1


def test_the_checks_of_maps_are_made_of_nuclei_of_every_phase():
    # As in the data: all nuclei of a phase behind each other.
    labels = np.repeat([0, 1, 2, 3], [40, 30, 9, 4])
    names = {"labels": labels, "images": labels, "order": np.arange(len(labels)), "np": np, "pd": pd}
    source = source_with("11_explaining", "sample = ").partition("calls = ")[0]
    exec(source, names)
    assert len(names["sample"]) == 24
    assert set(names["sample"][:8]) == {0, 1, 2, 3}


def test_the_table_of_a_screen_has_as_many_rows_as_the_screen_has_nuclei(tmp_path, capsys):
    (tmp_path / "nuclei.csv").write_bytes(bytes(5800))
    names = {"plate": {"nuclei": 250}, "seconds": lambda **_: 0, "takes_s": None, "machines": {}, "pd": pd}
    exec(source_with("14_a_plate", "a table of"), names | {"folder": tmp_path, "table": range(10)})
    assert "a table of 5.8 GB" in capsys.readouterr().out


def test_a_field_without_nuclei_adds_none_to_the_counts_of_a_plate(tmp_path):
    table = pd.DataFrame({"condition": "x", "well": ["A01", "A01", "A02"], "image": list("abc"), "light": 1.0})
    table = table.assign(call=["G1", "", ""], nucleus_id=pd.array([1, 2, None], "Int64"))
    names = {"predict": lambda *_, **__: table, "folder": tmp_path, "pd": pd, "PHASES": PHASES}
    exec(source_with("14_a_plate", "counts = pd.crosstab"), names)
    shown = names["counts"].reindex(columns=[*PHASES, "no call"], fill_value=0)
    assert shown.loc["x"].sum(axis=1).to_dict() == {"A01": 2, "A02": 0}
