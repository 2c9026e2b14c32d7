"""State shared by all routes: models, workers, store, and the steps of a prediction."""

import json
import os
from contextlib import suppress
from mimetypes import MimeTypes
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cellcycle.app import groups, worker
from cellcycle.app.asked import refuse_repeated, settings_of
from cellcycle.app.fine_tune import OWN
from cellcycle.app.guard import Refusal
from cellcycle.app.limits import MB, Limits
from cellcycle.app.models import model_table
from cellcycle.app.store import TRAINING, WORK, Store, Visitor, new_id
from cellcycle.app.training import Trainings
from cellcycle.app.words import in_page_words
from cellcycle.app.work import Work
from cellcycle.confine import LimitError
from cellcycle.errors import ImageError, SettingError
from cellcycle.files import hold, replace_json
from cellcycle.images.formats import VENDOR_SUFFIXES
from cellcycle.predict import Settings

# Name of a visitor's cookie; the braces are for the id of this server, which is kept in the second file.
COOKIE, OWN_NAME = "cellcycle_visitor_{}", ".server.json"


async def received(parts, path: Path) -> None:
    """Write a body to a file part by part, so that a large one is never in memory."""
    with open(path, "wb") as copy:
        async for part in parts:
            copy.write(part)


class Site:
    """One running website: a folder for uploads and results, models of its owner, the first of them the default."""

    def __init__(self, folder: Path, limits: Limits, model_folders=()):
        self.limits, self.models = limits, model_table(model_folders)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            # Unfinished work in the folder is deleted at the start, so it must not belong to another running server.
            self._held = hold(folder)
        except BlockingIOError as error:
            remedy = "stop that one, or name another folder in CELLCYCLE_OUTPUT"
            raise SettingError(folder, "another server keeps its images there", remedy) from error
        # Browsers share cookies between ports of one host, and between paths of a proxy, so each server has an id.
        if not (own := folder / OWN_NAME).exists():
            replace_json(own, new_id())
        name = COOKIE.format(json.loads(own.read_text("utf-8")))
        # Names for HTTP and HTTPS: an answer by HTTP cannot overwrite a cookie with the prefix __Host-.
        self.cookies = name, f"__Host-{name}"
        self.store = Store(folder, limits)
        self.work = Work(limits, model_folders, self.store.folder / WORK)
        self.trainings = Trainings(limits, model_folders, self.store.folder / TRAINING)

    def close(self) -> None:
        """End all work, and release the folder."""
        self.trainings.close()
        self.work.close()
        if self._held is not None:
            os.close(self._held)

    def routes(self, handlers: dict) -> list[Route]:
        """Return a route per (method, path); a handler gets this site, visitor, request, and image folder, if any."""

        def answering(handler):
            async def answer(request: Request):
                given = filter(None, map(request.cookies.get, reversed(self.cookies)))
                visitor = self.store.visitor(next(given, ""))
                images = map(visitor.image, filter(None, [request.path_params.get("key")]))
                try:
                    return await handler(self, visitor, request, *images)
                except FileNotFoundError as error:
                    # A file missing below the visitor's folder was removed by another request of the same visitor.
                    if not Path(str(error.filename)).is_relative_to(self.store.folder / visitor.key):
                        raise
                    raise Refusal(404, "the image was removed while it was worked on") from error

            return answer

        return [Route(to, answering(handler), methods=[method]) for (method, to), handler in handlers.items()]

    def asked(self, visitor: Visitor, given) -> tuple[str, Settings, str]:
        """Return the same as `settings_of`; the visitor's own model is allowed too, and returned as its folder."""
        refuse_repeated(given)
        own = visitor.trained()
        try:
            model, settings, how = settings_of(given, self.models if own is None else {**self.models, OWN: ()})
        except SettingError as error:
            raise in_page_words(error) from None
        return str(own[0]) if own and model == OWN else model, settings, how

    async def in_words(self, name: str, function, *arguments, **options):
        """Run `Work.run` for an image; a LimitError becomes an ImageError with the visitor's name of the image."""
        try:
            return await self.work.run(function, *arguments, **options)
        except LimitError as error:
            raise ImageError(name, error.finding, "cut it into smaller fields, or export it again") from error

    async def take(self, folder: Path, name: str, parts) -> Path:
        """Store an upload, which comes in parts, in a folder; return its path; ImageError if it is too large."""
        # Vendors' formats are recognised by their suffixes; other suffixes are dropped.
        suffix, most = Path(name).suffix.lower(), self.limits.file_mb
        path = folder / ("upload" + suffix * (suffix in VENDOR_SUFFIXES))
        await received(parts, path)
        size_mb = path.stat().st_size / MB
        if size_mb > most:
            raise ImageError(name, f"it has {size_mb:.0f} MB, more than {most:g}", "cut it into smaller fields")
        return path

    async def read(self, path: Path, name: str, settings: Settings, is_gone=None) -> None:
        """Read an uploaded file into the folder `plane` beside it, then delete the file.

        A small file may contain a large plane, so disk space is checked again before it is read.
        """
        folder = path.parent

        async def has_left() -> bool:
            self.store.check_room(folder)
            return is_gone is not None and await is_gone()

        given = path, name, settings, self.limits.megapixels, folder / "plane"
        try:
            await self.in_words(name, worker.read, *given, is_gone=has_left)
            path.unlink()
        finally:
            self.store.measure(folder)

    async def together(self, planes, names, model: str, settings: Settings, how: str, plate_map=None, **options):
        """Find the nuclei of all planes, then run `groups.together`."""
        if how == "slide" or (how == "together" and len(planes) > 1):
            for name, plane in zip(names, planes, strict=True):
                with suppress(ImageError):  # the call of the image reports it
                    await self.in_words(name, worker.find, plane, model, settings, **options)
        return await self.work.run(groups.together, planes, names, model, settings, how, plate_map)

    async def look(self, visitor: Visitor, image: Path, given: dict, model: str, settings: Settings, *error) -> dict:
        """Call the nuclei of an image that was read; store the result with `given` (name and key), and return all.

        With an `error` of such a call the image gets no nuclei, and its rows contain the error.
        """
        name = given["name"]
        call = f"call-{new_id()}"
        summary = await self.in_words(name, worker.call, image / "plane", model, settings, image / call, *error)
        return visitor.keep(image, given | {"call": call} | summary)

    async def made(self, visitor: Visitor, download: str, function, *arguments, of: str = "") -> Response:
        """Answer with the result of a worker's function as a file to save; `of` is the name of its image, if any."""
        with self.work.admitted(visitor.key):
            content = await (self.in_words(of, function, *arguments) if of else self.work.run(function, *arguments))
        # The name of a model may contain any letters, but a header only ASCII.
        headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(download, safe='')}"}
        # Not the system's table of file types, which differs between systems.
        return Response(content, media_type=MimeTypes().guess_type(download)[0], headers=headers)
