"""A schedule of runs, kept by Prefect: by the server that PREFECT_API_URL names, or by one that lasts as long as we do.

Only one schedule of a model name runs on a machine, and only one of its runs at a time: locks of the operating system
see to it, which no crash leaves behind, and not Prefect's slots, which a reboot does.
"""

import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from threading import Event, Thread

from components.interchange.champion import pointer_key
from components.interchange.cli import terminated_by_exception
from components.interchange.errors import BadInput
from components.interchange.s3_objects import SCHEME
from pipelines.cron import next_time
from pipelines.lock import only_schedule
from pipelines.prefect_server import NOBODYS, PASSWORD, prefect_api
from pipelines.run_options import RunOptions
from pipelines.session import request_for
from pipelines.source_listing import existing_place
from pipelines.store import open_store

FOLDER = "GRAFT_SERVED_FROM"  # What a run's paths are relative to; Prefect itself starts it elsewhere.


def serve(options: RunOptions, cron: str, timezone: str) -> None:
    """Run until interrupted. BadInput on a wrong expression or option, before anything is started."""
    if importlib.util.find_spec("prefect") is None:
        raise BadInput("Prefect is not installed. Install graft[prefect].")
    next_time(cron, timezone)
    request = request_for(options)  # Refuses what no run would take.
    pointer_key(request.model_name)
    if not options.source.startswith(SCHEME):  # A bucket may be out of reach for a while.
        existing_place(options.source)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    os.environ[FOLDER] = str(Path.cwd())
    store = open_store(options.store)
    home, given = store.root / "prefect", os.environ.get("PREFECT_API_URL")
    with (
        only_schedule(store.root, options.model_name),
        suppress(KeyboardInterrupt, SystemExit),  # Before Prefect hears of either, too, which takes seconds.
        terminated_by_exception(),
        prefect_api(home, lambda: None, lasting=True) as wait_until_up,
        chdir(NOBODYS),
    ):
        from pipelines.prefect_schedule import serve as served

        wait_until_up()
        where = os.environ["PREFECT_API_URL"].removesuffix("/api")
        asks = "" if given else f" (password: {home / PASSWORD})"
        print(f"graft: serving {options.model_name!r} at {cron!r} {timezone}; Prefect: {where}{asks}", file=sys.stderr)
        served(options, cron, timezone)
    print("graft: the schedule is not served any more; the same command takes it up again", file=sys.stderr)


@contextmanager
def ctrl_c_held_back() -> Iterator[None]:
    """Processes that this thread starts meanwhile hold Ctrl-C back until they unblock it. This one still gets it."""
    resource_tracker.ensure_running()  # It would be started with the first of them, and let Ctrl-C through again.
    done = Event()
    receiver = Thread(target=done.wait)  # The system gives a signal to any thread that does not block it.
    receiver.start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        done.set()
        receiver.join()
