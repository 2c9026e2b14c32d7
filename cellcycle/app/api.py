"""The routes for programs: `/predict`, `/health`, and their OpenAPI description."""

import asyncio
import json
from collections import defaultdict
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cellcycle.app import worker
from cellcycle.app.asked import refuse_repeated, settings_of
from cellcycle.app.guard import Refusal
from cellcycle.app.site import Site, received
from cellcycle.errors import ImageError, SettingError
from cellcycle.names import apart, clean_name

_CHUNK = 1 << 20
_NOTES, _MOST_NOTES = "Cellcycle-Notes", 20


def api_routes(site: Site) -> list[Route]:
    """Return the routes for programs; a form may have only the fields of their OpenAPI description."""
    description = json.loads((files("cellcycle.app") / "static" / "openapi.json").read_text("utf-8"))
    form = description["paths"]["/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]
    fields, reading = list(form["schema"]["properties"]), asyncio.Lock()

    async def health(request: Request):
        return JSONResponse({"status": "ok", "models": list(site.models)})

    async def describe(request: Request):
        return JSONResponse(description)

    def asked_in(form):
        unknown, given = set(form) - set(fields), form.getlist("images")
        # Only for forms with a file: a raw image sent as the body would also be parsed into odd field names.
        if unknown and any(isinstance(value, UploadFile) for value in form.values()):
            finding = f"there is no field {clean_name(min(unknown))!r}"
            raise SettingError("form", finding, f"use {', '.join(fields)}")
        refuse_repeated(form, but="images")
        if not given or not all(isinstance(file, UploadFile) for file in given):
            raise SettingError("images", "no file was given", "give one or more image files")
        return settings_of(form, site.models)

    async def predict(request: Request):
        if request.query_params:
            raise SettingError("address", "it has a query, which is not read", "give settings as fields of the form")
        site.work.refuse_excess()
        with site.store.scratch() as folder:
            await received(request.stream(), folder / "form")
            with site.work.admitted():
                # One form at a time, because each file in it takes memory or an open file.
                async with reading, _form(request, folder / "form", site.limits.files, 2 * len(fields)) as form:
                    asked = asked_in(form)
                    images = await _images(site, folder, form.getlist("images"))
                (folder / "form").unlink()
                rows, notes = await _rows(site, images, *asked, is_gone=request.is_disconnected)
                headers = {_NOTES: json.dumps(notes)} if notes else {}
                return Response(rows, media_type="application/json", headers=headers)

    return [
        Route("/health", health, methods=["GET"]),
        Route("/openapi.json", describe, methods=["GET"]),
        Route("/predict", predict, methods=["POST"]),
    ]


@asynccontextmanager
async def _form(request: Request, file: Path, files: int, fields: int):
    """Yield the form in a file, which holds the body of a request; Refusal if it cannot be parsed."""
    with file.open("rb") as body:

        async def receive():
            await asyncio.sleep(0)  # lets the server answer other requests meanwhile
            part = body.read(_CHUNK)
            return {"type": "http.request", "body": part, "more_body": bool(part)}

        kept = Request(request.scope, receive)
        try:
            await kept.form(max_files=files, max_fields=fields)
        except (ValueError, LookupError, TypeError, KeyError) as error:
            raise Refusal(400, "the form cannot be read") from error
        async with kept.form() as form:
            yield form


async def _images(site: Site, folder: Path, files) -> dict[str, tuple[Path, Path | ImageError]]:
    """Return, by the name of each file, the folder for its plane, and its path or the error that refuses it."""
    images = {}
    for number, name in enumerate(apart([clean_name(file.filename or "") for file in files])):
        plane = folder / str(number) / "plane"
        plane.mkdir(parents=True)
        try:
            images[name] = plane, await site.take(plane.parent, name, _parts(files[number]))
        except ImageError as error:
            images[name] = plane, error
    return images


async def _rows(site: Site, images, model: str, settings, how: str, is_gone) -> tuple[str, list[str]]:
    """Return rows of all `_images`, and notes; an unreadable image is a row, or raises if it is the only one."""
    errors: dict[Path, ImageError] = {}
    for name, (plane, file) in images.items():
        try:
            if isinstance(file, ImageError):
                raise file
            await site.read(file, name, settings, is_gone=is_gone)
        except ImageError as error:
            errors[plane] = error
    names, planes = list(images), [plane for plane, _ in images.values()]
    _, notes = await site.together(planes, names, model, settings, how, is_gone=is_gone)
    found, remarks = [], defaultdict(list)
    for plane, name in zip(planes, names, strict=True):
        try:
            if plane in errors:
                raise errors[plane]
            rows, note = await site.in_words(name, worker.rows, plane, model, settings)
        except ImageError as error:
            if len(images) == 1:
                raise
            rows, note = await site.work.run(worker.rows, plane, model, settings, error)
        if note:
            remarks[note].append(name)
        found.append(rows.removeprefix("[\n").removesuffix("\n]\n"))
    for note, of in remarks.items():
        notes.append(f"{of[0]}{f' and {len(of) - 1} more' if len(of) > 1 else ''}: {note}")
    if len(notes) > _MOST_NOTES:
        # Proxies and clients accept headers of a few thousand bytes.
        notes[_MOST_NOTES - 1 :] = [f"{len(notes) - _MOST_NOTES + 1} more notes; send fewer images to see them"]
    return "[\n" + ",\n".join(found) + "\n]\n", notes


async def _parts(file: UploadFile):
    while part := await file.read(_CHUNK):
        yield part
    await file.close()
