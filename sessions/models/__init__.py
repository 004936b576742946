"""The database: sessions with their messages, turns, tool calls, plans and events; model calls, budgets and workers.

Fields, constraints and names only; `sessions.turns` is the only writer of a turn's state. Columns that were added later
have a default in the database, so that processes of the previous version can keep writing during a rollout.
"""

from sessions.models.budgets import Budget, Period, Reservation
from sessions.models.completions import Completion, CompletionApi, CompletionKind
from sessions.models.conversation import MAX_TITLE_LENGTH, MODES, OPEN_STATUSES, Session, Turn, TurnStatus
from sessions.models.events import PIECES, Event, EventKind
from sessions.models.fields import MAX_CLIENT_NAME_LENGTH, new_id, one_of
from sessions.models.images import Image, MediaType
from sessions.models.ledger import ModelCall, ModelCallOutcome, ModelCallPurpose
from sessions.models.messages import SEARCHED_ROLES, Message, MessageRole
from sessions.models.plans import ACTIVE_PLANS, Plan, PlanStatus, SubTask, SubTaskStatus
from sessions.models.projects import Project
from sessions.models.prompts import PromptPiece, Replay, ReplayStatus
from sessions.models.provider_keys import ProviderKey
from sessions.models.summaries import Summary
from sessions.models.tools import (
    OPEN_CALLS,
    Approval,
    ApprovalStatus,
    PolicyRule,
    ToolCall,
    ToolCallStatus,
    ToolDefinitions,
    Via,
)
from sessions.models.upkeep import PostponedItem
from sessions.models.workers import WebProcess, Worker
from sessions.models.workspaces import Workspace
