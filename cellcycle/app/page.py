"""The page: where things stand and which event does what."""

from pathlib import Path

import gradio as gr

from cellcycle.app import review, words
from cellcycle.app.handlers import Handlers
from cellcycle.app.service import Service
from cellcycle.app.store import Store
from cellcycle.checkpoint import Checkpoint
from cellcycle.paths import repository

_LEAD = """<div class='lead'><h1>In which phase of the cell cycle is each nucleus?</h1>
<p>Drop microscope images of a DNA stain (DAPI, Hoechst, ...): whole fields, or single cut-out nuclei. Every nucleus
is found, measured and called G1, S, G2 or M.</p>
<p><small>Your images stay on this server and are deleted as soon as they are read; results are forgotten after
{minutes:.0f} minutes without a visit.</small></p></div>"""
_PROMISE = """<section aria-label='What you get'><h2>What you get</h2><ul>
<li>your image with every nucleus outlined in the colour of its phase,</li>
<li>how many nuclei are in each phase, and their DNA content,</li>
<li>a table with a row for each nucleus, doubtful ones first, to sort, search and save,</li>
<li>a place to correct wrong calls, and your corrections as a file to train a better model from.</li></ul>
<p>No image at hand? Try one of the simulated ones.</p></section>"""
_KINDS = [("Decide for each image", "auto"), ("Whole fields", "field"), ("One nucleus per image", "nucleus")]
_DARK = "() => { document.body.classList.toggle('dark'); }"
# Gradio hides sorting in a menu beside each heading; people click the heading, once more to turn the order around.
_SORT_BY_HEADING = """() => {
    const press = (heading, item) => {
        heading.querySelector('.cell-menu-button')?.click();
        setTimeout(() => document.querySelectorAll('.cell-menu [role=menuitem]')[item]?.click());
    };
    const sorted = () => document.querySelector('#table [role=columnheader][data-order]');
    window.unsort = () => {
        const heading = sorted();
        if (!heading) return;
        delete heading.dataset.order;
        press(heading, 2);
    };
    document.addEventListener('click', event => {
        const heading = event.target.closest('#table [role=columnheader]');
        if (!heading || event.target.closest('button')) return;
        const isRising = heading.dataset.order !== 'rising';
        delete sorted()?.dataset.order;
        heading.dataset.order = isRising ? 'rising' : 'falling';
        // Later: this very click would close the menu.
        setTimeout(() => press(heading, isRising ? 0 : 1));
    }, true);
}"""
# On a phone the nucleus stands below the picture and the table that were touched.
_TO_NUCLEUS = """() => {
    if (window.innerWidth < 700) document.getElementById('nucleus').scrollIntoView({behavior: 'smooth'});
}"""
_UNSORT = "() => { window.unsort(); }"
_SAID = "Is the call right? Say what you see"
# Gradio gives a group of choices no name that a screen reader would tell.
_TO_RESULT = f"""() => {{
    window.unsort();
    document.getElementById('said')?.setAttribute('aria-label', '{_SAID}');
    document.getElementById('message').scrollIntoView({{behavior: 'smooth'}});
}}"""


def build_page(service: Service, store: Store) -> gr.Blocks:
    """Return the page.

    Parameters
    ----------
    service : Service
    store : Store

    Returns
    -------
    gradio.Blocks
        To be mounted by `cellcycle.app.server`.
    """
    with gr.Blocks(
        title="Cell-cycle phases", analytics_enabled=False, delete_cache=(300, int(service.limits.kept_s))
    ) as page:
        handlers = Handlers(service, store)
        gr.HTML(_LEAD.format(minutes=service.limits.kept_s / 60))
        gr.Button("Light or dark", size="sm", elem_id="dark").click(None, js=_DARK)
        inputs = _inputs(service)
        message = gr.HTML(elem_id="message")
        view = _results()
        _connect(handlers, inputs, message, view)
        page.load(None, js=_SORT_BY_HEADING)
    return page.queue(max_size=service.limits.waiting, default_concurrency_limit=4)


