"""Put the website under load on this computer, count lost or mixed-up answers, and record times.

    python benchmarks/page.py            # prints the record
    python benchmarks/page.py --record   # and keeps it as data/results/page.json, and in docs/security.md

Everything stays on the loopback address and is bounded: fifty visitors at once, a hundred half-open connections, one
burst of wrong passwords.
"""

import argparse
import io
import json
import os
import platform
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pandas as pd
import psutil

from cellcycle import files
from cellcycle.predict import predict
from cellcycle.study import blocks

ROOT = Path(__file__).parent.parent
NUCLEI = sorted((ROOT / "data" / "sample" / "nuclei").rglob("*.png"))
N_VISITORS, N_HALF_OPEN, N_GUESSES = 50, 100, 200
RECORD, DOCUMENT = ROOT / "data" / "results" / "page.json", ROOT / "docs" / "security.md"


@contextmanager
def website(password: str | None = None):
    """Serve on a free port with the default limits; yield address, process, and when it announced itself and answered.

    Both are in seconds after its start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | ({"CELLCYCLE_APP_PASSWORD": password} if password else {})
    with TemporaryDirectory() as storage:
        started = time.perf_counter()
        command = [sys.executable, "-m", "cellcycle", "app", "--port", str(port)]
        given = {"env": environment | {"TMPDIR": storage}, "stdout": subprocess.PIPE, "text": True}
        server = subprocess.Popen(command, **given)
        try:
            address = f"http://127.0.0.1:{port}"
            assert address in server.stdout.readline()
            said_s = time.perf_counter() - started
            while True:
                try:
                    httpx.get(f"{address}/health").raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.02)
            yield address, psutil.Process(server.pid), said_s, time.perf_counter() - started
        finally:
            server.terminate()
            server.wait(20)


def visit(address: str, path: Path) -> str:
    """Act as a visitor: upload one image and return the table."""
    with httpx.Client(base_url=address, timeout=300) as client:
        client.post("/api/visit").raise_for_status()
        given = {"params": {"name": path.name}, "content": path.read_bytes()}
        while (answer := client.post("/api/images", **given)).status_code == 503:
            time.sleep(float(answer.headers.get("Retry-After", 1)) / 10)
        answer.raise_for_status()
        return client.get("/api/nuclei.csv").text


def ask(address: str, path: Path) -> str:
    """Act as a program: request and return the rows of one image."""
    answer = httpx.post(f"{address}/predict", files={"images": (path.name, path.read_bytes())}, timeout=300)
    return pd.DataFrame(answer.json()).to_csv(index=False)


def crowd(function, address: str, paths: list[Path], expected: dict) -> dict:
    """Run `function` for all paths at once; count answers that are missing or of another image."""
    started = time.perf_counter()
    with ThreadPoolExecutor(len(paths)) as pool:
        futures = [pool.submit(function, address, path) for path in paths]
    lost = mixed = 0
    for path, future in zip(paths, futures, strict=True):
        if future.exception() is not None:
            lost += 1
            continue
        row = pd.read_csv(io.StringIO(future.result())).iloc[0]
        mixed += not (row["image"] == path.name and abs(row["p_G1"] - expected[path]) < 1e-3)
    return {"asked": len(paths), "lost": lost, "mixed_up": mixed, "seconds": round(time.perf_counter() - started, 1)}


def half_open(address: str) -> dict:
    """Open connections that send half a head; return how many stay open, and how fast other requests are served."""
    port = int(address.rsplit(":", 1)[1])
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(N_HALF_OPEN)]
    for each in sockets:
        each.sendall(b"GET / HTTP/1.1\r\nHost: 127")
    started = time.perf_counter()
    httpx.get(f"{address}/health").raise_for_status()
    answered_s = time.perf_counter() - started
    time.sleep(15)
    n_open = 0
    for each in sockets:
        each.settimeout(0.05)
        try:
            n_open += each.recv(1000) != b"" and each.recv(1) != b""
        except TimeoutError:
            n_open += 1
        except OSError:
            pass
        each.close()
    return {"opened": N_HALF_OPEN, "open_after_15_s": n_open, "others_answered_s": round(answered_s, 2)}


def guesses(address: str) -> dict:
    """Try wrong passwords in one burst; count those that were checked."""
    with httpx.Client(base_url=address) as client:
        codes = [client.get("/", auth=("lab", f"wrong {i}")).status_code for i in range(N_GUESSES)]
    return {"tried": N_GUESSES, "looked_at": codes.count(401)}


def measured(record: dict) -> str:
    """Return the text of docs/security.md on the record."""
    fuzz = json.loads((ROOT / "data" / "results" / "fuzz.json").read_text(encoding="utf-8"))
    everything = fuzz["all"]
    half, wrong = record["half_open"], record["guesses"]
    crowds = pd.DataFrame.from_dict(record["crowds"], orient="index").rename(columns={"mixed_up": "mixed up"})
    return "\n".join([
        f"On {record['machine']}, {record['date']}; recorded in `data/results/page.json` and `data/results/fuzz.json`:",
        "",
        blocks.markdown_table(crowds.astype(str).rename_axis("all at once")),
        "",
        f"The server answered {record['start_s']} s after its start; it and its workers then took",
        f"{record['megabytes']} MB. Of {half['opened']} half-open connections {half['open_after_15_s']} were open",
        f"after 15 s; meanwhile others were answered in {half['others_answered_s']} s. Of {wrong['tried']} wrong",
        f"passwords in one burst {wrong['looked_at']} were checked.",
        "",
        f"Of {fuzz['n_mutants']:,} broken files of {fuzz['n_kinds']} kinds and {fuzz['n_crafted']} crafted ones",
        f"(`make fuzz`) {everything['read']:,} were read, {everything['refused']:,} refused in one line, and",
        f"{everything['finding']} did anything else. The costliest took {everything['worst_s']} s (beside other work)",
        f"and {everything['worst_mb']:.0f} MB.",
    ])  # fmt: skip


def where() -> dict:
    """Return the first facts of a record: date and machine."""
    told = Path("/proc/cpuinfo").read_text(encoding="utf-8") if sys.platform == "linux" else ""
    name = re.search(r"model name\s*: (.+)", told)
    cores = f"{os.cpu_count()} cores" + (f" ({name[1].strip()})" if name else "")
    machine = f"{cores}, {platform.system()}, Python {platform.python_version()}"
    return {"date": datetime.now(UTC).date().isoformat(), "machine": machine}


def wants_record(about: str) -> bool:
    """Parse the command line of a measurement; return whether `--record` is given."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    return parser.parse_args().record


