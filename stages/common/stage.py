"""Run a stage: validate its parameters, check its inputs, write its metrics and provenance."""

import inspect
import os
import sys
import time
from contextlib import contextmanager, suppress
from functools import cache, wraps
from pathlib import Path

from pydantic import ValidationError

from common.params import PARAMS, ParameterError, explain, read_section, validate
from common.results import (
    METRICS,
    StaleResultError,
    check,
    describe_run,
    list_files,
    md5_of,
    metrics_path,
    write_metrics,
)


def stop(status, *lines):
    """Print lines to standard error and exit with this status."""
    print(*lines, sep="\n", file=sys.stderr)
    sys.exit(status)


@contextmanager
def exit_on_user_error(section):
    """Turn an error that users can fix into one line on standard error and an exit status.

    The status is 2 for an invalid parameter; 1 for an unreadable or unwritable file, stale results
    or a non-finite result; 130 for Ctrl-C.
    """
    try:
        yield
    except ValidationError as error:
        stop(2, *explain(error, section))
    except ParameterError as error:
        stop(2, error)
    except StaleResultError as error:
        stop(1, error)
    except RecursionError:
        stop(2, f"{PARAMS}: nested without end")
    except FileNotFoundError as error:
        stop(1, f"{error.filename}: not found; run `dvc repro` to create it")
    except FloatingPointError as error:
        stop(1, f"{error}: try smaller numbers in {section}, of {PARAMS}")
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
        if path.is_symlink() and not path.is_file():
            reason = "DVC does not track files behind a symbolic link; to use another disk, run"
            stop(1, f"{path}: {reason} dvc cache dir /its/path && dvc config cache.type symlink")


def run(main, section):
    """Call `main` with its section of params.yaml and write the metrics that it returns.

    First validate the parameters, then check that the results it reads match their own parameters.
    """
    started = time.monotonic()
    refuse_links()
    stage, md5, read = Path(inspect.getfile(inspect.unwrap(main))).stem, cache(md5_of), {}

    @wraps(main)
    def checked_main(**valid):
        files = [path.as_posix() for path in list_files(stage, ["deps"])]
        check([Path(file).stem for file in files if file.startswith(METRICS)], digest=md5)
        read.update((file, md5(file)) for file in files)
        return main(**valid)

    with exit_on_user_error(section):
        params = read_section(section)
        metrics = validate(checked_main, section, params)
        if metrics is not None:
            provenance = describe_run(stage, params, read, metrics_path(section))
            write_metrics(section, metrics, provenance)
    if "DVC_ROOT" in os.environ:
        save_duration(stage, time.monotonic() - started)


def save_duration(stage, seconds):
    """Save a stage's duration for the estimates of `make why`.

    The file is .dvc/tmp/times/STAGE, ignored by Git and DVC. Under `dvc exp run --temp` DVC_ROOT is
    the original repository.
    """
    path = Path(os.environ["DVC_ROOT"], ".dvc/tmp/times", stage)
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{seconds:.1f}\n")
