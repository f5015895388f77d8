"""The memory that a model's runs take: bounded, and given back to the system.

Of onnxruntime's allocators only the arena can be bounded, and of arenas only one that is registered for the sessions
that are made after it (`create_and_register_allocator`). It keeps what it once had; at the end of a run that asks for
it (`memory.enable_memory_arena_shrinkage`) it gives back what is free. How that compares with having none:
docs/decisions/a-bounded-arena.md.
"""

import re

import numpy as np
import onnxruntime

UNBOUNDED = 2**50
# y = ConstantOfShape(s): as many zeros as it is asked for, in FP32; a model of ONNX's operators 13, as protobuf.
_ZEROS = (
    b'\x08\x08:C\n\x17\n\x01s\x12\x01y"\x0fConstantOfShape\x12\x05zerosZ\x0f\n\x01s\x12\n\n\x08\x08\x07\x12\x04\n\x02\x08\x01'
    b"b\x10\n\x01y\x12\x0b\n\t\x08\x01\x12\x05\n\x03\x12\x01nB\x04\n\x00\x10\r"
)
_NONE, _TOO_MANY = 0, 2**58
_LEFT = re.compile(r"Available memory of (\d+)")
_AS_MUCH_AS_IS_ASKED_FOR = 1  # arena_extend_strategy; by default it is the next power of two


class Arena:
    """What the sessions that are made for it take, but for their weights.

    A copy of weights that onnxruntime has packed for its products is in it, whatever the bound. It counts against the
    bound, which is therefore set above what sessions take before they run (`taken`).
    """

    def __init__(self, size: int = UNBOUNDED) -> None:
        """`size` bytes at most; a run that wants more fails."""
        self._size = size
        kind, memory = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
        cpu = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, memory)
        settings = {"max_mem": size, "arena_extend_strategy": _AS_MUCH_AS_IS_ASKED_FOR}
        onnxruntime.create_and_register_allocator(cpu, onnxruntime.OrtArenaCfg(settings))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self.attach(options)
        self._zeros = onnxruntime.InferenceSession(_ZEROS, options, providers=["CPUExecutionProvider"])
        self._shrinking = onnxruntime.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def attach(self, options: "onnxruntime.SessionOptions") -> None:
        """Has a session that is made with these options take its memory here."""
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")

    def give_back(self) -> None:
        """To the system, what no tensor lies in: 20 us if that is nothing, some 90 ms for 1 GiB. For any thread."""
        self._ask_for(_NONE)

    def taken(self) -> int:
        """Bytes that it has of the system; `size` if that is more."""
        try:
            self._ask_for(_TOO_MANY)
        except Exception as refusal:
            # Beyond its bound it has none any more, and the system's is what does not suffice.
            left = _LEFT.search(str(refusal))
            return self._size - int(left[1]) if left else self._size
        raise AssertionError("an arena has given more than there is")

    def _ask_for(self, zeros: int) -> None:
        self._zeros.run(None, {"s": np.array([zeros], np.int64)}, self._shrinking)
