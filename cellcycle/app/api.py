"""The addresses for programs: `/predict`, `/health`, and their description."""

import json
from collections import defaultdict
from importlib.resources import files
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cellcycle.app import worker
from cellcycle.app.asked import refuse_repeated, settings_of
from cellcycle.app.guard import Refusal
from cellcycle.app.site import Site
from cellcycle.errors import ImageError, SettingError
from cellcycle.names import apart, clean_name

_CHUNK = 1 << 20
_NOTES, _MOST_NOTES = "Cellcycle-Notes", 20


def api_routes(site: Site) -> list[Route]:
    """Return the routes for programs; what they describe is what a form may have."""
    description = json.loads((files("cellcycle.app") / "static" / "openapi.json").read_text("utf-8"))
    form = description["paths"]["/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]
    fields = list(form["schema"]["properties"])

    async def health(request: Request):
        return JSONResponse({"status": "ok", "models": list(site.models)})

    async def describe(request: Request):
        return JSONResponse(description)

    async def predict(request: Request):
        if request.query_params:
            raise SettingError("address", "it has a query, which is not read", "give settings as fields of the form")
        try:
            await request.form(max_files=site.limits.files, max_fields=2 * len(fields))
        except (ValueError, LookupError, TypeError, KeyError) as error:
            raise Refusal(400, "the form cannot be read") from error
        async with request.form() as form:
            with site.work.admitted(), site.store.scratch() as folder:
                unknown, given = set(form) - set(fields), form.getlist("images")
                if unknown:
                    finding = f"there is no field {clean_name(min(unknown))!r}"
                    raise SettingError("form", finding, f"use {', '.join(fields)}")
                refuse_repeated(form, but="images")
                if not given or not all(isinstance(file, UploadFile) for file in given):
                    raise SettingError("images", "no file was given", "give one or more image files")
                rows, notes = await _rows(site, folder, given, *settings_of(form, site.models))
                headers = {_NOTES: json.dumps(notes)} if notes else {}
                return Response(rows, media_type="application/json", headers=headers)

    return [
        Route("/health", health, methods=["GET"]),
        Route("/openapi.json", describe, methods=["GET"]),
        Route("/predict", predict, methods=["POST"]),
    ]


async def _rows(site: Site, folder: Path, files, model: str, settings, how: str) -> tuple[str, list[str]]:
    """Return rows of all images, and notes; one image that cannot be read is an error, one of several is a row."""
    names = apart([clean_name(file.filename or "") for file in files])
    planes = [folder / str(number) / "plane" for number in range(len(files))]
    errors: dict[Path, ImageError] = {}
    for plane, name, file in zip(planes, names, files, strict=True):
        plane.mkdir(parents=True)
        try:
            await site.read(await site.take(plane.parent, name, _parts(file)), name, settings)
        except ImageError as error:
            errors[plane] = error
    _, notes = await site.together(planes, names, model, settings, how)
    found, remarks = [], defaultdict(list)
    for plane, name in zip(planes, names, strict=True):
        try:
            if plane in errors:
                raise errors[plane]
            rows, note = await site.in_words(name, worker.rows, plane, model, settings)
        except ImageError as error:
            if len(files) == 1:
                raise
            rows, note = await site.work.run(worker.rows, plane, model, settings, error)
        if note:
            remarks[note].append(name)
        found.append(rows.removeprefix("[\n").removesuffix("\n]\n"))
    for note, of in remarks.items():
        notes.append(f"{of[0]}{f' and {len(of) - 1} more' if len(of) > 1 else ''}: {note}")
    if len(notes) > _MOST_NOTES:
        # Proxies and clients take heads of a few thousand bytes.
        notes[_MOST_NOTES - 1 :] = [f"{len(notes) - _MOST_NOTES + 1} more notes; send fewer images to see them"]
    return "[\n" + ",\n".join(found) + "\n]\n", notes


async def _parts(file: UploadFile):
    while part := await file.read(_CHUNK):
        yield part
    await file.close()
