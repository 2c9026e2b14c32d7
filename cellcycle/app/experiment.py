"""The addresses of many images: what they lend each other, their plate map, a summary by condition, the report."""

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cellcycle.app import groups, worker
from cellcycle.app.asked import short_text
from cellcycle.app.site import Site, attached
from cellcycle.errors import ImageError


def experiment_routes(site: Site) -> list[Route]:
    """Return the routes of what is asked of all images of a visitor."""
    experiment = _Experiment(site)
    return [
        Route("/api/together", experiment.together, methods=["POST"]),
        Route("/api/map", experiment.take_map, methods=["POST"]),
        Route("/api/map", experiment.drop_map, methods=["DELETE"]),
        Route("/api/nuclei.csv", experiment.nuclei_csv, methods=["GET"]),
        Route("/api/summary.json", experiment.summary, methods=["GET"]),
        Route("/api/report.zip", experiment.report, methods=["GET"]),
    ]


class _Experiment:
    """The handlers; see the head of this file."""

    def __init__(self, site: Site):
        self._site = site

    async def together(self, request: Request):
        """Find what a visitor's images lend each other; say which of them are to be called again for that."""
        site, visitor = self._site, self._site.visitor(request)
        model, settings, how = site.asked(visitor, request.query_params)
        known = visitor.images()
        images = [visitor.image(about["id"]) for about in known]
        names, planes = [about["name"] for about in known], [image / "plane" for image in images]
        with site.work.admitted(visitor.key):
            for name, plane in zip(names, planes, strict=True):
                try:
                    await site.in_words(name, worker.find, plane, model, settings, is_gone=request.is_disconnected)
                except ImageError:
                    continue  # its own call says why
            lent, notes = await site.work.run(groups.together, planes, names, model, settings, how, visitor.plate_map())
        changed = []
        for image, about, one in zip(images, known, lent, strict=True):
            visitor.lend(image, one)
            if about.get("lent") != groups.digest_of(model, settings, one):
                changed.append(about["id"])
        return JSONResponse({"changed": changed, "notes": notes})

    async def take_map(self, request: Request):
        """Take a plate map of the images that are here, in place of the last."""
        site, visitor = self._site, self._site.visitor(request)
        names = [about["name"] for about in visitor.images()]
        with site.work.admitted(visitor.key), site.store.scratch() as folder:
            (folder / "map.csv").write_bytes(await request.body())
            notes = await site.work.run(groups.check_map, folder / "map.csv", names)
            visitor.keep_map(folder / "map.csv")
        return JSONResponse({"notes": notes})

    async def drop_map(self, request: Request):
        self._site.visitor(request).drop_map()
        return JSONResponse({})

    async def nuclei_csv(self, request: Request):
        """Give the rows of all images, as `cellcycle predict --output` writes them."""
        visitor = self._site.visitor(request)
        return await self._site.made(visitor, "text/csv", "nuclei.csv", groups.joined, visitor.tables())

    async def summary(self, request: Request):
        return JSONResponse(await self._of_table(request, groups.summary))

    async def report(self, request: Request):
        return attached(await self._of_table(request, groups.report), "application/zip", "report.zip")

    async def _of_table(self, request: Request, function):
        visitor, control = self._site.visitor(request), short_text(request.query_params, "control")
        with self._site.work.admitted(visitor.key), self._site.store.scratch() as folder:
            table = folder / "nuclei.csv"
            table.write_text(await self._site.work.run(groups.joined, visitor.tables()), "utf-8", newline="")
            return await self._site.work.run(function, table, control)
