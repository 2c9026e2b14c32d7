import base64

import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from cellcycle import plots
from cellcycle.datasets import NucleusDataset
from cellcycle.phases import PHASE_COLOURS, PHASES, class_colours, rgb
from cellcycle.study.notebooks import clean


@pytest.fixture
def dataset(blobs):
    images, labels = blobs
    ids = np.array([f"cell{i:03d}" for i in range(len(labels))])
    return NucleusDataset("toy", images, labels, PHASES, ids, "toy", "simulated")


@pytest.fixture
def table():
    rows = {"training_set": ["D1", "D3"], "n_parameters": [10, 1000]}
    for score in ("accuracy", "balanced_accuracy"):
        rows |= {score: [0.6, 0.7], f"{score}_low": [0.5, 0.6], f"{score}_high": [0.7, 0.8]}
    for phase in PHASES:
        rows |= {f"recall_{phase}": [0.5, 0.9], f"recall_{phase}_low": [0.4, 0.8], f"recall_{phase}_high": [0.6, 1.0]}
    return pd.DataFrame(rows, index=["LR", "Nagao 6"])


def texts(figure):
    figure.canvas.draw()
    found = [t.get_text() for ax in figure.axes for t in ax.findobj(lambda o: hasattr(o, "get_text"))]
    return found + [t.get_text() for legend in figure.legends for t in legend.get_texts()]


def test_phases_have_the_same_colours_everywhere():
    assert class_colours(PHASES) == PHASE_COLOURS
    others = class_colours(("G2", "not-G2", "dead"))
    assert others["G2"] == PHASE_COLOURS["G2"]
    assert len(set(others.values())) == 3
    # Of all classes of the shipped model of mitoses none is as gray as no call.
    few = class_colours(("Anaphase", "Interphase", "Metaphase", "Prometaphase"))
    assert all(len(set(rgb(colour))) > 1 for colour in few.values()) and len(set(few.values())) == 4


@pytest.mark.slow
def test_nucleus_panel_has_a_row_a_class(dataset):
    figure = plots.nucleus_panel(dataset, n_per_class=5)
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 20
    assert set(PHASES) <= set(texts(figure))


def test_confusion_matrices_show_every_count():
    counts = pd.DataFrame([[7, 1], [2, 13]], index=["G1", "M"], columns=["G1", "M"])
    assert {"7", "1", "2", "13"} <= set(texts(plots.confusion_matrices([counts], ["title"])))


def test_score_bars_draw_named_reference_lines(table):
    figure = plots.score_bars(table, "accuracy", {"largest class": 0.5, "ceiling": 0.8}, "t")
    assert {"largest class", "ceiling", "D1", "D3", "LR", "Nagao 6"} <= set(texts(figure))
    heights = sorted(p.get_height() for p in figure.axes[0].patches if p.get_height() > 0)
    assert heights == pytest.approx([0.6, 0.7])


def test_recall_bars_use_the_phase_colours(table):
    figure = plots.recall_bars(table, PHASES)
    from matplotlib.colors import to_hex

    assert {to_hex(p.get_facecolor()).upper() for p in figure.axes[0].patches} == set(PHASE_COLOURS.values())


@pytest.mark.slow
def test_design_space_names_stages_and_joins_widths(table):
    designs = table.assign(stages=[3, 6], width=8, macro_f1=0.6, macro_f1_low=0.5, macro_f1_high=0.7)
    figure = plots.design_space(designs, references={"accuracy": {"ceiling": 0.8}})
    assert {"3 stages", "6 stages", "first stage 8 wide", "ceiling", "macro F1"} <= set(texts(figure))
    assert [ax.get_xscale() for ax in figure.axes] == ["log"] * 3
    assert [len(ax.findobj(lambda o: getattr(o, "get_label", str)() == "ceiling")) for ax in figure.axes] == [1, 0, 0]


def test_history_of_one_epoch_is_visible(make_record):
    record = make_record(0.9, history=pd.DataFrame({"epoch": [1, 1], "train_loss": [1.0, 1.2], "fold": [0, 1]}))
    assert plots.history([record]).axes[0].lines[0].get_marker() == "o"


