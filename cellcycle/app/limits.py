"""How much one server takes."""

from dataclasses import dataclass

MB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much one server takes; MB are of 1024 x 1024 bytes.

    Parameters
    ----------
    file_mb : float
        Largest file.
    megapixels : float
        Most pixels of one plane of an image, in millions.
    files : int
        Most images in one request of `/predict`.
    request_mb : float
        Largest request, all its files together.
    images : int
        Most images that one visitor of the page keeps.
    at_once : int
        Images that are worked on at a time; further ones wait.
    waiting : int
        Requests that may wait; further ones are sent away.
    read_s, work_s, work_mb : float
        Time that reading a file may take, and any other step of work; memory of either.
    disk_mb : float
        Disk for all uploads and results together; above it nothing new is taken.
    kept_s : float
        Time after which the results of a visitor who does not come back are forgotten.
    head_s, body_s : float
        Time for the head of a request; and for a body, beside what it takes at `least_rate`.
    least_rate : float
        Bytes a second below which a body is too slow.
    connections : int
        Open at a time; further ones are closed.
    guesses, guesses_s : int, float
        Wrong passwords that an address may send in that time.
    """

    file_mb: float = 200
    megapixels: float = 25
    files: int = 50
    request_mb: float = 1000
    images: int = 200
    at_once: int = 2
    waiting: int = 200
    read_s: float = 30
    work_s: float = 300
    work_mb: float = 3000
    disk_mb: float = 10_000
    kept_s: float = 3600
    head_s: float = 10
    body_s: float = 30
    least_rate: float = 20_000
    connections: int = 800
    guesses: int = 10
    guesses_s: float = 60
