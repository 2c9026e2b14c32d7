"""What the buttons of the page do: each takes and gives values of Gradio's components."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import pandas as pd

from cellcycle.app import review, words
from cellcycle.app.occlusion import occlusion_map
from cellcycle.app.pictures import nucleus_picture, occlusion_picture, overlay_picture, overlay_scale
from cellcycle.app.service import Service, Upload
from cellcycle.app.store import Result, Store, pack
from cellcycle.errors import CellCycleError, SettingError
from cellcycle.phases import class_colours
from cellcycle.predict import ImagePrediction, Settings
from cellcycle.predict.report import model_taken

# Beside the classes of a model, what a person can say of a nucleus.
NONE, NO_NUCLEUS = "No correction", "Not a nucleus"
# The last bar of the histogram holds what is beyond.
_MOST_DNA = 10.0
_IN_N, _IN_MEDIANS = "DNA content in N (G1 has 2 N, G2 and M have 4 N)", "DNA content (1: median nucleus)"


class Handlers:
    """The events of one page.

    Parameters
    ----------
    service : Service
    store : Store
    """

    def __init__(self, service: Service, store: Store):
        self.service, self.store = service, store

    def upload(self, files, model, kind, pixel_size_um, channel, plane, slide, key, progress=gr.Progress()):  # noqa: B008
        """Predict uploaded files and delete them; files are (path, name)."""
        uploads = [Upload(Path(path), name) for path, name in files]
        found, problems = [], []
        try:
            self.service.limits.check_count(len(uploads))
            settings = _settings(kind, pixel_size_um, channel, plane)
            for prediction in self._predicted(uploads, model, settings, slide, progress):
                found.append(pack(prediction))
                if _megapixels(found) > self.service.limits.request_megapixels and len(found) < len(uploads):
                    n_left = len(uploads) - len(found)
                    problems.append(f"{n_left} images were left out; give so many pixels in smaller parts")
                    break
        except CellCycleError as error:
            # Told on the page, not as a notice, so that the box of files empties itself in any case.
            problems.append(str(error))
        finally:
            for upload in uploads:
                upload.path.unlink(missing_ok=True)
        problems += [str(image.error) for image in found if image.error is not None]
        return None, *self._keep(found, problems, key)

    def example(self, file, model, kind, pixel_size_um, channel, plane, slide, key):
        """Predict one of the project's own images."""
        with as_notice():
            settings = _settings(kind, pixel_size_um, channel, plane)
            found = self.service.predict_all([Upload(file, file.name)], model, settings, slide)
            return self._keep([pack(prediction) for prediction in found], [], key)

    def again(self, model, kind, pixel_size_um, channel, plane, slide, key, progress=gr.Progress()):  # noqa: B008
        """Predict the images that are on the page with another model or other settings."""
        with as_notice():
            settings = _settings(kind, pixel_size_um, channel, plane)
            planes = [image.error or image.plane for image in self.store.get(key).images]
            found = [pack(image) for image in self._predicted(planes, model, settings, slide, progress)]
            problems = [str(image.error) for image in found if image.error is not None]
            if settings.channel is not None or settings.plane is not None:
                problems.append("channel and plane: chosen when a file is read; drop the files again to use them")
            return self._keep(found, problems, key)

    def _predicted(self, images: list, model: str, settings: Settings, is_slide: bool, progress):
        progress(0, "Fitting the G1 peak of the slide" if is_slide else None)
        for number, prediction in enumerate(self.service.predict_all(images, model, settings, is_slide), start=1):
            progress(number / len(images), f"{prediction.image} ({number} of {len(images)})")
            yield prediction

    def _keep(self, found: list[ImagePrediction], problems: list[str], old_key):
        """Keep predictions; return key, row, message, results, list, next, choice of image, filter, downloads."""
        self.store.drop(old_key)
        if not any(image.plane is not None for image in found):
            return None, None, words.message([], problems), gr.Column(visible=False), *[gr.skip()] * 4, ""
        result = Result(tuple(found))
        key = self.store.put(result)
        order = review.review_order(result.table)
        row = int(order[0]) if len(order) else None
        names = [(image.image, number) for number, image in enumerate(found) if image.plane is not None]
        first = names[0][1] if row is None else result.image_of(row)
        return (
            key,
            row,
            words.message(_told(result), problems, result.classes),
            gr.Column(visible=True),
            # One nucleus needs no list, and has no next.
            gr.Column(visible=len(order) > 1),
            gr.Button(visible=len(order) > 1),
            gr.Dropdown(choices=names, value=first, visible=len(names) > 1),
            gr.Dropdown(choices=[review.ALL, review.DOUBTFUL, review.CORRECTED, *result.classes], value=review.ALL),
            words.downloads(key, first, 0),
        )

    def table(self, key, wanted, order):
        """List the nuclei."""
        with as_notice():
            return review.shown_table(self.store.get(key), wanted, order) if key else None

    def look(self, key, row, index, brightness):
        """Show an image and one of its nuclei: overlay, counts, histogram, nucleus, correction, occlusion map."""
        if not key:
            return [gr.skip()] * 6
        with as_notice():
            result = self.store.get(key)
            index = index if row is None else result.image_of(row)
            image = result.unpacked(index)
            nucleus = None if row is None else result.table.loc[row]
            picture = overlay_picture(image, result.classes, brightness, nucleus)
            counted, where = (
                (image.table, image.image) if image.nuclei.kind == "field" else (result.table, "all images")
            )
            n_doubtful = sum(bool(reason) for reason in review.reasons(counted[counted["nucleus_id"].notna()]))
            card = "" if row is None else self._nucleus_card(result, row, brightness)
            said = result.corrections.get(row)
            chosen = NONE if said is None else said or NO_NUCLEUS
            return (
                gr.Image(picture, alt_text=f"{image.image}, nuclei outlined in the colours of their phases"),
                words.phase_counts(counted, result.classes, n_doubtful, where),
                _histogram(counted, result.classes),
                card,
                gr.Radio([*result.classes, NO_NUCLEUS, NONE], value=chosen, visible=row is not None),
                gr.Button(visible=row is not None and bool(nucleus["call"])),
            )

    def choose_row(self, key, event: gr.SelectData):
        """Take the nucleus of a clicked row of the table."""
        with as_notice():
            result = self.store.get(key)
            row = review.row_of_line(result, event.row_value[0])
            return row, result.image_of(row)

    def choose_point(self, key, row, index, event: gr.SelectData):
        """Take the nucleus at a clicked point of the overlay; beside nuclei nothing changes."""
        with as_notice():
            result = self.store.get(key)
            labels = result.images[index].nuclei.labels
            x, y = (int(position / overlay_scale(labels.shape)) for position in event.index)
            inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
            found = result.row_of(index, int(labels[y, x])) if inside and labels[y, x] else None
            return row if found is None else found

    def choose_image(self, key, index):
        """Take the first nucleus to look at in another image."""
        with as_notice():
            result = self.store.get(key)
            return next((row for row in review.listed_rows(result) if result.image_of(row) == index), None)

    def next_row(self, key, row, wanted, order):
        """Take the nucleus that follows in the order of the table."""
        with as_notice():
            result = self.store.get(key)
            rows = review.listed_rows(result, wanted, order)
            if not rows:
                return row, gr.skip()
            following = rows[(rows.index(row) + 1) % len(rows)] if row in rows else rows[0]
            return following, result.image_of(following)

    def correct(self, key, row, index, said, wanted, order):
        """Keep what a person says about a nucleus."""
        with as_notice():
            result = self.store.get(key)
            if said == NONE:
                result.corrections.pop(row, None)
            else:
                result.corrections[row] = "" if said == NO_NUCLEUS else said
            return review.shown_table(result, wanted, order), words.downloads(key, index, len(result.corrections))

    def explain(self, key, row, brightness):
        """Show what the call of a nucleus rests on."""
        with as_notice():
            result = self.store.get(key)
            index = result.image_of(row)
            picture, fall = occlusion_map(result.unpacked(index), row - result.first_rows[index])
            seen = {"Yellow: the call rests on this": occlusion_picture(picture, fall)}
            return self._nucleus_card(result, row, brightness, seen)

    def _nucleus_card(self, result: Result, row: int, brightness: float, more: dict | None = None) -> str:
        image, nucleus = result.unpacked(result.image_of(row)), result.table.loc[row]
        pictures = {"As the microscope saw it": nucleus_picture(image, nucleus, brightness)} | (more or {})
        return words.nucleus_card(nucleus, result.classes, pictures, review.reasons(result.table.loc[[row]])[0])


