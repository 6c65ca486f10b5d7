// Compiled once for each instruction set; CXR_ROWS names the result. Nothing here may be shared with
// other files at link time (no templates or inline functions of the standard library): the linker
// keeps one copy of those, and it could be the one with instructions that the processor lacks.
#include "native_rows.h"

#include <cstring>

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace cxr {
namespace {

#ifdef __AVX2__
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;  // SSE2 and NEON
#endif
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef float Quad __attribute__((vector_size(16)));
typedef std::int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef std::uint16_t Shorts __attribute__((vector_size(2 * kLanes)));

// Columns of a group whose pixels are copied, where they cannot be read as they are.
constexpr int kCopyColumns = 256;

inline Floats load(const float* place) {
    Floats values;
    std::memcpy(&values, place, sizeof values);
    return values;
}

inline void store(float* place, Floats values) { std::memcpy(place, &values, sizeof values); }

inline Shorts load_pixels(const std::uint16_t* pixels) {
    Shorts values;
    std::memcpy(&values, pixels, sizeof values);
    return values;
}

inline Ints widen(Shorts values) {
#ifdef __AVX2__
    // GCC 12 makes five instructions of the conversion below, and of this one.
    return reinterpret_cast<Ints>(_mm256_cvtepu16_epi32(reinterpret_cast<__m128i>(values)));
#else
    return __builtin_convertvector(values, Ints);
#endif
}

struct TableLookup {
    const float* table;

    // Faster than AVX2's gather, which does the same loads in microcode.
    inline Floats operator()(const std::uint16_t* pixels) const {
        std::uint64_t four;
        std::memcpy(&four, pixels, sizeof four);
#ifdef __AVX2__
        std::uint64_t next;
        std::memcpy(&next, pixels + 4, sizeof next);
        return Floats{at(four), at(four >> 16), at(four >> 32), at(four >> 48),
                      at(next), at(next >> 16), at(next >> 32), at(next >> 48)};
#else
        return Floats{at(four), at(four >> 16), at(four >> 32), at(four >> 48)};
#endif
    }

    inline float at(std::uint64_t value) const { return table[value & 0xffff]; }
};

struct RampLookup {
    Ramp ramp;

    inline Floats operator()(const std::uint16_t* pixels) const {
        Floats line = __builtin_convertvector(widen(load_pixels(pixels)), Floats) - ramp.origin;
        line = line * ramp.slope + ramp.base;
        const Floats low = Floats{} + ramp.low, high = Floats{} + ramp.high;
        line = line > low ? line : low;
        return line < high ? line : high;
    }
};

// Adds columns that lie side by side, the first of them to column `column` of the open rows, and
// asks for the pixels `ahead` of them. Returns the largest stored value, lane by lane.
template <class Look>
inline Shorts add_columns(const std::uint16_t* const* rows, std::ptrdiff_t ahead,
                          std::int64_t num_columns, const Look& look, const float* weights,
                          float* const* open, int num_open, std::int64_t column, Shorts largest) {
    constexpr int kBlocks = 2;  // vectors that share a weight
    for (std::int64_t x = 0; x < num_columns; x += kBlocks * kLanes) {
        Floats values[kGroupRows][kBlocks];
        for (int r = 0; r < kGroupRows; ++r)
            for (int b = 0; b < kBlocks; ++b) {
                const std::uint16_t* pixels = rows[r] + x + b * kLanes;
                __builtin_prefetch(pixels + ahead);
                const Shorts stored = load_pixels(pixels);
                largest = stored > largest ? stored : largest;
                values[r][b] = look(pixels);
            }
        for (int k = 0; k < num_open; ++k) {
            float* place = open[k] + column + x;
            Floats sums[kBlocks];
            for (int b = 0; b < kBlocks; ++b) sums[b] = load(place + b * kLanes);
            for (int r = 0; r < kGroupRows; ++r)
                for (int b = 0; b < kBlocks; ++b)
                    sums[b] += weights[k * kGroupRows + r] * values[r][b];
            for (int b = 0; b < kBlocks; ++b) store(place + b * kLanes, sums[b]);
        }
    }
    return largest;
}

template <class Look>
std::uint16_t add_all_columns(const RowGroup& group, const Look& look, const float* weights,
                              float* const* open, int num_open) {
    const std::int64_t whole =
        group.column_stride == 1 ? group.width - group.width % kBlockColumns : 0;
    Shorts largest = add_columns(group.rows, group.next_group, whole, look, weights, open, num_open,
                                 0, Shorts{});

    // The rest is copied: columns that are apart in memory, and those after the last whole block,
    // where the last pixel is repeated so that no step reads behind a row.
    std::uint16_t copy[kGroupRows][kCopyColumns];
    const std::uint16_t* rows[kGroupRows];
    for (int r = 0; r < kGroupRows; ++r) rows[r] = copy[r];
    for (std::int64_t start = whole; start < group.width; start += kCopyColumns) {
        const std::int64_t left = group.width - start;
        const std::int64_t count = left < kCopyColumns ? left : kCopyColumns;
        const std::int64_t padded = (count + kBlockColumns - 1) / kBlockColumns * kBlockColumns;
        for (int r = 0; r < kGroupRows; ++r) {
            const std::uint16_t* from = group.rows[r] + start * group.column_stride;
            for (std::int64_t x = 0; x < count; ++x) copy[r][x] = from[x * group.column_stride];
            for (std::int64_t x = count; x < padded; ++x) copy[r][x] = copy[r][count - 1];
        }
        largest = add_columns(rows, 0, padded, look, weights, open, num_open, start, largest);
    }

    std::uint16_t result = 0;
    for (int lane = 0; lane < kLanes; ++lane)
        result = largest[lane] > result ? largest[lane] : result;
    return result;
}

std::uint16_t add_group(const RowGroup& group, const Lookup& lookup, const float* weights,
                        float* const* open, int num_open) {
    if (lookup.ramp)
        return add_all_columns(group, RampLookup{*lookup.ramp}, weights, open, num_open);
    return add_all_columns(group, TableLookup{lookup.table}, weights, open, num_open);
}

// The sums of four lanes each.
inline void store_quarters(float* place, Floats sums) {
    Quad total;
    std::memcpy(&total, &sums, sizeof total);
#ifdef __AVX2__
    Quad upper;
    std::memcpy(&upper, reinterpret_cast<const char*>(&sums) + sizeof total, sizeof upper);
    total += upper;
#endif
    std::memcpy(place, &total, sizeof total);
}

void narrow_row(const float* row, const std::int64_t* first, const float* weights,
                std::int64_t num_taps, std::int64_t width, float* result) {
    constexpr std::int64_t kTile = 64;
    float quarters[4 * kTile];
    for (std::int64_t start = 0; start < width; start += kTile) {
        const std::int64_t count = width - start < kTile ? width - start : kTile;
        for (std::int64_t x = 0; x < count; ++x, weights += num_taps) {
            const float* from = row + first[start + x];
            Floats sums{};
            for (std::int64_t t = 0; t < num_taps; t += kLanes)
                sums += load(weights + t) * load(from + t);
            store_quarters(quarters + 4 * x, sums);
        }
        // A loop of its own, so that sums and limits are vectorized across pixels.
        for (std::int64_t x = 0; x < count; ++x) {
            const float* part = quarters + 4 * x;
            float sum = (part[0] + part[2]) + (part[1] + part[3]);
            sum = sum > 0.0f ? sum : 0.0f;
            result[start + x] = sum < 1.0f ? sum : 1.0f;
        }
    }
}

}  // namespace

extern const RowKernels CXR_ROWS;
const RowKernels CXR_ROWS = {add_group, narrow_row};

}  // namespace cxr
