"""Kernels compiled ahead of time: building them needs Triton, running them only a driver.

    variants.py   what is compiled: a list of `KernelVariant` beside each kernel
    compile.py    writes `<name>.sm_<arch>.cubin` and `.ptx` and a manifest, without a GPU
    loader.py     loads and launches them through libcuda with ctypes
    binaries/     where an installation with CXR_CUDA_ARCHS set keeps them

Build them with the package (no isolation: the build must see the installed triton and torch):

    pip install --no-build-isolation --config-settings=cmake.define.CXR_CUDA_ARCHS="90;100" .

or alone:

    python -m cxr_reason.kernels.aot.compile --arch 90 --arch 100 --output DIR

To launch one (pointers are addresses on the device, as `tensor.data_ptr()` gives them):

    from cxr_reason.kernels.aot.loader import KernelLibrary

    library = KernelLibrary.installed()
    library.launch("preprocess_fp16_any", {"pixels_ptr": …, "width": …}, stream=…)

A manifest lists for each file what a launcher must know: entry symbol, parameters in order with
their types, those that must be multiples of 16, the grid rule, threads of a block, dynamic shared
memory, and for a reader registers and spills. Triton adds two pointers to the end of every
kernel's parameters (global and profiling scratch memory); the loader passes null for them, and the
compiler refuses a kernel that would use them.

Which file runs on which device: a cubin for sm_80, 86 or 89 on devices of the same major version
and at least that minor; from sm_90 on Triton compiles for the exact architecture (`sm_90a`), so
cubin and PTX run on that one only. PTX for sm_80, 86 or 89 runs on every later device: the
driver compiles it. So an installation for all of them has 80 among its architectures.
"""
