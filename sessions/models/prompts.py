"""What models were sent, in pieces that later requests of the same session repeat."""

from django.db import models

from sessions.models.conversation import Session

#: Of a digest: the beginning of a SHA-256.
DIGEST_BYTES = 16


class PromptPiece(models.Model):
    """A part of a request to a model: a message, all that stands around the messages, or a list of other pieces.

    A session has a piece once, whichever calls were sent it (`ModelCall.prompt`).
    """

    pk = models.CompositePrimaryKey("session_id", "digest")
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="+", db_index=False)
    digest = models.BinaryField(max_length=DIGEST_BYTES, help_text="Beginning of the SHA-256 of the text as sent.")
    text = models.TextField(help_text="With the id of each image of the session in the place of its data.")

    class Meta:
        default_permissions = ()
        permissions = [
            ("view_prompts", "Can see what models were sent"),
            ("replay_prompts", "Can send a prompt to another model, at the operator's expense"),
        ]

    def __str__(self) -> str:
        return f"piece {bytes(self.digest).hex()}"
