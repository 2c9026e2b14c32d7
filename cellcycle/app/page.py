"""The addresses of the page: its files, what a visitor gives, and what is made of it."""

import filecmp
import hashlib
import json
import mimetypes
import shutil
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from cellcycle.app import worker
from cellcycle.app.asked import clean_name, stored_suffix
from cellcycle.app.experiment import experiment_routes
from cellcycle.app.guard import Refusal
from cellcycle.app.loop import loop_routes
from cellcycle.app.models import model_card
from cellcycle.app.site import COOKIE, Site, attached
from cellcycle.app.store import is_id, new_id
from cellcycle.errors import SettingError
from cellcycle.review import NONE

_MOST_DIGITS = 10
_PART = 1 << 18
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


def page_routes(site: Site) -> list[Route]:
    """Return the routes of the page."""
    page = _Page(site)
    image = "/api/images/{key}"
    return [
        *_static_routes(),
        Route("/api/visit", page.visit, methods=["POST"]),
        Route("/api/images", page.upload, methods=["POST"]),
        Route("/api/images", page.forget, methods=["DELETE"]),
        *experiment_routes(site),
        *loop_routes(site),
        Route(image, page.remove, methods=["DELETE"]),
        Route(f"{image}/call", page.call, methods=["POST"]),
        Route(f"{image}/corrections", page.correct, methods=["PUT"]),
        Route(f"{image}/nuclei.json", page.nuclei, methods=["GET"]),
        Route(f"{image}/view.png", page.view, methods=["GET"]),
        Route(f"{image}/overlay.png", page.overlay, methods=["GET"]),
        Route(f"{image}/outlines.zip", page.outlines, methods=["GET"]),
        Route(f"{image}/occlusion/{{row}}.png", page.occlusion, methods=["GET"]),
    ]


def _static_routes() -> list[Route]:
    """Return a route for each file of the page: read once, so that no address is ever turned into a path."""
    found, folder = [], files("cellcycle.app") / "static"
    for file in folder.iterdir():
        if not file.is_file():
            continue
        suffix = "." + file.name.rpartition(".")[2]
        address = "/" if file.name == "index.html" else f"/static/{file.name}"
        media_type = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
        found.append(Route(address, _fixed(file.read_bytes(), media_type), methods=["GET"]))
    return found


def _fixed(content: bytes, media_type: str):
    headers = {"Cache-Control": "no-cache", "ETag": f'"{hashlib.sha256(content).hexdigest()[:20]}"'}

    async def answer(request: Request):
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=media_type, headers=headers)

    return answer


