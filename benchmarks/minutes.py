"""Keep how long each notebook of the study ran, as the openings of the notebooks say it.

    make study && make study FRESH=1 && python -m benchmarks.minutes    # writes data/results/minutes.csv

Both runs leave their seconds under `build`: `make study` those of notebooks that find all that they train recorded,
`FRESH=1` those of notebooks that train it anew. Two notebooks run at a time, each training two folds at a time.
"""

import json

import pandas as pd

from cellcycle import files
from cellcycle.study.notebooks import MINUTES

RUNS = {"from_records_s": "notebooks", "anew_s": "fresh/notebooks"}


def main() -> None:
    """Put the seconds of both runs side by side."""
    seconds = {kind: files.build_dir() / run / "study" / "simulated" / "seconds.json" for kind, run in RUNS.items()}
    found = pd.DataFrame({kind: pd.Series(json.loads(file.read_text())) for kind, file in seconds.items()})
    with files.whole_file(files.repository() / MINUTES) as work:
        found.rename_axis("notebook").to_csv(work)


if __name__ == "__main__":
    main()
