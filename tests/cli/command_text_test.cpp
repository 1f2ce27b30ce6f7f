// Command lines that a user pastes back into a shell.
#include <boost/test/unit_test.hpp>

#include "cli/command_line.h"

namespace assay::cli {

BOOST_AUTO_TEST_CASE(what_a_shell_would_change_is_quoted) {
  const char* const typed[] = {"./assay", "verify", "a b.h5", "--only", "layers/*", "it's", ""};
  BOOST_TEST(typed_command(7, typed) == "assay verify 'a b.h5' --only 'layers/*' 'it'\\''s' ''");
}

BOOST_AUTO_TEST_CASE(everything_that_changes_a_verdict_is_named) {
  JudgeOptions options;
  options.golden_path = "g.h5";
  options.subject = "simt:stacked";
  options.precision = golden::Precision::bf16;
  BOOST_TEST(judging_command(options) ==
             "assay verify g.h5 --subject simt:stacked --precision bf16");
  options.checkpoint = "model";
  options.equal = true;
  options.left_out = {"loss", "layers/*"};
  BOOST_TEST(judging_command(options) ==
             "assay verify g.h5 --subject simt:stacked --precision bf16 --weights model --equal "
             "--leave-out loss --leave-out 'layers/*'");
}

BOOST_AUTO_TEST_CASE(a_dump_is_judged_by_compare) {
  JudgeOptions options;
  options.golden_path = "g.h5";
  options.subject = "file:my dump.npz";
  BOOST_TEST(judging_command(options) == "assay compare g.h5 'my dump.npz' --precision fp32");
}

}  // namespace assay::cli
