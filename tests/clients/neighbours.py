"""Stand-ins for what clients ask of AWS besides: embeddings of Bedrock, and the account of STS."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import numpy as np

from api.workbench import ACCOUNT

DIMENSION = 1536
"""Of Titan's first text embeddings, the default model of the clients."""
IDENTITY = f"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::{ACCOUNT}:user/test</Arn><UserId>TEST</UserId><Account>{ACCOUNT}</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""


def embedding(text: str) -> list[float]:
    """Near to those of texts with the same words, and to no other."""
    vector = np.zeros(DIMENSION)
    for word in text.lower().split():
        vector += np.random.default_rng(list(word.encode())).standard_normal(DIMENSION)
    return vector.tolist()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/invoke"):
            text = json.loads(body)["inputText"]
            answer = json.dumps({"embedding": embedding(text), "inputTextTokenCount": len(text.split())})
            self._answer("application/json", answer)
        else:
            assert b"Action=GetCallerIdentity" in body, body
            self._answer("text/xml", IDENTITY)

    def _answer(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing: the tests tell what went wrong."""


class Neighbours:
    """Both services on one port, while the context lasts. `variables` leads boto3 to them."""

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        url = f"http://127.0.0.1:{self._server.server_port}"
        self.variables = {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url, "AWS_ENDPOINT_URL_STS": url}
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
