// Which vector instructions the `ordered` engine uses. Internal to products/ and its tests.
#pragma once

#include <string>

namespace assay::reference {

enum class Simd { scalar, avx2, avx512 };

bool simd_available(Simd simd);  // this CPU and operating system can run it
Simd active_simd();              // chosen at first use: ASSAY_SIMD, else the widest available
void select_simd(Simd simd);     // process-wide override; throws if not available

// The meaning of ASSAY_SIMD=name; throws std::invalid_argument for an unknown or unavailable one.
Simd parse_simd(const std::string& name);

}  // namespace assay::reference
