"""The addresses for programs: `/predict`, `/health`, and their description."""

from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import cellcycle
from cellcycle.app import groups, worker
from cellcycle.app.asked import apart, clean_name, settings_of, stored_suffix
from cellcycle.app.guard import Refusal
from cellcycle.app.limits import MB
from cellcycle.app.site import Site
from cellcycle.errors import ImageError, SettingError

_CHUNK = 1 << 20
# The fields of a request to /predict beside `images`: what a description says of each.
FIELDS = {
    "model": ("string", "One of the models of /health."),
    "kind": ("string", "auto, field or nucleus."),
    "channel": ("string", "DNA channel: index from 0, or its name."),
    "plane": ("integer", "Time point or z plane, from 0."),
    "pixel_size_um": ("number", "Edge of a pixel, if the files do not say."),
    "slide": ("boolean", "All images are of one slide: fit its G1 peak to all nuclei."),
    "each": ("boolean", "Judge each image by itself; otherwise fields tell each other where their G1 peak lies."),
}


def api_routes(site: Site) -> list[Route]:
    """Return the routes for programs."""

    async def health(request: Request):
        return JSONResponse({"status": "ok", "models": list(site.models)})

    async def description(request: Request):
        return JSONResponse(openapi(site))

    async def predict(request: Request):
        with site.work.admitted():
            async with _form(request, site.limits.files) as form:
                unknown = set(form) - {"images", *FIELDS}
                if unknown:
                    raise SettingError(
                        "form", f"there is no field {clean_name(min(unknown))!r}", f"use {', '.join(FIELDS)}"
                    )
                files = form.getlist("images")
                if not files or not all(isinstance(file, UploadFile) for file in files):
                    raise SettingError("images", "no file was given", "give one or more image files")
                return Response(
                    await _rows(site, files, *settings_of(form, site.models)), media_type="application/json"
                )

    return [
        Route("/health", health, methods=["GET"]),
        Route("/openapi.json", description, methods=["GET"]),
        Route("/predict", predict, methods=["POST"]),
    ]


@asynccontextmanager
async def _form(request: Request, most_files: int):
    """Give the form of a request; whatever a parser makes of a broken one is one sentence."""
    try:
        form = await request.form(max_files=most_files, max_fields=2 * len(FIELDS))
    except Refusal:
        raise
    except HTTPException as error:
        if "files" in str(error.detail):
            raise SettingError(
                "images", f"there are more than the {most_files} of one go", "give them in smaller parts"
            ) from error
        raise Refusal(400, "the form is broken or has too many fields") from error
    except (ValueError, LookupError, TypeError, KeyError) as error:
        raise Refusal(400, "the form cannot be read") from error
    try:
        yield form
    finally:
        await form.close()


async def _rows(site: Site, files: list[UploadFile], model: str, settings, how: str) -> str:
    """Return the rows of all images; one image that cannot be read is an error, one of several is a row."""
    with site.store.scratch() as folder:
        planes, names = [], apart([clean_name(file.filename or "") for file in files])
        for number, (file, name) in enumerate(zip(files, names, strict=True)):
            try:
                planes.append(await _read(site, file, name, settings, folder / str(number)))
            except ImageError as error:
                if len(files) == 1:
                    raise
                planes.append(error)
        lent = await _lent(site, planes, names, model, settings, how)
        parts = []
        for plane, name, one in zip(planes, names, lent, strict=True):
            try:
                part = await site.in_words(name, worker.rows, plane, model, settings, one)
            except ImageError as error:
                if len(files) == 1:
                    raise
                part = await site.work.run(worker.rows, error, model, settings, one)
            parts.append(part.removeprefix("[\n").removesuffix("\n]\n"))
    return "[\n" + ",\n".join(parts) + "\n]\n"


async def _lent(site: Site, planes: list, names: list[str], model: str, settings, how: str) -> list[dict | None]:
    """Return what the images lend each other; their nuclei are found once."""
    found = [plane if isinstance(plane, Path) else Path("missing") for plane in planes]
    if how == "slide" or (how == "together" and len(planes) > 1):
        for name, plane in zip(names, planes, strict=True):
            if isinstance(plane, Path):
                with suppress(ImageError):
                    await site.in_words(name, worker.find, plane, model, settings)
    return (await site.work.run(groups.together, found, names, model, settings, how))[0]


async def _read(site: Site, file: UploadFile, name: str, settings, folder: Path) -> Path:
    """Read an upload as a plane; return the folder that holds it."""
    folder.mkdir()
    path = folder / f"upload{stored_suffix(name)}"
    with closing(file.file), open(path, "wb") as copy:
        while chunk := await file.read(_CHUNK):
            copy.write(chunk)
    if path.stat().st_size > site.limits.file_mb * MB:
        raise ImageError(
            name,
            f"it has {path.stat().st_size / MB:.0f} MB, more than {site.limits.file_mb:g}",
            "cut it into smaller fields",
        )
    await site.in_words(name, worker.read, path, name, settings, site.limits.megapixels, folder / "plane")
    path.unlink()
    return folder / "plane"


def openapi(site: Site) -> dict:
    """Return the description of the addresses for programs, as OpenAPI 3.1."""
    refusals = {
        "400": "A setting or the form is wrong.",
        "413": "The request is too large.",
        "422": "The only image cannot be read.",
        "503": "Too many images are waiting; `Retry-After` says when to come back.",
    }
    said = {"type": "object", "properties": {"detail": {"type": "string"}}}
    fields = {name: {"type": kind, "description": words} for name, (kind, words) in FIELDS.items()}
    fields["model"] |= {"enum": list(site.models), "default": site.default}
    images = {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "description": "Image files of any kind that the tool reads.",
    }
    form = {"type": "object", "required": ["images"], "properties": {"images": images} | fields}
    rows = {"type": "array", "items": {"type": "object"}}
    answers = {"200": _answer("One object a nucleus, in the columns of `cellcycle predict --format json`.", rows)}
    answers |= {status: _answer(words, said) for status, words in refusals.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "cellcycle", "version": cellcycle.__version__},
        "paths": {
            "/predict": {
                "post": {
                    "summary": "Predict the phase of every nucleus",
                    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
                    "responses": answers,
                }
            },
            "/health": {
                "get": {
                    "summary": "Say that the server answers, and with which models",
                    "responses": {"200": _answer("It answers.", {"type": "object"})},
                }
            },
        },
    }


def _answer(words: str, schema: dict) -> dict:
    return {"description": words, "content": {"application/json": {"schema": schema}}}
