"""Builds an ONNX graph node by node, and writes it as a model file with its weights beside it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
OPSETS = (("", 21), (MICROSOFT, 1))
IR_VERSION = 10
PAGE = 4096
INLINE_BYTES = 1024
ELEMENT_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}

Shape = list[int | str]


class Graph:
    """An ONNX graph under construction. A `str` names a value."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._constants: dict[str, np.ndarray] = {}
        self._small: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._names = 0
        self.metadata: dict[str, str] = {}
        """What the graph says about itself to those who run it."""

    def input(self, name: str, dtype: str, shape: Shape) -> str:
        """Declares an input of the graph. A `str` in the shape names a dimension that varies from run to run."""
        self._inputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], shape))
        return name

    def constant(self, array: np.ndarray | np.generic) -> str:
        """Stores an array and returns its name. Equal small arrays are stored once."""
        array = np.asarray(array)
        if array.nbytes > INLINE_BYTES:
            return self._store(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._small:
            self._small[key] = self._store(array)
        return self._small[key]

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Adds a node with one output and returns the output's name. The input "" stands for an omitted one."""
        return self.ops(kind, *inputs, outputs=1, domain=domain, **attributes)[0]

    def fused(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node of ONNX Runtime's own operators, which do in one pass what takes ONNX several."""
        return self.op(kind, *inputs, domain=MICROSOFT, **attributes)

    def ops(self, kind: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Adds a node and returns the names of its outputs."""
        names = [self._name() for _ in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names

    def scan(self, body: Callable[..., str], *sequences: str) -> str:
        """Runs `body` on the entries of the sequences' first axis, one after the other, and stacks its values.

        So only one entry's values are in memory at a time. The body may read all values of the graph.
        """
        outer, self._nodes = self._nodes, []
        entries = [self._name() for _ in sequences]
        value = body(*entries)
        inputs, outputs = (list(map(helper.make_empty_tensor_value_info, names)) for names in (entries, [value]))
        graph = helper.make_graph(self._nodes, self._name(), inputs, outputs)
        self._nodes = outer
        return self.op("Scan", *sequences, body=graph, num_scan_inputs=len(sequences))

    def save(self, path: Path, outputs: Mapping[str, str]) -> None:
        """Writes `path`, and the constants beside it as `<stem>.weights`, aligned so that they can be memory-mapped.

        `outputs` has the graph's values by the names that they get.
        """
        self._nodes += [helper.make_node("Identity", [value], [name]) for name, value in outputs.items()]
        weights = path.with_suffix(".weights")
        with weights.open("wb") as file:
            tensors = [_write(name, array, file) for name, array in self._constants.items()]
        graph = helper.make_graph(
            self._nodes,
            path.stem,
            self._inputs,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            tensors,
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        helper.set_model_props(model, self.metadata)
        path.write_bytes(model.SerializeToString())

    def _store(self, array: np.ndarray) -> str:
        name = self._name()
        self._constants[name] = array
        return name

    def _name(self) -> str:
        self._names += 1
        return f"v{self._names}"


def _write(name: str, array: np.ndarray, file: Any) -> onnx.TensorProto:
    """Returns the tensor with its data inside it, or, where the data is large, in `file`."""
    array = np.ascontiguousarray(array)
    if array.nbytes <= INLINE_BYTES:
        return numpy_helper.from_array(array, name)
    offset = -(-file.tell() // PAGE) * PAGE
    file.seek(offset)
    file.write(array.data)
    tensor = TensorProto(
        name=name,
        dims=array.shape,
        data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (("location", Path(file.name).name), ("offset", offset), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor
