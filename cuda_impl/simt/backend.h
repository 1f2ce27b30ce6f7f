// Which of the two back ends a translation unit is compiled for.
//
//   nvcc, or any compiler with ASSAY_SIMT_DEVICE defined   inline namespace on_device, CUDA runtime
//   otherwise                                              inline namespace on_host, the fiber
//   executor
//
// Everything that exists once per back end stands in `inline namespace SIMT_BACKEND`, so both can
// be linked into one program.
#pragma once

#if defined(__CUDACC__) || defined(ASSAY_SIMT_DEVICE)
#define SIMT_ON_HOST 0
#define SIMT_BACKEND on_device
#else
#define SIMT_ON_HOST 1
#define SIMT_BACKEND on_host
#endif

#if defined(__CUDACC__)
#define SIMT_HD __host__ __device__ __forceinline__
#else
#define SIMT_HD inline
#endif
