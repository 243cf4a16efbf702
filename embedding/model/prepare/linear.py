"""The two ways a linear layer enters a graph: float32 as it is, and int8 with activations quantized a token at a time.

How int8 works here. Each input channel is divided by a number and its weights are multiplied by it, so that neither
side has outliers (SmoothQuant, arXiv:2211.10438); Gemma's norms absorb the division. Each token's row is divided by its
greatest magnitude, so that all are on one grid, and ONNX Runtime's fused integer product multiplies its rows by that
magnitude again. Weights have a scale an output channel. The few sites where that is too coarse get 16 bits.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from embedding.model.prepare.calibrate import Statistics
from embedding.model.prepare.graph import Graph
from embedding.model.prepare.quantize import Balance, balance, quantize

Parts = Sequence[int]


class Grid(NamedTuple):
    """Bytes that stand for numbers: (byte - zero) × step."""

    step: np.float32
    zero: np.uint8


SIGNED = Grid(np.float32(1 / 127), np.uint8(128))
UNSIGNED = Grid(np.float32(1 / 255), np.uint8(0))
LEFT_OVER = Grid(np.float32(1 / 127 / 254), np.uint8(128))
# rounding that moves a product by more than this share of itself is made finer
FINE_ABOVE = 0.01


class Linear(Protocol):
    """Adds linear layers to a graph; a layer is known by its site, a name that stays the same from graph to graph."""

    def divisor(self, site: str, weight: np.ndarray, parts: Parts = (), tiles: int = 1) -> np.ndarray:
        """What the caller is to divide the input channels by, (in,); see `quantize.balance`."""

    def product(self, site: str, x: str, weight: np.ndarray, scale_free: bool = False) -> str:
        """x (…, in) times weight (in, out); where `scale_free`, each row may come multiplied by a positive number."""

    def affine(
        self, site: str, x: str, weight: np.ndarray, bias: np.ndarray, parts: Parts = (), floor: float | None = None
    ) -> tuple[str, np.ndarray]:
        """The product without its bias, and the bias (out,) to add to it. `floor` is a lower bound of x, if known."""


class Float32:
    """Linear layers as they are; remembers which value each site reads."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.inputs: dict[str, str] = {}

    def divisor(self, site: str, weight: np.ndarray, parts: Parts = (), tiles: int = 1) -> np.ndarray:
        return np.ones(len(weight), np.float32)

    def product(self, site: str, x: str, weight: np.ndarray, scale_free: bool = False) -> str:
        self.inputs[site] = x
        return self.graph.op("MatMul", x, self.graph.constant(weight))

    def affine(
        self, site: str, x: str, weight: np.ndarray, bias: np.ndarray, parts: Parts = (), floor: float | None = None
    ) -> tuple[str, np.ndarray]:
        return self.product(site, x, weight), bias


class Int8:
    """Linear layers in 8-bit integers, given what each site's input looks like; `fine` are the sites with 16 bits."""

    def __init__(self, graph: Graph, statistics: Mapping[str, Statistics]) -> None:
        self.graph, self.statistics = graph, statistics
        self._balances: dict[str, Balance] = {}
        self.sites_in_16_bits: list[str] = []

    def divisor(self, site: str, weight: np.ndarray, parts: Parts = (), tiles: int = 1) -> np.ndarray:
        self._balances[site] = balance(self.statistics[site], weight, parts, tiles)
        return self._balances[site].divisor

    def product(self, site: str, x: str, weight: np.ndarray, scale_free: bool = False) -> str:
        found = self._balances[site]
        integers = self._integers(site, weight, found.divisor)
        if self._is_fine(site, found):
            return self._multiply_finely(x, integers)
        return self._multiply(x, self._peak(self.graph.op("Abs", x)), integers, SIGNED, scale_free)

    def affine(
        self, site: str, x: str, weight: np.ndarray, bias: np.ndarray, parts: Parts = (), floor: float | None = None
    ) -> tuple[str, np.ndarray]:
        graph = self.graph
        found = balance(self.statistics[site], weight, parts, floor=floor)
        integers = self._integers(site, weight * found.divisor[:, None], found.divisor)
        by = graph.constant(1 / found.divisor)
        if self._is_fine(site, found):
            return self._multiply_finely(graph.op("Mul", x, by), integers), bias
        if floor is None:
            x = graph.op("Mul", x, by)
            return self._multiply(x, self._peak(graph.op("Abs", x)), integers, SIGNED), bias
        x = graph.op("Mul", graph.op("Sub", x, graph.constant(np.float32(floor))), by)
        y = self._multiply(x, self._peak(x), integers, UNSIGNED)
        return y, bias + np.float32(floor) * weight.sum(axis=0)

    def _is_fine(self, site: str, found: Balance) -> bool:
        if found.input_error > FINE_ABOVE:
            self.sites_in_16_bits.append(site)
        return found.input_error > FINE_ABOVE

    def _integers(self, site: str, weight: np.ndarray, divisor: np.ndarray) -> tuple[str, np.ndarray]:
        """The weight's integers, as a value, and their scales."""
        integers, scales = quantize(weight, self.statistics[site].gram / divisor / divisor[:, None])
        return self.graph.constant(integers), scales

    def _peak(self, x: str) -> str:
        """The greatest value of each row, (tokens, 1)."""
        return self.graph.op("ReduceMax", x, self.graph.constant(np.array([-1])), keepdims=1)

    def _multiply(self, x: str, peak: str, weight: tuple[str, np.ndarray], grid: Grid, scale_free: bool = False) -> str:
        """Divides each row by its peak, puts it on the grid, multiplies in integers, and multiplies by the peak."""
        graph = self.graph
        q = self._quantize(graph.op("Div", x, peak), grid)
        return self._product(q, graph.constant(np.float32(1)) if scale_free else peak, weight, grid)

    def _multiply_finely(self, x: str, weight: tuple[str, np.ndarray]) -> str:
        """The same with what rounding leaves over multiplied too, as rows of one product: 16 bits, twice the work."""
        graph = self.graph
        peak = self._peak(graph.op("Abs", x))
        x = graph.op("Div", x, peak)
        coarse = self._quantize(x, SIGNED)
        rest = graph.op("Sub", x, graph.op("DequantizeLinear", coarse, *self._grid(SIGNED)))
        both = graph.op("Concat", coarse, self._quantize(rest, LEFT_OVER), axis=0)
        peaks = graph.op("Concat", peak, graph.op("Mul", peak, graph.constant(LEFT_OVER.step / SIGNED.step)), axis=0)
        y = self._product(both, peaks, weight, SIGNED)
        return graph.op("Add", *graph.ops("Split", y, outputs=2, axis=0, num_outputs=2))

    def _product(self, q: str, peak: str, weight: tuple[str, np.ndarray], grid: Grid) -> str:
        integers, scales = weight
        scale, zero = self.graph.constant(scales * grid.step), self._grid(grid)[1]
        return self.graph.fused("MatMulIntegerToFloat", q, integers, peak, scale, zero)

    def _quantize(self, x: str, grid: Grid) -> str:
        return self.graph.op("QuantizeLinear", x, *self._grid(grid))

    def _grid(self, grid: Grid) -> tuple[str, str]:
        return self.graph.constant(grid.step), self.graph.constant(grid.zero)
