"""What the APIs for completions share: chat completions, the Responses API and the Messages API.

Each of them translates a request into a `CompletionRequest`, and the pieces of its answer into events of its own.
Everything between is here: reading bodies, storing the request as a turn or finding the turn that it repeats, following
it, and the errors. Nothing here calls a model, and no request holds a thread while it waits.
"""
