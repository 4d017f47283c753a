"""`tfsasm app`: the tracker in a browser, for people who do not use terminals."""

import os
import tempfile
import webbrowser
from contextlib import ExitStack
from dataclasses import dataclass

from rich.console import Console

from tfsasm.cli.options import OptionalFolder, at_least
from tfsasm.cli.progress import is_local, print_lines, web_address
from tfsasm.errors import InputError
from tfsasm.files import check_folder


@dataclass(frozen=True, kw_only=True)
class Options:
    """Track videos in a browser: drop a video, watch, look at the page, download the results.

    Example: tfsasm app
    """

    output: OptionalFolder = None
    """Folder that keeps the results, a folder in it for each video; by default a temporary one,
    which goes when the app ends."""
    host: str = "127.0.0.1"
    """Address to listen on; with any but the default others can use this machine to track."""
    port: int = 7860
    """Port to listen on; 0 takes a free one."""
    max_upload: int = 2000
    """Most megabytes of a video."""
    no_browser: bool = False
    """Do not open the page in a browser."""


def run(options: Options, console: Console, errors: Console) -> None:
    """Serve the page until Ctrl-C. Raises `InputError` without the extra, or for a taken port."""
    # Gradio reads them when it is imported; with them it sends and fetches nothing.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
    try:
        import uvicorn

        from tfsasm.cli.app_page import Runs, web_app
        from tfsasm.tracking.serving.connections import listen
    except ImportError as error:
        raise InputError('`tfsasm app` needs Gradio: pip install "tfsasm[app]"') from error
    at_least(options, 1, "max_upload")
    with ExitStack() as stack:
        listening = stack.enter_context(listen(options.host, options.port))
        temporary = tempfile.TemporaryDirectory(prefix="tfsasm-")
        folder = check_folder(options.output or stack.enter_context(temporary))
        local = is_local(options.host)
        server = web_app(Runs(folder.resolve()), max_upload=options.max_upload, local=local)
        address = f"{web_address(options.host, listening.getsockname()[1])}/"
        print_lines(console, f"open {address} in a browser; Ctrl-C ends it")
        if not local:
            print_lines(errors, "anyone who reaches this address can use this machine to track")
        if not options.no_browser:
            webbrowser.open(address)
        uvicorn.Server(uvicorn.Config(server, log_level="warning")).run([listening])
