"""The addresses of the server beside the page: `/predict`, `/health`, and the files of a result."""

import io
import shutil
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, FastAPI, File, Form, HTTPException, Response, UploadFile

from cellcycle.app.corrections import corrections_zip
from cellcycle.app.service import Service, Upload
from cellcycle.app.store import Store
from cellcycle.errors import CellCycleError, SettingError
from cellcycle.predict import Settings
from cellcycle.predict.output import row_writer
from cellcycle.predict.overlay import draw_overlay

_ANSWER = "One object a nucleus, in the columns of `cellcycle predict --format json`."


def add_routes(app: FastAPI, service: Service, store: Store) -> None:
    """Add the addresses to an application.

    Parameters
    ----------
    app : FastAPI
    service : Service
    store : Store
        Of the results that the page shows.
    """
    app.include_router(_predict_routes(service))
    app.include_router(_result_routes(store))


def _predict_routes(service: Service) -> APIRouter:
    router, limiter = APIRouter(), anyio.CapacityLimiter(service.limits.at_once)

    @router.get("/health", summary="Say that the server answers, and with which models")
    async def health() -> dict:
        return {"status": "ok", "models": list(service.models)}

    @router.post("/predict", summary="Predict the phase of every nucleus", response_description=_ANSWER)
    async def predict(
        images: Annotated[list[UploadFile], File(description="Image files of any kind that the tool reads.")],
        model: Annotated[str, Form(description="One of the models of /health.")] = service.default,
        kind: Annotated[str, Form(description="auto, field or nucleus.")] = "auto",
        channel: Annotated[str | None, Form(description="DNA channel: index from 0, or its name.")] = None,
        plane: Annotated[int | None, Form(description="Time point or z plane, from 0.")] = None,
        pixel_size_um: Annotated[float | None, Form(description="Edge of a pixel, if the files do not say.")] = None,
        slide: Annotated[bool, Form(description="All images are of one slide: fit its G1 peak to all nuclei.")] = False,
    ) -> list[dict]:
        if limiter.statistics().tasks_waiting >= service.limits.waiting:
            raise HTTPException(503, "too many images are waiting; try again in a minute", {"Retry-After": "60"})
        try:
            service.limits.check_count(len(images))
            settings = Settings(kind, channel or None, plane, pixel_size_um)
            work = _predict_uploads, service, images, model, settings, slide
            rows = await anyio.to_thread.run_sync(*work, limiter=limiter)
        except CellCycleError as error:
            raise HTTPException(400 if isinstance(error, SettingError) else 422, str(error)) from error
        return Response(rows, media_type="application/json")

    return router


def _predict_uploads(service: Service, files: list[UploadFile], model: str, settings: Settings, slide: bool) -> bytes:
    """Return the rows of all images; one image that cannot be read is an error, one of several is a row."""
    with TemporaryDirectory(prefix="cellcycle-") as folder:
        uploads = [_stored(file, Path(folder) / str(number)) for number, file in enumerate(files)]
        tables = []
        for prediction in service.predict_all(uploads, model, settings, slide):
            if prediction.error is not None and len(files) == 1:
                raise prediction.error
            tables.append(prediction.table)
    return rows_as("json", tables)


def _stored(file: UploadFile, stem: Path) -> Upload:
    """Copy an uploaded file to the disk; of its name only the last part is kept, since a browser may send a path."""
    name = PurePosixPath((file.filename or "image").replace("\\", "/")).name
    path = stem.with_suffix(PurePosixPath(name).suffix)
    with open(path, "wb") as copy:
        shutil.copyfileobj(file.file, copy, 1 << 20)
    file.file.close()
    return Upload(path, name)


def rows_as(name: str, tables) -> bytes:
    """Return prediction tables as the file that `cellcycle predict --format <name>` writes of them."""
    with TemporaryDirectory(prefix="cellcycle-") as folder:
        file = Path(folder) / "rows"
        with row_writer(name, file) as write:
            for table in tables:
                write(table)
        return file.read_bytes()


def _result_routes(store: Store) -> APIRouter:
    router = APIRouter(prefix="/result/{key}", include_in_schema=False)

    def result_of(key: str):
        try:
            return store.get(key)
        except SettingError as error:
            raise HTTPException(404, str(error)) from error

    @router.get("/nuclei.csv")
    def nuclei(key: str):
        return _download(rows_as("csv", [image.table for image in result_of(key).images]), "nuclei.csv", "text/csv")

    @router.get("/corrections.zip")
    def corrections(key: str):
        return _download(corrections_zip(result_of(key)), "corrections.zip", "application/zip")

    @router.get("/{index}/overlay.png")
    def overlay(key: str, index: int):
        result = result_of(key)
        if not 0 <= index < len(result.images) or result.images[index].plane is None:
            raise HTTPException(404, "there is no such picture")
        from PIL import Image

        stream = io.BytesIO()
        Image.fromarray(draw_overlay(result.unpacked(index), result.classes)).save(stream, "PNG")
        return _download(stream.getvalue(), "overlay.png", "image/png")

    return router


def _download(content: bytes, name: str, media_type: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(content, media_type=media_type, headers=headers)
