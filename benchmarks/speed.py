"""Measure time and memory of prediction, optionally beside the study's own package.

Run: python -m benchmarks.speed [--with-rival] [--repeats 5] [--without-slide]

Measured in one run: CPU time of `cellcycle --help`; wall time of one image in a fresh process; 1,000 cropped
nuclei in one call; peak memory of a field of 10,000 x 10,000 pixels of 16 bits; and, if $CELLCYCLE_REAL_DATA names
real cells, a field of RPE-1 cells, beside a plain script and in two processes. `--with-rival` installs cnncc 1.1.4
(71 MB) into its own venv under build/, which uses torch of this environment, and prints ratios of its times to ours.
Minima of several repeats vary least on a busy machine.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.segmentation_fields import plain
from cellcycle import files
from cellcycle.images import read_plane, write_image
from cellcycle.simulation import simulate_field, simulate_nuclei

FOLDER = files.build_dir() / "bench"
RIVAL = "cnncc==1.1.4"
COMMAND = str(Path(sys.executable).parent / "cellcycle")
N_CROPS, N_FIELDS = 1000, 8
SLIDE_PX = 10_000


def run(command, repeats: int = 1, **environment) -> dict[str, float]:
    """Run a command several times; return the minimum wall and CPU seconds, and its peak memory in GB."""
    walls, cpus, memory = [], [], 0
    for _ in range(repeats):
        started = time.perf_counter()
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, env=os.environ | environment, **pipes)
        told = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        walls.append(time.perf_counter() - started)
        cpus.append(usage.ru_utime + usage.ru_stime)
        memory = max(memory, usage.ru_maxrss * 1024 / 1e9)
        if process.returncode:
            sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}\n{told.decode()[-500:]}")
    return {"wall_s": min(walls), "cpu_s": min(cpus), "peak_gb": memory}


def shown(what: str, measured: dict[str, float]) -> None:
    """Print one line of measurements."""
    print(f"{what:<44}" + ", ".join(f"{name} {value:.2f}" for name, value in measured.items()), flush=True)


def crops() -> Path:
    """Write 1,000 cropped nuclei once."""
    folder = FOLDER / "crops"
    if not (folder / f"{N_CROPS - 1:04d}.png").exists():
        folder.mkdir(exist_ok=True)
        nuclei = simulate_nuclei({"G1": 25, "S": 25, "G2": 25, "M": 25}, 100, seed=5)
        for i in range(N_CROPS):
            # A hundred different nuclei are enough for timing, because each file is read anew.
            counts = np.round(nuclei.images[i % 100, 0] * 65535).astype(np.uint16)
            write_image(folder / f"{i:04d}.png", np.roll(counts, i // 100, axis=1))
    return folder


def slide() -> Path:
    """Write a field of 10,000 x 10,000 pixels once: simulated fields side by side."""
    file = FOLDER / "slide.tif"
    if not file.exists():
        tile = simulate_field((1000, 1000), 60, seed=3).image * 16
        write_image(file, np.tile(tile, (SLIDE_PX // 1000,) * 2), 0.325)
    return file


def colour_picture() -> Path:
    """Write one blue RGB picture of 300 x 300 px, which the study's package reads too."""
    file = FOLDER / "nucleus.png"
    if not file.exists():
        nucleus = simulate_nuclei({"G2": 1}, 300, seed=2).images[0, 0]
        picture = np.zeros((300, 300, 3), np.uint8)
        picture[..., 2] = np.round(255 * nucleus / nucleus.max())
        write_image(file, picture)
    return file


def real_fields(file: Path) -> None:
    """Print the time per additional field relative to a plain script on the field, and the gain of two processes."""
    walls, cpus = {}, {}
    for n_fields, n_jobs in ((1, 1), (N_FIELDS, 1), (N_FIELDS, 2)):
        with TemporaryDirectory() as folder:
            for k in range(n_fields):
                shutil.copy(file, Path(folder, f"{k}.tif"))
            took = run([COMMAND, "predict", folder, "--format", "csv", "--jobs", str(n_jobs)])
        walls[n_fields, n_jobs], cpus[n_fields, n_jobs] = took["wall_s"], took["cpu_s"]
    own_s = (cpus[N_FIELDS, 1] - cpus[1, 1]) / (N_FIELDS - 1)
    plain_s = []
    for _ in range(N_FIELDS):
        started = time.process_time()
        plain(read_plane(file).pixels)
        plain_s.append(time.process_time() - started)
    print(f"a field of RPE-1 cells: {own_s:.2f} s of one core, {own_s / min(plain_s):.1f} times a plain script")
    print(f"{N_FIELDS} of them on two processes: {walls[N_FIELDS, 1] / walls[N_FIELDS, 2]:.2f} times as fast as on one")


def rival_command() -> str:
    """Install the study's package into its own venv, and return its command."""
    folder = files.build_dir() / "rival"
    if not (folder / "bin" / "cnncc").exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", "--no-deps", RIVAL], check=True)
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(folder / "bin" / "cnncc")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with-rival", action="store_true", help="install and time the study's package too")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--without-slide", action="store_true", help="leave the large field out")
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    shown("cellcycle --help", run([COMMAND, "--help"], arguments.repeats))
    one = run([COMMAND, "predict", colour_picture()], arguments.repeats)
    shown("one image, cold: cellcycle predict", one)
    many = run([COMMAND, "predict", crops(), "--nucleus", "--format", "csv"])
    shown(f"{N_CROPS} cropped nuclei in one call", many)
    if arguments.with_rival:
        forced = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
        rival = run([rival_command(), "--image", colour_picture()], arguments.repeats, **forced)
        shown("one image, cold: cnncc 1.1.4", rival)
        print(f"one image, cold: {rival['wall_s'] / one['wall_s']:.1f} times less wall time than cnncc")
        ratio = N_CROPS * rival["wall_s"] / many["wall_s"]
        print(f"{N_CROPS} nuclei: {ratio:.0f} times less than {N_CROPS} calls of cnncc")
    if real := os.environ.get("CELLCYCLE_REAL_DATA"):
        real_fields(Path(real, "rpe1", "SCR_f1_DAPI.tif"))
    if not arguments.without_slide:
        shown("field of 10,000 x 10,000 px, 16 bits", run([COMMAND, "predict", slide(), "--format", "csv"]))


if __name__ == "__main__":
    main()
