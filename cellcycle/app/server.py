"""Page, REST endpoint and guard put together, and served."""

import asyncio
import os
import shutil
import tempfile
from contextlib import asynccontextmanager

from cellcycle.app.limits import MB, Limits

_TIDY_S = 60


def build_server(limits: Limits | None = None, folders=(), password: str | None = None):
    """Return the whole website as an ASGI application.

    Parameters
    ----------
    limits : Limits, optional
    folders : sequence of str or Path, optional
        Model folders of your own.
    password : str, optional
        Asked for at every address but `/health`.

    Returns
    -------
    fastapi.FastAPI
    """
    # Gradio reads both when its parts are made; uploads get a folder of their own, gone when the server stops.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = uploads = tempfile.mkdtemp(prefix="cellcycle-page-")
    import gradio as gr
    from fastapi import FastAPI

    import cellcycle
    from cellcycle.app.api import add_routes
    from cellcycle.app.guard import Guard
    from cellcycle.app.page import build_page
    from cellcycle.app.service import Service
    from cellcycle.app.store import Store
    from cellcycle.app.style import CSS

    service = Service(limits, folders)
    store = Store(service.limits.kept_mb, service.limits.kept_s)
    # The pages that explain the addresses load scripts from elsewhere; /openapi.json alone does not.
    app = FastAPI(
        title="cellcycle",
        version=cellcycle.__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lambda _: _tidying(store, uploads),
    )
    add_routes(app, service, store)
    app = gr.mount_gradio_app(
        app,
        build_page(service, store),
        path="/",
        max_file_size=int(service.limits.file_mb * MB),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        show_error=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css=CSS,
    )
    app.add_middleware(Guard, password=password, most_bytes=int(service.limits.request_mb * MB))
    return app


@asynccontextmanager
async def _tidying(store, uploads: str):
    """Forget old results while the server runs, also when nobody visits, and all files when it stops."""

    async def tidy():
        while True:
            await asyncio.sleep(_TIDY_S)
            store.tidy()

    task = asyncio.create_task(tidy())
    try:
        yield
    finally:
        task.cancel()
        shutil.rmtree(uploads, ignore_errors=True)
