"""Link .venv to an environment with the packages of requirements.lock, and build a missing one.

Environments are in .venvs/, each named after a hash of the lock file's content, the version of
Python and the folder: console scripts hold absolute paths, so an environment cannot be moved.
`ready` in it is written last and holds what was hashed. .venv is replaced only when the new
environment is complete, and nothing is removed through a link. Needs the standard library alone.
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
# No entry of PATH can have a colon, and the scripts of venv do not quote the others.
UNUSABLE = set(":$\"'`\\\n")
# Where a user's pip and uv install by default; their mirrors, certificates and caches stay.
ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_CONSTRAINT", "PIP_REQUIREMENT")
ELSEWHERE += ("UV_SYSTEM_PYTHON", "UV_PYTHON", "UV_CONSTRAINT", "UV_OVERRIDE", "VIRTUAL_ENV")


def identity(lock, store):
    """What an environment in this folder is made from: lock file, version of Python, the folder."""
    digest = hashlib.sha256(lock).hexdigest()
    return "{}\n{}.{}\n{}\n".format(digest, *sys.version_info[:2], store.resolve())


def marker(environment):
    """What its set-up wrote when it was complete, or nothing."""
    try:
        return (environment / "ready").read_text()
    except OSError:
        return ""


def is_complete(environment, lock):
    """Whether it was made from this lock file, by this version of Python, where it is."""
    made_from = identity(lock, environment.resolve().parent)
    return marker(environment) == made_from and (environment / "bin/python").exists()


def make_store():
    """.venvs, as a link to the user's cache where the folder's own name would be no use."""
    if UNUSABLE & set(str(Path.cwd())) and not STORE.is_symlink():
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        STORE.symlink_to(cache / "deep-learning-basics")
    store = STORE.resolve()
    if bad := UNUSABLE & set(str(store)):
        sys.exit(f"{store}: no environment works in a folder with {' '.join(bad)} in its name")
    store.mkdir(parents=True, exist_ok=True)
    return store


@contextmanager
def locked(path):
    """Hold a lock. Its file descriptor is passed on, so that it lasts until child processes end."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another set-up", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def variables():
    """The environment for pip and uv. Without a folder to write in, uv takes a temporary cache."""
    found = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    found["PIP_USER"] = "0"
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(os.environ.get("UV_CACHE_DIR") or Path(cache, "uv"))
        cache.mkdir(parents=True, exist_ok=True)
        writable = os.access(cache, os.W_OK)
    except (OSError, RuntimeError):  # no HOME, and no account
        writable = False
    return found if writable else found | {"UV_NO_CACHE": "1"}


def build(environment, lock, descriptor):
    """Build it in place. What a killed set-up left there is removed; what fails, too.

    From a copy of the lock file: that of the folder may change meanwhile, with the branch.
    """

    def run(*command):
        subprocess.run(command, check=True, pass_fds=[descriptor], env=variables())

    def remove():
        if environment.is_symlink():
            environment.unlink()
        elif environment.exists():
            shutil.rmtree(environment)

    remove()
    print(f"building {os.path.relpath(environment)} from {LOCK}", flush=True)
    try:
        run(sys.executable, "-m", "venv", environment)
        # uv is taken from the lock file too: pip checks its hash, and uv checks all the others.
        (environment / LOCK).write_bytes(lock)
        uv = re.search(rb"^uv==(.*\\\n)*.*\n", lock, re.MULTILINE)
        (environment / "uv.lock").write_bytes(uv[0] if uv else b"")
        pip = [environment / "bin/python", "-m", "pip", "install", "--disable-pip-version-check"]
        run(*pip, "--quiet", "--require-hashes", "-r", environment / "uv.lock")
        sync = [environment / "bin/uv", "pip", "sync", "--quiet", "--require-hashes"]
        run(*sync, "--python", environment, environment / LOCK)
        beside = environment / "ready.part"
        with open(beside, "w") as file:
            file.write(identity(lock, environment.parent))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(environment / "ready")
    except BaseException:
        remove()  # a full disk has room again
        raise


def switch(environment):
    """Make .venv a link to it, at once. A folder is kept, under another name."""
    if LINK.is_dir() and not LINK.is_symlink():
        former = tempfile.mkdtemp(prefix=".venv.former-", dir=".")
        LINK.rename(former)
        print(f"the former .venv is now {former}: remove it when nothing runs from it")
    beside = Path(f".venv.{os.getpid()}.part")
    beside.unlink(missing_ok=True)
    beside.symlink_to(STORE / environment.name)
    beside.replace(LINK)


def main():
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        version = "{}.{}".format(*sys.version_info[:2])
        sys.exit(f"Python 3.11 to 3.13 is needed, this is {version}: make PYTHON=python3.12 ...")
    lock = LOCK.read_bytes()
    if is_complete(LINK, lock):
        return
    store = make_store()
    wanted, found = identity(lock, store), marker(LINK).splitlines()
    environment = store / hashlib.sha256(wanted.encode()).hexdigest()[:12]
    if found[:2] == wanted.splitlines()[:2] and not is_complete(environment, lock):
        print(f"the environment of .venv was made in {found[2]}, and works nowhere else")
    with locked(store / f"{environment.name}.lock") as descriptor:
        if not is_complete(environment, lock):
            build(environment, lock, descriptor)
    switch(environment)


if __name__ == "__main__":
    try:
        main()
    except (subprocess.CalledProcessError, OSError) as error:
        sys.exit(f"set-up failed, .venv is as it was: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
