"""The tools that this client runs in a workspace (docs/protocol.md, "Tools that the client runs")."""

from codelab_cli.outcome import Outcome, ToolFailed
from codelab_cli.tools.toolbox import NAMES, Toolbox

__all__ = ["NAMES", "Outcome", "ToolFailed", "Toolbox"]
