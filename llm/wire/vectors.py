"""Reads responses with embeddings."""

import math
import re
from array import array
from typing import Any

from pydantic import ValidationError

from llm import errors
from llm.types import TokenUsage, Vectors
from llm.usage import parse_usage
from llm.wire.parts import WireModel

#: A vector in a response with embeddings.
VECTOR_PATTERN = re.compile(rb'"embedding"\s*+:\s*+\[([-+0-9.eE,\s]*+)\]')


class _Embedding(WireModel):
    index: int
    #: The position of the vector in the response.
    embedding: int


class _Embeddings(WireModel):
    data: list[_Embedding]
    usage: Any = None


def parse_vectors(body: bytes | bytearray) -> Vectors:
    """Parse a response with embeddings. Raises ModelError.

    The numbers are cut out first and kept as 32-bit ones: as Python's own they would take ten times as much memory.
    """
    vectors: list[array[float]] = []

    def cut(match: re.Match[bytes]) -> bytes:
        vectors.append(array("f", map(float, match[1].split(b","))))
        return b'"embedding":%d' % (len(vectors) - 1)

    try:
        response = _Embeddings.model_validate_json(VECTOR_PATTERN.sub(cut, body))
        ordered = [vectors[each.embedding] for each in sorted(response.data, key=lambda each: each.index)]
    except ValidationError as error:
        raise errors.ModelUnavailable(f"embeddings that cannot be read: {error.error_count()} errors") from None
    except (ValueError, IndexError):
        raise errors.ModelUnavailable("embeddings with numbers that cannot be read") from None
    if not all(math.isfinite(sum(vector)) for vector in ordered):
        raise errors.ModelUnavailable("embeddings with numbers that are too large")
    usage = parse_usage(response.usage) if response.usage else None
    return Vectors(ordered, usage or TokenUsage())
