"""llama.cpp's own OpenAI-compatible server, in a process of its own until its standard input ends.

    PYTHONPATH=ENGINE python serve_llama.py FILE.gguf NAME WINDOW_TOKENS

Prints its address in one line. Imports nothing of the project, so that it can be started from anywhere.
"""

import sys

import xllamacpp

# What it may keep of earlier prompts; its own default is 8 GiB.
CACHE_MIB = 256


def main() -> None:
    """Serve the model that the command line names."""
    settings = xllamacpp.CommonParams()
    settings.model.path = sys.argv[1]
    settings.model_alias = {sys.argv[2]}
    settings.n_ctx = int(sys.argv[3])
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    # One at a time: a request that is not cancelled keeps the next one waiting, which a test can see.
    settings.n_parallel = 1
    settings.cache_ram_mib = CACHE_MIB
    settings.offline = True
    settings.ui = False
    server = xllamacpp.Server(settings)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
