// The `ordered` engine: every element of C is one chain of fused multiply-adds over ascending k.
//
// Blocking (K. Goto, R. van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS
// 34(3), 2008, with the roles of A and B exchanged because C is row-major here):
//   slab   kSlabRows x kSlabDepth of A, only if A's columns are not contiguous: A is transposed
//          once, by all threads, into shared scratch
//   tile   of C, a task: up to kTileColumns x some rows (all of them, unless that leaves threads
//          idle); the task packs its B block [kBlockDepth,kTileColumns] once, and it stays in L2
//   panel  of B, lanes x vectors columns wide: streams from L2 through a register kernel, while
//          the kernel's few rows of A stay in L1
// Between two blocks of k the partial sums wait in C. A double stored and loaded is unchanged, so
// neither blocking nor vectors (each lane is an element's own chain) can change a bit.
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>

#include "reference/products/engines.h"
#include "reference/products/kernels.h"
#include "reference/products/scratch.h"

namespace assay::reference {
namespace {

constexpr int64_t kBlockDepth = 512;
constexpr int64_t kTileColumns = 96;   // a multiple of every kernel's panel width
constexpr int64_t kSingleDepth = 128;  // kBlockDepth for a tile of one kernel's rows
constexpr int64_t kTileRows = 128;     // a tile is not cut into fewer rows than this for threads
constexpr int64_t kSlabRows = 1024, kSlabDepth = 1024;
constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kSerialWork = 1 << 17;  // multiply-adds below which a task costs too much

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Panel of B [depth,cols] into to [depth,width], width the next multiple of the vector's lanes;
// zeros in the columns beyond.
void pack_panel(const Kernel& kernel, double* to, ConstMatrix b) {
  const int64_t width = ceil_div(b.cols, kernel.lanes) * kernel.lanes;
  if (b.row_stride == 1) {
    kernel.transpose(to, width, b.data, b.col_stride, b.cols, b.rows);
  } else if (b.col_stride == 1) {
    for (int64_t k = 0; k < b.rows; ++k) std::copy_n(b.at(k, 0), b.cols, to + k * width);
  } else {
    for (int64_t k = 0; k < b.rows; ++k) {
      for (int64_t n = 0; n < b.cols; ++n) to[k * width + n] = *b.at(k, n);
    }
  }
  if (b.cols == width) return;
  for (int64_t k = 0; k < b.rows; ++k) {
    std::fill(to + k * width + b.cols, to + (k + 1) * width, 0.0);
  }
}

// C [R,cols] from rows of A and one packed panel. A last vector that is not full goes through a
// buffer of full vectors; its extra lanes are dropped.
void run_micro(const Kernel& kernel, Matrix c, ConstMatrix a, const double* panel, bool resume) {
  const int64_t vectors = ceil_div(c.cols, kernel.lanes), width = vectors * kernel.lanes;
  const MicroKernel micro = kernel.micro[c.rows - 1][vectors - 1];
  if (c.cols == width) {
    micro(a.cols, a.data, a.row_stride, panel, c.data, c.row_stride, resume);
    return;
  }
  alignas(64) double full[kMaxRows * kMaxVectors * 8] = {};
  for (int64_t r = 0; resume && r < c.rows; ++r) std::copy_n(c.at(r, 0), c.cols, full + r * width);
  micro(a.cols, a.data, a.row_stride, panel, full, width, resume);
  for (int64_t r = 0; r < c.rows; ++r) std::copy_n(full + r * width, c.cols, c.at(r, 0));
}

// Width of the next panel when `cols` columns are left: the widest, except that four vectors go
// as two and two, because a kernel of a single vector waits for its own sums.
int64_t panel_cols(const Kernel& kernel, int64_t cols) {
  const int64_t left = ceil_div(cols, kernel.lanes);
  const int64_t vectors = left == kernel.vectors + 1 ? ceil_div(left, 2) : kernel.vectors;
  return std::min(vectors * kernel.lanes, cols);
}

// A tile of C [rows,cols], cols <= kTileColumns, A with contiguous columns. A leaf: calls no TBB.
void multiply_tile(const Kernel& kernel, Matrix c, ConstMatrix a, ConstMatrix b, bool accumulate) {
  const int64_t depth = b.rows;
  const bool single = c.rows <= kernel.rows;  // a panel is used once: it stays in L1
  const int64_t most = single ? kSingleDepth : kBlockDepth;
  const int64_t block_depth = ceil_div(depth, ceil_div(depth, most));
  double* const packed = leaf_scratch().reserve(block_depth * kTileColumns);
  for (int64_t k0 = 0; k0 < depth; k0 += block_depth) {
    const int64_t block = std::min(block_depth, depth - k0);
    const bool resume = accumulate || k0 > 0;
    for (int64_t m0 = 0; m0 < c.rows; m0 += kernel.rows) {
      const int64_t rows = std::min<int64_t>(kernel.rows, c.rows - m0);
      const ConstMatrix a_rows = a.block(m0, k0, rows, block);
      for (int64_t n0 = 0, cols; n0 < c.cols; n0 += cols) {
        cols = panel_cols(kernel, c.cols - n0);
        double* const panel = packed + (single ? 0 : n0 * block);
        if (m0 == 0) pack_panel(kernel, panel, b.block(k0, n0, block, cols));
        run_micro(kernel, c.block(m0, n0, rows, cols), a_rows, panel, resume);
      }
    }
  }
}

// All tiles of C, A with contiguous columns. Tiles are small enough to occupy every thread.
void multiply_tiles(const Kernel& kernel, Matrix c, ConstMatrix a, ConstMatrix b, bool accumulate) {
  const bool serial = c.rows * c.cols * b.rows < kSerialWork;
  const int64_t wanted =
      serial ? 1 : kTasksPerThread * oneapi::tbb::this_task_arena::max_concurrency();
  const int64_t panel = kernel.lanes * kernel.vectors;
  const int64_t tile_panels =
      std::clamp<int64_t>(ceil_div(c.cols, panel) / wanted, 1, kTileColumns / panel);
  const int64_t tile_cols = serial ? kTileColumns : tile_panels * panel;
  const int64_t across = ceil_div(c.cols, tile_cols);
  const int64_t down = std::min(ceil_div(wanted, across), ceil_div(c.rows, kTileRows));
  const int64_t tile_rows = ceil_div(ceil_div(c.rows, down), kernel.rows) * kernel.rows;

  const auto run_tile = [&](int64_t tile) {
    const int64_t m0 = tile / across * tile_rows, n0 = tile % across * tile_cols;
    if (m0 >= c.rows) return;  // rounding tile_rows up can leave the last row of tiles empty
    const int64_t rows = std::min(tile_rows, c.rows - m0), cols = std::min(tile_cols, c.cols - n0);
    multiply_tile(kernel, c.block(m0, n0, rows, cols), a.block(m0, 0, rows, a.cols),
                  b.block(0, n0, b.rows, cols), accumulate);
  };
  if (serial) {
    for (int64_t tile = 0; tile < across * down; ++tile) run_tile(tile);
  } else {
    oneapi::tbb::parallel_for(int64_t{0}, across * down, run_tile);
  }
}

// A [rows,depth] with any strides into scratch with contiguous columns, rows `stride` apart.
void pack_rows(const Kernel& kernel, double* to, int64_t stride, ConstMatrix a) {
  constexpr int64_t kStripRows = 64;
  oneapi::tbb::parallel_for(int64_t{0}, ceil_div(a.rows, kStripRows), [&](int64_t strip) {
    const int64_t m0 = strip * kStripRows, rows = std::min(kStripRows, a.rows - m0);
    double* const strip_to = to + m0 * stride;
    if (a.row_stride == 1) {
      kernel.transpose(strip_to, stride, a.at(m0, 0), a.col_stride, a.cols, rows);
      return;
    }
    for (int64_t m = 0; m < rows; ++m) {
      for (int64_t k = 0; k < a.cols; ++k) strip_to[m * stride + k] = *a.at(m0 + m, k);
    }
  });
}

}  // namespace

void multiply_ordered(Matrix c, ConstMatrix a, ConstMatrix b, bool accumulate) {
  const Kernel& kernel = active_kernel();
  if (a.col_stride == 1 || a.cols == 1) {
    multiply_tiles(kernel, c, a, b, accumulate);
    return;
  }
  PooledScratch scratch;
  for (int64_t k0 = 0; k0 < a.cols; k0 += kSlabDepth) {
    for (int64_t m0 = 0; m0 < a.rows; m0 += kSlabRows) {
      const int64_t rows = std::min(kSlabRows, a.rows - m0);
      const int64_t depth = std::min(kSlabDepth, a.cols - k0);
      const int64_t stride = depth + 8;  // rows a power of two apart would share cache sets
      double* const packed = scratch.reserve(rows * stride);
      pack_rows(kernel, packed, stride, a.block(m0, k0, rows, depth));
      multiply_tiles(kernel, c.block(m0, 0, rows, c.cols), {packed, rows, depth, stride, 1},
                     b.block(k0, 0, depth, b.cols), accumulate || k0 > 0);
    }
  }
}

}  // namespace assay::reference
