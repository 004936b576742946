"""The WebSocket protocol: the frames of clients and of the server, with error codes and close codes.

It serves the clients of the original unchanged (docs/protocol.md has the reasons): it ignores unknown fields, accepts
explicit nulls, sends no frame that they do not expect, and adds facts as extra fields of known frames. This package
must never use the database or the network. `manage.py export_protocol` writes it as JSON Schema and AsyncAPI.
"""
