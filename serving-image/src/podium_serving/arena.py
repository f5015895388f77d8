"""The memory that a model's runs take: bounded, and given back to the system.

Of onnxruntime's allocators only the arena can be bounded, and of arenas only one that is registered for the sessions
that are made after it (`create_and_register_allocator`). It keeps what it once had; at the end of a run that asks for
it (`memory.enable_memory_arena_shrinkage`) it gives back what is free. How that compares with having none:
docs/decisions/a-bounded-arena.md.
"""

import numpy as np
import onnxruntime

# y = Identity(x), in FP32 without an element, so that its run takes nothing of the arena itself: a model of ONNX's
# operators 13, as protobuf.
_NOTHING = (
    b'\x08\x08:=\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x07nothingZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x00'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x00B\x04\n\x00\x10\r"
)
_AS_MUCH_AS_IS_ASKED_FOR = 1  # arena_extend_strategy; by default it is the next power of two


class Arena:
    """What the sessions that are made after it take for their runs, their weights aside."""

    def __init__(self, size: int) -> None:
        """`size` bytes at most, and a run fails that wants more; 0: no bound."""
        settings = {"arena_extend_strategy": _AS_MUCH_AS_IS_ASKED_FOR} | ({"max_mem": size} if size else {})
        kind, memory = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
        cpu = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, memory)
        onnxruntime.create_and_register_allocator(cpu, onnxruntime.OrtArenaCfg(settings))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.use(options)
        self._session = onnxruntime.InferenceSession(_NOTHING, options, providers=["CPUExecutionProvider"])
        self._feeds = {"x": np.empty(0, np.float32)}
        self._run = onnxruntime.RunOptions()
        self._run.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def use(self, options: "onnxruntime.SessionOptions") -> None:
        """Have a session that is made with these options take its memory here."""
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")

    def sweep(self) -> None:
        """Give back what no tensor lies in, some 20 us if that is nothing. For any thread, beside runs."""
        self._session.run(None, self._feeds, self._run)
