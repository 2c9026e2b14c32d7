"""What all addresses share: models, workers, store, and one way of doing a prediction."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from cellcycle.app import groups, worker
from cellcycle.app.asked import settings_of
from cellcycle.app.fine_tune import OWN
from cellcycle.app.limits import Limits
from cellcycle.app.models import model_table
from cellcycle.app.store import Store, Visitor, new_id
from cellcycle.app.training import Trainings
from cellcycle.app.work import Work
from cellcycle.confine import LimitError
from cellcycle.errors import ImageError
from cellcycle.files import repository
from cellcycle.predict import Settings

COOKIE = "cellcycle_visitor"


class Site:
    """One running website: a folder for uploads and results, models of its owner, the first of them the default."""

    def __init__(self, folder: Path, limits: Limits, model_folders=()):
        self.limits, self.models = limits, model_table(model_folders)
        self.default = next(iter(self.models))
        self.store = Store(folder, limits)
        self.work = Work(limits, model_folders, self.store.folder / ".work")
        self.trainings = Trainings(limits, model_folders, self.store.folder / ".training")
        self.examples = _example_files()

    def visitor(self, request: Request) -> Visitor:
        """Return the visitor that a request comes from, or refuse it."""
        return self.store.visitor(request.cookies.get(COOKIE, ""))

    def asked(self, visitor: Visitor, given) -> tuple[str, Settings, str]:
        """Return what `settings_of` does; among the models is the one of this visitor's corrections, by its folder."""
        own = visitor.trained()
        model, settings, how = settings_of(given, self.models if own is None else {**self.models, OWN: ()})
        return str(own[0]) if own and model == OWN else model, settings, how

    async def in_words(self, name: str, function, *arguments, **options):
        """Do work on an image as `Work.run`; where it breaks a limit, that is said of the image by its owner's name."""
        try:
            return await self.work.run(function, *arguments, **options)
        except LimitError as error:
            raise ImageError(name, error.finding, "cut it into smaller fields, or export it again") from error

    async def made(self, visitor: Visitor, media_type: str, download: str, function, *arguments) -> Response:
        """Answer with what a function of a worker makes, as a file to save."""
        with self.work.admitted(visitor.key):
            return attached(await self.work.run(function, *arguments), media_type, download)

    async def look(self, visitor: Visitor, image: Path, name: str, model: str, settings) -> dict:
        """Call the nuclei of an image that was read, and keep the result."""
        call = f"call-{new_id()}"
        lent = visitor.lent(image)
        summary = await self.in_words(name, worker.call, image / "plane", model, settings, image / call, lent)
        way = groups.digest_of(model, settings, lent)
        return visitor.keep(image, {"name": name, "call": call, "lent": way} | summary)


def _example_files() -> dict[str, Path]:
    """Return the project's simulated examples; none in an installation without them."""
    folder = (repository() or Path("missing")) / "data" / "sample"
    found = {
        "field": folder / "fields" / "fields" / "field_001.tif",
        "nucleus": folder / "nuclei" / "M" / "M_0001.png",
    }
    return {name: file for name, file in found.items() if file.is_file()}


def attached(content: bytes, media_type: str, download: str = "") -> Response:
    """Answer with content that no cache keeps, to save under a name where one is given."""
    headers = {"Content-Disposition": f'attachment; filename="{download}"'} if download else {}
    return Response(content, media_type=media_type, headers=headers | {"Cache-Control": "no-store"})
