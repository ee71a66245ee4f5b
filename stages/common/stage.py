"""Run a stage: validate its parameters, check its inputs, write its metrics and provenance."""

import inspect
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import yaml
from pydantic import ValidationError
from tqdm import tqdm

from common.files import write_bytes
from common.params import PARAMS, ParameterError, explain, read_params, select, validate
from common.results import METRICS, check, md5_of, metrics_path, write_metrics


def stop(status, *lines):
    """Print lines to standard error and exit with this status."""
    print(*lines, sep="\n", file=sys.stderr)
    sys.exit(status)


@contextmanager
def exit_on_user_error(section):
    """Turn an error that users can fix into one line on standard error and an exit status.

    The status is 2 for an invalid parameter or a non-finite result; 1 for an unreadable or
    unwritable file or stale results; 130 for Ctrl-C.
    """
    try:
        yield
    except ValidationError as error:
        stop(2, *explain(error, section))
    except ParameterError as error:
        stop(2, error)
    except RecursionError:
        stop(2, f"{PARAMS}: contains an alias to itself")
    except FileNotFoundError as error:
        stop(1, f"{error.filename}: not found; run `dvc repro` to create it")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        stop(1, f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)  # without torch's shutdown, which takes a second; writes are atomic


def refuse_links():
    """Exit if an output folder is a symbolic link, because DVC would fail on it after the run."""
    tops = Path("data"), Path("reports")
    for path in (*tops, *(path for top in tops for path in top.glob("[!.]*"))):
        if path.is_symlink() and path.is_dir():
            reason = "DVC does not track files behind a symbolic link; to use another disk, run"
            stop(1, f"{path}: {reason} dvc cache dir /its/path && dvc config cache.type symlink")


def list_paths(entry, *kinds):
    """The paths in some lists of a stage's entry in dvc.yaml."""
    items = (item for kind in kinds for item in entry.get(kind, []))
    return [Path(next(iter(item)) if isinstance(item, dict) else item) for item in items]


def list_files(stage, *kinds):
    """Paths under data/ and reports/ that dvc.yaml lists for a stage, folders expanded."""
    entry = yaml.safe_load(Path("dvc.yaml").read_bytes())["stages"].get(stage, {})
    for path in list_paths(entry, *kinds):
        if path.parts[0] in ("data", "reports"):
            yield from sorted(path.glob("[!.]*")) if path.is_dir() else [path]


def describe_run(stage, section, params, reads):
    """The provenance of a finished stage; `reads` maps its inputs to their MD5s."""
    written = list_files(stage, "outs", "metrics", "plots")
    writes = {path.as_posix(): md5_of(path) for path in written if path != metrics_path(section)}
    return {"stage": stage, "params": params, "reads": reads, "writes": writes}


def run(main, section):
    """Call `main` with its section of params.yaml and write the metrics that it returns."""
    tqdm.set_lock(threading.RLock())  # Python 3.14 reports its default, a semaphore, as leaked
    started, stage, md5 = time.monotonic(), Path(inspect.getfile(main)).stem, cache(md5_of)
    refuse_links()
    with exit_on_user_error(section):
        params = select(read_params(), section)
        valid = validate(main, params)
        inputs = [path.as_posix() for path in list_files(stage, "deps")]
        check([Path(p).stem for p in inputs if Path(p).parent == METRICS], digest=md5)
        reads = {path: md5(path) for path in inputs}
        metrics = main(**valid)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C would discard a finished computation
        if metrics is not None:
            write_metrics(section, metrics, describe_run(stage, section, params, reads))
    if "DVC_ROOT" in os.environ:  # the original repository, even under `dvc exp run --temp`
        times = Path(os.environ["DVC_ROOT"], ".dvc/tmp/times", stage)  # for `make why`
        with suppress(OSError):
            write_bytes(times, f"{time.monotonic() - started:.1f}\n".encode())
