"""The book: every text and notebook is in it, every link inside it leads somewhere, and it is built from them alone."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import typer

from cellcycle import cli, files
from tests.test_architecture import ORDER

ROOT = files.repository()
CONTENTS = ROOT / "docs" / "index.md"
TEXTS = [
    *ROOT.glob("*.md"),
    *(f for f in (ROOT / "docs").rglob("*") if f.suffix in (".md", ".rst")),
    ROOT / "data" / "README.md",
]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Rooms that nobody imports from outside: the programs, and what the others share.
NOT_IN_REFERENCE = {"app", "cli", "cnncc", "ending", "__main__", "tasks", "graphs", "names", "confine", "files"}
NOT_IN_REFERENCE |= {"cutting", "grain", "card", "arrays"}


def prose(file):
    """Return the text of a page without its code."""
    if file.suffix == ".ipynb":
        cells = nbformat.read(file, as_version=4).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    else:
        text = file.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.M | re.S)


def anchors(file):
    """Return the names by which the headings of a page are linked."""
    titles = re.findall(r"^#+ (.+)$", prose(file), flags=re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_every_text_and_notebook_is_in_the_book_once():
    listed = re.findall(r"^```\{toctree\}(.*?)^```", CONTENTS.read_text(encoding="utf-8"), flags=re.M | re.S)
    entries = [line for block in listed for line in block.split("\n\n", 1)[1].splitlines() if line]
    names = [re.sub(r".*<(.+)>", r"\1", entry) for entry in entries]
    pages = [(CONTENTS.parent / name).resolve() for name in names]
    wanted = [f.with_suffix("") for f in (*TEXTS, *NOTEBOOKS) if f != CONTENTS]
    assert sorted(pages) == sorted(wanted)


@pytest.mark.parametrize("file", [*TEXTS, *NOTEBOOKS], ids=lambda f: f.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(file):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(file)):
        if re.match(r"https?://[^\s/]+\.[a-z]+(/|$)|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        assert target.is_file(), f"{link}: no such file"
        assert ROOT in target.parents
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def test_the_reference_names_every_module_that_others_import_from():
    pages = [f.read_text(encoding="utf-8") for f in TEXTS if f.suffix == ".rst"]
    named = re.findall(r"automodule:: cellcycle\.(\w+)", "\n".join(pages))
    assert sorted(named) == sorted(set.union(*ORDER) - NOT_IN_REFERENCE)


@pytest.mark.parametrize("file", [f for f in TEXTS if f.suffix == ".md"], ids=lambda f: f.relative_to(ROOT).as_posix())
def test_commands_and_options_that_a_text_names_exist(file):
    lines = "\n".join(re.findall(r"^ *```\n(.*?)```", file.read_text(encoding="utf-8"), flags=re.M | re.S)).splitlines()
    for line in lines:
        words = line.partition(" #")[0].split()
        if not words or Path(words[0]).name != "cellcycle":
            continue
        command = typer.main.get_command(cli.app)
        while hasattr(command, "commands"):
            command, words = command.commands[words[1]], words[1:]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= known, line


@pytest.mark.parametrize("file", [f for f in TEXTS if f.suffix == ".md"], ids=lambda f: f.relative_to(ROOT).as_posix())
def test_a_text_reads_in_a_terminal_but_for_its_tables(file):
    written = re.sub(r"^<!-- (\w+) -->.*?^<!-- /\1 -->", "", file.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert [line for line in written.splitlines() if len(line) > 120 and not line.startswith("|")] == []


@pytest.mark.parametrize("name", ["README.md", "docs/results.md", "docs/evidence.md", "docs/finders.md"])
def test_a_page_of_results_types_in_none_of_them(name):
    # Decimals stand in computed blocks, or in a table of aims.
    written = re.sub(r"^<!-- (\w+) -->.*?^<!-- /\1 -->", "", prose(ROOT / name), flags=re.M | re.S)
    typed = [line for line in written.splitlines() if not line.startswith("|") and re.search(r"\b0\.\d{2,}\b", line)]
    assert typed == []


def test_the_readme_reads_in_a_terminal_and_tries_files_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if len(line) > 120] == []
    assert len(text.split()) < 1200
    named = re.findall(r"(?<!\()\bdata/[\w/.]+\w", text)
    assert len(named) >= 2
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("sphinx_book_theme") is None, reason="the extra `book` is not installed")
def test_the_book_is_built_without_a_warning_searchable_and_without_anything_from_elsewhere(tmp_path):
    """Commands and reference are in it, formulas are MathML, solutions are folded, and a page loads nothing else."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", ".", tmp_path]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    pages = {f.relative_to(tmp_path).as_posix(): f.read_text("utf-8") for f in tmp_path.rglob("*.html")}
    assert {f"notebooks/{f.stem}.html" for f in NOTEBOOKS} < set(pages)
    for name, page in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe)[^>]+src=\"([^\"]+)|<link[^>]+stylesheet[^>]+href=\"([^\"]+)", page)
        assert not [a or b for a, b in loaded if re.match("(?:https?:)?//", a or b)], name
    assert 'id="cellcycle-data-simulate"' in pages["docs/command_line.html"]
    assert 'id="cellcycle.predict.predict"' in pages["docs/reference/models.html"]
    assert "<mfrac>" in pages["notebooks/04_logistic_regression.html"]
    assert pages["notebooks/00_why_phases.html"].count("Show the solution") >= 3
    # Tables of Markdown that cells write.
    assert '<table class="table">' in pages["notebooks/00_why_phases.html"]
    assert "interphase" in (tmp_path / "searchindex.js").read_text("utf-8")
