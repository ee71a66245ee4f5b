"""`make setup` with a stub of uv that installs nothing. After every failure .venv still works."""

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode

import pytest
from workspaces import ROOT

pytestmark = pytest.mark.slow

# The stub hangs or fails if the lock file contains this comment.
UV = """import sys, time
def main():
    lock = open(sys.argv[-1]).read()
    if "# hang" in lock:
        print("hanging", flush=True)
        time.sleep(600)
    sys.exit("# fail" in lock)
"""
WHEEL = {
    "uv.py": UV,
    "uv-0.dist-info/METADATA": "Metadata-Version: 2.1\nName: uv\nVersion: 0\n",
    "uv-0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "uv-0.dist-info/entry_points.txt": "[console_scripts]\nuv = uv:main\n",
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """A folder with a wheel of the stub and a lock file with its hash."""
    folder = tmp_path_factory.mktemp("wheels")
    record = "uv-0.dist-info/RECORD,,\n"
    with zipfile.ZipFile(folder / "uv-0-py3-none-any.whl", "w") as wheel:
        for name, text in WHEEL.items():
            digest = urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record = f"{name},sha256={digest},{len(text)}\n{record}"
            wheel.writestr(name, text)
        wheel.writestr("uv-0.dist-info/RECORD", record)
    digest = hashlib.sha256((folder / "uv-0-py3-none-any.whl").read_bytes()).hexdigest()
    (folder / "requirements.lock").write_text(f"uv==0 \\\n    --hash=sha256:{digest}\n")
    return folder


def make_project(folder, wheels):
    """Create a project without an environment."""
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools/environment.py", folder / "tools")
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(wheels / "requirements.lock", folder)
    return folder


@pytest.fixture
def project(wheels, tmp_path):
    return make_project(tmp_path / "a project", wheels)


@pytest.fixture(scope="module")
def built(wheels, tmp_path_factory):
    """A project whose environment replaced an existing folder .venv."""
    folder = make_project(tmp_path_factory.mktemp("built") / "a project", wheels)
    (folder / ".venv").mkdir()
    (folder / ".venv/precious").touch()
    done = set_up(folder, wheels)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def start(folder, wheels, **options):
    """Start `make setup` with the stub as the only available package."""
    home = folder.parent / "home"
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "HOME": str(home)}
    return subprocess.Popen(
        ["make", "setup", f"PYTHON={sys.executable}"],
        cwd=folder,
        env=os.environ | pip,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def set_up(folder, wheels, **options):
    process = start(folder, wheels, **options)
    output, errors = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def change_lock(folder, comment):
    with open(folder / "requirements.lock", "a") as lock:
        lock.write(f"# {comment}\n")


def environment_works(folder):
    """Whether .venv activates and runs its console script."""
    command = ["sh", "-c", ". .venv/bin/activate && exec uv /dev/null"]
    return subprocess.run(command, cwd=folder, check=False).returncode == 0


def test_an_existing_venv_folder_is_renamed_not_deleted(built):
    folder, output = built
    (former,) = folder.glob(".venv.former-*")
    assert (former / "precious").exists()
    assert former.name in output
    assert environment_works(folder)


def test_the_content_of_the_lock_file_matters_not_its_modification_time(built, wheels):
    folder, _ = built
    before = (folder / ".venv").readlink()
    os.utime(folder / "requirements.lock", (2**32, 2**32))
    done = set_up(folder, wheels)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (folder / ".venv").readlink() == before


def test_a_clone_uses_a_linked_environment_and_never_deletes_it(built, project, wheels):
    shared, _ = built
    (project / ".venv").symlink_to(shared / ".venv")
    done = set_up(project, wheels)
    assert (done.returncode, done.stdout) == (0, "")
    assert (project / ".venv").readlink() == shared / ".venv"
    change_lock(project, "fail")  # no environment matches
    assert set_up(project, wheels).returncode != 0
    assert (project / ".venv").readlink() == shared / ".venv"
    assert environment_works(shared)
    assert environment_works(project)


@pytest.mark.full
def test_a_failed_installation_leaves_the_environment_unchanged(built, wheels):
    folder, _ = built
    lock = folder / "requirements.lock"
    before, link, entries = lock.read_text(), (folder / ".venv").readlink(), {*folder.iterdir()}
    lock.write_text(before.replace("sha256:", "sha256:0000")[:-5] + "\n")
    failed = set_up(folder, wheels)
    lock.write_text(before)
    assert failed.returncode != 0
    assert "setup failed, .venv is unchanged" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert (folder / ".venv").readlink() == link
    assert {*folder.iterdir()} == entries
    assert environment_works(folder)
    assert set_up(folder, wheels).stdout == ""


@pytest.mark.full
def test_a_full_disk_leaves_the_environment_unchanged(built, wheels):
    """A limit of 10,000 bytes per file simulates a full disk."""
    folder, _ = built
    before, link = (folder / "requirements.lock").read_text(), (folder / ".venv").readlink()
    change_lock(folder, "another")
    limit = (resource.RLIMIT_FSIZE, (10_000, 10_000))
    failed = set_up(folder, wheels, preexec_fn=lambda: resource.setrlimit(*limit))
    (folder / "requirements.lock").write_text(before)
    assert failed.returncode != 0
    assert (folder / ".venv").readlink() == link
    assert environment_works(folder)
    assert len([path for path in (folder / ".venvs").iterdir() if path.is_dir()]) == 1


@pytest.mark.full
def test_a_branch_with_another_lock_file_switches_the_environment(built, wheels):
    folder, _ = built
    lock = folder / "requirements.lock"
    before, link = lock.read_text(), (folder / ".venv").readlink()
    change_lock(folder, "another")
    assert "building" in set_up(folder, wheels).stdout
    other = lock.read_text(), (folder / ".venv").readlink()
    assert other[1] != link
    for text, expected in ((before, link), other, (before, link)):
        lock.write_text(text)
        assert set_up(folder, wheels).stdout == ""
        assert (folder / ".venv").readlink() == expected
        assert environment_works(folder)


@pytest.mark.full
def test_after_a_killed_setup_the_old_environment_works_and_the_next_setup_completes(built, wheels):
    folder, _ = built
    before, link = (folder / "requirements.lock").read_text(), (folder / ".venv").readlink()
    change_lock(folder, "hang")
    process = start(folder, wheels)
    lines = iter(process.stdout.readline, "hanging\n")
    assert any("building" in line for line in lines)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert (folder / ".venv").readlink() == link
    assert environment_works(folder)
    again = start(folder, wheels)
    assert "building" in again.stdout.readline()
    os.killpg(again.pid, signal.SIGINT)
    again.communicate()
    (folder / "requirements.lock").write_text(before)
    assert set_up(folder, wheels).stdout == ""
    assert environment_works(folder)


@pytest.mark.full
def test_of_two_concurrent_setups_one_builds_and_the_other_waits(project, wheels):
    both = [start(project, wheels) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sorted("building" in output for output, _ in outputs) == [False, True]
    assert sorted("waiting" in errors for _, errors in outputs) == [False, True]
    assert environment_works(project)


@pytest.mark.full
def test_a_renamed_project_gets_its_own_environment(built, wheels, tmp_path):
    before, _ = built
    folder = shutil.copytree(before, tmp_path / "renamed", symlinks=True)
    done = set_up(folder, wheels)
    assert done.returncode == 0
    assert "; .venv is for another folder, Python version or lock file\n" in done.stdout
    assert environment_works(folder)
    script = (folder / ".venv/bin/uv").read_text()
    assert str(folder) in script


@pytest.mark.full
def test_a_project_renamed_to_a_path_with_a_colon_gets_its_own_environment(built, wheels, tmp_path):
    before, _ = built
    folder = shutil.copytree(before, tmp_path / "a:b", symlinks=True)
    done = set_up(folder, wheels)
    assert done.returncode == 0, done.stderr
    assert "moved the old .venvs to " in done.stdout
    assert environment_works(folder)


@pytest.mark.full
@pytest.mark.parametrize("name", ["a:b", "$HOME", "it's", 'a "b"', "ünïcode & co"])
def test_the_project_folder_can_have_any_name(project, wheels, name):
    folder = project.rename(project.with_name(name))
    done = set_up(folder, wheels)
    assert done.returncode == 0, done.stderr
    assert environment_works(folder)
