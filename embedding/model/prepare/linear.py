"""The two ways a linear layer enters a graph: float32 as it is, and int8. The package's docstring has the formula."""

from collections.abc import Iterator, Mapping, Sequence
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


class _Rows(NamedTuple):
    """A linear layer's input in integers: each row, and in 16 bits what rounding it left over, by its scale."""

    integers: str
    scale: str
    q: Quantization
    with_left_over: bool = False


class Linear(Protocol):
    """Adds linear layers to a graph. A layer is known by its site, a name that is the same in every graph."""

    def divisor(self, site: str, weight: np.ndarray, parts: Parts = (), repeats: int = 1) -> np.ndarray:
        """What the caller is to divide the input channels by, (in,); see `quantize.balance`."""

    def product(self, site: str, x: str, weight: np.ndarray, scale_free: bool = False) -> str:
        """x (…, in) times weight (in, out); where `scale_free`, each row may come multiplied by a positive number."""

    def products(self, site: str, x: str, weight: np.ndarray, parts: Parts) -> Iterator[str]:
        """x (tokens, in) times the columns of each part, added to the graph when it is asked for: all of them may be
        too large to be in memory together. Needs no divisor of the caller's."""

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

    def products(self, site: str, x: str, weight: np.ndarray, parts: Parts) -> Iterator[str]:
        for part in np.split(weight, np.cumsum(parts)[:-1], axis=1):
            yield self.product(site, x, part)

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
        return self._multiply(self._round(site, x, balanced), quantized, scale_free)

    def products(self, site: str, x: str, weight: np.ndarray, parts: Parts) -> Iterator[str]:
        balanced = balance(self.statistics[site], weight, parts)
        integers, scales = self._quantized(site, weight * balanced.divisor[:, None], balanced.divisor)
        rows = self._round(site, self.graph.op("Mul", x, self.graph.constant(1 / balanced.divisor)), balanced)
        edges = np.cumsum(parts)[:-1]
        for part, part_scales in zip(np.split(integers, edges, axis=1), np.split(scales, edges), strict=True):
            yield self._multiply(rows, (self.graph.constant(part), part_scales))

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
        if lower_bound is None or self._needs_16_bits(balanced):
            return self._multiply(self._round(site, graph.op("Mul", x, factor), balanced), quantized), bias
        x = graph.op("Mul", graph.op("Sub", x, graph.constant(np.float32(lower_bound))), factor)
        y = self._multiply(self._round_to_8_bits(x, self._row_max(x), UNSIGNED), quantized)
        return y, bias + np.float32(lower_bound) * weight.sum(axis=0)

    def _needs_16_bits(self, balanced: Balance) -> bool:
        return balanced.input_error > MAX_INPUT_ERROR

    def _quantized_weight(self, site: str, weight: np.ndarray, divisor: np.ndarray) -> tuple[str, np.ndarray]:
        """The weight's integers, as a value, and their scales (out,)."""
        integers, scales = self._quantized(site, weight, divisor)
        return self.graph.constant(integers), scales

    def _quantized(self, site: str, weight: np.ndarray, divisor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return quantize(weight, self.statistics[site].gram / divisor / divisor[:, None])

    def _row_max(self, x: str) -> str:
        """The scale of each token: the greatest value of its row, (tokens, 1), and never 0."""
        greatest = self.graph.op("ReduceMax", x, self.graph.constant(np.array([-1])), keepdims=1)
        return self.graph.op("Max", greatest, self.graph.constant(TINY))

    def _round(self, site: str, x: str, balanced: Balance) -> _Rows:
        """The rows of x, already divided, in as many bits as the site needs."""
        if self._needs_16_bits(balanced):
            self.sites_in_16_bits.append(site)
            return self._round_to_16_bits(x)
        return self._round_to_8_bits(x, self._row_max(self.graph.op("Abs", x)), SIGNED)

    def _round_to_8_bits(self, x: str, scale: str, q: Quantization) -> _Rows:
        return _Rows(self._quantize(self.graph.op("Div", x, scale), q), scale, q)

    def _round_to_16_bits(self, x: str) -> _Rows:
        """What rounding leaves over is kept too, as further rows: twice the work."""
        graph = self.graph
        scale = self._row_max(graph.op("Abs", x))
        x = graph.op("Div", x, scale)
        rounded = self._quantize(x, SIGNED)
        left_over = graph.op("Sub", x, graph.op("DequantizeLinear", rounded, *self._constants(SIGNED)))
        both = graph.op("Concat", rounded, self._quantize(left_over, LEFT_OVER), axis=0)
        finer = graph.op("Mul", scale, graph.constant(LEFT_OVER.scale / SIGNED.scale))
        return _Rows(both, graph.op("Concat", scale, finer, axis=0), SIGNED, with_left_over=True)

    def _multiply(self, x: _Rows, weight: tuple[str, np.ndarray], scale_free: bool = False) -> str:
        """Multiplies in integers, and by the scales of row and column."""
        integers, scales = weight
        # The two scales of a row in 16 bits differ, so they can't be left out.
        row_scale = self.graph.constant(np.float32(1)) if scale_free and not x.with_left_over else x.scale
        column_scale, zero_point = self.graph.constant(scales * x.q.scale), self._constants(x.q)[1]
        y = self.graph.fused("MatMulIntegerToFloat", x.integers, integers, row_scale, column_scale, zero_point)
        return (
            self.graph.op("Add", *self.graph.ops("Split", y, outputs=2, axis=0, num_outputs=2))
            if x.with_left_over
            else y
        )

    def _quantize(self, x: str, q: Quantization) -> str:
        return self.graph.op("QuantizeLinear", x, *self._constants(q))

    def _constants(self, q: Quantization) -> tuple[str, str]:
        return self.graph.constant(q.scale), self.graph.constant(q.zero_point)
