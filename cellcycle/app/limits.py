"""Limits of one server."""

from dataclasses import dataclass

MB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits of one server; `_mb` in 1024 x 1024 bytes, `_s` in seconds."""

    # Largest file; most pixels of a plane, in millions; most images of one request of `/predict`, and its largest size.
    file_mb: float = 200
    megapixels: float = 100  # for which `work_mb` is enough
    files: int = 50
    request_mb: float = 1000
    images: int = 200  # most images kept for one visitor of the page
    at_once: int = 2  # worker processes
    waiting: int = 200  # requests that may wait; further ones are refused
    # Most time for reading a file, and for any other step of work; memory for both.
    read_s: float = 30
    work_s: float = 900
    work_mb: float = 3000
    # A training on a visitor's corrections, one at a time: its time, memory, nuclei and epochs; number of trainings of
    # other visitors that may wait.
    train_s: float = 900
    train_mb: float = 4000
    train_nuclei: int = 1500
    train_epochs: int = 10
    train_waiting: int = 20
    disk_mb: float = 10_000  # for all uploads and results together; above it nothing new is taken
    kept_s: float = 3600  # after this time without a request the data of a visitor are deleted
    # Time for the head of a request, and for a body in addition to its time at the least rate, in bytes per second.
    head_s: float = 10
    body_s: float = 30
    least_rate: float = 20_000
    connections: int = 800  # open at a time; further ones are closed
    # Number of wrong passwords that an address may send within `guesses_s`.
    guesses: int = 10
    guesses_s: float = 60