def test_history_shows_the_loss_on_images_held_out(make_record):
    rows = {"epoch": [1, 2, 3], "train_loss": [1.0, 0.5, 0.2], "held_out_loss": [np.nan, 0.8, 30.0]}
    axes = plots.history([make_record(0.9, history=pd.DataFrame(rows))], ["LR"]).axes[0]
    assert [line.get_label() for line in axes.lines] == ["LR", "LR, held out (up to 30.0)"]
    assert axes.lines[1].get_xdata().tolist() == [2, 3]
    assert axes.get_ylim() == (0, 2)


def test_lines_are_named_where_there_are_several():
    table = pd.DataFrame({"train": [1.0, 0.5], "held out": [1.0, 2.0]}, index=[1, 10])
    assert {"train", "held out", "epoch"} <= set(texts(plots.lines(table, "epoch", "loss")))
    assert "train" not in texts(plots.lines(table[["train"]], log=True))


def test_signed_pictures_share_one_scale_around_zero():
    figure = plots.signed_grid(np.stack([np.full((1, 4, 4), -3.0), np.ones((1, 4, 4))]), ["G1", "M"])
    assert {ax.images[0].get_clim() for ax in figure.axes if ax.images} == {(-3, 3)}
    assert {"G1", "M"} <= set(texts(figure))


@pytest.mark.slow
def test_histogram_leaves_out_what_was_not_found():
    dna = np.array([1.0, 1.1, 2.0, np.nan])
    figure = plots.dna_histogram(dna, np.array([0, 0, 2, 3]), PHASES)
    assert sum(p.get_height() for p in figure.axes[0].patches) == 3


@pytest.mark.slow
def test_validation_compares_sources():
    rows = [
        {"source": s, "phase": p, "quantity": q, **{f"p{k:02d}": k / 100 for k in (5, 25, 50, 75, 95)}}
        for s in ("simulated", "jurkat")
        for p in PHASES
        for q in ("relative_area", "relative_dna", "texture", "eccentricity")
    ]
    assert "jurkat (real)" in texts(plots.validation(pd.DataFrame(rows)))


def test_nagao_drawing_names_its_layers():
    shown = texts(plots.nagao_drawing(6, 8, 64, 1, 4))
    assert {"1 ch\n64 px", "256 ch\n1 px", "512", "4"} <= set(shown)


def test_every_line_of_effects_is_in_the_legend(table):
    (shown,) = plots.effects(table, reference="LR", references=dict.fromkeys("abcd", 0.8)).legends
    assert [text.get_text() for text in shown.texts] == ["LR", *"abcd"]


@pytest.mark.slow
def test_figures_are_written_whole_and_repeatable(table, tmp_path):
    figure = plots.effects(table, reference="LR")
    (first,) = plots.save_figures({"effects": figure}, tmp_path / "a")
    (second,) = plots.save_figures({"effects": figure}, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert [f.name for f in (tmp_path / "a").iterdir()] == ["effects.png"]


@pytest.mark.slow
def test_sliders_redraw_their_figure_and_leave_a_still_picture_in_a_notebook_that_is_read():
    """The first value is drawn for readers, a moved slider's for whoever moves it; a live widget is not published."""
    drawn = []

    def draw(cv):
        drawn.append(cv)
        return plots.lines(pd.DataFrame({"CV": [0, cv]}), "x")

    shown = plots.Sliders(draw, cv=(0.0, 0.5, 0.1))
    bundle = shown._repr_mimebundle_()
    assert set(drawn) == {0.1}
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    shown.controls().children[0].value = 0.3
    assert drawn[-1] == 0.3
    output = nbformat.v4.new_output("execute_result", data=bundle, execution_count=1)
    cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell(outputs=[output])]
    (kept,) = clean(nbformat.v4.new_notebook(cells=cells)).cells[1].outputs
    assert len(bundle) == 3
    assert set(kept.data) == {"image/png", "text/plain"}
