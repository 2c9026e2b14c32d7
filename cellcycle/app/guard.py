"""What stands before every request: password, size of the body, closed doors, and headers that keep the page local."""

import base64
import binascii
import secrets

from cellcycle.app.limits import MB

# Parts of Gradio that this page does not use: fetching of other sites' files, recording, monitoring, editing.
_CLOSED = (
    "/gradio_api/file=http", "/gradio_api/file/http", "/gradio_api/proxy=", "/gradio_api/run-history",
    "/gradio_api/process_recording", "/gradio_api/vibe", "/gradio_api/undo-vibe", "/gradio_api/deep_link",
    "/gradio_api/stream", "/monitoring",
)  # fmt: skip
_OPEN = ("/health",)
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_HEADERS = [
    # The browser itself refuses whatever is not from this server.
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class _TooLargeError(Exception):
    pass


class Guard:
    """ASGI middleware; see the head of this file.

    Parameters
    ----------
    app : ASGI application
    password : str or None
        Asked for by HTTP Basic authentication, under any user name, for everything but `/health`.
    most_bytes : int
        Largest body of a request.
    """

    def __init__(self, app, password: str | None, most_bytes: int):
        self._app, self._password, self._most_bytes = app, password, most_bytes

    async def __call__(self, scope, receive, send):
        """Answer, or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope["path"], dict(scope["headers"]))
        if refusal is not None:
            await _answer(send, *refusal)
            return
        n_bytes, is_refused = 0, False

        async def receive_counted():
            nonlocal n_bytes
            event = await receive()
            n_bytes += len(event.get("body", b""))
            if n_bytes > self._most_bytes:
                raise _TooLargeError
            return event

        async def send_checked(event):
            nonlocal is_refused
            if is_refused:
                return
            if event["type"] == "http.response.start":
                if n_bytes > self._most_bytes:
                    # Whoever read the body has made another error of it.
                    is_refused = True
                    await _answer(send, *self._too_large())
                    return
                event["headers"] = [*event.get("headers", []), *_HEADERS]
            await send(event)

        try:
            await self._app(scope, receive_counted, send_checked)
        except _TooLargeError:
            if not is_refused:
                await _answer(send, *self._too_large())

    def _refusal(self, path: str, headers: dict[bytes, bytes]):
        if path not in _OPEN and self._password and not self._is_known(headers.get(b"authorization", b"")):
            challenge = (b"www-authenticate", b'Basic realm="cellcycle", charset="UTF-8"')
            return 401, "the password is missing or wrong", [challenge]
        if path.startswith(_CLOSED):
            return 404, "there is nothing here", []
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > self._most_bytes:
            return self._too_large()
        return None

    def _too_large(self):
        return 413, f"the request is larger than {self._most_bytes / MB:g} MB; give the images in smaller parts", []

    def _is_known(self, header: bytes) -> bool:
        scheme, _, packed = header.partition(b" ")
        try:
            given = base64.b64decode(packed, validate=True).partition(b":")[2]
        except binascii.Error:
            return False
        return scheme.lower() == b"basic" and secrets.compare_digest(given, self._password.encode())


async def _answer(send, status: int, words: str, headers) -> None:
    import json

    headers = [(b"content-type", b"application/json"), *headers, *_HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": words}).encode()})
