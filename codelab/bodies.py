"""How large the body of a request may be.

Daphne has read the whole body before the application is asked who sends it. So the server itself stops what no path
takes (`codelab.server`); what a path takes below that is for the application to say. Nothing here may import Django:
the server reads it before there are apps.
"""

#: Bytes of a request to the OpenAI-compatible door; images are in it. No path takes more.
MAX_DOOR_BODY = 16 * 1024 * 1024
#: Bytes of any request. A little more, so that the application itself answers what is only just too large.
MAX_BODY = MAX_DOOR_BODY + 64 * 1024
