// The ledger as a check of the report.
#pragma once

#include <string>
#include <vector>

#include "verify/numerics/case.h"
#include "verify/numerics/checkpoint_row.h"
#include "verify/numerics/ledger.h"

namespace assay::verify {

std::vector<std::string> messages(const Ledger& ledger);  // "shape: layers/0/attn/q: expected .."

// Of each kind of fault the first ones, how many more there are, and how to ask for less.
std::vector<std::string> shortened_messages(const Ledger& ledger);

// Comparing nothing is a failure, whatever else was found.
void book_nothing(const std::vector<CheckpointRow>& rows, Ledger& ledger);

// notes: Subject::notes. seconds: what the run took that filled the ledger.
Check ledger_check(const Case& file, const std::vector<CheckpointRow>& rows, const Ledger& ledger,
                   const std::vector<std::string>& notes, double seconds);

}  // namespace assay::verify
