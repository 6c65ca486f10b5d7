// The native op: one pass over the film, without an intermediate image. README.md derives the order.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <future>
#include <memory>
#include <new>
#include <stdexcept>
#include <vector>

#include "native_axis.h"
#include "native_ramp.h"
#include "native_rows.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace cxr {
namespace {

constexpr std::int64_t kPatchSize = 14;  // px
constexpr std::int64_t kMergeSize = 2;   // patches

// Accumulators of one band. A film that is enlarged much has many open rows: it is read in more
// bands, each of which looks its few rows up again.
constexpr std::int64_t kMaxRingBytes = 8 << 20;

struct Film {
    const std::uint16_t* pixels;
    std::int64_t height, width;
    std::ptrdiff_t row_stride, column_stride;  // in elements
    Lookup lookup;
    std::int64_t entries;
};

struct Patches {
    float* values;             // [grid_height * grid_width, 196]
    std::int64_t grid_height, grid_width;
};

// A table with zeros behind its last entry: values that it lacks are found while they are looked up.
class FullTable {
  public:
    FullTable(const float* table, std::int64_t entries)
        // Memory from calloc costs nothing where it is never touched.
        : values_(static_cast<float*>(std::calloc(kTableSize, sizeof(float))), std::free) {
        if (!values_) throw std::bad_alloc();
        std::copy_n(table, std::min(entries, kTableSize), values_.get());
    }

    const float* values() const { return values_.get(); }

  private:
    std::unique_ptr<float, void (*)(void*)> values_;
};

RowGroup make_group(const Film& film, std::int64_t first_row) {
    const bool is_last = first_row + kGroupRows >= film.height;
    const std::ptrdiff_t next_group = is_last ? 0 : kGroupRows * film.row_stride;
    RowGroup group{{}, film.column_stride, next_group, film.width};
    for (int r = 0; r < kGroupRows; ++r)
        group.rows[r] = film.pixels + std::min(first_row + r, film.height - 1) * film.row_stride;
    return group;
}

// Copies one row of the resized film to the patches it crosses.
void scatter_row(const float* row, std::int64_t y, const Patches& patches) {
    const std::int64_t patch_y = y / kPatchSize, inside_y = y % kPatchSize;
    const std::int64_t blocks = patches.grid_width / kMergeSize;
    for (std::int64_t patch_x = 0; patch_x < patches.grid_width; ++patch_x) {
        const std::int64_t block = patch_y / kMergeSize * blocks + patch_x / kMergeSize;
        const std::int64_t inside = patch_y % kMergeSize * kMergeSize + patch_x % kMergeSize;
        const std::int64_t place = block * kMergeSize * kMergeSize + inside;
        std::memcpy(patches.values + (place * kPatchSize + inside_y) * kPatchSize,
                    row + patch_x * kPatchSize, kPatchSize * sizeof(float));
    }
}

// Makes rows of the resized film, reading the film's rows that they need once from top to bottom.
class Band {
  public:
    Band(const Film& film, const Axis& down, const Axis& across, const Patches& patches,
         const RowKernels& kernels)
        : film_(film), down_(down), across_(across), patches_(patches), kernels_(kernels),
          resized_row_(across.first.size()) {
        const std::int64_t columns = film.width + across.num_taps + kBlockColumns;
        row_length_ = columns / kBlockColumns * kBlockColumns;
    }

    // Makes rows [begin, end), or stops when another thread has met a value that the table lacks.
    void run(std::int64_t begin, std::int64_t end, std::atomic<bool>& beyond_table) {
        const std::int64_t most = kMaxRingBytes / static_cast<std::int64_t>(sizeof(float));
        std::int64_t step = end - begin;
        if (count_open(begin, end) * row_length_ > most)
            step = std::max<std::int64_t>(most / row_length_, 1);
        for (std::int64_t from = begin; from < end && !beyond_table; from += step)
            run_part(from, std::min(from + step, end), beyond_table);
    }

  private:
    // The most sums of [begin, end) that one group of film rows adds to.
    std::int64_t count_open(std::int64_t begin, std::int64_t end) const {
        std::int64_t most = 0, low = begin, high = begin;
        for (std::int64_t row = first_group(begin); row < down_.end[end - 1]; row += kGroupRows) {
            while (high < end && down_.first[high] < row + kGroupRows) ++high;
            most = std::max(most, high - low);
            while (low < end && down_.end[low] <= row + kGroupRows) ++low;
        }
        return most;
    }

    std::int64_t first_group(std::int64_t begin) const {
        return down_.first[begin] / kGroupRows * kGroupRows;
    }

    void run_part(std::int64_t begin, std::int64_t end, std::atomic<bool>& beyond_table) {
        ring_rows_ = count_open(begin, end);
        ring_.assign(ring_rows_ * row_length_, 0.0f);
        open_.resize(ring_rows_);
        weights_.resize(ring_rows_ * kGroupRows);
        // Rows of the result in [low, high) have had some of their film rows, and need more.
        std::int64_t low = begin, high = begin;
        for (std::int64_t row = first_group(begin); row < down_.end[end - 1]; row += kGroupRows) {
            const RowGroup group = make_group(film_, row);
            while (high < end && down_.first[high] < row + kGroupRows) ++high;
            if (add_group(group, row, low, high) >= film_.entries) beyond_table = true;
            if (beyond_table) return;
            for (; low < high && down_.end[low] <= row + kGroupRows; ++low) finish_row(low);
        }
    }

