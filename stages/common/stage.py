"""Run a stage: validate its parameters, check the results that it reads, write its metrics."""

import inspect
import os
import sys
import time
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path

import psutil
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
    """End the process with lines on standard error and an exit status."""
    print(*lines, sep="\n", file=sys.stderr)
    sys.exit(status)


@contextmanager
def exit_on_user_error(section):
    """End the process on an error that a user can fix, with one line on standard error.

    The exit status is 2 for an invalid parameter, 1 for a file that cannot be read or written, for
    stale results and for a result that is not finite, 130 for Ctrl-C.
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
        stop(1, f"{error.filename}: not found; `dvc repro` makes what a stage reads")
    except FloatingPointError as error:
        stop(1, f"{error}: try smaller numbers in {section}, of {PARAMS}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        stop(1, f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)  # at once: torch takes a second to shut down, and no file is half-written


def refuse_links():
    """End the process if a folder of outputs is a symbolic link: DVC fails on it after the run."""
    for path in (path for top in ("data", "reports") for path in (Path(top), *Path(top).glob("*"))):
        if path.is_symlink() and not path.is_file():
            reason = "DVC does not track files behind a symbolic link; to use another disk: "
            stop(1, f"{path}: {reason}dvc cache dir /its/path && dvc config cache.type symlink")


def run(main, section):
    """Call `main` with its section of params.yaml, and write the metrics that it returns.

    Before, check that the results that it reads belong to their parameters.
    """
    refuse_links()
    stage, read = Path(inspect.getfile(inspect.unwrap(main))).stem, {}

    @wraps(main)
    def checked_main(**valid):
        files = [path.as_posix() for path in list_files(stage, ["deps"])]
        check(Path(file).stem for file in files if file.startswith(METRICS))
        read.update((file, md5_of(file)) for file in files)
        return main(**valid)

    with exit_on_user_error(section):
        params = read_section(section)
        metrics = validate(checked_main, section, params)
        if metrics is not None:
            provenance = describe_run(stage, params, read, metrics_path(section))
            write_metrics(section, metrics, provenance)
    note_time()


def note_time():
    """Save the stage's run time in seconds for `make why`, if DVC runs it.

    The file is .dvc/tmp/times/STAGE, ignored by Git and DVC. DVC_ROOT is the original repository
    where `dvc exp run --temp` runs the stage in a copy.
    """
    if "DVC_ROOT" in os.environ:
        path = Path(os.environ["DVC_ROOT"], ".dvc/tmp/times", Path(sys.argv[0]).stem)
        with suppress(OSError, psutil.Error):
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{time.time() - psutil.Process().create_time():.1f}\n")
