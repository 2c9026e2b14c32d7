"""What a release rests on: one version, workflows that run what exists, an environment in the ranges of the package."""

import re
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement

from cellcycle import __version__, files

ROOT = files.repository()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
WORKFLOWS = {f.name: yaml.safe_load(f.read_text("utf-8")) for f in (ROOT / ".github" / "workflows").glob("*.yml")}


def steps_of(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_the_version_is_the_same_wherever_it_is_told():
    assert PROJECT["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "cellcycle.__version__"}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    latest = re.search(r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M)
    assert latest[1] == __version__
    assert latest[2] == "not released yet" or re.fullmatch(r"20\d\d-\d\d-\d\d", latest[2])


def test_the_checks_run_on_every_python_that_the_package_names():
    named = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", c)]
    assert PROJECT["requires-python"] == f">={named[0]}"
    (job,) = WORKFLOWS["test.yml"]["jobs"].values()
    assert job["strategy"]["matrix"] == {"python": named}
    assert any(step.get("run", "").startswith("make test PYTHON=python") for step in job["steps"])
    # YAML reads the word `on` as true.
    assert {"push", "pull_request"} <= set(WORKFLOWS["test.yml"][True])


def test_the_book_is_published_from_where_it_is_made():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    made = re.search(r"^book:.*\n\t\$\(BIN\)/python -m sphinx .* \. (\S+)$", makefile, flags=re.M)[1]
    used = {
        step["uses"].partition("@")[0]: step.get("with", {})
        for step in steps_of(WORKFLOWS["book.yml"])
        if "uses" in step
    }
    assert used["actions/upload-pages-artifact"]["path"] == made
    assert "actions/deploy-pages" in used
    assert WORKFLOWS["book.yml"]["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_runs_targets_that_exist_with_as_few_rights_as_it_needs(name):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    for step in steps_of(WORKFLOWS[name]):
        assert ("run" in step) != ("uses" in step)
        assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/x@v1"))
        assert re.match(r"make (\w+)", step.get("run", "make help"))[1] in targets
    assert WORKFLOWS[name]["permissions"]["contents"] == "read"
    assert all(job["timeout-minutes"] <= 60 for job in WORKFLOWS[name]["jobs"].values())


def test_the_conda_environment_names_what_course_book_and_page_use_in_the_ranges_of_the_package():
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *(r for extra in ("train", "study", "book", "app") for r in extras[extra])]
    wanted = {re.sub("^torch(?=>)", "pytorch", r.partition(";")[0]) for r in wanted if not r.startswith("cellcycle[")}
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *named, pip = environment["dependencies"]
    (captum,) = (r for r in wanted if r.startswith("captum"))
    assert sorted(named) == sorted({f"python{PROJECT['requires-python']}", "pip", *wanted} - {captum})
    assert pip == {"pip": [captum, "--editable ."]}
    assert environment["channels"] == ["conda-forge"]


def test_pip_adds_captum_alone_to_the_conda_environment_and_the_pinned_versions_fit_it():
    *named, _ = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    ranges = {r.name: r for r in (Requirement(re.sub("^pytorch(?=>)", "torch", line)) for line in named)}
    pinned = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.M))
    pinned = {name.replace("_", "-").lower(): version for name, version in pinned.items()}
    assert all(r.specifier.contains(pinned[name]) for name, r in ranges.items() if name not in ("python", "pip"))
    brought = {r.name for name in ("matplotlib", "torch") for r in needed_by(name)} | set(ranges)
    assert {r.name for r in needed_by("captum")} <= brought
    assert all(r.specifier.contains(pinned[r.name]) for r in needed_by("captum"))


def needed_by(name):
    found = map(Requirement, metadata.requires(name) or [])
    return [r for r in found if r.marker is None or r.marker.evaluate({"extra": ""})]


def test_every_extra_is_explained_where_installing_is():
    table = re.findall(r"^\| (`.+?) \|", (ROOT / "docs" / "install.md").read_text(encoding="utf-8"), flags=re.M)
    named = [name for row in table for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(PROJECT["optional-dependencies"])
