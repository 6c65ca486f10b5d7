// Which pixels, with which weights, make one pixel of the resized film, along one axis.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace cxr {

struct Axis {
    std::int64_t num_taps = 0;         // of every row of weights, a multiple of 8
    std::vector<std::int64_t> first;   // [new_size], first pixel of each sum
    std::vector<std::int64_t> end;     // [new_size], one past the last pixel
    std::vector<float> weights;        // [new_size, num_taps], 0 from end on; a sum of 1 each
};

// Keys' cubic convolution kernel with a = -0.5, at x >= 0.
inline double cubic(double x) {
    constexpr double a = -0.5;
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

// As precompute_coeffs in Pillow's src/libImaging/Resample.c: in double, then rounded once.
inline Axis make_axis(std::int64_t size, std::int64_t new_size) {
    const double scale = static_cast<double>(size) / static_cast<double>(new_size);
    const double stretch = std::max(scale, 1.0);
    const double support = 2.0 * stretch;
    Axis axis;
    axis.first.resize(new_size);
    axis.end.resize(new_size);
    std::int64_t longest = 0;
    for (std::int64_t j = 0; j < new_size; ++j) {
        const double center = (static_cast<double>(j) + 0.5) * scale;
        const auto first = static_cast<std::int64_t>(center - support + 0.5);
        axis.first[j] = std::max<std::int64_t>(first, 0);
        axis.end[j] = std::min(static_cast<std::int64_t>(center + support + 0.5), size);
        longest = std::max(longest, axis.end[j] - axis.first[j]);
    }
    axis.num_taps = (longest + 7) / 8 * 8;
    axis.weights.assign(new_size * axis.num_taps, 0.0f);
    std::vector<double> row(longest);
    for (std::int64_t j = 0; j < new_size; ++j) {
        const double center = (static_cast<double>(j) + 0.5) * scale;
        const std::int64_t count = axis.end[j] - axis.first[j];
        double sum = 0.0;
        for (std::int64_t t = 0; t < count; ++t) {
            const double middle = static_cast<double>(axis.first[j] + t) + 0.5;
            row[t] = cubic(std::abs(middle - center) / stretch);
            sum += row[t];
        }
        for (std::int64_t t = 0; t < count; ++t)
            axis.weights[j * axis.num_taps + t] = static_cast<float>(row[t] / sum);
    }
    return axis;
}

}  // namespace cxr
