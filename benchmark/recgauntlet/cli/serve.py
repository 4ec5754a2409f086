"""`recgauntlet serve`: a trained model behind a small HTTP service."""

from __future__ import annotations

import gc
import ipaddress
import logging
import socket
from importlib.util import find_spec
from pathlib import Path

import click
import torch

from recgauntlet.cli.options import PATH, DataOptions, data_options, device_option, threads_option
from recgauntlet.cli.serving import open_checkpoint, results_option, trust_option
from recgauntlet.core.errors import DeviceError, PluginError
from recgauntlet.core.escape import terminal
from recgauntlet.serving.limits import Limits

_DEFAULT = Limits()
TEXTS_WITH_PERPLEXITY = 8
"""Texts of one request where perplexities are measured, which takes a second a text."""
CONNECTIONS = 128


@click.command(short_help="Serve a trained model over HTTP: rank candidates for a history.")
@click.argument("checkpoint", type=PATH)
@click.option("--host", default="127.0.0.1", help="The address to listen at. There is no authentication.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="0 for a free one.")
@click.option("--tripwire", is_flag=True, help="Answer too how far histories and texts are from the training data.")
@click.option("--perplexity", is_flag=True, help="With perplexities of texts by SmolLM2 (93 MB). Means --tripwire.")
@click.option("--max-candidates", type=click.IntRange(1), default=_DEFAULT.candidates, help="Of one request.")
@click.option("--max-bytes", type=click.IntRange(1), default=_DEFAULT.body, help="Of the body of one request.")
@click.option("--time-limit", type=click.FloatRange(0.1), default=_DEFAULT.seconds, help="Seconds for one request.")
@click.option("--task", help="The path of the card, where the task is your own. [what the checkpoint was trained for]")
@results_option
@trust_option
@device_option
@threads_option
@data_options
def serve(
    checkpoint: Path,
    host: str,
    port: int,
    tripwire: bool,
    perplexity: bool,
    max_candidates: int,
    max_bytes: int,
    time_limit: float,
    task: str | None,
    results: Path | None,
    trust_plugins: bool,
    device: str,
    threads: int,
    data: DataOptions,
) -> None:
    """Serve the model of CHECKPOINT until Ctrl-C: POST /rank and /tripwire, GET /card, /health and /openapi.json.

    CHECKPOINT is a .safetensors file that `recgauntlet run` wrote, or the address of a cell,
    RELEASE/TASK/MODEL/DEFENSE/SEED. The model answers as it was attacked, with its defense. Requests are limited in
    size, number and time. The log has routes, states and times, nothing of what was sent.

    \b
    Examples:
      recgauntlet serve demo/checkpoints/video-watch/demo/nrms-pgd-0.safetensors --tripwire
      recgauntlet serve results/mine/video-watch/sasrec/none/0 --port 9000
    """
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        raise PluginError(f"{', '.join(missing)} is not installed", remedy="pip install 'recgauntlet[serve]'")
    import uvicorn

    from recgauntlet.data.language_model import smollm2
    from recgauntlet.data.text_measures import TextMeasures
    from recgauntlet.serving.guard import LOG
    from recgauntlet.serving.messages import TextOf
    from recgauntlet.serving.ranker import Ranker
    from recgauntlet.serving.service import make_service
    from recgauntlet.serving.tripwire import Tripwire

    with _listen(host, port) as listening:
        opened = open_checkpoint(
            checkpoint,
            results=results,
            task=task,
            device=device,
            threads=threads,
            data=data,
            trust_plugins=trust_plugins,
            needs_row=False,
        )
        torch.set_num_threads(threads)
        texts = TEXTS_WITH_PERPLEXITY if perplexity else _DEFAULT.texts
        limits = Limits(candidates=max_candidates, texts=texts, body=max_bytes, seconds=time_limit)
        ranker = Ranker(opened.model, opened.loaded.data, limits)
        wire = None
        if tripwire or perplexity:
            measures = TextMeasures(smollm2(offline=data.offline)) if perplexity else None
            wire = Tripwire(opened.loaded.data, ranker, measures)
            wire.distances([], [(0, TextOf(text="first"))])  # loads the encoders
        app = make_service(ranker, opened.card, limits, wire, _names_of(host))
        logging.basicConfig(format="%(asctime)s %(message)s")
        LOG.setLevel(logging.INFO)
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        gc.collect()
        gc.freeze()  # what is loaded stays: the collector need not look at it again for every request
        listening.listen(CONNECTIONS)  # requests that come from now on wait for the server
        click.echo(terminal(f"serving {opened.card.model} ({opened.card.defense}) at {address}; Ctrl-C ends"))
        if _names_of(host) is None:
            click.echo("warning: others can reach this address, and there is no authentication", err=True)
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=int(time_limit) + 1,
            server_header=False,
            ws="none",
        )
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn ends in order and then raises the signal again
            click.echo("ended")


def _listen(host: str, port: int) -> socket.socket:
    """A socket that has the address; it does not listen yet."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY where the protocol is named: without it every answer waits 40 ms for an acknowledgement
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, UnicodeError) as error:
        listening.close()
        raise DeviceError(
            f"cannot listen at {host}, port {port} ({getattr(error, 'strerror', None) or error})",
            field="--port",
            remedy="choose another --port or --host; --port 0 takes a free one",
        ) from error
    return listening


def _names_of(host: str) -> frozenset[str] | None:
    """The names that requests may call a loopback address by; None for any other."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    return frozenset({host.lower(), "localhost", "127.0.0.1", "[::1]"}) if is_loopback else None
