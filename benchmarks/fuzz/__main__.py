"""Run the fuzzing: crafted files, then mutants by number; print findings and a table, and write a record if asked."""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from benchmarks.fuzz.crafted import crafted, lay_traps
from benchmarks.fuzz.mutate import mutant
from benchmarks.fuzz.seeds import seeds
from benchmarks.fuzz.verdict import MEGABYTES, SECONDS, Judge
from cellcycle.files import build_dir

PACKAGES = ("numpy", "tifffile", "imagecodecs", "pillow")
RECORD = Path("data/results/fuzz.json")


def files(folder: Path, seed: int, numbers, is_crafted: bool = True) -> Iterator[tuple[str, str, str, str, bytes]]:
    """Yield (name, kind, how it was made, suffix, bytes) of every seed, crafted file and mutant."""
    if is_crafted:
        for kind, (suffix, data) in seeds().items():
            yield kind, kind, "as it was made", suffix, data
        for name, suffix, data in crafted(folder):
            yield name, "crafted", "by hand", suffix, data
    for number in numbers:
        kind, how, suffix, data = mutant(seed, number)
        yield str(number), kind, how, suffix, data


def judged(made, folder: Path, progress=None) -> Iterator[dict]:
    """Yield one row per file with its kind and verdict; files are removed again."""
    with Judge() as judge:
        for i, (name, kind, how, suffix, data) in enumerate(made):
            path = folder / f"f{i}{suffix}"
            path.write_bytes(data)
            verdict = judge(path)
            path.unlink()
            row = {"file": name, "kind": kind, "how": how} | vars(verdict)
            if progress:
                progress(i, row)
            yield row


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return outcomes, worst seconds and worst megabytes by kind."""
    outcomes = pd.crosstab(rows["kind"], rows["outcome"]).reindex(columns=["read", "refused", "finding"], fill_value=0)
    worst = rows.groupby("kind")[["seconds", "megabytes"]].max()
    whole = outcomes.join(worst.rename(columns={"seconds": "worst_s", "megabytes": "worst_mb"}))
    whole.loc["all"] = [*outcomes.sum(), *worst.max()]
    return whole.astype(dict.fromkeys(outcomes.columns, int)).round({"worst_s": 2, "worst_mb": 1})


def record(rows: pd.DataFrame, seed: int, n_mutants: int) -> dict:
    """Return the record of a run, for `RECORD`."""
    kinds = table(rows).to_dict("index")
    return {
        "seed": seed,
        "n_mutants": n_mutants,
        "n_kinds": len(seeds()),
        "n_crafted": int((rows["kind"] == "crafted").sum()),
        "limits": {"seconds": SECONDS, "megabytes": MEGABYTES},
        "all": kinds.pop("all"),
        "kinds": kinds,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    }


def main() -> int:
    """Run the command line; return 1 if there is a finding, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz")
    parser.add_argument("--number", type=int, default=10_000, help="mutants to read")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="make one file again, keep it under build/fuzz and read it")
    parser.add_argument("--record", action="store_true", help=f"write {RECORD}")
    options = parser.parse_args()
    started = time.monotonic()

    def said(i, row):
        if row["outcome"] == "finding":
            print(f"{row['file']}, {row['kind']}, {row['how']}: {row['told']} [{row['seconds']:.1f} s]", flush=True)
        elif i % 1000 == 999:
            print(f"  {i + 1} files in {time.monotonic() - started:.0f} s", flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        folder = lay_traps(Path(temporary).resolve())
        if options.only:
            return again(options.only, options.seed, folder)
        numbers = range(options.first, options.first + options.number)
        rows = pd.DataFrame(judged(files(folder, options.seed, numbers), folder, said))
    print(table(rows).to_string())
    for worst in ("seconds", "megabytes"):
        print(f"\nMost {worst}:\n{rows.nlargest(5, worst)[['file', 'kind', 'how', worst]].to_string(index=False)}")
    if options.record:
        RECORD.write_text(json.dumps(record(rows, options.seed, options.number), indent=1) + "\n")
    return int((rows["outcome"] == "finding").any())


def again(name: str, seed: int, folder: Path) -> int:
    """Make one file again, keep it under `build/fuzz`, and print the verdict; return 1 if it is a finding."""
    numbers = [int(name)] if name.isdecimal() else []
    made = [f for f in files(folder, seed, numbers, is_crafted=not numbers) if f[0] == name]
    if not made:
        sys.exit(f"{name}: there is no such file; give a number, a kind or the name of a crafted file")
    kept = build_dir() / "fuzz" / f"{name.replace(' ', '_')}{made[0][3]}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(made[0][4])
    row = next(judged(made, folder))
    print(f"{kept}\n" + "\n".join(f"  {key}: {value}" for key, value in row.items()))
    return int(row["outcome"] == "finding")


if __name__ == "__main__":
    sys.exit(main())
