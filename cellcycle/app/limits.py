"""How much one server takes."""

from dataclasses import dataclass

MB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much one server takes; MB are of 1024 x 1024 bytes."""

    # Largest file; most pixels of a plane, in millions; most images of one request of `/predict`, and its largest size.
    file_mb: float = 200
    megapixels: float = 100  # for which `work_mb` is enough
    files: int = 50
    request_mb: float = 1000
    images: int = 200  # most that one visitor of the page keeps
    at_once: int = 2  # images that are worked on
    waiting: int = 200  # requests that may wait; further ones are sent away
    # Time that reading a file may take, and any other step of work; memory of either.
    read_s: float = 30
    work_s: float = 900
    work_mb: float = 3000
    # A training on a visitor's corrections, one at a time: its length, memory, nuclei, rounds of all of them; those of
    # other visitors that may wait for it.
    train_s: float = 900
    train_mb: float = 4000
    train_nuclei: int = 1500
    train_epochs: int = 10
    train_waiting: int = 20
    disk_mb: float = 10_000  # for all uploads and results together; above it nothing new is taken
    kept_s: float = 3600  # until the results of a visitor who does not come back are forgotten
    # Time for the head of a request; and for a body, beside what it takes at the least rate, in bytes a second.
    head_s: float = 10
    body_s: float = 30
    least_rate: float = 20_000
    connections: int = 800  # open at a time; further ones are closed
    # Wrong passwords that an address may send in that time.
    guesses: int = 10
    guesses_s: float = 60
