"""A client for CodeLab AI Service: sessions whose events are never lost, tools as functions, approvals as callbacks."""

from codelab_client.client import Client
from codelab_client.credentials import Tokens
from codelab_client.errors import CodelabError, ServerUnreachable, SessionClosed, SignInRequired, TurnFailed
from codelab_client.events import APPROVE, REJECT, Answer, Approval, Decision, Event, Message, Result, ToolCall
from codelab_client.session import Session
from codelab_client.sync import SyncClient
from codelab_client.tools import Tools

__all__ = [
    "APPROVE",
    "REJECT",
    "Answer",
    "Approval",
    "Client",
    "CodelabError",
    "Decision",
    "Event",
    "Message",
    "Result",
    "ServerUnreachable",
    "Session",
    "SessionClosed",
    "SignInRequired",
    "SyncClient",
    "Tokens",
    "ToolCall",
    "Tools",
    "TurnFailed",
]
