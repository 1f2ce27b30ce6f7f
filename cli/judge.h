// One golden file, one subject, one report: what `assay verify` and `assay suite verify` share.
#pragma once

#include "golden/file/golden_file.h"
#include "verify/judge/numerics.h"
#include "verify/report/report.h"
#include "verify/subjects/subject.h"

namespace assay::cli {

// equal: judged by equality (verify/judge/equality.h), else within derived bounds.
verify::RunReport judge(const golden::GoldenReader& golden, verify::Subject& subject,
                        const verify::NumericsOptions& options, bool equal);

}  // namespace assay::cli
