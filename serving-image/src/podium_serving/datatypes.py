"""The tensor datatypes of the Open Inference Protocol, and what onnxruntime, numpy and JSON call them."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Datatype:
    """One datatype. `onnx` is onnxruntime's name, `packing` the struct format character of an element.

    `dtype` is numpy's type, None where numpy has none; `packing` is empty where JSON has no form of the type.
    """

    name: str
    onnx: str
    dtype: "np.dtype[Any] | None"
    packing: str

    @property
    def is_float(self) -> bool:
        """A floating-point type, in which null stands for NaN."""
        return self.name in ("FP16", "FP32", "FP64")

    @property
    def in_json(self) -> bool:
        """Whether tensors of the type can be written in JSON: numpy has no BF16, and onnxruntime hands none over."""
        return self.name != "BF16"


DATATYPES = (
    Datatype("BOOL", "tensor(bool)", np.dtype(np.bool_), "?"),
    Datatype("INT8", "tensor(int8)", np.dtype(np.int8), "b"),
    Datatype("INT16", "tensor(int16)", np.dtype(np.int16), "h"),
    Datatype("INT32", "tensor(int32)", np.dtype(np.int32), "i"),
    Datatype("INT64", "tensor(int64)", np.dtype(np.int64), "q"),
    Datatype("UINT8", "tensor(uint8)", np.dtype(np.uint8), "B"),
    Datatype("UINT16", "tensor(uint16)", np.dtype(np.uint16), "H"),
    Datatype("UINT32", "tensor(uint32)", np.dtype(np.uint32), "I"),
    Datatype("UINT64", "tensor(uint64)", np.dtype(np.uint64), "Q"),
    Datatype("FP16", "tensor(float16)", np.dtype(np.float16), "e"),
    Datatype("BF16", "tensor(bfloat16)", None, ""),
    Datatype("FP32", "tensor(float)", np.dtype(np.float32), "f"),
    Datatype("FP64", "tensor(double)", np.dtype(np.float64), "d"),
    Datatype("BYTES", "tensor(string)", np.dtype(np.object_), ""),
)
BY_NAME = {datatype.name: datatype for datatype in DATATYPES}
BY_ONNX = {datatype.onnx: datatype for datatype in DATATYPES}
