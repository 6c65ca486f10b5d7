"""What is compiled ahead of time: each kernel module lists its variants, this collects them."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Each has a constant AOT_VARIANTS. Imported on demand: they load triton, which a loader need not.
_KERNEL_MODULES = (
    "cxr_reason.kernels.preprocess.triton_kernel",
    "cxr_reason.kernels.projector.triton_kernel",
)


@dataclass(frozen=True)
class KernelVariant:
    """One kernel, specialized for one set of types and block sizes.

    Attributes:
        name: Unique among all variants; the stem of its files.
        fn: The function that `triton.jit` decorates.
        signature: Argument → Triton type ("*fp32", "i32", "constexpr"), in the function's order.
            No float scalars: `triton.tools.compile` passes them wrongly, so they are constexprs.
        constexprs: Value of each argument of type "constexpr".
        num_warps: Warps of a block.
        num_stages: Depth of the software pipeline.
        grid_rule: Three sizes, comma-separated, in integer arguments, constexprs and `cdiv(a, b)`.
        aligned: Arguments that the caller promises are multiples of 16: bytes of an address, or
            the number itself. Loads are only as wide as these allow.
    """

    name: str
    fn: Any
    signature: Mapping[str, str]
    constexprs: Mapping[str, Any]
    num_warps: int
    num_stages: int
    grid_rule: str
    aligned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        constant = {name for name, kind in self.signature.items() if kind == "constexpr"}
        if constant != set(self.constexprs):
            raise ValueError(f"{self.name}: constexprs are {sorted(constant)} in the signature")
        if any("fp" in kind for kind in self.signature.values() if not kind.startswith("*")):
            raise ValueError(f"{self.name}: make float scalars constexprs")
        if unknown := set(self.aligned) - set(self.parameters):
            raise ValueError(f"{self.name}: aligned {sorted(unknown)} are no parameters")
        integers = {name: 1 for name, kind in self.parameters.items() if kind[0] in "iu"}
        evaluate_grid(self.bound_grid_rule, integers)

    @property
    def parameters(self) -> dict[str, str]:
        """Arguments that are left at launch, with their types, in order."""
        return {name: kind for name, kind in self.signature.items() if kind != "constexpr"}

    @property
    def bound_grid_rule(self) -> str:
        """`grid_rule` with the values of constexprs in it."""
        return ast.unparse(_Bind(self.constexprs).visit(ast.parse(self.grid_rule, mode="eval")))


class _Bind(ast.NodeTransformer):
    """Replaces names by the values they have."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self.values[node.id]) if node.id in self.values else node


def evaluate_grid(rule: str, values: Mapping[str, int]) -> tuple[int, int, int]:
    """Work out the blocks in x, y and z.

    Args:
        rule: As `KernelVariant.grid_rule`, with constexprs bound.
        values: The integer arguments.

    Raises:
        ValueError: Not three sizes, or anything but names, integers, `+ - * //` and `cdiv`.
    """
    node = ast.parse(rule, mode="eval").body
    if not isinstance(node, ast.Tuple) or len(node.elts) != 3:
        raise ValueError(f"grid rule {rule!r}: needs three sizes, comma-separated")
    x, y, z = (_evaluate(size, values) for size in node.elts)
    return x, y, z


def _evaluate(node: ast.expr, values: Mapping[str, int]) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name) if name in values:
            return values[name]
        case ast.BinOp(left=left, op=operator, right=right):
            a, b = _evaluate(left, values), _evaluate(right, values)
            match operator:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv():
                    return a // b
        case ast.Call(func=ast.Name(id="cdiv"), args=[left, right], keywords=[]):
            return -(-_evaluate(left, values) // _evaluate(right, values))
    raise ValueError(f"grid rule: {ast.unparse(node)!r} is not an integer argument or operation")


def all_variants() -> tuple[KernelVariant, ...]:
    """Import the kernels (needs triton and torch) and return what they export, sorted by name.

    Raises:
        ValueError: Two variants share a name.
    """
    variants: dict[str, KernelVariant] = {}
    for module in _KERNEL_MODULES:
        for variant in importlib.import_module(module).AOT_VARIANTS:
            if variant.name in variants:
                raise ValueError(f"two kernel variants are named {variant.name}")
            variants[variant.name] = variant
    return tuple(variants[name] for name in sorted(variants))
