// Event files as torch.utils.tensorboard 2.15 wrote them, whole, cut, spoilt, resumed and in
// folders.
#include "verify/training/readers/event_files.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "golden/contract/error.h"
#include "tests/golden/sample.h"
#include "verify/training/readers/text_logs.h"

namespace tt = boost::test_tools;

namespace assay::verify::training {
namespace {

using golden::sample::TemporaryFolder;
using Values = std::vector<double>;

// train/loss 2.1, 1.9, 1.8 at 10, 20, 30; train/grad_norm 0.5 and eval/loss 2.25 at 10; lr at 30.
constexpr const char* kFirst =
    "4800000000000000fe92489d099c0758a26ac3da411a0d627261696e2e4576656e743a32522e0a2c74656e73"
    "6f72626f6172642e73756d6d6172792e7772697465722e6576656e745f66696c655f7772697465720588e2ce"
    "200000000000000029eda95009db0d58a26ac3da41100a2a130a110a0a747261696e2f6c6f73731566660640"
    "c382bfa32500000000000000eabc36f309200e58a26ac3da41100a2a180a160a0f747261696e2f677261645f"
    "6e6f726d150000003f4509861f1f00000000000000514b441809470e58a26ac3da41100a2a120a100a096576"
    "616c2f6c6f73731500001040f28b1616200000000000000029eda95009700e58a26ac3da4110142a130a110a"
    "0a747261696e2f6c6f7373153333f33f97581f3f200000000000000029eda950098e0e58a26ac3da41101e2a"
    "130a110a0a747261696e2f6c6f7373156666e63fa089f0811800000000000000a37f4b2209ac0e58a26ac3da"
    "41101e2a0b0a090a026c72156f12833a7e93201a";
// train/loss 1.7 at 20, a tensor of one float, and 1.6 at 40, of one double.
constexpr const char* kResumed =
    "4800000000000000fe92489d09dd1c58a26ac3da411a0d627261696e2e4576656e743a32522e0a2c74656e73"
    "6f72626f6172642e73756d6d6172792e7772697465722e6576656e745f66696c655f777269746572a8a1808c"
    "3200000000000000241956ec09122158a26ac3da4110142a250a230a0a747261696e2f6c6f7373420808012a"
    "049a99d93f4a0b0a090a077363616c61727395a28099200000000000000029eda95009692158a26ac3da4110"
    "282a130a110a0a747261696e2f6c6f737315cdcccc3f1770d968";
constexpr const char* kAccuracy =
    "4800000000000000fe92489d09512a58a26ac3da411a0d627261696e2e4576656e743a32522e0a2c74656e73"
    "6f72626f6172642e73756d6d6172792e7772697465722e6576656e745f66696c655f777269746572e9e6c74f"
    "1e00000000000000d9dc123209f62d58a26ac3da4110012a110a0f0a086163637572616379150000803f6972"
    "2d57";

std::string bytes_of(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

struct Runs : TemporaryFolder {
  std::string put(const std::string& name, const std::string& bytes) const {
    const std::filesystem::path path(file(name));
    std::filesystem::create_directories(path.parent_path());
    golden::sample::put_bytes(path.string(), bytes);
    return path.string();
  }
};

std::string fault(const std::string& path) {
  try {
    read_curve(path);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

// Floats come back as the decimals that were logged: an error of a float would hide the rounding.
BOOST_FIXTURE_TEST_CASE(scalars_are_a_curve, Runs) {
  const Curve curve = read_curve(put("events.out.tfevents.17.host.1.0", bytes_of(kFirst)));
  BOOST_TEST(curve.train.steps == (Values{10, 20, 30}), tt::per_element());
  BOOST_TEST(curve.train.values == (Values{2.1, 1.9, 1.8}), tt::per_element());
  BOOST_TEST(curve.val.values == (Values{2.25}), tt::per_element());
  BOOST_TEST(curve.grad_norm.values == (Values{0.5}), tt::per_element());
}

BOOST_FIXTURE_TEST_CASE(tensors_of_one_number_are_scalars, Runs) {
  const Curve curve = read_curve(put("events.out.tfevents.17.host", bytes_of(kResumed)));
  BOOST_TEST(curve.train.values == (Values{1.7, 1.6}), tt::per_element());
}

// The second file begins at step 20: what the first one had from there on was done again.
BOOST_FIXTURE_TEST_CASE(files_of_a_resumed_run_are_one, Runs) {
  put("run/events.out.tfevents.18.host.2.0", bytes_of(kResumed));
  put("run/events.out.tfevents.17.host.1.0", bytes_of(kFirst));
  const Curve curve = read_curve(file("run"));
  BOOST_TEST(curve.train.steps == (Values{10, 20, 40}), tt::per_element());
  BOOST_TEST(curve.train.values == (Values{2.1, 1.7, 1.6}), tt::per_element());
  BOOST_TEST(curve.val.values == (Values{2.25}), tt::per_element());
  bool told = false;
  for (const std::string& note : curve.notes) told |= note.find("resumed") != std::string::npos;
  BOOST_TEST(told);
}

// A folder of a set says whose its tags are; folders of two runs are not mixed.
BOOST_FIXTURE_TEST_CASE(folders_are_sets_or_runs, Runs) {
  put("run/events.out.tfevents.17.host.1.0", bytes_of(kFirst));
  put("run/plots/notes.txt", "");
  BOOST_TEST(read_curve(file("run")).train.values.size() == 3);
  put("runs/first/events.out.tfevents.17.host.1.0", bytes_of(kFirst));
  BOOST_TEST(read_curve(file("runs")).train.values.size() == 3);
  put("runs/second/events.out.tfevents.18.host.1.0", bytes_of(kResumed));
  BOOST_TEST(fault(file("runs")).find("several runs") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(a_cut_end_is_passed_over_and_spoilt_bytes_are_named, Runs) {
  const std::string whole = bytes_of(kFirst);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const std::string path = put("events.out.tfevents.17.host", whole.substr(0, length));
    const std::string told = fault(path);
    if (told.empty()) {
      BOOST_TEST(read_curve(path).train.values.size() <= 3);
    } else {
      BOOST_TEST(told.find("TensorBoard, got none") != std::string::npos);
    }
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string spoilt = whole;
    spoilt[at] = static_cast<char>(spoilt[at] ^ 0x10);
    BOOST_TEST(!fault(put("events.out.tfevents.17.host", spoilt)).empty());
  }
}

BOOST_FIXTURE_TEST_CASE(what_has_no_loss_is_refused_by_its_tags, Runs) {
  BOOST_TEST(fault(put("events.out.tfevents.17.host", bytes_of(kAccuracy))).find("accuracy") !=
             std::string::npos);
  BOOST_TEST(
      fault(put("events.out.tfevents.18.host", "step,loss\n1,2\n3,4\n")).find("got another file") !=
      std::string::npos);
}

}  // namespace
}  // namespace assay::verify::training
