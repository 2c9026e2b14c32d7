"""The command line: a thin layer over the library. Heavy imports happen inside the commands."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

import cellcycle
from cellcycle.ending import guarded, in_options, refuse_mistyped
from cellcycle.errors import SettingError, check_choice

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
data_app = typer.Typer(help="Make and look at data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")


def _say_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"cellcycle {cellcycle.__version__}")
        raise typer.Exit()


_Version = Annotated[
    bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and exit.")
]
_Skip = Annotated[bool, typer.Option(help="Leave out images that cannot be read or have two labels.")]


@app.callback()
def _common(version: _Version = False):
    """Cell-cycle phases (G1, S, G2, M) of single DAPI-stained nuclei."""


@app.command()
def study(
    profile: Annotated[str, typer.Option(help="smoke (a test of minutes), study, or paper (300 px).")] = "study",
    data: Annotated[str, typer.Option(help="simulated, a folder of class folders, or a table of crops.")] = "simulated",
    only: Annotated[list[str] | None, typer.Option(help="Number of a notebook, such as 07; repeat for more.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE for the notebooks.")
    ] = None,
    skip_unreadable: _Skip = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Compute the recorded study again; show how far it is from the record.")
    ] = False,
):
    """Rebuild the study: run its notebooks, continuing where an earlier run stopped."""
    from cellcycle.study.notebooks import named_value, run_study

    named = dict(named_value(pair) for pair in parameter or [])
    if fresh:
        outcomes = _run_fresh(profile, data, only or named or skip_unreadable)
    else:
        outcomes = run_study(profile, data, tuple(only or ()), named, skip_unreadable=skip_unreadable)
    failed = [o for o in outcomes if o.error]
    for outcome in failed:
        typer.echo(f"{outcome.name}: {outcome.error}; see {outcome.copy}", err=True)
    if failed:
        raise typer.Exit(1)
    seconds = sum(outcome.seconds for outcome in outcomes)
    typer.echo(f"{len(outcomes)} notebooks, {seconds:.0f} s in all; executed copies: {outcomes[0].copy.parent}")


def _run_fresh(profile: str, data: str, restricted) -> list:
    """Run the study without its records; print the differences of its headline scores from the committed ones."""
    from cellcycle.study.notebooks import run_fresh
    from cellcycle.study.texts import show_distances

    if profile != "study" or data != "simulated" or restricted:
        raise SettingError("--fresh", "it is only for the recorded study", "use it alone: cellcycle study --fresh")
    outcomes, found = run_fresh()
    if found is not None:
        typer.echo(f"Committed, its 95 % interval, and fresh minus committed:\n{show_distances(found).to_string()}")
        typer.echo("On another type of processor rounding differs, and training amplifies it: compare the intervals.")
    return outcomes


@app.command()
def predict(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Image files, folders, patterns, or URLs.")],
    model: Annotated[
        str, typer.Option(help="Name or folder of a model; auto chooses by whether the image shows a G1 peak.")
    ] = "auto",
    is_field: Annotated[bool, typer.Option("--field", help="The images are whole fields of nuclei.")] = False,
    is_nucleus: Annotated[bool, typer.Option("--nucleus", help="The images are crops of one nucleus.")] = False,
    channel: Annotated[str | None, typer.Option(help="DNA channel: index from 0, or (part of) its name.")] = None,
    plane: Annotated[int | None, typer.Option(help="Time point or z plane, from 0; default: projection.")] = None,
    pixel_size: Annotated[float | None, typer.Option(help="Edge of a pixel in um; overrides what files state.")] = None,
    segmentation: Annotated[str, typer.Option(help="trained, classical, cellpose or stardist.")] = "trained",
    plate_map: Annotated[
        Path | None,
        typer.Option("--map", help="Table with the columns image or well, and condition, dose, slide, replicate ..."),
    ] = None,
    is_each: Annotated[bool, typer.Option("--each", help="Judge every image by itself, not with the others.")] = False,
    prior: Annotated[
        str, typer.Option(help="Expected shares: equal, culture, slide; auto: culture for fields, equal for crops.")
    ] = "auto",
    is_slide: Annotated[
        bool, typer.Option("--slide", help="All images, crops too, are of one slide: one G1 peak for all.")
    ] = False,
    format_name: Annotated[str | None, typer.Option("--format", help="table, csv, tsv, json, parquet or h5ad.")] = None,
    output: Annotated[Path | None, typer.Option(help="File for the table, one row per nucleus.")] = None,
    overlay: Annotated[Path | None, typer.Option(help="Folder for pictures with outlines coloured by phase.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder for label TIFFs; each number is a nucleus_id.")] = None,
    outlines: Annotated[
        Path | None, typer.Option(help="For QuPath: a .geojson file, or for several images a folder for one file each.")
    ] = None,
    rois: Annotated[
        Path | None, typer.Option(help="For ImageJ's ROI Manager: a .zip file, or a folder for one file each.")
    ] = None,
    use_masks: Annotated[
        Path | None, typer.Option(help="Folder of your label images (Cellpose, StarDist, ...), named like the images.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Number of processes; default: one, or all cores for many or large images.")
    ] = None,
    dask: Annotated[
        str, typer.Option(help="Scheduler whose workers share the images, or local: see docs/how_to/cluster.md.")
    ] = "",
    version: _Version = False,
):
    """Predict the phase of every nucleus in images of any kind."""
    from cellcycle.predict.command import run_predict
    from cellcycle.predict.extras import Extras
    from cellcycle.predict.predictor import Settings

    if is_field and is_nucleus:
        raise SettingError("--field", "--nucleus was given too", "choose one of them, or neither")
    kind = "field" if is_field else "nucleus" if is_nucleus else "auto"
    settings = Settings(kind, channel, plane, pixel_size, segmentation, prior=prior)
    asked = {"channel": channel, "plane": plane}
    read = ", ".join(f"{what} {value}" for what, value in asked.items() if value is not None)
    extras = Extras(overlay, masks, outlines, rois, read)
    code = run_predict(
        paths, model, settings, format_name, output, extras, jobs, is_slide, use_masks, is_each, plate_map, dask
    )
    raise typer.Exit(code)


@app.command()
def review(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="Written by `cellcycle predict --output`.")],
    images: Annotated[Path, typer.Option(help="Folder that holds the images of the table.")] = Path(),
    output: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("review.html"),
    most: Annotated[int, typer.Option(help="Largest number of nuclei on the page, the most doubtful.")] = 2000,
    channel: Annotated[str | None, typer.Option(help="DNA channel, as given to predict.")] = None,
    plane: Annotated[int | None, typer.Option(help="Time point or z plane, as given to predict.")] = None,
):
    """Write a page on which to correct calls, the doubtful first; it saves labels for `cellcycle train`."""
    from cellcycle.review import read_table, write_sheet

    made = write_sheet(output, read_table(table), images, most=most, title=table.name, channel=channel, plane=plane)
    for problem in made["problems"]:
        typer.echo(f"left out: {problem}", err=True)
    more = f"; {made['left_out']} less doubtful ones left out (--most)" if made["left_out"] else ""
    typer.echo(f"{output}: {made['shown']} nuclei, {made['doubtful']} of them doubtful{more}; open it in a browser")


@app.command()
def report(
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE...", help="Written by `cellcycle predict --output`.")],
    output: Annotated[Path, typer.Option(help="HTML file to write; numbers as CSV beside it.")] = Path("report.html"),
    control: Annotated[str, typer.Option(help="Condition (or well, or image) to compare the others with.")] = "",
    images: Annotated[Path, typer.Option(help="Folder that holds the images of the tables.")] = Path(),
):
    """Write a page on an experiment: phases by condition and well, with intervals, plates, and what was done."""
    from cellcycle.report import read_experiment, write_report

    numbers, notes = write_report(output, read_experiment(tables, control), tables, images)
    for note in notes:
        typer.echo(f"Note: {note}", err=True)
    typer.echo(f"{output}: open it in a browser; its numbers: {numbers}")


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="Folder of class folders, name of a data set, or table of labels.")],
    output: Annotated[Path, typer.Option(help="Folder of the new model.")],
    network: Annotated[str, typer.Option("--network", "--model", help="Network or dna-content; default: best.")] = "",
    from_model: Annotated[str, typer.Option("--from", help="Model to train further: a name or folder.")] = "",
    folds: Annotated[int, typer.Option(help="Number of parts; each is held out once.")] = 5,
    epochs: Annotated[int, typer.Option(help="Passes over the images; 0: as many as the recipe says.")] = 0,
    size: Annotated[int | None, typer.Option(help="Side of the inputs in pixels; 64, or that of --from.")] = None,
    intensity: Annotated[str | None, typer.Option(help="absolute (one exposure, the default) or per-image.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same model.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    jobs: Annotated[int | None, typer.Option(help="Processes that share the folds; all cores by default.")] = None,
    dask: Annotated[str, typer.Option(help="Scheduler whose workers train the folds, or local.")] = "",
    resume: Annotated[bool, typer.Option(help="Continue a training that was stopped.")] = False,
    force: Annotated[bool, typer.Option(help="Replace a model trained on other data in the output folder.")] = False,
    skip_unreadable: _Skip = False,
):
    """Train a model on labelled nuclei, judge it on nuclei held out, and write its folder."""
    from cellcycle.tasks import cluster
    from cellcycle.train import train as run

    # On the command line 0 and "" mean that the option is not given.
    given = {"network": network or None, "from_model": from_model or None, "epochs": epochs or None}
    given |= {"n_folds": folds, "size_px": size, "intensity": intensity, "seed": seed, "device": device, "n_jobs": jobs}
    given |= {"resume": resume, "force": force, "on_error": _on_error(skip_unreadable)}
    with cluster(dask, jobs) as client:
        checkpoint = run(data, output, client=client, say=lambda said: typer.echo(in_options(said), err=True), **given)
    scores = checkpoint.card["scores"]["held_out"]
    low, high = scores["intervals"]["balanced_accuracy"]
    value = scores["balanced_accuracy"]
    typer.echo(f"{output}: balanced accuracy {value:.3f} ({low:.3f} to {high:.3f}) on cells held out")


def _on_error(skip_unreadable: bool) -> str:
    return "skip" if skip_unreadable else "raise"


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Name or folder of a model.")],
    data: Annotated[str, typer.Argument(help="Labelled nuclei, as train takes them.")],
    as_json: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    output: Annotated[str, typer.Option(help="CSV of predictions; pictures are written beside it.")] = "",
    skip_unreadable: _Skip = False,
):
    """Measure how often a model is right on labelled nuclei, crops or fields."""
    from cellcycle import evaluate as judging

    check_choice("--format", as_json, ("text", "json"))
    found = judging.evaluate(model, data, output or None, _on_error(skip_unreadable))
    for note in found.dataset.notes:
        typer.echo(f"Note: {note}", err=True)
    typer.echo(json.dumps(found.scores(), indent=1) if as_json == "json" else judging.report(found))


@app.command()
def models(name: Annotated[str, typer.Argument(help="Name or folder of a model: shows its card.")] = ""):
    """List the models with their measured scores, or show what one learned from, its limits and all its scores."""
    from cellcycle.predict.command import list_models

    typer.echo(list_models(name))


@app.command("app")
def website(
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other computers in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.", min=1, max=65535)] = 7860,
    model: Annotated[
        list[Path] | None, typer.Option(help="Folder of a model of yours; repeat for more, the first is the default.")
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="Name by which other computers reach this one; repeat for more.")
    ] = None,
):
    """Serve the website; set CELLCYCLE_APP_PASSWORD to have it ask for a password."""
    from cellcycle.app import serve

    serve(host, port, tuple(model or ()), tuple(allowed_host or ()))


@data_app.command("simulate")
def simulate(
    # `--out` is the option's earlier name.
    output: Annotated[Path, typer.Option("--output", "--out", help="Folder to write; must be new or empty.")],
    nuclei: Annotated[int | None, typer.Option(help="Number of single nuclei (default 493).", min=4)] = None,
    fields: Annotated[int | None, typer.Option(help="Number of whole fields, instead of nuclei.", min=1)] = None,
    is_plate: Annotated[
        bool, typer.Option("--plate", help="A plate of 24 wells under drugs, with its map; --fields in each.")
    ] = False,
    size: Annotated[int | None, typer.Option(help="Side of the images in px.", min=16, max=4096)] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same images.")] = 0,
    bits: Annotated[int, typer.Option(help="Bit depth: 8, 12 or 16.")] = 16,
):
    """Write simulated nuclei (one sub-folder per phase, with a manifest), fields with their masks, or a plate."""
    from cellcycle.simulation import write_folder

    written = write_folder(output, nuclei, fields, size, seed=seed, bits=bits, is_plate=is_plate)
    typer.echo(f"wrote {written}")


@data_app.command("fetch")
def fetch_public(
    name: Annotated[str, typer.Argument(help="nagao2020, bbbc048 or bbbc039.")],
    agree: Annotated[bool, typer.Option("--agree", help="Agree to the licence; asked for once.")] = False,
):
    """Download a public data set; a broken download continues where it stopped."""
    from cellcycle.datasets.public import fetch, has_agreed, licence_of, of_name

    known = of_name(name)
    typer.echo(f"{known.title}\nlicence: {licence_of(name)}\nabout: {known.page}")
    if not agree and not has_agreed(name) and sys.stdin.isatty():
        agree = typer.confirm("Do you agree to the licence?")
    folder, notes = fetch(name, agree)
    typer.echo("\n".join([f"in {folder}", *(f"note: {note}" for note in notes)]))


@data_app.command("show")
def show(
    source: Annotated[
        str, typer.Argument(help="A name, a folder with one sub-folder per class, or a table (as train takes it).")
    ],
    skip_unreadable: _Skip = False,
):
    """Describe a data set: images, size, counts, groups, and what was noticed."""
    from cellcycle.datasets import load_dataset

    dataset = load_dataset(source, on_error=_on_error(skip_unreadable))
    typer.echo(dataset.report())


def main() -> None:
    """Run the command line; a `CellCycleError` becomes one line on standard error and exit code 2."""
    guarded(lambda: (refuse_mistyped(typer.main.get_command(app), sys.argv[1:]), app()))
