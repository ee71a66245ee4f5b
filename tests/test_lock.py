"""requirements.lock contains the dependencies of pyproject.toml."""

import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from workspaces import ROOT


def test_every_dependency_is_locked_at_an_allowed_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lists = [project["project"]["dependencies"], project["dependency-groups"]["dev"]]
    lists += project["project"]["optional-dependencies"].values()
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE))
    for requirement in (Requirement(text) for texts in lists for text in texts):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), (
            requirement
        )