@contextmanager
def as_notice() -> Iterator[None]:
    """Show an error that the visitor can put right as a notice, without a traceback in the server's log."""
    try:
        yield
    except CellCycleError as error:
        raise gr.Error(str(error), print_exception=False) from error


def _settings(kind: str, pixel_size_um: str, channel: str, plane: str) -> Settings:
    # Boxes of text, not of numbers: those of Gradio turn "nothing" into 0 when they are first shown.
    size, index = _number("pixel size", pixel_size_um, float), _number("plane", plane, int)
    return Settings(kind, (channel or "").strip() or None, index, size)


def _number(name: str, text: str | None, kind: type):
    """Return the number in a box, with a comma or a dot; None for an empty one."""
    text = (text or "").strip().replace(",", ".")
    try:
        return kind(text) if text else None
    except ValueError:
        raise SettingError(name, f"{text!r} is no such number", "give a number, or leave the box empty") from None


def _megapixels(images: list[ImagePrediction]) -> float:
    return sum(image.plane.pixels.size for image in images if image.plane is not None) / 1e6


def _told(result: Result) -> list[str]:
    """Say in a sentence what was found, and once what is to be known about the models that were used."""
    table = result.table[result.table["nucleus_id"].notna()]
    names = [image.image for image in result.images if image.plane is not None]
    where = names[0] if len(names) == 1 else f"{len(names)} images"
    counts = ", ".join(f"{name} {(table['call'] == name).sum()}" for name in result.classes)
    if table.empty:
        lines = [f"{where}: no nucleus found."]
    elif len(table) == 1:
        call = table["call"].iloc[0]
        lines = [f"{where}: {call} ({100 * table[f'p_{call}'].iloc[0]:.0f} %)." if call else f"{where}: no call."]
    else:
        lines = [f"{where}: {len(table)} nuclei. {counts}."]
    is_guessed = table["flags"].str.contains("scale_unknown")
    if is_guessed.any():
        n_guessed = table["image"][is_guessed].nunique()
        which = "the image" if len(names) == 1 else f"{n_guessed} of {len(names)} images"
        lines.append(
            f"The size of a pixel is not stated in {which}, so it was guessed from the nuclei and the calls are less "
            "sure. If you know it, give it under Settings and press Predict again."
        )
    models = table[["model", "model_reason"]].drop_duplicates().itertuples(index=False)
    if taken := [model_taken(*model) for model in models]:
        lines.append(f"Model: {', '.join(taken)}.")
    used = {image.checkpoint.warning: None for image in result.images if image.checkpoint is not None}
    return lines + [f"Note: {warning}." for warning in used if warning]


def _histogram(table: pd.DataFrame, classes: tuple[str, ...]):
    """Return the histogram of DNA content by phase; hidden for fewer than two nuclei.

    The unit is N (a G1 nucleus has 2 N) where the G1 peak is known, otherwise the median nucleus of the image.
    """
    known = table[table["dna_copies"].notna()]
    if len(known):
        content, unit = known["dna_copies"], _IN_N
    else:
        known = table[table["integrated_dna"].notna()]
        content, unit = known["integrated_dna"] / known["integrated_dna"].median(), _IN_MEDIANS
    bars = pd.DataFrame({"DNA": content.clip(upper=_MOST_DNA), "phase": known["call"].replace("", "no call")})
    bars["nuclei"] = 1
    # Without a G1 peak the intensities of several images do not compare.
    is_comparable = unit == _IN_N or (table["image"] == table["image"].iloc[0]).all()
    colours = class_colours(classes) | {"no call": "#999999"}
    return gr.BarPlot(bars, color_map=colours, label=unit, visible=len(known) > 1 and bool(is_comparable))
