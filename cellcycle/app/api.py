"""The addresses for programs: `/predict`, `/health`, and their description."""

import json
from importlib.resources import files
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cellcycle.app import worker
from cellcycle.app.asked import settings_of
from cellcycle.app.guard import Refusal
from cellcycle.app.site import Site
from cellcycle.errors import ImageError, SettingError
from cellcycle.names import apart, clean_name

_CHUNK = 1 << 20


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
        with site.work.admitted(), site.store.scratch() as folder:
            try:
                await request.form(max_files=site.limits.files, max_fields=2 * len(fields))
            except (ValueError, LookupError, TypeError, KeyError) as error:
                raise Refusal(400, "the form cannot be read") from error
            async with request.form() as form:
                unknown, given = set(form) - set(fields), form.getlist("images")
                if unknown:
                    finding = f"there is no field {clean_name(min(unknown))!r}"
                    raise SettingError("form", finding, f"use {', '.join(fields)}")
                if not given or not all(isinstance(file, UploadFile) for file in given):
                    raise SettingError("images", "no file was given", "give one or more image files")
                rows = await _rows(site, folder, given, *settings_of(form, site.models))
                return Response(rows, media_type="application/json")

    return [
        Route("/health", health, methods=["GET"]),
        Route("/openapi.json", describe, methods=["GET"]),
        Route("/predict", predict, methods=["POST"]),
    ]


async def _rows(site: Site, folder: Path, files: list[UploadFile], model: str, settings, how: str) -> str:
    """Return the rows of all images; one image that cannot be read is an error, one of several is a row."""
    names = apart([clean_name(file.filename or "") for file in files])
    planes = [folder / str(number) / "plane" for number in range(len(files))]
    errors: dict[Path, ImageError] = {}
    for plane, name, file in zip(planes, names, files, strict=True):
        plane.mkdir(parents=True)
        try:
            await site.read(plane.parent, name, _parts(file), settings)
        except ImageError as error:
            errors[plane] = error
    await site.together(planes, names, model, settings, how)
    found = []
    for plane, name in zip(planes, names, strict=True):
        try:
            if plane in errors:
                raise errors[plane]
            rows = await site.in_words(name, worker.rows, plane, model, settings)
        except ImageError as error:
            if len(files) == 1:
                raise
            rows = await site.work.run(worker.rows, plane, model, settings, error)
        found.append(rows.removeprefix("[\n").removesuffix("\n]\n"))
    return "[\n" + ",\n".join(found) + "\n]\n"


async def _parts(file: UploadFile):
    while part := await file.read(_CHUNK):
        yield part
    await file.close()
