"""The book: notebooks and texts of this checkout as one website; `make book` builds it into build/book."""

import sys
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from cellcycle import __version__  # noqa: E402

project = "cellcycle"
author = copyright = "The cellcycle developers"
version = release = __version__
language = "en"

# The folder of the sources is the whole checkout, so that a link is the same in the book and on the forge.
root_doc = "docs/index"
include_patterns = ["docs/**.md", "docs/**.rst", "notebooks/*.ipynb", "*.md", "data/README.md"]
exclude_patterns = [".*", "build", "**/.ipynb_checkpoints"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
default_role = "code"

myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "off"
nb_merge_streams = True
# Tables that a cell writes are tables.
nb_render_markdown_format = "myst"

autodoc_member_order = "bysource"
autodoc_typehints = "none"
# What scikit-learn adds to a classifier.
autodoc_default_options = {
    "members": True,
    "exclude-members": "set_fit_request, set_score_request, set_predict_request",
}
napoleon_google_docstring = False
napoleon_use_param = napoleon_use_rtype = False

html_theme = "sphinx_book_theme"
html_title = "cellcycle"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_additional_pages = {"index": "start.html"}
templates_path = ["_templates"]
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_persistent": [],
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
html_copy_source = html_show_sourcelink = False
html_math_renderer = "mathml"

FOLDED = {"hide_mode": "all", "prompt_show": "Show the solution", "prompt_hide": "Hide the solution"}


def setup(app):
    """Add what the kept extensions do not do: formulas without a script, folded solutions, the command line."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("source-read", add_commands)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
    app.connect("doctree-read", fold_solutions)


def write_formula(writer, node):
    """Write a formula as MathML, which browsers read by themselves."""
    is_block = isinstance(node, nodes.math_block)
    formula = tex2mathml(node.astext(), as_block=is_block)
    writer.body.append(f'<div class="math">{formula}</div>' if is_block else formula)
    raise nodes.SkipNode


def fold_solutions(app, doctree):
    """Fold cells with a solution, code and output."""
    for cell in doctree.findall(nodes.container):
        if "tag_solution" in cell.get("classes", []):
            cell.attributes |= FOLDED


def add_commands(app, docname, source):
    """Write what the commands say of themselves into the page of the command line."""
    if docname == "docs/command_line":
        import typer
        from typer.cli import get_docs_for_click

        from cellcycle.cli import app as commands

        command = typer.main.get_command(commands)
        said = get_docs_for_click(obj=command, ctx=typer.Context(command, info_name="cellcycle"), name="cellcycle")
        # Without its first line, for the page has a title of its own.
        source[0] += said.partition("\n")[2]


def keep_colons(app, what, name, described, options, lines):
    """Keep napoleon from taking what stands before a colon in the first line on a property for its type."""
    if what == "property":
        lines.insert(0, "")
