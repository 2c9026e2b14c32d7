"""The routes of the page: its files, the visitor's images and corrections, and results."""

import asyncio
import hashlib
import json
import mmap
import re
from importlib.resources import files
from mimetypes import MimeTypes
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cellcycle.app import experiment, worker
from cellcycle.app.asked import short_text
from cellcycle.app.guard import Refusal
from cellcycle.app.models import model_card
from cellcycle.app.site import Site
from cellcycle.app.store import PLATE_MAP, Visitor, is_id, labels_of, new_id
from cellcycle.errors import ImageError, SettingError
from cellcycle.files import repository
from cellcycle.images.formats import IMAGE_SUFFIXES
from cellcycle.names import clean_name, telling_names
from cellcycle.predict.overlay import OVERLAY_SUFFIX


def page_routes(site: Site) -> list[Route]:
    """Return the routes of the page; its files are read once, so that no URL is ever turned into a path."""
    found = {f.name: f for f in (files("cellcycle.app") / "static").iterdir() if f.is_file()}
    # The project's simulated images; none in an installation without them.
    sample = (repository() or Path("missing")) / "data" / "sample"
    examples = {"field.tif": sample / "fields/fields/field_001.tif", "nucleus.png": sample / "nuclei/M/M_0001.png"}
    examples = {name: file for name, file in examples.items() if file.is_file()}
    fixed = {"/": found.pop("index.html")} | {f"/static/{name}": file for name, file in (found | examples).items()}
    return [
        *(Route(address, _fixed(file), methods=["GET"]) for address, file in fixed.items()),
        Route("/api/visit", _visit(site, list(examples)), methods=["POST"]),
        *site.routes(experiment.HANDLERS | HANDLERS),
    ]


def _fixed(file):
    content, media_type = file.read_bytes(), MimeTypes().guess_type(file.name)[0]
    headers = {"Cache-Control": "no-cache", "ETag": f'"{hashlib.sha256(content).hexdigest()[:20]}"'}

    async def answer(request: Request):
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return answer


def _visit(site: Site, examples: list[str]):
    about = {
        "models": [model_card(name, checkpoints) for name, checkpoints in site.models.items()],
        "examples": examples,
        "minutes": round(site.limits.kept_s / 60),
        "file_mb": site.limits.file_mb,
        "suffixes": IMAGE_SUFFIXES,
    }

    async def visit(request: Request):
        """Recognise a visitor by the cookie, or make one; answer with models, limits and the visitor's images."""
        kept = _cookie(site, request)
        cookie = request.cookies.get(kept["key"], "")
        cookie = cookie if is_id(cookie) else new_id()
        visitor = site.store.visitor(cookie)
        known = {"images": visitor.images(), "has_map": visitor.other(PLATE_MAP) is not None}
        answer = JSONResponse(about | known)
        answer.set_cookie(value=cookie, max_age=86_400, **kept)
        return answer

    return visit


def _cookie(site: Site, request: Request) -> dict:
    # A browser also sends the cookie of HTTPS by HTTP to its own computer.
    is_https = request.headers.get("origin", "").startswith("https:") or site.cookies[True] in request.cookies
    return {"key": site.cookies[is_https], "secure": is_https, "httponly": True, "samesite": "strict"}


async def _upload(site: Site, visitor: Visitor, request: Request):
    """Store the file in the body and call its nuclei; nothing is kept if the client has left.

    If its answer is lost, a page recognises its file by the `key` that it sent, whatever the names.
    """
    model, settings, _ = site.asked(visitor, request.query_params)
    key = short_text(request.query_params, "key")
    site.work.refuse_excess(visitor.key)
    image, name = visitor.new_image(clean_name(request.query_params.get("name", "")))
    try:
        upload = await site.take(image, name, request.stream())
        with site.work.admitted(visitor.key):
            await site.read(upload, name, settings, is_gone=request.is_disconnected)
            about = await site.look(visitor, image, {"name": name, "key": key}, model, settings)
            if await request.is_disconnected():
                raise Refusal(499, "the upload was cancelled")
            return JSONResponse(about)
    except BaseException:
        visitor.remove(image)
        raise