def kept(record: dict, file: Path, document: Path, block: str) -> None:
    """Write a record to a file, and its text into a block of the document."""
    with files.whole_file(file) as unfinished:
        unfinished.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    blocks.refresh(document, {"MEASURED": block})


def main() -> None:
    keep = wants_record(__doc__)
    paths = NUCLEI[:N_VISITORS]
    expected = {path: float(predict(path)["p_G1"].iloc[0]) for path in paths}
    crowds = {}
    with website() as (address, process, _, start_s):
        crowds["visitors with the same file"] = crowd(visit, address, paths[:1] * N_VISITORS, expected)
        crowds["visitors with different files"] = crowd(visit, address, paths, expected)
        crowds["programs with different files"] = crowd(ask, address, paths, expected)
        megabytes = sum(p.memory_info().rss for p in [process, *process.children(recursive=True)]) // 1_000_000
        open_ones = half_open(address)
    with website("right") as (address, *_):
        tried = guesses(address)
    record = where() | {
        "crowds": crowds,
        "megabytes": megabytes,
        "start_s": round(start_s, 1),
        "half_open": open_ones,
        "guesses": tried,
    }
    print(json.dumps(record, indent=1))
    if keep:
        kept(record, RECORD, DOCUMENT, measured(record))


if __name__ == "__main__":
    main()
