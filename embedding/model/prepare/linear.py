"""The two ways a linear layer enters a graph: float32 as it is, and int8. The package's docstring has the formula."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from embedding.model.prepare.calibrate import Statistics
from embedding.model.prepare.graph import Graph
from embedding.model.prepare.quantize import Balance, balance, quantize

Parts = Sequence[int]


class Quantization(NamedTuple):
    """How 8-bit integers stand for numbers: (integer - zero_point) × scale."""

    scale: np.float32
    zero_point: np.uint8


SIGNED = Quantization(np.float32(1 / 127), np.uint8(128))
UNSIGNED = Quantization(np.float32(1 / 255), np.uint8(0))
# What rounding to SIGNED leaves over, at most half of its scale.
LEFT_OVER = Quantization(np.float32(1 / 127 / 254), np.uint8(128))
# A layer gets 16-bit inputs where rounding its input to 8 moves the product by more than this share of itself.
MAX_INPUT_ERROR = 0.01
# The least scale of a token: 0 / 0 would make NaN of a row of zeros.
TINY = np.float32(1e-30)


class Linear(Protocol):
    """Adds linear layers to a graph. A layer is known by its site, a name that is the same in every graph."""

    def divisor(self, site: str, weight: np.ndarray, parts: Parts = (), repeats: int = 1) -> np.ndarray:
        """What the caller is to divide the input channels by, (in,); see `quantize.balance`."""

    def product(self, site: str, x: str, weight: np.ndarray, scale_free: bool = False) -> str:
        """x (…, in) times weight (in, out); where `scale_free`, each row may come multiplied by a positive number."""

    def affine(
        self,
        site: str,
        x: str,
        weight: np.ndarray,
        bias: np.ndarray,
        parts: Parts = (),
        lower_bound: float | None = None,
    ) -> tuple[str, np.ndarray]:
        """The product without its bias, and the bias (out,) to add to it. `lower_bound` is that of x, if known."""


class Float32:
    """Linear layers as they are; remembers which value each site reads."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.inputs: dict[str, str] = {}

    def divisor(self, site: str, weight: np.ndarray, parts: Parts = (), repeats: int = 1) -> np.ndarray:
        return np.ones(len(weight), np.float32)

    def product(self, site: str, x: str, weight: np.ndarray, scale_free: bool = False) -> str:
        self.inputs[site] = x
        return self.graph.op("MatMul", x, self.graph.constant(weight))

    def affine(
        self,
        site: str,
        x: str,
        weight: np.ndarray,
        bias: np.ndarray,
        parts: Parts = (),
        lower_bound: float | None = None,
    ) -> tuple[str, np.ndarray]:
        return self.product(site, x, weight), bias


class Int8:
    """Linear layers in 8-bit integers, given the statistics of each site's input."""

    def __init__(self, graph: Graph, statistics: Mapping[str, Statistics]) -> None:
        self.graph, self.statistics = graph, statistics
        self._balances: dict[str, Balance] = {}
        self.sites_in_16_bits: list[str] = []

    def divisor(self, site: str, weight: np.ndarray, parts: Parts = (), repeats: int = 1) -> np.ndarray:
        self._balances[site] = balance(self.statistics[site], weight, parts, repeats)
        return self._balances[site].divisor

    def product(self, site: str, x: str, weight: np.ndarray, scale_free: bool = False) -> str:
        balanced = self._balances[site]
        quantized = self._quantized_weight(site, weight, balanced.divisor)
        if self._needs_16_bits(site, balanced):
            return self._multiply_in_16_bits(x, quantized)
        return self._multiply(x, self._row_max(self.graph.op("Abs", x)), quantized, SIGNED, scale_free)

    def affine(
        self,
        site: str,
        x: str,
        weight: np.ndarray,
        bias: np.ndarray,
        parts: Parts = (),
        lower_bound: float | None = None,
    ) -> tuple[str, np.ndarray]:
        graph = self.graph
        balanced = balance(self.statistics[site], weight, parts, lower_bound=lower_bound)
        quantized = self._quantized_weight(site, weight * balanced.divisor[:, None], balanced.divisor)
        factor = graph.constant(1 / balanced.divisor)
        if self._needs_16_bits(site, balanced):
            return self._multiply_in_16_bits(graph.op("Mul", x, factor), quantized), bias
        if lower_bound is None:
            x = graph.op("Mul", x, factor)
            return self._multiply(x, self._row_max(graph.op("Abs", x)), quantized, SIGNED), bias
        x = graph.op("Mul", graph.op("Sub", x, graph.constant(np.float32(lower_bound))), factor)
        y = self._multiply(x, self._row_max(x), quantized, UNSIGNED)
        return y, bias + np.float32(lower_bound) * weight.sum(axis=0)

    def _needs_16_bits(self, site: str, balanced: Balance) -> bool:
        if balanced.input_error > MAX_INPUT_ERROR:
            self.sites_in_16_bits.append(site)
        return balanced.input_error > MAX_INPUT_ERROR

    def _quantized_weight(self, site: str, weight: np.ndarray, divisor: np.ndarray) -> tuple[str, np.ndarray]:
        """The weight's integers, as a value, and their scales (out,)."""
        integers, scales = quantize(weight, self.statistics[site].gram / divisor / divisor[:, None])
        return self.graph.constant(integers), scales

    def _row_max(self, x: str) -> str:
        """The scale of each token: the greatest value of its row, (tokens, 1), and never 0."""
        greatest = self.graph.op("ReduceMax", x, self.graph.constant(np.array([-1])), keepdims=1)
        return self.graph.op("Max", greatest, self.graph.constant(TINY))

    def _multiply(
        self, x: str, scale: str, weight: tuple[str, np.ndarray], q: Quantization, scale_free: bool = False
    ) -> str:
        """Divides each row by its scale, rounds it, multiplies in integers, and multiplies by the scale."""
        graph = self.graph
        integers = self._quantize(graph.op("Div", x, scale), q)
        return self._integer_product(integers, graph.constant(np.float32(1)) if scale_free else scale, weight, q)

    def _multiply_in_16_bits(self, x: str, weight: tuple[str, np.ndarray]) -> str:
        """The same with what rounding leaves over multiplied too, as rows of one product: twice the work."""
        graph = self.graph
        scale = self._row_max(graph.op("Abs", x))
        x = graph.op("Div", x, scale)
        rounded = self._quantize(x, SIGNED)
        left_over = graph.op("Sub", x, graph.op("DequantizeLinear", rounded, *self._constants(SIGNED)))
        both = graph.op("Concat", rounded, self._quantize(left_over, LEFT_OVER), axis=0)
        finer = graph.op("Mul", scale, graph.constant(LEFT_OVER.scale / SIGNED.scale))
        y = self._integer_product(both, graph.op("Concat", scale, finer, axis=0), weight, SIGNED)
        return graph.op("Add", *graph.ops("Split", y, outputs=2, axis=0, num_outputs=2))

    def _integer_product(self, x: str, row_scale: str, weight: tuple[str, np.ndarray], q: Quantization) -> str:
        integers, scales = weight
        column_scale, zero_point = self.graph.constant(scales * q.scale), self._constants(q)[1]
        return self.graph.fused("MatMulIntegerToFloat", x, integers, row_scale, column_scale, zero_point)

    def _quantize(self, x: str, q: Quantization) -> str:
        return self.graph.op("QuantizeLinear", x, *self._constants(q))

    def _constants(self, q: Quantization) -> tuple[str, str]:
        return self.graph.constant(q.scale), self.graph.constant(q.zero_point)
