"""Record the run time of each notebook of the study, for the openings of the notebooks.

    make study && make study FRESH=1 && python -m benchmarks.minutes    # writes data/results/minutes.csv

Both runs write their seconds under `build`: `make study` those of notebooks that find all trainings recorded, `FRESH=1`
those of notebooks that train anew. Two notebooks run at a time, and each trains two folds at a time.
"""

import json

import pandas as pd

from cellcycle import files
from cellcycle.study.notebooks import MINUTES

RUNS = {"from_records_s": "notebooks", "anew_s": "fresh/notebooks"}


def main() -> None:
    """Write the seconds of both runs as one table."""
    seconds = {kind: files.build_dir() / run / "study" / "simulated" / "seconds.json" for kind, run in RUNS.items()}
    found = pd.DataFrame({kind: pd.Series(json.loads(file.read_text())) for kind, file in seconds.items()})
    with files.whole_file(files.repository() / MINUTES) as work:
        found.rename_axis("notebook").to_csv(work)


if __name__ == "__main__":
    main()
