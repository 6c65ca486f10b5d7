"""Matrix products with constant weights → 8-bit integer products, for many rows at once.

Weights have one scale for each output channel, activations one for each row (a patch or a token),
computed from the row at run time: q = round(x / s) with s = max |x| / 127. One scale for a whole
tensor, as in ONNX Runtime's own dynamic quantisation, is set by the largest row and has ten times
the error (`docs/performance.md`).

Weights are limited to ±63, not ±127: a processor without VNNI adds pairs of products in 16 bits,
and two of 255 times 63 are the most that fit. ONNX Runtime's own way around that, its session
option `session.x64quantprecision`, copies all weights and is slower.

The products are exact integers, so a row's result does not depend on the rows beside it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

_CONTRIB = "com.microsoft"
_LEAST = 1e-20  # for a row of zeros
_LARGEST_WEIGHT = 63
_ZERO_POINT = 128  # activations are uint8: the products of uint8 and int8 are the fast ones


class Int8Writer:
    """Replaces products in one graph.

    Args:
        graph: Changed in place.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._rows: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
        graph.opset_imports[_CONTRIB] = 1
        self._one = self._constant("int8.one", np.float32(1.0))
        self._zero_point = self._constant("int8.zero_point", np.uint8(_ZERO_POINT))
        self._least = self._constant("int8.least", np.float32(_LEAST))
        self._step = self._constant("int8.step", np.float32(1.0 / 127.0))
        self._last_axis = self._constant("int8.last_axis", np.array([-1], np.int64))

    def replace(
        self,
        node: ir.Node,
        weight: npt.NDArray[np.float32],
        bias: ir.Value | None = None,
    ) -> None:
        """Put the integer product in the place of `node`.

        Args:
            node: Its first input is the activation `[…, K]`.
            weight: float32 `[N, K]`.
            bias: `[N]`, added to the product.
        """
        name = node.name or ""
        rows, scales = self._quantize_rows(node)
        integers, steps = quantize_channels(weight)
        product = self._insert(
            node,
            "MatMulIntegerToFloat",
            [
                rows,
                self._constant(f"{name}.weight_int8", integers),
                self._one,
                self._constant(f"{name}.weight_step", steps),
                self._zero_point,
            ],
            domain=_CONTRIB,
        )
        result = self._insert(node, "Mul", [product, scales])
        if bias is not None:
            result = self._insert(node, "Add", [result, bias])
        old = node.outputs[0]
        result.name, old.name = old.name, f"{old.name}.replaced"
        ir.convenience.replace_all_uses_with(old, result)
        self._graph.remove(node, safe=True)

    def _quantize_rows(self, node: ir.Node) -> tuple[ir.Value, ir.Value]:
        """Return uint8 rows and float32 scales of the input, made once for all that share it."""
        source = node.inputs[0]
        assert source is not None
        if source not in self._rows:
            magnitude = self._insert(node, "Abs", [source])
            largest = self._insert(node, "ReduceMax", [magnitude, self._last_axis])
            bounded = self._insert(node, "Max", [largest, self._least])
            scales = self._insert(node, "Mul", [bounded, self._step])
            scaled = self._insert(node, "Div", [source, scales])
            rows = self._insert(node, "QuantizeLinear", [scaled, self._one, self._zero_point])
            self._rows[source] = rows, scales
        return self._rows[source]

    def _insert(
        self, before: ir.Node, operator: str, inputs: list[ir.Value], domain: str = ""
    ) -> ir.Value:
        node = ir.node(operator, inputs, domain=domain)
        self._graph.insert_before(before, node)
        return node.outputs[0]

    def _constant(self, name: str, value: npt.ArrayLike) -> ir.Value:
        constant = ir.Value(name=name, const_value=ir.tensor(np.asarray(value), name=name))
        self._graph.register_initializer(constant)
        return constant


def quantize_channels(
    weight: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Quantize a weight with one step for each output channel.

    Args:
        weight: float32 `[N, K]`.

    Returns:
        int8 `[K, N]` in -63..63 and the steps, float32 `[N]`.
    """
    steps = np.maximum(np.abs(weight).max(axis=1), np.float32(_LEAST))
    steps /= np.float32(_LARGEST_WEIGHT)
    integers = np.rint(weight / steps[:, None]).astype(np.int8)
    return np.ascontiguousarray(integers.T), steps
