"""What the commands in tools/ share. Its modules import `common` from stages/."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "stages"))
