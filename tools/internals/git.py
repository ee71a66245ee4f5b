"""Git commits and their files, and error handling of the commands."""

import os
import subprocess
import sys
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from common.params import ParameterError


class RunError(RuntimeError):
    """An error that ends a command; str() is the one-line message."""


@contextmanager
def exit_on_user_error():
    """Exit with a one-line message and status 1 if a command cannot continue, 130 on Ctrl-C."""
    try:
        yield
        sys.stdout.flush()  # Python prints errors at exit as tracebacks
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for the lines still in the buffer
        sys.exit(1)
    except (RunError, ParameterError, OSError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def git(*arguments):
    """The output of `git ARGUMENTS`, or None if the command fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def commit_of(revision):
    """The hash of a revision, or None if there is no such revision."""
    return git("rev-parse", "--verify", "--quiet", revision)


def current_commit():
    """The hash of HEAD; RunError outside a repository with a commit."""
    commit = commit_of("HEAD")
    if commit is None:
        raise RunError("not a Git repository with a commit: experiments belong to a commit")
    return commit


@lru_cache(maxsize=1)
def start_reader(folder):
    """One `git cat-file` process for all files: a process per file would take 5 ms each."""
    command = ["git", "cat-file", "--batch"]
    return subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def content_of(revision, path):
    """The bytes of a file in a revision, or FileNotFoundError; path is relative to the cwd."""
    reader = start_reader(Path.cwd())
    try:
        if "\n" in str(path):
            raise ValueError
        reader.stdin.write(f"{revision}:./{path}\n".encode())
        reader.stdin.flush()
        size = int(reader.stdout.readline().split()[-1])  # "missing" raises ValueError
    except (OSError, ValueError, IndexError):
        raise FileNotFoundError(f"{path}: not in {revision}") from None
    return reader.stdout.read(size + 1)[:-1]
