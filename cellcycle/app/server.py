"""The ASGI application: all routes behind the guard."""

import asyncio
import re
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from cellcycle.app.api import api_routes
from cellcycle.app.guard import DISK_FULL, Guard, answer_refusal, busy
from cellcycle.app.limits import Limits
from cellcycle.app.page import page_routes
from cellcycle.app.site import Site
from cellcycle.errors import CellCycleError, ImageError
from cellcycle.files import FULL, build_dir

_TIDY_S = 60


def build_server(
    limits: Limits | None = None, folders=(), password: str | None = None, hosts=(), storage: Path | None = None
) -> Starlette:
    """Return the whole website as an ASGI application.

    `folders` are those of additional models; `password` is asked for at every address but `/health`; `hosts` are
    further names of this computer; `storage` for uploads and results is by default in `cellcycle.files.build_dir`.
    Limits on connections are in `cellcycle.app.protocol`; another ASGI server must provide its own.
    """
    limits = limits or Limits()
    site = Site(storage or build_dir() / "page", limits, folders)
    app = Starlette(
        routes=[*api_routes(site), *page_routes(site)],
        middleware=[Middleware(Guard, limits=limits, hosts=hosts, password=password, kept=lambda: site.store.n_bytes)],
        exception_handlers={
            CellCycleError: _telling(400, folder=site.store.folder),
            ImageError: _telling(422, folder=site.store.folder),
            HTTPException: answer_refusal,
            ClientDisconnect: _telling(400, "the connection was lost"),
            OSError: _of_the_system,
            Exception: _telling(500, "the server met an error of its own"),
        },
        lifespan=lambda _: _tidying(site),
    )
    app.router.redirect_slashes = False
    return app


async def _of_the_system(request: Request, error: OSError):
    """Answer an error of a full disk as busy, also if another program filled it; raise any other OSError."""
    if error.errno not in FULL:
        raise error
    return await answer_refusal(request, busy(DISK_FULL))


@asynccontextmanager
async def _tidying(site: Site):
    """Delete old results while the server runs, also without requests; end the workers when it stops."""

    async def tidy():
        while True:
            site.store.tidy()
            await asyncio.sleep(_TIDY_S)

    task = asyncio.create_task(tidy())
    try:
        yield
    finally:
        task.cancel()
        site.close()


def _telling(status: int, words: str = "", folder: Path | None = None):
    """Return an error handler that answers with `words`, or with the error's line without paths of this server."""
    kept = re.compile(rf"{re.escape(str(folder))}\S*/")

    async def tell(request: Request, error: Exception):
        return JSONResponse({"detail": words or kept.sub("", str(error))}, status)

    return tell