def _inputs(service: Service) -> dict:
    """Lay out what a visitor gives: images, model, settings."""
    parts = {}
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            parts["upload"] = gr.File(
                label="1. Drop images here (TIFF of 8 or 16 bits, OME-TIFF, PNG, JPEG, BMP)",
                file_count="multiple", height=180, elem_id="upload",
            )  # fmt: skip
            # An override on the instance: Gradio writes a file beside the source of every class derived from its own.
            parts["upload"].preprocess = named_files
            parts["examples"] = []
            with gr.Row():
                for name, file in example_files().items():
                    parts["examples"].append((gr.Button(f"Try {name}", size="sm"), file))
            with gr.Accordion("Settings (most images need none)", open=False):
                parts["kind"] = gr.Radio(_KINDS, value="auto", label="What the images show")
                parts["pixel_size_um"] = gr.Textbox(
                    label="Pixel size in µm, if the files do not say", placeholder="for example 0.325", max_lines=1
                )
                parts["channel"] = gr.Textbox(label="DNA channel: its name or number, counted from 0", max_lines=1)
                parts["plane"] = gr.Textbox(
                    label="Plane or time point, counted from 0 (empty: all planes are projected)", max_lines=1
                )
                parts["slide"] = gr.Checkbox(
                    label="All images are of one slide, equally stained and exposed",
                    info="Then their nuclei are compared with each other, which makes the calls better.",
                )
                parts["again"] = gr.Button("Predict again with this model and these settings")
            parts["promise"] = gr.HTML(_PROMISE, elem_id="promise")
        with gr.Column(scale=2, min_width=320):
            titles = [(_title(name, checkpoints), name) for name, checkpoints in service.models.items()]
            parts["model"] = gr.Dropdown(titles, value=service.default, label="2. Model", elem_id="model")
            with gr.Accordion("How good is this model?", open=True, elem_id="card") as parts["about"]:
                parts["card"] = gr.HTML(words.model_card(service.models[service.default]))
    parts["cards"] = service.models
    return parts


def _title(name: str, checkpoints: tuple[Checkpoint, ...]) -> str:
    return "Choose for each image (auto)" if len(checkpoints) > 1 else f"{checkpoints[0].title} ({name})"


def _results() -> dict:
    """Lay out what a visitor gets; hidden until there is a result."""
    parts = {"key": gr.State(None), "row": gr.State(None)}
    with gr.Column(visible=False, elem_id="results") as parts["results"]:
        parts["downloads"] = gr.HTML()
        parts["index"] = gr.Dropdown(label="Image", visible=False)
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                parts["overlay"] = gr.Image(
                    label="Click a nucleus", format="webp", interactive=False, buttons=["fullscreen"], elem_id="overlay"
                )
                parts["brightness"] = gr.Slider(
                    1, 10, value=1, step=0.5, label="Brightness of the picture (changes no number)"
                )
                with gr.Column() as parts["list"]:
                    _list(parts)
            with gr.Column(scale=2, min_width=320):
                parts["nucleus"] = gr.HTML(elem_id="nucleus")
                parts["said"] = gr.Radio([], label=_SAID, visible=False, elem_id="said")
                with gr.Row():
                    parts["next"] = gr.Button("Next nucleus", variant="primary", elem_id="next")
                    parts["explain"] = gr.Button("What is the call based on?", elem_id="explain")
        with gr.Row():
            with gr.Column(min_width=320):
                parts["counts"] = gr.HTML(elem_id="counts")
            with gr.Column(min_width=320):
                parts["histogram"] = gr.BarPlot(
                    x="DNA", x_title=" ", y="nuclei", color="phase", x_bin=0.1, y_aggregate="sum", colors_in_legend=[],
                    height=300, label="DNA content", elem_id="histogram",
                )  # fmt: skip
    return parts


def _list(parts: dict) -> None:
    """Lay out the list of the nuclei."""
    with gr.Row():
        parts["wanted"] = gr.Dropdown(
            label="Show in the table", choices=[review.ALL], value=review.ALL, elem_id="wanted"
        )
        parts["order"] = gr.Dropdown(
            label="Order (also of Next nucleus)",
            choices=list(review.ORDERS),
            value=review.DOUBTFUL_FIRST,
            elem_id="order",
        )
    gr.HTML("<p class='hint'>Click a line to see its nucleus, a heading to sort.</p>")
    parts["table"] = gr.Dataframe(
        label="Nuclei", interactive=False, max_height=420, show_search="search", elem_id="table"
    )


