"""The audit log: one row for each use or change of credentials that operators may have to explain."""

import structlog

from codelab.identity.models import AuditEntry, AuditKind

logger = structlog.get_logger(__name__)


def record(
    kind: AuditKind, *, user_id: int | None = None, client_id: str = "", address: str = "", detail: str = ""
) -> None:
    """Write an entry, in the caller's transaction, and a log line."""
    AuditEntry.objects.create(
        kind=kind, user_id=user_id, client_id=client_id[:100], address=address or None, detail=detail[:200]
    )
    logger.info(str(kind), user_id=user_id, client_id=client_id[:100])
