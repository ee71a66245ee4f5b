"""Run a stage on its section of params.yaml, and say in one line what is wrong."""

import inspect
import os
import reprlib
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import get_args

import psutil
import yaml
from pydantic import ConfigDict, ValidationError, validate_call

PARAMS = Path("params.yaml")
LARGEST = 20_000  # bytes of params.yaml; parsing more would take longer than it is worth

brief = reprlib.Repr()  # of values from params.yaml, which may be long, or nested without end
brief.maxlevel, brief.maxstring = 2, 60


class ParameterError(ValueError):
    """A parameter that cannot be used; str() is the line to show."""

    def __init__(self, name, reason):
        line = f"{PARAMS}: {name}: {reason}"
        # A name may hold line feeds, and sequences that a terminal would obey.
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in line))


class Loader(yaml.SafeLoader):
    """YAML without objects, which are code, and without a key twice, of which one would be lost."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"found {key.value!r} twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_section(section):
    """The mapping under `section` of params.yaml; ParameterError where there is none."""
    try:
        if PARAMS.stat().st_size > LARGEST:
            raise ParameterError(section, f"the file has more than {LARGEST:,} bytes")
        params = yaml.load(PARAMS.read_text(encoding="utf-8"), Loader)  # noqa: S506
    except FileNotFoundError:
        raise ParameterError(section, f"no such file in {Path.cwd()}; run from the root") from None
    except RecursionError:
        raise ParameterError(section, "not valid YAML: nested too deeply") from None
    except ParameterError:
        raise
    except Exception as error:  # PyYAML raises others too, of dates and numbers that cannot be
        raise ParameterError(section, f"not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(params, dict) or not isinstance(params.get(section), dict):
        raise ParameterError(section, "missing: expected a section of parameters")
    return {str(name): value for name, value in params[section].items()}


def check_names(section, given, known):
    """ParameterError, in one line, unless the names given are those known."""
    missing = [name for name in known if name not in given]
    takes = f"{section} takes {', '.join(known)}"
    if missing:
        takes += f"; missing here: {', '.join(missing)}"
    for name in given:
        if name not in known:
            reason = f"unknown parameter, got {brief.repr(given[name])}; {takes}"
            raise ParameterError(f"{section}.{name}", reason)
    if missing:
        raise ParameterError(f"{section}.{missing[0]}", f"missing; {takes}")


def check_types(section, given, known):
    """ParameterError where true or false stands for a number, as which Python would take it."""
    for name, value in given.items():
        kind = known[name].annotation
        if isinstance(value, bool) and kind is not bool and True not in get_args(kind):
            raise ParameterError(f"{section}.{name}", f"should not be true or false, got {value}")


def explain(error, section):
    """A line for each parameter that pydantic refused."""
    for problem in error.errors():
        message = problem["msg"].removeprefix("Input ")
        reason = f"{message}, got {brief.repr(problem['input'])}"
        yield ParameterError(f"{section}.{problem['loc'][0]}", reason)


@contextmanager
def ended_in_one_line(section):
    """End the process on an error that a user can mend, with one line on standard error.

    The exit status is 2 for a wrong parameter, 1 for a file that cannot be read or written and for
    a result that is not finite, 130 for Ctrl-C.
    """
    try:
        yield
    except ValidationError as error:
        stop(2, *explain(error, section))
    except ParameterError as error:
        stop(2, error)
    except FileNotFoundError as error:
        stop(1, f"{error.filename}: not found; `dvc repro` makes what a stage reads")
    except FloatingPointError as error:
        stop(1, f"{error}: try smaller numbers in {section}, of {PARAMS}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        stop(1, f"{where}{error.strerror or error}", alone=error.errno is not None)
    except KeyboardInterrupt:
        if "LOCAL_RANK" not in os.environ:
            print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)  # at once: taking torch down takes a second, and no file is half-written


def run(main, section):
    """Call `main` with its section as keywords, validated against its signature.

    Numbers may stand as text, since `-S train.lr=0.00001` is stored as `1e-05`, which PyYAML reads
    as a string.
    """
    # NaN and infinity are refused here, once; ranges stand in the signatures.
    validated = validate_call(main, config=ConfigDict(allow_inf_nan=False))
    known = inspect.signature(main).parameters
    with ended_in_one_line(section):
        given = read_section(section)
        check_names(section, given, known)
        check_types(section, given, known)
        validated(**given)
    note_time()


def note_time():
    """Leave the seconds that this stage took, for `make why`, if DVC runs it and there is room.

    They stand in .dvc/tmp/times/STAGE, where neither Git nor DVC looks, of the repository itself
    where `dvc exp run --temp` runs the stage in a copy.
    """
    if "DVC_ROOT" in os.environ:
        path = Path(os.environ["DVC_ROOT"], ".dvc/tmp/times", Path(sys.argv[0]).stem)
        with suppress(OSError, psutil.Error):
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{time.time() - psutil.Process().create_time():.1f}\n")


def stop(status, *lines, alone=False):
    """End the process: the lines on standard error, and the exit status.

    Of several processes on a machine the first one speaks; each does of what it found `alone`.
    """
    if alone or os.environ.get("LOCAL_RANK", "0") == "0":
        print(*lines, sep="\n", file=sys.stderr)
    sys.exit(status)
