// The inner loops of the native op. native_rows.cpp implements them once for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cxr {

// Film rows that one vertical step reads. Multiples of it bound the steps whatever the band, so the
// order of the sums, and with it every bit of the result, is the same for any number of threads.
constexpr int kGroupRows = 4;

// Columns that one step handles at most; rows of accumulators and of weights are padded to this.
constexpr int kBlockColumns = 16;

// Values that 16 bits can hold: with as many entries no stored value reads past the table.
constexpr std::int64_t kTableSize = 65536;

// A table that is a straight line between two plateaus, as every linear window is:
// min(max(base + slope * (value - origin), low), high).
struct Ramp {
    float origin, base, slope, low, high;
};

// Stored value -> intensity.
struct Lookup {
    const float* table;  // kTableSize entries
    const Ramp* ramp;    // null where the table is not one
};

// `kGroupRows` rows of a film. Rows below its end repeat the last one, with weights of 0.
struct RowGroup {
    const std::uint16_t* rows[kGroupRows];
    std::ptrdiff_t column_stride;  // in elements
    std::ptrdiff_t next_group;     // elements from a row to that of the next group; 0 at the end
    std::int64_t width;            // columns
};

struct RowKernels {
    // Adds the group, looked up, to `num_open` rows of accumulators:
    // open[k][x] += sum over r of weights[k * kGroupRows + r] * intensity(rows[r][x]).
    // Writes up to the next multiple of kBlockColumns; what it adds there is finite.
    // Returns the largest stored value.
    std::uint16_t (*add_group)(const RowGroup& group, const Lookup& lookup, const float* weights,
                               float* const* open, int num_open);

    // result[x] = sum over t < num_taps of weights[x * num_taps + t] * row[first[x] + t], clamped
    // to 0..1. `num_taps` is a multiple of 8.
    void (*narrow_row)(const float* row, const std::int64_t* first, const float* weights,
                       std::int64_t num_taps, std::int64_t width, float* result);
};

extern const RowKernels kPortableRows;
#ifdef CXR_HAVE_AVX2
extern const RowKernels kAvx2Rows;
#endif

}  // namespace cxr
