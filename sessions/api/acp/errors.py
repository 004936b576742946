"""Renders errors as those of JSON-RPC: `data` has our own code, by which programs tell them apart."""

from sessions.api.acp.rpc import Code, RpcError
from sessions.api.errors import explain
from sessions.protocol.codes import ErrorCode

SIGN_IN = frozenset({ErrorCode.NOT_SIGNED_IN, ErrorCode.TOKEN_EXPIRED, ErrorCode.TOKEN_INVALID})


def error_of(error: Exception) -> RpcError:
    """Return what a client is told of an error. Logs faults of the server."""
    if isinstance(error, RpcError):
        return error
    problem = explain(error)
    if problem.code in SIGN_IN:
        code = Code.AUTH_REQUIRED
    elif problem.status == 404:
        code = Code.RESOURCE_NOT_FOUND
    elif problem.status in (400, 413):
        code = Code.INVALID_PARAMS
    else:
        code = Code.INTERNAL_ERROR
    retry = {} if problem.retry_after is None else {"retry_after": problem.retry_after}
    return RpcError(code, problem.text, data={"error_code": str(problem.code), **retry})
