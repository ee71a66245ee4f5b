"""Shared code of the commands in tools/. Importing this package adds stages/ to sys.path."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "stages"))
