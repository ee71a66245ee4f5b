"""The commands of docs/clusters.md on a real Slurm with two nodes on this machine."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from repositories import commit, dvc, git, make_repository
from workspaces import ENV, ROOT

PATH = f"{ENV['PATH']}:/usr/sbin"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel")
MISSING = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
MISSING += [] if importlib.util.find_spec("dask_jobqueue") else ["dask-jobqueue"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(os.getuid() != 0, reason="slurmd needs root"),
]
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
MpiDefault=none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=4000
PartitionName=all Nodes=n1,n2 Default=YES
"""
# Site-specific settings, which docs/clusters.md leaves open.
LOOPBACK = {
    "DASK_JOBQUEUE__SLURM__INTERFACE": "lo",
    "DASK_JOBQUEUE__SLURM__SCHEDULER_OPTIONS": "{'dashboard_address': '127.0.0.1:0'}",
}


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_until(condition, seconds=900):
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "timeout"
        time.sleep(0.2)
    return result


def processes_in(folder):
    """The processes whose current folder is this one or below it."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                yield process


@pytest.fixture
def slurm(tmp_path):
    """The environment variables for a running Slurm with two nodes, n1 and n2, of one CPU each."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    configuration = CONFIGURATION.format(host=host, folder=folder, ports=free_ports(3))
    (folder / "slurm.conf").write_text(configuration)
    environment = ENV | LOOPBACK | {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": PATH}
    environment |= {"OMP_NUM_THREADS": "1"}
    files = ("key-file", "socket", "pid-file", "log-file", "seed-file")
    munge = [f"--{name}={folder}/munge.{name.removesuffix('-file')}" for name in files]

    def start(*command):
        options = {"cwd": folder, "env": environment, "stderr": subprocess.STDOUT}
        with open(folder / "daemons.log", "a") as log:
            subprocess.Popen(command, stdout=log, **options)

    def idle_nodes():
        command = ["sinfo", "--noheader", "--format=%T %D"]
        return subprocess.run(command, env=environment, capture_output=True, text=True).stdout

    try:
        start("munged", "--foreground", "--force", *munge)
        wait_until((folder / "munge.socket").exists, 60)
        start("slurmctld", "-D")
        start("slurmd", "-D", "-N", "n1")
        start("slurmd", "-D", "-N", "n2")
        wait_until(lambda: idle_nodes() == "idle 2\n", 120)
        yield environment
    finally:
        for end in (psutil.Process.terminate, psutil.Process.kill):
            processes = [*processes_in(tmp_path)]
            for process in processes:
                with suppress(psutil.Error):
                    end(process)
            psutil.wait_procs(processes, timeout=10)
    assert not [*processes_in(tmp_path)]


def block(language):
    """The code block in this language in docs/clusters.md."""
    text = (ROOT / "docs/clusters.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return code


def training_runs(folder):
    """Job number to process of each training run."""
    jobs = {}
    for process in processes_in(folder):
        with suppress(psutil.Error):
            if "stages/cnn_train.py" in process.cmdline():
                jobs[process.environ()["SLURM_JOB_ID"]] = process
    return jobs


def experiments(folder):
    """Name to commit of every experiment."""
    form = "--format=%(refname:lstrip=4) %(objectname)"
    lines = git(folder, "for-each-ref", form, "refs/exps/??/*/*").splitlines()
    return dict(line.split() for line in lines)


def test_a_sweep_on_slurm_completes_after_a_job_is_cancelled(slurm, tmp_path):
    folder = make_repository(tmp_path / "project")
    (folder / "tools").symlink_to(ROOT / "tools")
    (folder / "slurm.py").write_text(block("python"))
    dvc(folder, "repro", "--quiet", "download_mnist")
    commit(folder)

    output = tmp_path / "output"
    with open(output, "w") as file:
        command, options = ["sh", "-c", block("sh")], {"stdout": file, "stderr": subprocess.STDOUT}
        sweep = subprocess.Popen(command, cwd=folder, env=slurm, **options)

    def training_after_the_first_result():
        assert sweep.poll() is None, output.read_text()
        return experiments(folder) and training_runs(folder)

    job, training = next(iter(wait_until(training_after_the_first_result).items()))
    subprocess.run(["scancel", job], env=slurm, check=True)
    assert sweep.wait(timeout=900) == 0, output.read_text()
    assert not training.is_running()
    completed = experiments(folder)
    assert completed.keys() == {f"seed={seed}" for seed in range(1, 9)}

    # All eight exist with valid provenance, so the sweep runs nothing and needs no cluster.
    command = ["python", "tools/sweep.py", "-S", "train.seed=range(1,9)"]
    again = slurm | {"DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:1"}
    subprocess.run(command, cwd=folder, env=again, check=True)
    assert experiments(folder) == completed