async def _call(site: Site, visitor: Visitor, request: Request, image: Path):
    """Call the nuclei of an image again; corrections are kept, see `Visitor.about`."""
    model, settings, _ = site.asked(visitor, request.query_params)
    with site.work.admitted(visitor.key):
        async with site.store.locks.setdefault(image, asyncio.Lock()):
            # Read again: meanwhile the image may have been called with other settings, or removed.
            before = visitor.about(visitor.image(image.name))
            given = {"name": before["name"], "key": before.get("key", "")}
            try:
                return JSONResponse(await site.look(visitor, image, given, model, settings))
            except ImageError as error:
                # Else page and tables would go on counting the earlier call, e.g. of another channel.
                await site.look(visitor, image, given, model, settings, error)
                raise


async def _correct(site: Site, visitor: Visitor, request: Request, image: Path):
    """Store labels of some nuclei of an image: number -> label; "" or null removes one.

    The query may name the hash of the nuclei that are meant, in case they were found anew meanwhile, e.g. in another
    tab. The answer is all data on the image.
    """
    try:
        said = await request.json()
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the request is not JSON") from error
    about = visitor.about(image)
    found = request.query_params.get("found", about["found"])
    numbers = {about["found"]: image / about["call"] / worker.NUMBERS}.get(found) or visitor.earlier(image).get(found)
    if numbers is None:
        raise Refusal(409, "these nuclei are not known for this image; load the page again")
    allowed = labels_of(about)
    is_sound = isinstance(said, dict) and all(isinstance(label, str | None) for label in said.values())
    if not is_sound or not allowed.issuperset(filter(None, said.values())):
        raise SettingError("corrections", "they do not fit the image", f"give one of {', '.join(sorted(allowed))}")
    known = set(map(str, json.loads(numbers.read_text("utf-8"))))
    if unknown := said.keys() - known:
        finding = f"the image has no nucleus {clean_name(min(unknown))}"
        raise SettingError("corrections", finding, "load the page again, and label those it shows")
    return JSONResponse(visitor.correct(image, said, found))


async def _remove(site: Site, visitor: Visitor, request: Request, image: Path):
    visitor.remove(image)
    return JSONResponse({"images": visitor.images()})


async def _forget(site: Site, visitor: Visitor, request: Request):
    """Delete everything of a visitor, and the cookie."""
    await site.trainings.stop(visitor)
    visitor.remove_all()
    answer = JSONResponse({"images": []})
    answer.delete_cookie(**_cookie(site, request))
    return answer


async def _kept(site: Site, visitor: Visitor, request: Request, image: Path):
    """Answer with the picture for the screen, or with the data on the nuclei."""
    is_view = request.url.path.endswith("view.png")
    path = image / "plane" / "view.png" if is_view else image / visitor.about(image)["call"] / "nuclei.json"
    # Opened here, because it may be removed before it is sent; mapped, because many slow readers would fill memory.
    with path.open("rb") as file:
        kept = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return Response(memoryview(kept), media_type="image/png" if is_view else "application/json")


def _drawn(ending: str, draw):
    """Return a handler that answers with a picture or files of an image: of all nuclei as corrected, or of a `row`.

    The file is named after the image, with an `ending`, so that those of several images can lie in one folder.
    """

    async def answer(site: Site, visitor: Visitor, request: Request, image: Path):
        about, row = visitor.about(image), request.path_params.get("row")
        # Limit the digits: Python refuses to parse a number with thousands of them.
        if row is not None and not (re.fullmatch("[0-9]{1,9}", row) and int(row) < about["n"]):
            raise Refusal(404, "there is no such nucleus")
        given = image / "plane", image / about["call"], about["corrections"] if row is None else int(row)
        download = telling_names([about["name"]])[0] + ending
        return await site.made(visitor, download, draw, *given, of=about["name"])

    return answer


_IMAGE = "/api/images/{key}"
HANDLERS = {
    ("POST", "/api/images"): _upload,
    ("DELETE", "/api/images"): _forget,
    ("DELETE", _IMAGE): _remove,
    ("POST", f"{_IMAGE}/call"): _call,
    ("PUT", f"{_IMAGE}/corrections"): _correct,
    ("GET", f"{_IMAGE}/nuclei.json"): _kept,
    ("GET", f"{_IMAGE}/view.png"): _kept,
    ("GET", f"{_IMAGE}/overlay.png"): _drawn(OVERLAY_SUFFIX, worker.overlay),
    ("GET", f"{_IMAGE}/outlines.zip"): _drawn("_outlines.zip", worker.outlines),
    ("GET", f"{_IMAGE}/occlusion/{{row}}.png"): _drawn("_occlusion.png", worker.occlusion),
}
