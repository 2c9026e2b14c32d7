"""What a child process of the website is given to do in place of its work.

A child imports the module of what it is given: this one imports nothing that takes long.
"""

import errno
import json
import os
import shutil
import sys
import time
from types import SimpleNamespace

from cellcycle.errors import DataError


def ready(*_):
    pass


def sleep(*_):
    time.sleep(60)


def fill(*_):
    return len(bytearray(4 << 30))


def crash(*_):
    os._exit(7)


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def refuse(*_):
    raise DataError("your corrections", "too few", "label more")


# A training; names of files are those of `cellcycle.app.fine_tune`.
def train_for_ever(images, most, epochs, work):
    (work / "progress.json").write_text(json.dumps([3, 10]))
    time.sleep(60)


def make_model(images, most, epochs, work):
    made = work / "made"
    (made / "model").mkdir(parents=True)
    (made / "model" / "model.json").write_text("{}")
    (made / "trained.json").write_text(json.dumps({"name": "模型 1", "n": sum(len(said) for *_, said in images)}))


def fine_tune_when_told(images, most, epochs, work):
    """Do all that a training does but to learn, which takes torch: the model is the shipped `nn`, whatever was said."""
    from cellcycle.app import fine_tune
    from cellcycle.checkpoint import load_checkpoint, write_card

    def learned(dataset, folder, **_):
        shutil.copytree(load_checkpoint("nn").folder, folder)
        told = {"from": "lr", "before": 0.5, "after": 0.6, "gain": [-0.1, 0.3]}
        write_card(folder, load_checkpoint("nn").card | {"name": folder.name, "training": told})
        return load_checkpoint(folder)

    sys.modules["cellcycle.train"] = SimpleNamespace(train=learned)
    while not (work / "go").exists():
        time.sleep(0.02)
    fine_tune.fine_tune(images, most, epochs, work)


def call_when_told(plane, *arguments):
    from cellcycle.app import worker

    (plane / "begun").touch()
    while not (plane / "go").exists():
        time.sleep(0.02)
    return worker.call(plane, *arguments)


def _wait_beside(file):
    file.with_name("begun").touch()
    while not file.with_name("go").exists():
        time.sleep(0.02)
    file.with_name("begun").unlink()
    file.with_name("go").unlink()


def said_when_told(table, images):
    _wait_beside(table)
    return [{"1": "M"} for _ in images]


def laid_out_when_told(names, file):
    _wait_beside(file)
    return [], []