class _Page:
    """The handlers; see the head of this file."""

    def __init__(self, site: Site):
        self._site = site
        self._about = {
            "models": [model_card(name, checkpoints) for name, checkpoints in site.models.items()],
            "examples": list(site.examples),
            "minutes": round(site.limits.kept_s / 60),
            "most_images": site.limits.images,
            "file_mb": site.limits.file_mb,
        }

    def _image(self, request: Request):
        visitor = self._site.visitor(request)
        return visitor, visitor.image(request.path_params["key"])

    async def visit(self, request: Request):
        """Know a visitor again, or make a cookie; say what there is."""
        cookie = request.cookies.get(COOKIE, "")
        is_known = is_id(cookie)
        cookie = cookie if is_known else new_id()
        visitor = self._site.store.visitor(cookie)
        known = {"images": visitor.images(), "has_map": visitor.plate_map() is not None}
        answer = JSONResponse(self._about | known)
        is_https = request.headers.get("origin", "").startswith("https:")
        answer.set_cookie(COOKIE, cookie, max_age=86_400, httponly=True, samesite="strict", secure=is_https)
        return answer

    async def upload(self, request: Request):
        """Take one file as the body, or an example by its name; delete it when it was read."""
        site, visitor, asked = self._site, self._site.visitor(request), request.query_params
        model, settings, _ = site.asked(visitor, asked)
        example, name = site.examples.get(asked.get("example")), clean_name(asked.get("name", ""))
        with site.work.admitted(visitor.key):
            image = visitor.new_image()
            try:
                path = image / f"upload{stored_suffix(name)}"
                if example is not None:
                    name = example.name
                    shutil.copyfile(example, path)
                else:
                    with open(path, "wb") as copy:
                        async for chunk in request.stream():
                            copy.write(chunk)
                given = path, name, settings, site.limits.megapixels, image / "plane"
                await site.in_words(name, worker.read, *given, is_gone=request.is_disconnected)
                path.unlink()
                return JSONResponse(await site.look(visitor, image, name, model, settings))
            except BaseException:
                visitor.remove(image)
                raise

    async def call(self, request: Request):
        """Call the nuclei of an image again; corrections stay where the nuclei are the same."""
        site, (visitor, image) = self._site, self._image(request)
        model, settings, _ = site.asked(visitor, request.query_params)
        with site.work.admitted(visitor.key):
            async with visitor.alone(image):
                # Meanwhile it may have been called otherwise, or removed.
                before = visitor.about(visitor.image(image.name))
                labels = image / "labels-before.npy"
                shutil.copyfile(image / before["call"] / "labels.npy", labels)
                try:
                    about = await site.look(visitor, image, before["name"], model, settings)
                    is_same = filecmp.cmp(labels, image / about["call"] / "labels.npy", shallow=False)
                finally:
                    labels.unlink(missing_ok=True)
                allowed = (*about["counts"], NONE) if is_same else ()
                visitor.correct(image, {k: said for k, said in about["corrections"].items() if said in allowed})
                return JSONResponse(visitor.about(image))

    async def correct(self, request: Request):
        """Keep what the owner says about the nuclei of an image, all of it at once."""
        visitor, image = self._image(request)
        about, said = visitor.about(image), await _json(request)
        allowed = {*about["counts"], NONE} - {""}
        is_sound = (
            isinstance(said, dict)
            and len(said) <= about["n"]
            and all(key.isascii() and key.isdigit() and len(key) < _MOST_DIGITS for key in said)
            and all(isinstance(label, str) and label in allowed for label in said.values())
        )
        if not is_sound:
            raise SettingError("corrections", "they do not fit the image", f"give one of {', '.join(sorted(allowed))}")
        visitor.correct(image, said)
        return JSONResponse({"n": len(said)})

    async def remove(self, request: Request):
        visitor, image = self._image(request)
        visitor.remove(image)
        return JSONResponse({"images": visitor.images()})

    async def forget(self, request: Request):
        """Delete everything of a visitor, and the cookie."""
        visitor = self._site.visitor(request)
        await self._site.trainings.stop(visitor)
        visitor.remove_all()
        answer = JSONResponse({"images": []})
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    async def nuclei(self, request: Request):
        visitor, image = self._image(request)
        return _file(image / visitor.about(image)["call"] / "nuclei.json", "application/json")

    async def view(self, request: Request):
        _, image = self._image(request)
        return _file(image / "plane" / "view.png", "image/png")

    async def overlay(self, request: Request):
        return await self._drawn(request, worker.overlay, download="overlay.png")

    async def outlines(self, request: Request):
        return await self._drawn(request, worker.outlines, download="outlines.zip", media_type="application/zip")

    async def occlusion(self, request: Request):
        row = request.path_params["row"]
        # Not by the address itself: Python refuses to read a number of thousands of digits.
        if not (row.isascii() and row.isdigit() and len(row) < _MOST_DIGITS):
            raise Refusal(404, "there is no such nucleus")
        return await self._drawn(request, worker.occlusion_picture, int(row))

    async def _drawn(self, request: Request, draw, *row: int, download: str = "", media_type: str = "image/png"):
        visitor, image = self._image(request)
        about = visitor.about(image)
        if row and row[0] >= about["n"]:
            raise Refusal(404, "there is no such nucleus")
        with self._site.work.admitted():
            content = await self._site.in_words(about["name"], draw, image / "plane", image / about["call"], *row)
        return attached(content, media_type, download)


async def _json(request: Request):
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the request is not JSON") from error


def _file(path, media_type: str) -> Response:
    """Answer with a file, part by part: a thousand clients that read slowly hold a thousand parts, not files."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        raise Refusal(404, "this is no longer kept on the server") from None

    async def parts():
        with file:
            while part := file.read(_PART):
                yield part

    headers = {"Content-Length": str(path.stat().st_size), "Cache-Control": "no-store"}
    return StreamingResponse(parts(), media_type=media_type, headers=headers)
