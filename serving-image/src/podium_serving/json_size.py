"""How much the tensors of a JSON body can take at the most, before it is read."""

import asyncio

import numpy as np

from podium_serving.inference import STRING_BYTES
from podium_serving.json_pieces import REST
from podium_serving.signature import Signature

_AT_ONCE = 2**20  # bytes that are looked through in 0.2 ms, before others have their turn
_SHORTEST_STRING = 3  # bytes of JSON, with what separates it from the next one


async def most(signature: Signature, body: memoryview) -> int:
    """Bytes. Elements are separated by commas, so that there is one element more than there are commas at the most."""
    characters = np.frombuffer(body, np.uint8)
    elements = 1
    for start in range(0, characters.size, _AT_ONCE):
        if start:
            await asyncio.sleep(0)
        elements += int(np.count_nonzero(characters[start : start + _AT_ONCE] == ord(",")))
    dtypes = [spec.datatype.dtype for spec in signature.inputs if spec.datatype.dtype is not None]
    size = elements * max((dtype.itemsize for dtype in dtypes if not dtype.hasobject), default=0)
    if any(dtype.hasobject for dtype in dtypes):
        strings = min(elements, REST // _SHORTEST_STRING)
        size += strings * STRING_BYTES + min(body.nbytes, REST)
    return size
