"""Servers to compare with, each a program of one file for an interpreter that has what it imports.

All load the same ONNX model with one thread, and answer the Open Inference Protocol's body in JSON.
"""

from dataclasses import dataclass

BARE_HTTP = """
import asyncio, sys, uvloop

class BareHTTP(asyncio.Protocol):
    def __init__(self):
        self.received, self.expected = b"", 0
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.received += data
        if not self.expected:
            head = self.received.find(b"\\r\\n\\r\\n")
            if head < 0:
                return
            length = self.received[:head].lower().split(b"content-length: ", 1)[1].split(b"\\r\\n", 1)[0]
            self.expected = head + 4 + int(length)
        if len(self.received) >= self.expected:
            self.received, self.expected = b"", 0
            self.asked()

async def serve(protocol):
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", int(sys.argv[2]))
    await server.serve_forever()
"""
"""The least that takes one request after the other; what it does once it is `asked` is its subclass's."""

FLOOR = (
    BARE_HTTP
    + """
BODY = b'{"model_name":"model","outputs":[{"name":"y","shape":[1],"datatype":"FP32","data":[1.0]}]}'
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n"
ANSWER = HEAD % len(BODY) + BODY

class Floor(BareHTTP):
    def asked(self):
        self.transport.write(ANSWER)

uvloop.run(serve(Floor))
"""
)

_SESSION = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
names = [each.name for each in session.get_outputs()]
TYPES = {"FP32": "float32", "INT64": "int64"}

def infer(inputs):
    feeds = {each["name"]: numpy.array(each["data"], TYPES[each["datatype"]]).reshape(each["shape"]) for each in inputs}
    return session.run(None, feeds)
"""

FASTAPI = (
    _SESSION
    + """
from fastapi import FastAPI
from pydantic import BaseModel
import uvicorn

class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]

class Inference(BaseModel):
    inputs: list[Tensor]

app = FastAPI()

@app.post("/v2/models/model/infer")
async def answer(request: Inference):
    tensors = infer([each.model_dump() for each in request.inputs])
    return {"outputs": [{"name": n, "shape": list(t.shape), "datatype": "FP32", "data": t.ravel().tolist()}
                        for n, t in zip(names, tensors)]}

uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""
)

LITSERVE = (
    _SESSION.replace("sys.argv[1]", "MODEL").replace("import sys,", "import sys\nMODEL = sys.argv[1]\nimport")
    + """
import litserve

class Api(litserve.LitAPI):
    def setup(self, device):
        pass
    def decode_request(self, request):
        return request["inputs"]
    def predict(self, inputs):
        return infer(inputs)
    def encode_response(self, tensors):
        return {"outputs": [
            {"name": n, "shape": list(t.shape), "datatype": "FP32", "data": t.ravel().tolist()}
            for n, t in zip(names, tensors)
        ]}

if __name__ == "__main__":
    server = litserve.LitServer(Api(api_path="/v2/models/model/infer"), accelerator="cpu")
    server.run(port=int(sys.argv[2]), log_level="error", generate_client_file=False)
"""
)

MLSERVER = (
    _SESSION
    + """
import asyncio, socket
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class Onnx(MLModel):
    async def load(self):
        return True
    async def predict(self, payload):
        tensors = session.run(None, {each.name: NumpyCodec.decode_input(each) for each in payload.inputs})
        outputs = [NumpyCodec.encode_output(n, t) for n, t in zip(names, tensors)]
        return InferenceResponse(model_name=self.name, outputs=outputs)

def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]

async def main():
    # No workers: they would cost a hop between processes for each request.
    ports = {"http_port": int(sys.argv[2]), "grpc_port": free_port(), "metrics_port": free_port()}
    server = MLServer(Settings(host="127.0.0.1", parallel_workers=0, debug=False, **ports))
    await server.start([ModelSettings(name="model", implementation=Onnx)])

asyncio.run(main())
"""
)

KSERVE = (
    _SESSION
    + """
import logging
import kserve

class Onnx(kserve.Model):
    def __init__(self):
        super().__init__("model")
        self.ready = True
    def predict(self, payload, headers=None):
        tensors = session.run(None, {each.name: each.as_numpy() for each in payload.inputs})
        outputs = []
        for name, tensor in zip(names, tensors):
            output = kserve.InferOutput(name, list(tensor.shape), "FP32" if tensor.dtype == "float32" else "INT64")
            output.set_data_from_numpy(tensor, binary_data=False)
            outputs.append(output)
        return kserve.InferResponse(payload.id or "none", "model", outputs)

# A line for each request is not what is measured.
logging.disable(logging.WARNING)
server = kserve.ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, workers=1, enable_latency_logging=False)
server.start([Onnx()])
"""
)


@dataclass(frozen=True)
class Peer:
    """`program` is run as `python FILE MODEL PORT` by the interpreter of a virtual environment, if that is there."""

    name: str
    environment: str
    program: str
    packages: tuple[str, ...]


PEERS = (
    Peer("floor: a bare answer", "", FLOOR, ()),
    Peer("FastAPI with pydantic", "fastapi", FASTAPI, ("fastapi", "uvicorn[standard]", "onnxruntime", "numpy")),
    Peer("MLServer without workers", "mlserver", MLSERVER, ("mlserver==1.7.1", "uvloop<0.22", "onnxruntime", "numpy")),
    Peer("KServe's model server", "kserve", KSERVE, ("kserve", "onnxruntime", "numpy")),
    Peer("LitServe", "litserve", LITSERVE, ("litserve", "onnxruntime", "numpy")),
)
