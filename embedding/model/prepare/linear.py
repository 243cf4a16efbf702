"""The two ways a linear layer enters a graph: float32 as it is, and int8. The package's docstring has the formula."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from embedding.model.prepare.calibrate import Statistics
from embedding.model.prepare.graph import Graph
from embedding.model.prepare.quantize import Balance, balance, hadamard, quantize, rotate

Parts = Sequence[int]


class Quantization(NamedTuple):
    """How 8-bit integers stand for numbers: (integer - zero_point) × scale."""

    scale: np.float32
    zero_point: np.uint8


SIGNED = Quantization(np.float32(1 / 127), np.uint8(128))
UNSIGNED = Quantization(np.float32(1 / 255), np.uint8(0))
# What rounding to SIGNED leaves over, at most half of its scale.
LEFT_OVER = Quantization(np.float32(1 / 127 / 254), np.uint8(128))
# Where rounding a layer's input to 8 bits moves the product by more than this share of itself, the input is rotated, or
# gets 16 bits.
MAX_INPUT_ERROR = 0.01
# Channels that are rotated together: the more, the finer, and the slower.
BLOCKS = (32, 64, 128)
# The least scale of a token: 0 / 0 would make NaN of a row of zeros.
TINY = np.float32(1e-30)


class Linear(Protocol):
    """Adds linear layers to a graph. A layer is known by its site, a name that is the same in every graph."""

    def divisor(self, site: str, weight: np.ndarray, parts: Parts = (), repeats: int = 1) -> np.ndarray:
        """What the caller is to divide the input channels by, (in,); see `quantize.balance`."""

    def product(self, site: str, x: str, weight: np.ndarray, scale_free: bool = False) -> str:
        """x (…, in) times weight (in, out); where `scale_free`, each row may come multiplied by a positive number."""

    def products(self, site: str, x: str, weight: np.ndarray, parts: Parts) -> list[str]:
        """x (…, in) times each of the weights that stand side by side in weight (in, out): `parts` columns each."""

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
        return self.products(site, x, weight, [weight.shape[1]])[0]

    def products(self, site: str, x: str, weight: np.ndarray, parts: Parts) -> list[str]:
        self.inputs[site] = x
        return [self.graph.op("MatMul", x, self.graph.constant(part)) for part in _split(weight, parts)]

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
        self._row_zero_points: dict[np.uint8, str] = {}
        self.sites_in_16_bits: list[str] = []

    def divisor(self, site: str, weight: np.ndarray, parts: Parts = (), repeats: int = 1) -> np.ndarray:
        seen = self.statistics[site]
        plain = balanced = balance(seen, weight, parts, repeats)
        blocks = iter([block for block in BLOCKS if len(weight) % block == 0])
        while balanced.input_error > MAX_INPUT_ERROR and (block := next(blocks, None)):
            balanced = balance(seen, weight, parts, repeats, block=block)
        self._balances[site] = balanced if balanced.input_error <= MAX_INPUT_ERROR else plain
        return self._balances[site].divisor

    def product(self, site: str, x: str, weight: np.ndarray, scale_free: bool = False) -> str:
        return self._products(site, x, weight, [weight.shape[1]], scale_free)[0]

    def products(self, site: str, x: str, weight: np.ndarray, parts: Parts) -> list[str]:
        return self._products(site, x, weight, parts)

    def _products(self, site: str, x: str, weight: np.ndarray, parts: Parts, scale_free: bool = False) -> list[str]:
        balanced = self._balances[site]
        weights = self._quantized_weights(site, weight, balanced, parts)
        if self._needs_16_bits(site, balanced):
            return [self._multiply_in_16_bits(x, quantized) for quantized in weights]
        if balanced.block:
            x = self._rotate(x, balanced.block, len(weight))
        scale = self._row_scale(self.graph.op("Abs", x), SIGNED)
        return self._multiply(x, scale, weights, SIGNED, scale_free)

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
        (quantized,) = self._quantized_weights(site, weight * balanced.divisor[:, None], balanced, [weight.shape[1]])
        factor = graph.constant(1 / balanced.divisor)
        if self._needs_16_bits(site, balanced):
            return self._multiply_in_16_bits(graph.op("Mul", x, factor), quantized), bias
        if lower_bound is None:
            x = graph.op("Mul", x, factor)
            return self._multiply(x, self._row_scale(graph.op("Abs", x), SIGNED), [quantized], SIGNED)[0], bias
        x = graph.op("Mul", graph.op("Sub", x, graph.constant(np.float32(lower_bound))), factor)
        (y,) = self._multiply(x, self._row_scale(x, UNSIGNED), [quantized], UNSIGNED)
        return y, bias + np.float32(lower_bound) * weight.sum(axis=0)

    def _needs_16_bits(self, site: str, balanced: Balance) -> bool:
        if balanced.input_error > MAX_INPUT_ERROR:
            self.sites_in_16_bits.append(site)
        return balanced.input_error > MAX_INPUT_ERROR

    def _quantized_weights(
        self, site: str, weight: np.ndarray, balanced: Balance, parts: Parts
    ) -> list[tuple[str, np.ndarray]]:
        """Each part's integers, as a value, and their scales (out,)."""
        gram = self.statistics[site].gram / balanced.divisor / balanced.divisor[:, None]
        gram, weight = rotate(rotate(gram, balanced.block).T, balanced.block), rotate(weight.T, balanced.block).T
        integers, scales = quantize(weight, gram)
        split = zip(_split(integers, parts), _split(scales, parts), strict=True)
        return [(self.graph.constant(part), part_scales) for part, part_scales in split]

    def _rotate(self, x: str, block: int, channels: int) -> str:
        graph = self.graph
        blocks = graph.op("Reshape", x, graph.constant(np.array([-1, block])))
        rotated = graph.op("MatMul", blocks, graph.constant(hadamard(block)))
        return graph.op("Reshape", rotated, graph.constant(np.array([-1, channels])))

    def _row_max(self, x: str) -> str:
        """The greatest value of each token's row, (tokens, 1), and never 0."""
        greatest = self.graph.op("ReduceMax", x, self.graph.constant(np.array([-1])), keepdims=1)
        return self.graph.op("Max", greatest, self.graph.constant(TINY))

    def _row_scale(self, magnitudes: str, q: Quantization) -> str:
        """What one step of each token's integers stands for, (tokens, 1)."""
        return self.graph.op("Mul", self._row_max(magnitudes), self.graph.constant(q.scale))

    def _multiply(
        self, x: str, scale: str, weights: Sequence[tuple[str, np.ndarray]], q: Quantization, scale_free: bool = False
    ) -> list[str]:
        """Rounds each row to its scale, multiplies in integers, and multiplies by the scale, or by its share of 1."""
        graph = self.graph
        row = graph.op("Squeeze", scale, graph.constant(np.array([1])))
        integers = graph.op("QuantizeLinear", x, row, self._zero_point_of_rows(row, q), axis=0)
        scale = graph.constant(np.float32(1)) if scale_free else scale
        return [self._integer_product(integers, scale, weight, q) for weight in weights]

    def _multiply_in_16_bits(self, x: str, weight: tuple[str, np.ndarray]) -> str:
        """The same with what rounding leaves over multiplied too, as rows of one product: twice the work."""
        graph = self.graph
        greatest = self._row_max(graph.op("Abs", x))
        x = graph.op("Div", x, greatest)
        rounded = self._quantize(x, SIGNED)
        left_over = graph.op("Sub", x, graph.op("DequantizeLinear", rounded, *self._constants(SIGNED)))
        both = graph.op("Concat", rounded, self._quantize(left_over, LEFT_OVER), axis=0)
        scales = [graph.op("Mul", greatest, graph.constant(q.scale)) for q in (SIGNED, LEFT_OVER)]
        y = self._integer_product(both, graph.op("Concat", *scales, axis=0), weight, SIGNED)
        return graph.op("Add", *graph.ops("Split", y, outputs=2, axis=0, num_outputs=2))

    def _integer_product(self, x: str, row_scale: str, weight: tuple[str, np.ndarray], q: Quantization) -> str:
        integers, scales = weight
        inputs = x, integers, row_scale, self.graph.constant(scales), self.graph.constant(q.zero_point)
        return self.graph.fused("MatMulIntegerToFloat", *inputs)

    def _zero_point_of_rows(self, row: str, q: Quantization) -> str:
        """The zero point for each token, (tokens,), which QuantizeLinear wants beside a scale for each."""
        if q.zero_point not in self._row_zero_points:
            shape = self.graph.op("Shape", row)
            zero_point = self.graph.constant(np.array([q.zero_point]))
            self._row_zero_points[q.zero_point] = self.graph.op("Expand", zero_point, shape)
        return self._row_zero_points[q.zero_point]

    def _quantize(self, x: str, q: Quantization) -> str:
        return self.graph.op("QuantizeLinear", x, *self._constants(q))

    def _constants(self, q: Quantization) -> tuple[str, str]:
        return self.graph.constant(q.scale), self.graph.constant(q.zero_point)


def _split(columns: np.ndarray, parts: Parts) -> list[np.ndarray]:
    """The last axis, cut into `parts`."""
    return np.split(columns, np.cumsum(parts)[:-1], axis=-1)
