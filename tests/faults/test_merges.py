"""After a merge of branches with different parameters, `dvc repro` writes the results of the merged
parameters.
"""

import subprocess

import pytest
from repositories import commit, copy_of, dvc, git
from test_pipeline import change
from workspaces import ENV


@pytest.fixture(scope="module")
def branches(first_run, tmp_path_factory):
    """A repository with branches `ours` and `theirs`, with different parameters of `surfaces`."""
    folder = copy_of(first_run, tmp_path_factory.mktemp("merges") / "project")
    git(folder, "branch", "theirs")
    for branch, name, value in (("ours", "tolerance", 0.05), ("theirs", "extent", 4.0)):
        git(folder, "checkout", "--quiet", *(["-b"] if branch == "ours" else []), branch)
        change(folder, "surfaces", name, value)
        dvc(folder, "repro", "--quiet", "surfaces")
        commit(folder)
    git(folder, "tag", "start", "ours")
    return folder


@pytest.mark.parametrize(
    "strategy",
    [
        ["-X", "theirs"],
        pytest.param([], marks=pytest.mark.full),
        pytest.param(["-X", "ours"], marks=pytest.mark.full),
        pytest.param(["-s", "ours"], marks=pytest.mark.full),
    ],
    ids=" ".join,
)
def test_repro_after_a_merge_writes_the_results_of_the_merged_parameters(branches, strategy):
    git(branches, "checkout", "--quiet", "--force", "-B", "ours", "start")
    dvc(branches, "checkout", "--quiet", "--force")
    command = ["git", "merge", "--quiet", "--no-edit", *strategy, "theirs"]
    merged = subprocess.run(command, cwd=branches, env=ENV, capture_output=True, text=True)
    conflict = merged.returncode != 0
    assert conflict == ("CONFLICT" in merged.stdout) == (not strategy)
    params = (branches / "params.yaml").read_text()
    assert ("extent: 4.0" in params) == (strategy != ["-s", "ours"])
    assert "tolerance: 0.05" in params

    dvc(branches, "repro", "--quiet", "surfaces")
    if conflict:
        assert git(branches, "diff", "--check") == ""
        commit(branches)
    metrics = (branches / "reports/metrics/surfaces.json").read_bytes()
    dvc(branches, "repro", "--quiet", "--force", "surfaces")
    assert (branches / "reports/metrics/surfaces.json").read_bytes() == metrics
