// What the executor tells AddressSanitizer and ThreadSanitizer about its fibers. Internal to the
// executor.
//
// SIMT_ASAN and SIMT_TSAN are set by the build. Under TSan the executor itself is compiled without
// -fsanitize=thread: to the detector every CUDA thread is a thread, and the only order between two
// of them is what the executor declares at barriers and warp collectives. Six rules keep that
// picture true:
//   1. A sync object must not be shared by consecutive barriers: a fast thread's next arrival would
//      order a slow one's departure. Hence parity.
//   2. Stacks, shared memory and sync objects are a fresh mapping for every block, so no history
//      survives.
//   3. Nothing is allocated on a device thread: the intercepted heap would report or order it.
//   4. Ids of destroyed fibers are reused soon, and a new thread with an old id looks like the old
//      one. Dead fibers are therefore kept for a while.
//   5. memset is intercepted too: shared memory is filled before the threads start.
//   6. A thread serves one CUDA thread of a launch. That of an earlier launch may serve again: all
//      it did precedes the caller, and at the start of a block the caller precedes it.
#pragma once
#include <cstddef>

#if defined(SIMT_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(SIMT_TSAN)
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* object);
void __tsan_release(void* object);
}
#endif

namespace assay::simt {
inline namespace on_host {
namespace host::asan {

#if defined(SIMT_ASAN)
inline constexpr bool kEnabled = true;
inline void poison(void* memory, std::size_t bytes) { __asan_poison_memory_region(memory, bytes); }
inline void unpoison(void* memory, std::size_t bytes) {
  __asan_unpoison_memory_region(memory, bytes);
}
inline void start_switch(void** fake_stack, const void* low, std::size_t bytes) {
  __sanitizer_start_switch_fiber(fake_stack, low, bytes);
}
inline void finish_switch(void* fake_stack, const void** old_low, std::size_t* old_bytes) {
  __sanitizer_finish_switch_fiber(fake_stack, old_low, old_bytes);
}
#else
inline constexpr bool kEnabled = false;
inline void poison(void*, std::size_t) {}
inline void unpoison(void*, std::size_t) {}
inline void start_switch(void**, const void*, std::size_t) {}
inline void finish_switch(void*, const void**, std::size_t*) {}
#endif

}  // namespace host::asan
}  // namespace on_host
}  // namespace assay::simt

namespace assay::simt {
inline namespace on_host {
namespace host::tsan {

#if defined(SIMT_TSAN)
inline constexpr bool kEnabled = true;
inline void* current_fiber() { return __tsan_get_current_fiber(); }
inline void* create_fiber() { return __tsan_create_fiber(0); }
inline void destroy_fiber(void* fiber) { __tsan_destroy_fiber(fiber); }
inline void switch_to(void* fiber) {
  __tsan_switch_to_fiber(fiber, 1);
}  // 1: the switch orders nothing
inline void acquire(void* object) { __tsan_acquire(object); }
inline void release(void* object) { __tsan_release(object); }
#else
inline constexpr bool kEnabled = false;
inline void* current_fiber() { return nullptr; }
inline void* create_fiber() { return nullptr; }
inline void destroy_fiber(void*) {}
inline void switch_to(void*) {}
inline void acquire(void*) {}
inline void release(void*) {}
#endif

}  // namespace host::tsan
}  // namespace on_host
}  // namespace assay::simt
