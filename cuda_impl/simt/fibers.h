// Stacks, and the switch between them (Boost.Context's raw fcontext). Internal to the executor.
#pragma once
#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <memory>
#include <vector>

#include "cuda_impl/simt/sanitizers.h"

namespace assay::simt {
inline namespace on_host {
namespace host {

// A stack and where execution on it stands. One fiber runs many CUDA threads, one after the other.
struct Fiber {
  boost::context::detail::fcontext_t resume_at = nullptr;
  char* low = nullptr;  // the usable range starts here, above the guard page
  std::size_t bytes = 0;
  std::size_t color = 0;       // offset of the first frame from the top
  void* fake_stack = nullptr;  // AddressSanitizer's, while switched out
};

using FiberEntry = void (*)(boost::context::detail::transfer_t);

std::size_t stack_bytes();
std::size_t page_bytes();

// Forgets whatever ran on the fiber; it will begin at `entry`.
void restart(Fiber& fiber, FiberEntry entry);

// A pool of fibers with mapped stacks, each below it a guard page: overflow faults instead of
// corrupting a neighbour.
class FiberPool {
 public:
  explicit FiberPool(FiberEntry entry) : entry_(entry) {}
  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;
  ~FiberPool();

  Fiber* take() {
    if (idle_.empty()) grow();
    Fiber* fiber = idle_.back();
    idle_.pop_back();
    return fiber;
  }
  void give_back(Fiber* fiber) { idle_.push_back(fiber); }

  // Every fiber becomes idle and fresh. Frames of abandoned CUDA threads are dropped, not unwound.
  void reset();

 private:
  void grow();

  FiberEntry entry_;
  std::vector<std::unique_ptr<Fiber>> all_;
  std::vector<Fiber*> idle_;
};

// On arrival: notes where the fiber that was left stands. An OS thread's own stack has unknown
// bounds until the first switch away from it tells them.
[[gnu::always_inline]] inline void arrive(boost::context::detail::transfer_t from,
                                          void* fake_stack) {
  auto* left = static_cast<Fiber*>(from.data);
  left->resume_at = from.fctx;
  const void* low = nullptr;
  std::size_t bytes = 0;
  asan::finish_switch(fake_stack, &low, &bytes);
  if (asan::kEnabled && left->low == nullptr) {
    left->low = static_cast<char*>(const_cast<void*>(low));
    left->bytes = bytes;
  }
}

// Inlined by force: every return after a stack switch is mispredicted, so frames cost.
[[gnu::always_inline]] inline void jump(Fiber* from, Fiber* to) {
  asan::start_switch(&from->fake_stack, to->low, to->bytes);
  arrive(boost::context::detail::jump_fcontext(to->resume_at, from), from->fake_stack);
}

}  // namespace host
}  // namespace on_host
}  // namespace assay::simt
