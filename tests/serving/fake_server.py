"""Not vLLM: a program that listens, prints and ends like one, with faults that a real one cannot be made to have.

FAKE in the environment names the fault. The command line is that of ``vllm serve``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FAULT = os.environ.get("FAKE", "")
KEY = os.environ["VLLM_API_KEY"]
PORT = int(sys.argv[sys.argv.index("--port") + 1])


TOLD = {
    "/v1/models": b'{"data": [{"id": "fake", "max_model_len": 8192}]}',
    "/version": b'{"version": "0.32.0"}',
}


def say(text: str, level: str = "INFO", process: str = "APIServer") -> None:
    sys.stdout.write(f"({process} pid={os.getpid()}) {level} 11-28 02:51:51 [api_utils.py:286] {text}\n")
    sys.stdout.flush()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.path == "/die":
            say("EngineCore encountered a fatal error.", "ERROR")
            say(
                "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 5.56 GiB. GPU 0 has a total capacity of "
                "79.18 GiB of which 1.00 GiB is free.",
                "ERROR",
                "EngineCore",
            )
            os._exit(1)
        if self.path == "/wait":
            time.sleep(600)
        allowed = self.headers.get("Authorization") == f"Bearer {KEY}" or not self.path.startswith("/v1")
        status = 200 if allowed else 401
        self.send_response(503 if FAULT == "unhealthy" and self.path == "/health" else status)
        told = TOLD.get(self.path, b"{}")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def do_POST(self) -> None:
        """Where a client asks something, the faults of a server at work."""
        if FAULT == "dies-when-asked":
            say("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 5.56 GiB.", "ERROR", "EngineCore")
            os._exit(1)
        if FAULT == "hangs-when-asked":
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(600)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    say("vLLM API server version 0.32.0")
    if FAULT == "dies":
        say(
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 5.56 GiB. GPU 0 has a total capacity of "
            "79.18 GiB of which 1.00 GiB is free.",
            "ERROR",
            "EngineCore",
        )
        sys.exit(1)
    if FAULT == "refuses":
        sys.stderr.write(
            "ValueError: The output_size of gate's and up's weight = 320 is not divisible by\n"
            "weight quantization block_n = 128.\n"
        )
        sys.exit(1)
    if FAULT == "unknown-end":
        sys.exit(3)
    if FAULT == "silent":
        time.sleep(600)
    if FAULT == "hangs-on":
        say(
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): "
            "{'EngineCore_DP0': 1}",
            "ERROR",
        )
        time.sleep(600)
    if FAULT == "never-ready":
        while True:
            say("Loading safetensors checkpoint shards: 1% Completed")
            time.sleep(0.2)
    if FAULT == "port-taken-once":
        marker = Path(os.environ["FAKE_MARKER"])
        if not marker.exists():
            marker.touch()
            say(
                f"[Errno 98] error while attempting to bind on address ('127.0.0.1', {PORT}): address already in use",
                "ERROR",
            )
            sys.exit(1)
    if FAULT == "port-always-taken":
        sys.stderr.write(f"OSError: [Errno 98] Address already in use: ('127.0.0.1', {PORT})\n")
        sys.exit(1)
    if FAULT == "fills-disk":
        while True:
            say("x" * 4000)
    if FAULT == "ignores-sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if FAULT == "grandchild":
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        time.sleep(0.5)
    say("Starting to load model x...", process="Worker")
    say("GPU KV cache size: 2,097,152 tokens", process="EngineCore")
    say("Maximum concurrency for 8,192 tokens per request: 256.00x", process="EngineCore")
    ThreadingHTTPServer.allow_reuse_address = True
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    if FAULT != "ignores-sigterm":
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    say("Application startup complete.")
    server.serve_forever()


main()
