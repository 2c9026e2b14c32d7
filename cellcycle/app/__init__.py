"""The website: drop images, see and correct the phases. Needs the extra `app`; it loads nothing from other servers.

`serve` starts it; `server.build_server` returns the ASGI application, to host it in another way. Its guarantees are
in `docs/security.md`.
"""

import contextlib
import os
import socket

from cellcycle.errors import SettingError

__all__ = ["serve"]
# Not an option of the command, because other users of a computer can see the command lines of running processes.
PASSWORD_VARIABLE = "CELLCYCLE_APP_PASSWORD"
_LOCAL = ("127.0.0.1", "localhost", "::1")


def serve(host: str = "127.0.0.1", port: int = 7860, folders=(), allowed_hosts=()) -> None:
    """Serve the website until it is stopped.

    The default `host` is reachable from this computer alone. The first of the model `folders` becomes the default.
    Requests for other host names than those of this computer and `allowed_hosts` are refused. Raises `SettingError` if
    a package of the extra `app` is missing, or if the address is not available.
    """
    try:
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise SettingError("app", f"the website needs {error.name}", "run: pip install 'cellcycle[app]'") from error
    listening = _listen(host, port)
    from cellcycle.app.limits import Limits
    from cellcycle.app.server import build_server

    limits = Limits()
    _allow_open_files(limits.connections)
    names = [*allowed_hosts, *([] if host in ("0.0.0.0", "::") else [f"[{host}]" if ":" in host else host])]
    password = os.environ.get(PASSWORD_VARIABLE) or None
    app = build_server(limits, folders, password, names)
    print(f"The website is at http://{host}:{port}/ ; stop it with Ctrl-C", flush=True)
    if host not in _LOCAL:
        if password is None:
            print(f"Note: whoever reaches this address can use it; set {PASSWORD_VARIABLE} to ask for a password")
        if not names:
            print("Note: other computers are refused until you give the name that they use: --allowed-host NAME")
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(uvicorn.Config(app, **server_options(limits))).run(sockets=[listening])


def server_options(limits) -> dict:
    """Return the options of uvicorn that the guarantees in `docs/security.md` need."""
    from cellcycle.app.protocol import protocol_of

    return {
        "http": protocol_of(limits),
        "ws": "none",
        "log_level": "warning",
        "server_header": False,
        # With proxy headers a client could name any address as its own, and so avoid the limit on password guesses.
        "proxy_headers": False,
        "timeout_graceful_shutdown": 3,
    }


def _allow_open_files(connections: int) -> None:
    """Raise the system's limit on open files, which is often lower than the number of connections."""
    # Windows has no such limit.
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, min(4 * connections, most)), most))


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, opened before anything is loaded, so that early requests wait instead of failing."""
    if not host.strip():
        # The system takes an empty address for every address of this computer.
        raise SettingError("--host", "an empty address", "give 127.0.0.1, or 0.0.0.0 to let other computers in")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        remedy = "choose another port with --port, or stop the program that uses it"
        raise SettingError(f"{host}:{port}", f"the server cannot listen there ({error})", remedy) from error
