"""Link .venv to an environment with the packages of requirements.lock; build it if it is missing.

Each environment is a folder in .venvs/, named by a hash of the lock file, the Python version and
the folder (console scripts contain absolute paths). Its file `ready` is written last. .venv changes
only when the new environment is complete; nothing is deleted through a link. This script uses only
the standard library.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

LINK, STORE, LOCK = Path(".venv"), Path(".venvs"), Path("requirements.lock")
# PATH cannot contain folders with a colon; venv's scripts do not quote the other characters.
UNUSABLE = set(":$\"'`\\\n")


def name_of(lock, store):
    """The name of an environment: a hash of the lock file, the Python version and the folder."""
    digest = hashlib.sha256(lock).hexdigest()
    text = "{}\n{}.{}\n{}\n".format(digest, *sys.version_info[:2], store.resolve())
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_complete(environment, lock):
    """Whether an environment was built from this lock file, with this Python, in its folder."""
    folder = environment.resolve()
    ready = (folder / "ready").exists() and (folder / "bin/python").exists()
    return ready and folder.name == name_of(lock, folder.parent)


def cache_folder():
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def move_aside(folder):
    """Rename a folder instead of deleting it, because processes may use it."""
    former = tempfile.mkdtemp(prefix=f"{folder}.former-", dir=".")
    folder.rename(former)
    print(f"moved the old {folder} to {former}: delete it once no process uses it")


def make_store():
    """Create .venvs, as a link to the user's cache if the project's path is unusable."""
    if UNUSABLE & set(str(Path.cwd())) and not STORE.is_symlink():
        if STORE.exists():  # the project was renamed
            move_aside(STORE)
        STORE.symlink_to(cache_folder() / "deep-learning-basics")
    store = STORE.resolve()
    if bad := UNUSABLE & set(str(store)):
        sys.exit(f"{store}: Python environments do not work in a path with {' '.join(bad)}")
    store.mkdir(parents=True, exist_ok=True)
    return store


@contextmanager
def locked(path):
    """Hold a lock. Child processes inherit its descriptor, so they keep the lock until they end."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another make setup", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def variables():
    """The environment variables for pip and uv; without a writable cache, uv runs without one."""
    try:
        cache = Path(os.environ.get("UV_CACHE_DIR") or cache_folder() / "uv")
        cache.mkdir(parents=True, exist_ok=True)
        writable = os.access(cache, os.W_OK)
    except (OSError, RuntimeError):  # no HOME and no user account
        writable = False
    return os.environ if writable else os.environ | {"UV_NO_CACHE": "1"}


def install(environment, lock, descriptor):
    """Install the packages of a lock file in a new environment.

    `lock` is the content of the file: the file itself changes if the user switches branches.
    """

    def run(*command):
        subprocess.run(command, check=True, pass_fds=[descriptor], env=variables())

    run(sys.executable, "-m", "venv", environment)
    # The lock file contains uv, too: pip checks uv's hash, and uv checks all others.
    (environment / LOCK).write_bytes(lock)
    uv = re.search(rb"^uv==(.*\\\n)*.*\n", lock, re.MULTILINE)
    (environment / "uv.lock").write_bytes(uv[0] if uv else b"")
    pip = [environment / "bin/python", "-m", "pip", "install", "--disable-pip-version-check"]
    run(*pip, "--quiet", "--require-hashes", "-r", environment / "uv.lock")
    sync = [environment / "bin/uv", "pip", "sync", "--quiet", "--require-hashes"]
    run(*sync, "--python", environment, environment / LOCK)
    (environment / "ready").touch()


def build(environment, lock, descriptor):
    """Replace the leftovers of a killed setup; delete a failed environment to free disk space."""
    if environment.exists():
        shutil.rmtree(environment)
    found = (LINK / "ready").exists()
    reason = "; .venv is for another folder, Python version or lock file" if found else ""
    print(f"building {os.path.relpath(environment)} from {LOCK}{reason}", flush=True)
    try:
        install(environment, lock, descriptor)
    except BaseException:
        shutil.rmtree(environment, ignore_errors=True)
        raise


def switch(environment):
    """Replace the link .venv atomically."""
    if LINK.is_dir() and not LINK.is_symlink():
        move_aside(LINK)
    part = Path(f".venv.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    part.symlink_to(STORE / environment.name)
    part.replace(LINK)


def main():
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        version = "{}.{}".format(*sys.version_info[:2])
        sys.exit(f"expected Python 3.11 to 3.14, found {version}: run make PYTHON=python3.12 ...")
    lock = LOCK.read_bytes()
    if is_complete(LINK, lock):
        return
    store = make_store()
    environment = store / name_of(lock, store)
    with locked(store / f"{environment.name}.lock") as descriptor:
        if not is_complete(environment, lock):
            build(environment, lock, descriptor)
    switch(environment)


if __name__ == "__main__":
    try:
        main()
    except (subprocess.CalledProcessError, OSError) as error:
        sys.exit(f"setup failed, .venv is unchanged: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