    float* ring_row(std::int64_t y) { return ring_.data() + y % ring_rows_ * row_length_; }

    // Returns the largest stored value of the group.
    std::int64_t add_group(const RowGroup& group, std::int64_t row, std::int64_t low,
                           std::int64_t high) {
        for (std::int64_t y = low; y < high; ++y) {
            open_[y - low] = ring_row(y);
            for (int r = 0; r < kGroupRows; ++r) {
                const std::int64_t tap = row + r - down_.first[y];
                const bool reaches = tap >= 0 && row + r < down_.end[y];
                weights_[(y - low) * kGroupRows + r] =
                    reaches ? down_.weights[y * down_.num_taps + tap] : 0.0f;
            }
        }
        return kernels_.add_group(group, film_.lookup, weights_.data(), open_.data(),
                                  static_cast<int>(high - low));
    }

    void finish_row(std::int64_t y) {
        float* sums = ring_row(y);
        kernels_.narrow_row(sums, across_.first.data(), across_.weights.data(), across_.num_taps,
                            static_cast<std::int64_t>(resized_row_.size()), resized_row_.data());
        scatter_row(resized_row_.data(), y, patches_);
        std::fill(sums, sums + row_length_, 0.0f);
    }

    const Film& film_;
    const Axis& down_;
    const Axis& across_;
    const Patches& patches_;
    const RowKernels& kernels_;
    std::vector<float> resized_row_;
    std::int64_t row_length_;  // of the ring, with room for the last taps
    std::int64_t ring_rows_ = 0;
    std::vector<float> ring_;
    std::vector<float*> open_;
    std::vector<float> weights_;
};

bool has_avx2() {
#ifdef CXR_HAVE_AVX2
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

const RowKernels& choose_rows(bool portable) {
#ifdef CXR_HAVE_AVX2
    if (!portable && has_avx2()) return kAvx2Rows;
#endif
    return kPortableRows;
}

// Returns false if the film holds a value that the table lacks.
bool run(const Film& film, const Patches& patches, std::int64_t num_threads, bool portable) {
    const std::int64_t new_height = patches.grid_height * kPatchSize;
    const Axis down = make_axis(film.height, new_height);
    const Axis across = make_axis(film.width, patches.grid_width * kPatchSize);
    std::atomic<bool> beyond_table{false};
    const auto run_share = [&](std::int64_t share, std::int64_t num_shares) {
        Band band(film, down, across, patches, choose_rows(portable));
        band.run(new_height * share / num_shares, new_height * (share + 1) / num_shares,
                 beyond_table);
    };
    const std::int64_t num_shares = std::clamp<std::int64_t>(num_threads, 1, new_height);
    std::vector<std::future<void>> others;  // each waits for its thread when it goes out of scope
    for (std::int64_t share = 1; share < num_shares; ++share)
        others.push_back(std::async(std::launch::async, run_share, share, num_shares));
    run_share(0, num_shares);
    for (auto& other : others) other.get();
    return !beyond_table;
}

using Pixels = nb::ndarray<const std::uint16_t, nb::ndim<2>, nb::device::cpu>;
using Table = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<float, nb::shape<-1, kPatchSize * kPatchSize>, nb::c_contig,
                           nb::device::cpu>;

bool preprocess(Pixels pixels, Table table, std::int64_t grid_height, std::int64_t grid_width,
                Output out, std::int64_t num_threads, bool portable) {
    const auto num_patches = static_cast<std::size_t>(grid_height * grid_width);
    if (pixels.size() == 0 || grid_height <= 0 || grid_height % kMergeSize || grid_width <= 0 ||
        grid_width % kMergeSize || out.shape(0) != num_patches)
        throw std::invalid_argument("film, grid and out do not fit together");

    nb::gil_scoped_release release;
    const auto entries = static_cast<std::int64_t>(table.size());
    const auto ramp = find_ramp(table.data(), std::min(entries, kTableSize));
    const FullTable full_table(table.data(), entries);
    const Film film{pixels.data(),
                    static_cast<std::int64_t>(pixels.shape(0)),
                    static_cast<std::int64_t>(pixels.shape(1)),
                    pixels.stride(0),
                    pixels.stride(1),
                    {full_table.values(), ramp ? &*ramp : nullptr},
                    entries};
    return run(film, {out.data(), grid_height, grid_width}, num_threads, portable);
}

}  // namespace
}  // namespace cxr

NB_MODULE(_native, module) {
    module.def("has_avx2", &cxr::has_avx2);
    module.def("preprocess", &cxr::preprocess, "pixels"_a.noconvert(),
               "display_table"_a.noconvert(), "grid_height"_a, "grid_width"_a,
               "out"_a.noconvert(), "num_threads"_a, "portable"_a);
}
