// Recognizes display tables that arithmetic can replace.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "native_rows.h"

namespace cxr {

// Two units in the last place of 1: what rounding the table and the line to float32 can differ by.
constexpr float kRampTolerance = 2.4e-7f;

// Returns the line between two plateaus that gives every entry of the table, if there is one.
inline std::optional<Ramp> find_ramp(const float* table, std::int64_t entries) {
    // The line runs through the entries between the plateaus; their own ends may be cut off.
    std::int64_t begin = 0, end = entries - 1;
    while (begin < entries && table[begin] == table[0]) ++begin;
    while (end > begin && table[end] == table[entries - 1]) --end;
    if (end <= begin) return std::nullopt;

    const double rise = static_cast<double>(table[end]) - static_cast<double>(table[begin]);
    Ramp ramp{};
    // Counting from the line's first entry keeps the difference exact, however steep the line.
    ramp.origin = static_cast<float>(begin);
    ramp.base = table[begin];
    ramp.slope = static_cast<float>(rise / static_cast<double>(end - begin));
    ramp.low = std::min(table[0], table[entries - 1]);
    ramp.high = std::max(table[0], table[entries - 1]);

    int misses = 0;  // a count, and no early end, so that the loop is vectorized
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(entries); ++i) {
        float line = (static_cast<float>(i) - ramp.origin) * ramp.slope + ramp.base;
        line = line > ramp.low ? line : ramp.low;
        line = line < ramp.high ? line : ramp.high;
        misses += !(std::abs(line - table[i]) <= kRampTolerance);
    }
    return misses ? std::nullopt : std::optional<Ramp>(ramp);
}

}  // namespace cxr
