"""The website: choose a model, drop images, see and correct the phases. Needs the extra `app` (Gradio).

`serve` starts it; `build_server` gives the ASGI application to whoever wants to host it otherwise.
"""

import os

from cellcycle.app.limits import Limits
from cellcycle.app.server import build_server
from cellcycle.errors import SettingError

__all__ = ["Limits", "build_server", "serve"]
# Not an option of the command: other users of a computer can read the commands that run on it.
PASSWORD_VARIABLE = "CELLCYCLE_APP_PASSWORD"


def serve(host: str = "127.0.0.1", port: int = 7860, folders=(), limits: Limits | None = None) -> None:
    """Serve the website until it is stopped.

    Parameters
    ----------
    host : str, optional
        Address to listen at; the default is reachable from this computer alone.
    port : int, optional
    folders : sequence of str or Path, optional
        Model folders of your own; the first becomes the default.
    limits : Limits, optional

    Raises
    ------
    SettingError
        Gradio is not installed, or the address cannot be listened at.
    CheckpointError
        A model folder is damaged.
    """
    try:
        import gradio  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise SettingError(
            "app", "the website needs the package gradio", "run: pip install 'cellcycle[app]'"
        ) from error
    _check_address(host, port)
    password = os.environ.get(PASSWORD_VARIABLE) or None
    app = build_server(limits, folders, password)
    print(f"The website is at http://{host}:{port}/ ; stop it with Ctrl-C")
    if password is None and host not in ("127.0.0.1", "localhost", "::1"):
        print(f"Note: whoever reaches this address can use it; set {PASSWORD_VARIABLE} to ask for a password")
    uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False, timeout_graceful_shutdown=3)


def _check_address(host: str, port: int) -> None:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        remedy = "choose another with --port, or stop what uses it"
        raise SettingError(f"{host}:{port}", f"cannot be listened at ({error})", remedy) from error
