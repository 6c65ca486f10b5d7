import numpy as np
from numpy.typing import NDArray

def has_avx2() -> bool: ...
def preprocess(
    pixels: NDArray[np.uint16],
    display_table: NDArray[np.float32],
    grid_height: int,
    grid_width: int,
    out: NDArray[np.float32],
    num_threads: int,
    portable: bool,
) -> bool: ...
