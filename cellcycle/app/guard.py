"""Checks on every request: host name, origin, password, size and speed.

A request is refused unless its `Host` is a name of this server (which prevents DNS rebinding). A request from another
website (`Origin`, `Sec-Fetch-Site`) is refused unless it only reads the page or its files. No cross-origin headers
are sent.
"""

import asyncio
import base64
import ipaddress
import secrets
import time
from collections import OrderedDict
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from cellcycle.app.limits import MB, Limits

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_OPEN = "/health"
DISK_FULL = "the disk of this server is full"
_SAFE_METHODS = ("GET", "HEAD")
_PROXY = "a proxy before this server must hand on the name that it was asked for (Host)"
# Accepted values of `Sec-Fetch-Site`: missing, this page, or an address typed by the user.
_OWN_SITES = ("", "same-origin", "none")
# Largest body of requests without an image or a table of nuclei.
_SMALL_MB = 4
_MOST_ADDRESSES = 4096
_HEADERS = {
    b"cache-control": b"no-store",
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    b"connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}


class Refusal(HTTPException):
    """An exception that ends a request with a status, a message, and further headers."""


def busy(words: str) -> Refusal:
    """Return the refusal (503) of a server that is busy or full now."""
    return Refusal(503, f"{words}; try again in a minute", {"retry-after": "60"})


async def answer_refusal(request: Request | None, refusal: HTTPException) -> JSONResponse:
    """Return a refusal as JSON."""
    return JSONResponse({"detail": str(refusal.detail)}, refusal.status_code, refusal.headers)


class Guesses:
    """Times of wrong passwords by client address, in bounded memory."""

    def __init__(self, most: int, seconds: float, clock=time.monotonic):
        self._most, self._seconds, self._clock = most, seconds, clock
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Return the seconds that an address must wait before its next guess is checked; 0 if it need not wait."""
        times = self._wrong.get(_network(address), [])
        return max(0.0, times[0] + self._seconds - self._clock()) if len(times) >= self._most else 0.0

    def note(self, address: str) -> None:
        """Record a wrong guess."""
        key = _network(address)
        self._wrong[key] = [*self._wrong.pop(key, []), self._clock()][-self._most :]
        while len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)


def _network(address: str) -> str:
    """Return the address, or its /64 network for IPv6, because one household has all addresses of it."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(ipaddress.ip_network(f"{found}/64", strict=False)) if found.version == 6 else address


class Guard:
    """ASGI middleware; see the head of this file.

    The server answers under `hosts` and the local names of this computer. The password is asked for by HTTP Basic
    authentication, with any user name, for everything but `/health`. `kept` returns the bytes stored on disk: large
    bodies, which are stored there until they are read, share the limit with them.
    """

    def __init__(self, app, limits: Limits, hosts=(), password: str | None = None, kept=lambda: 0):
        self._app, self._limits, self.kept = app, limits, kept
        self._password = (password or "").encode("utf-8", "surrogateescape")
        self._hosts = {name.lower() for name in (*_LOCAL_NAMES, *hosts)}
        self._guesses = Guesses(limits.guesses, limits.guesses_s)
        self.bytes_under_way = 0

    async def __call__(self, scope, receive, send):
        """Refuse a request, or pass it on to the application."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        body, is_started, is_meant = _Body(self, self._limits, scope, receive), False, False

        async def send_with_headers(event):
            nonlocal is_started
            if event["type"] == "http.response.start":
                is_started = True
                given = {name for name, _ in event["headers"]}
                # Close the connection, else the rest of a refused body would be taken for the next request.
                more = _HEADERS | ({} if body.is_complete else {b"connection": b"close"})
                event["headers"] = [*event["headers"], *(pair for pair in more.items() if pair[0] not in given)]
            for part in self._in_parts(event):
                if is_meant and not part.get("more_body", True) and not body.is_complete:
                    # Receive the rest first: a browser that is still sending may not read a closed connection.
                    await send(part | {"more_body": True})
                    await body.drain()
                    part = part | {"body": b""}
                await send(part)

        try:
            self._check(scope)
            body.check_announced()
            is_meant = True
            await self._app(scope, body.receive, send_with_headers)
        except Refusal as refusal:
            if not is_started:
                await (await answer_refusal(None, refusal))(scope, receive, send_with_headers)
        finally:
            self.bytes_under_way -= body.n_bytes

    def _check(self, scope) -> None:
        host, origin, site, key = (_only(scope, n) for n in ("host", "origin", "sec-fetch-site", "authorization"))
        if _name_of(host) not in self._hosts:
            raise Refusal(421, "this server is not served under that name; its owner can add it with --allowed-host")
        is_page = scope["method"] in _SAFE_METHODS and (scope["path"] == "/" or scope["path"].startswith("/static/"))
        is_foreign = (origin and origin.partition("://")[2].lower() != host.lower()) or site not in _OWN_SITES
        if is_foreign and not is_page:
            raise Refusal(403, f"requests from other websites are not answered; {_PROXY}")
        if self._password and scope["path"] != _OPEN:
            self._check_password(key, (scope["client"] or ("",))[0])

    def _in_parts(self, event):
        """Yield a body in parts that a client of the least rate reads in time, however long the whole takes."""
        if event["type"] != "http.response.body":
            yield event
            return
        body, most = event.get("body", b""), max(1, int(self._limits.body_s * self._limits.least_rate))
        for start in range(0, max(len(body), 1), most):
            is_last = start + most >= len(body) and not event.get("more_body", False)
            yield event | {"body": bytes(body[start : start + most]), "more_body": not is_last}

    def _check_password(self, header: str, address: str) -> None:
        wait_s = self._guesses.wait_s(address)
        if wait_s:
            again = {"retry-after": str(int(wait_s) + 1)}
            raise Refusal(429, "too many wrong passwords came from this address; wait a minute", again)
        scheme, _, packed = header.partition(" ")
        try:
            given = base64.b64decode(packed, validate=True).partition(b":")[2]
        except ValueError:
            given = b""
        if scheme.lower() == "basic" and secrets.compare_digest(given, self._password):
            return
        if header:
            self._guesses.note(address)
        challenge = {"www-authenticate": 'Basic realm="cellcycle", charset="UTF-8"'}
        raise Refusal(401, "the password is missing or wrong", challenge)


class _Body:
    """The body of a request, whose size and time are limited while it is received."""

    def __init__(self, guard: Guard, limits: Limits, scope, receive):
        self._guard, self._limits, self._receive = guard, limits, receive
        large = {"/predict": limits.request_mb} | dict.fromkeys(("/api/images", "/api/corrections"), limits.file_mb)
        self._most_mb = min(large.get(scope["path"], _SMALL_MB), limits.disk_mb)
        self._kept = guard.kept if scope["path"] in large else lambda: 0
        self._scope, self._deadline, self.n_bytes = scope, time.monotonic() + limits.body_s, 0
        self.is_complete = False

    def check_announced(self) -> None:
        """Refuse an announced length that is invalid or too large; 16 digits are enough to see that."""
        length, coding = _only(self._scope, "content-length"), _only(self._scope, "transfer-encoding")
        self.is_complete = length in ("", "0") and not coding
        if length and coding:
            # A proxy that uses the other one would take the end of the body for the next request (smuggling).
            raise Refusal(400, "the length of the request is stated in two ways")
        if length and not (length.isascii() and length.isdigit()):
            raise Refusal(400, "the length of the request is not a number")
        self._check(int(length[:16] or 0))

    def _check(self, n_bytes: int) -> None:
        if n_bytes > self._most_mb * MB:
            raise Refusal(413, f"it is larger than the {self._most_mb:g} MB of one request; give smaller parts")

    async def drain(self) -> None:
        """Receive and discard the rest of the body, within the limits."""
        with suppress(Refusal):
            while not self.is_complete:
                await self.receive()

    async def receive(self):
        """Receive the next part, or refuse it."""
        if self.is_complete:
            return await self._receive()
        try:
            event = await asyncio.wait_for(self._receive(), self._deadline - time.monotonic())
        except TimeoutError:
            raise Refusal(408, "the request came too slowly") from None
        n_bytes = len(event.get("body", b""))
        self._check(self.n_bytes + n_bytes)
        if self._guard.bytes_under_way + n_bytes + self._kept() > self._limits.disk_mb * MB:
            raise busy("too much is being uploaded at the moment")
        # The time earned is limited, so that a client cannot send much, then stop and keep its place.
        earned = self._deadline + n_bytes / self._limits.least_rate
        self._deadline = min(earned, time.monotonic() + self._limits.body_s)
        self._guard.bytes_under_way += n_bytes
        self.n_bytes += n_bytes
        self.is_complete = not event.get("more_body", False)
        return event


def _only(scope, name: str) -> str:
    """Return the value of a header, "" if missing; refuse a repeated one, which other readers may read differently."""
    found = [value for key, value in scope["headers"] if key == name.encode()]
    if len(found) > 1:
        raise Refusal(400, f"the header {name} occurs twice")
    return found[0].decode("latin-1") if found else ""


def _name_of(host: str) -> str:
    """Return the name of a `Host` header without its port."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()