def _connect(handlers: Handlers, inputs: dict, message, view: dict) -> None:
    """Say which event does what."""
    settings = [inputs[name] for name in ("model", "kind", "pixel_size_um", "channel", "plane", "slide")]
    heavy = {
        "concurrency_limit": handlers.service.limits.at_once,
        "concurrency_id": "predict",
        "api_visibility": "private",
    }
    light = {"api_visibility": "private", "show_progress": "hidden"}
    key, row, index, wanted, order = (view[name] for name in ("key", "row", "index", "wanted", "order"))
    kept = [key, row, message, *(view[name] for name in ("results", "list", "next")), index, wanted, view["downloads"]]
    look = dict(
        fn=handlers.look, inputs=[key, row, index, view["brightness"]],
        outputs=[view[n] for n in ("overlay", "counts", "histogram", "nucleus", "said", "explain")], **light,
    )  # fmt: skip
    fill = dict(fn=handlers.table, inputs=[key, wanted, order], outputs=view["table"], **light)

    inputs["model"].change(
        lambda name: words.model_card(inputs["cards"][name]), inputs["model"], inputs["card"], **light
    )
    runs = [inputs["upload"].upload(
        handlers.upload, [inputs["upload"], *settings, key], [inputs["upload"], *kept], **heavy
    )]  # fmt: skip
    for button, file in inputs["examples"]:
        runs.append(button.click(_fixed(handlers.example, file), [*settings, key], kept, **heavy))
    runs.append(inputs["again"].click(handlers.again, [*settings, key], kept, **heavy))
    for run in runs:
        # A visitor with a result wants to see it, not the way to it.
        shown = run.success(_make_room, key, [inputs["about"], inputs["promise"]], **light)
        shown.success(**look).success(**fill).success(None, js=_TO_RESULT)
    view["brightness"].input(**look, trigger_mode="always_last")
    view["table"].select(handlers.choose_row, key, [row, index], **light).success(**look).success(None, js=_TO_NUCLEUS)
    touched = view["overlay"].select(handlers.choose_point, [key, row, index], row, **light)
    touched.success(**look).success(None, js=_TO_NUCLEUS)
    index.input(handlers.choose_image, [key, index], row, **light).success(**look)
    wanted.input(**fill)
    order.input(**fill).success(None, js=_UNSORT)
    view["next"].click(handlers.next_row, [key, row, wanted, order], [row, index], **light).success(**look)
    view["said"].input(
        handlers.correct, [key, row, index, view["said"], wanted, order], [view["table"], view["downloads"]], **light
    )
    view["explain"].click(handlers.explain, [key, row, view["brightness"]], view["nucleus"], **heavy)


def named_files(payload) -> list[tuple[str, str]]:
    """Return where each uploaded file lies and what its owner calls it."""
    return [(file.path, Path(file.orig_name or file.path).name) for file in payload or []]


def _make_room(key):
    """Close what explains the page once there is a result."""
    return (gr.Accordion(open=False), gr.HTML(visible=False)) if key else (gr.skip(), gr.skip())


def _fixed(function, first):
    """Return a function with its first argument fixed; Gradio counts the arguments of what it calls."""

    def called(model, kind, pixel_size_um, channel, plane, slide, key):
        return function(first, model, kind, pixel_size_um, channel, plane, slide, key)

    return called


def example_files() -> dict[str, Path]:
    """Return the project's simulated examples, what they are -> file; none in an installation without them."""
    folder = (repository() or Path("missing")) / "data" / "sample"
    found = {
        "a simulated field": folder / "fields" / "fields" / "field_001.tif",
        "a simulated nucleus": folder / "nuclei" / "M" / "M_0001.png",
    }
    return {name: file for name, file in found.items() if file.is_file()}
