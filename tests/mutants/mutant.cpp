#include "tests/mutants/mutant.h"

namespace assay::mutants {

std::vector<Mutant> all_mutants() {
  return {dependents_message(), full_recursion(),  lost_mask("plain"), lost_mask("1"),
          lost_mask("5.1"),     masked_sum(),      re_softmax(),       silent_fallback(),
          transposed_replay(),  unmasked_replay(), wrong_layer_norm()};
}

}  // namespace assay::mutants
