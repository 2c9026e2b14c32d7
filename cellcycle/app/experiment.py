"""The routes for all images of a visitor together: shared data, plate map, summary, report, corrections, training."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from cellcycle.app import fine_tune, groups, worker
from cellcycle.app.asked import short_text
from cellcycle.app.guard import Refusal
from cellcycle.app.site import Site, received
from cellcycle.app.store import NOTHING_KEPT, PLATE_MAP, Visitor


async def _together(site: Site, visitor: Visitor, request: Request):
    """Compute what a visitor's images share; answer with the ids of those that must be called again."""
    model, settings, how = site.asked(visitor, request.query_params)
    known = visitor.images()
    planes, names = [visitor.image(about["id"]) / "plane" for about in known], [about["name"] for about in known]
    with site.work.admitted(visitor.key):
        given = planes, names, model, settings, how, visitor.other(PLATE_MAP)
        ways, notes = await site.together(*given, is_gone=request.is_disconnected)
    changed = [about["id"] for about, way in zip(known, ways, strict=True) if about.get("way") != way]
    return JSONResponse({"changed": changed, "notes": notes})


async def _take_map(site: Site, visitor: Visitor, request: Request):
    """Store a plate map of the visitor's images, in place of the last one."""
    site.work.refuse_excess(visitor.key)
    with site.store.scratch() as folder:
        (folder / "map").mkdir()
        file = folder / "map" / PLATE_MAP
        await received(request.stream(), file)
        if not (names := [about["name"] for about in visitor.images()]):
            raise Refusal(409, "a plate map needs its images; give the images first")
        with site.work.admitted(visitor.key):
            _, notes = await site.work.run(groups.lay_out, names, file)
        visitor.take(file)
    return JSONResponse({"notes": notes})


async def _drop_map(site: Site, visitor: Visitor, request: Request):
    visitor.drop(PLATE_MAP)
    return JSONResponse({})


async def _summary(site: Site, visitor: Visitor, request: Request):
    control = short_text(request.query_params, "control")
    with site.work.admitted(visitor.key):
        return JSONResponse(await site.work.run(groups.summary, _some(Visitor.tables, visitor), control))


def _some(of_all, visitor: Visitor) -> list:
    """Return `of_all(visitor)`, or refuse if it is empty: an empty file would look as if all were well."""
    if found := of_all(visitor):
        return found
    raise Refusal(404, "you have not labelled any nucleus yet" if visitor.images() else NOTHING_KEPT)


def _made(download: str, function, of_all, *asked: str):
    """Return a handler: its file is `function(of_all(visitor), *values)`, the values of the query's fields `asked`."""

    async def answer(site: Site, visitor: Visitor, request: Request):
        texts = [short_text(request.query_params, name) for name in asked]
        return await site.made(visitor, download, function, _some(of_all, visitor), *texts)

    return answer


async def _corrections_again(site: Site, visitor: Visitor, request: Request):
    """Read a table of corrections of the visitor's images; its labels replace earlier ones."""
    site.work.refuse_excess(visitor.key)
    with site.store.scratch() as folder:
        await received(request.stream(), folder / "corrections.csv")
        images = [(visitor.image(about["id"]), about) for about in visitor.images()]
        given = [(image / "plane", image / about["call"]) for image, about in images]
        with site.work.admitted(visitor.key):
            found = await site.work.run(fine_tune.said_again, folder / "corrections.csv", given)
        for (image, about), said in zip(images, found, strict=True):
            # If the image was called again meanwhile, its nuclei may differ.
            if said and visitor.about(image)["call"] == about["call"]:
                visitor.correct(image, said)
    return JSONResponse({"n": sum(map(len, found)), "images": visitor.images()})


async def _training(site: Site, visitor: Visitor, request: Request):
    """Start or stop a training, and answer with its state."""
    if request.method == "POST":
        site.trainings.start(visitor)
    elif request.method == "DELETE":
        await site.trainings.stop(visitor)
    return JSONResponse(site.trainings.state(visitor), 202 if request.method == "POST" else 200)


async def _model_zip(site: Site, visitor: Visitor, request: Request):
    if (trained := visitor.trained()) is None:
        raise Refusal(404, "no model was trained on your corrections, or it is no longer kept")
    files, name = sorted(trained[0].iterdir()), trained[1]["name"]
    return await site.made(visitor, f"{name}.zip", worker.zipped, files, f"{name}/")


HANDLERS = {
    ("POST", "/api/together"): _together,
    ("POST", "/api/map"): _take_map,
    ("DELETE", "/api/map"): _drop_map,
    ("GET", "/api/nuclei.csv"): _made("nuclei.csv", groups.table, Visitor.tables),
    ("GET", "/api/summary.json"): _summary,
    ("GET", "/api/report.zip"): _made("report.zip", groups.report, Visitor.tables, "control"),
    ("GET", "/api/corrections.csv"): _made("corrections.csv", fine_tune.labels_csv, Visitor.corrected),
    ("POST", "/api/corrections"): _corrections_again,
    ("POST", "/api/training"): _training,
    ("GET", "/api/training"): _training,
    ("DELETE", "/api/training"): _training,
    ("GET", "/api/model.zip"): _model_zip,
}
