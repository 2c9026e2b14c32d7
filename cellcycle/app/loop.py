"""The addresses of the loop: what a visitor corrected goes out, comes in again, and becomes a model of their own."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cellcycle.app import fine_tune, worker
from cellcycle.app.guard import Refusal
from cellcycle.app.site import Site


def loop_routes(site: Site) -> list[Route]:
    """Return the routes of corrections and training."""
    loop = _Loop(site)
    return [
        Route("/api/corrections.zip", loop.corrections_zip, methods=["GET"]),
        Route("/api/corrections.csv", loop.corrections_csv, methods=["GET"]),
        Route("/api/corrections", loop.corrections_again, methods=["POST"]),
        Route("/api/training", loop.train, methods=["POST"]),
        Route("/api/training", loop.training, methods=["GET"]),
        Route("/api/training", loop.stop_training, methods=["DELETE"]),
        Route("/api/model.zip", loop.model_zip, methods=["GET"]),
    ]


class _Loop:
    """The handlers; see the head of this file."""

    def __init__(self, site: Site):
        self._site = site

    async def corrections_zip(self, request: Request):
        visitor = self._site.visitor(request)
        asked = worker.corrections, visitor.corrected()
        return await self._site.made(visitor, "application/zip", "corrections.zip", *asked)

    async def corrections_csv(self, request: Request):
        visitor = self._site.visitor(request)
        return await self._site.made(visitor, "text/csv", "corrections.csv", worker.labels, visitor.corrected())

    async def corrections_again(self, request: Request):
        """Take a table of corrections of images that are here; what it says of a nucleus replaces what was said."""
        site, visitor = self._site, self._site.visitor(request)
        with site.work.admitted(visitor.key), site.store.scratch() as folder:
            (folder / "corrections.csv").write_bytes(await request.body())
            images = [(visitor.image(about["id"]), about) for about in visitor.images()]
            given = [(image / "plane", image / about["call"]) for image, about in images]
            found = await site.work.run(worker.said_again, folder / "corrections.csv", given)
            for (image, about), said in zip(images, found, strict=True):
                # Called again meanwhile, its nuclei may be others.
                if said and visitor.about(image)["call"] == about["call"]:
                    visitor.correct(image, visitor.about(image)["corrections"] | said)
        return JSONResponse({"n": sum(map(len, found)), "images": visitor.images()})

    async def train(self, request: Request):
        visitor = self._site.visitor(request)
        self._site.trainings.start(visitor)
        return JSONResponse(self._site.trainings.state(visitor), 202)

    async def training(self, request: Request):
        return JSONResponse(self._site.trainings.state(self._site.visitor(request)))

    async def stop_training(self, request: Request):
        visitor = self._site.visitor(request)
        await self._site.trainings.stop(visitor)
        return JSONResponse(self._site.trainings.state(visitor))

    async def model_zip(self, request: Request):
        visitor = self._site.visitor(request)
        trained = visitor.trained()
        if trained is None:
            raise Refusal(404, "no model was trained on your corrections, or it is no longer kept")
        asked = fine_tune.zipped, trained[0], trained[1]["name"]
        return await self._site.made(visitor, "application/zip", f"{trained[1]['name']}.zip", *asked)
