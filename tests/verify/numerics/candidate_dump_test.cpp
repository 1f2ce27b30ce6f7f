// Candidate dumps, each wrong in its own way: as many different failures. The clean twin passes.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <set>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "tests/verify/numerics/fixture.h"
#include "verify/subjects/file_subject.h"

namespace assay::verify::testing {
namespace {

struct Entry {
  std::string name;
  golden::Tensor tensor;
  golden::DType dtype = golden::DType::float64;
};

struct Dumps {
  GoldenFixture golden{config_of("tiny", "1")};
  int number = 0;

  // The golden values themselves as a dump, after spoil().
  NumericsResult judge(const std::function<void(std::vector<Entry>&)>& spoil, uint64_t seed = kSeed,
                       const NumericsOptions& options = {}) {
    std::vector<Entry> entries;
    for (const golden::ManifestRow& row : golden.reader().manifest()) {
      if (row.role != "forward") continue;
      entries.push_back({row.path.substr(std::string("/forward/").size()),
                         golden.reader().read_tensor(row.path)});
    }
    spoil(entries);
    const std::string path = golden.file("candidate" + std::to_string(++number) + ".h5");
    {
      golden::DumpWriter writer(path, golden.reader().config_hash(), seed);
      for (const Entry& entry : entries) {
        writer.write(entry.name, entry.tensor.view(), entry.dtype);
      }
    }
    FileSubject subject(path, schedule_of(Precision::fp64));
    return verify_numerics(golden.reader(), subject, options);
  }
};

Entry& entry_of(std::vector<Entry>& entries, const std::string& name) {
  return *std::find_if(entries.begin(), entries.end(),
                       [&](const Entry& entry) { return entry.name == name; });
}

// [2,2,12,8]
Entry& keys(std::vector<Entry>& entries) { return entry_of(entries, "layers/1/attn/k"); }

// The mean over the predicted labels, from the entries' own logits [B,T,V].
double loss_of(std::vector<Entry>& entries, std::span<const int32_t> labels) {
  const golden::Tensor& logits = entry_of(entries, "logits").tensor;
  const auto positions = static_cast<std::size_t>(logits.shape[1]);
  const auto vocab = static_cast<std::size_t>(logits.shape[2]);
  double sum = 0, count = 0;
  for (std::size_t row = 0; row < labels.size(); ++row) {
    if (row % positions == positions - 1 || labels[row + 1] == -100) continue;
    const double* z = &logits.values[row * vocab];
    double exponentials = 0;
    for (std::size_t v = 0; v < vocab; ++v) exponentials += std::exp(z[v]);
    sum += std::log(exponentials) - z[labels[row + 1]];
    ++count;
  }
  return sum / count;
}

// Attention as Hugging Face's eager one has it: the padding on the left of row 1, two queries, sees
// every key alike, and something else comes out there.
void see_all_in_padding(std::vector<Entry>& entries, const golden::GoldenReader& golden) {
  bool after_scores = false;
  for (const golden::TensorInfo& info : golden::tensor_list(golden.header().config, 2, 12)) {
    golden::Tensor& tensor = entry_of(entries, info.name).tensor;
    after_scores = after_scores || info.name.ends_with("attn/scores");
    const std::size_t axis = info.axes.find('T');
    if (!after_scores || axis == std::string::npos) continue;
    std::size_t stride = 1;
    for (std::size_t i = axis + 1; i < info.shape.size(); ++i) {
      stride *= static_cast<std::size_t>(info.shape[i]);
    }
    for (std::size_t i = tensor.values.size() / 2; i < tensor.values.size(); ++i) {
      if (i / stride % 12 >= 2) continue;
      double& x = tensor.values[i];
      x = info.name.ends_with("scores")  ? -3.4e38
          : info.name.ends_with("probs") ? 1.0 / 12
                                         : std::sin(static_cast<double>(i));
    }
  }
  entry_of(entries, "loss").tensor.values[0] =
      loss_of(entries, golden.read_int32("/inputs/labels"));
}

// The kinds of fault that the ledger found, and no others.
void check_faults(const NumericsResult& result, const std::set<Fault>& due) {
  std::set<Fault> found;
  for (const Fault fault :
       {Fault::missing, Fault::extra, Fault::duplicate, Fault::shape, Fault::dtype, Fault::empty,
        Fault::nonfinite, Fault::unmasked, Fault::seed, Fault::config, Fault::nothing}) {
    if (has_fault(result, fault, "")) found.insert(fault);
  }
  BOOST_TEST((found == due), text_of(result));
  BOOST_TEST(exit_code_of(result) == (due.empty() ? 0 : 1), text_of(result));
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(candidate_dumps, Dumps)

BOOST_AUTO_TEST_CASE(clean_twin) {
  check_faults(judge([](auto&) {}), {});
}

BOOST_AUTO_TEST_CASE(missing_tensor) {
  const auto spoil = [](auto& entries) { entries.erase(entries.begin() + 9); };
  const NumericsResult part = judge(spoil);
  check_faults(part, {});
  BOOST_TEST(std::count_if(part.rows.begin(), part.rows.end(), [](const CheckpointRow& row) {
               return row.status == Status::skipped && !row.compared;
             }) == 1);
  BOOST_TEST(part.checks[0].summary.find(" checkpoints judged: ") != std::string::npos);
  check_faults(judge(spoil, kSeed, {.required = {"all"}}), {Fault::missing});
  check_faults(judge(spoil, kSeed, {.required = {"embed", "logits"}}), {});
  BOOST_CHECK_THROW(judge(spoil, kSeed, {.required = {"layers/9/*"}}), InputError);
  BOOST_CHECK_THROW(judge(spoil, kSeed, {.pattern = "embed", .required = {"logits"}}), InputError);
}

// What proves nothing is no pass.
BOOST_AUTO_TEST_CASE(no_tensor_at_all) {
  const NumericsResult none = judge([](auto& entries) {
    entries = {{"hidden", entries.back().tensor}};
  });
  BOOST_TEST(exit_code_of(none) == 3, text_of(none));
  const auto bad_shape = [](auto& entries) { entries = {{"embed", entries.back().tensor}}; };
  check_faults(judge(bad_shape), {Fault::shape});
}

BOOST_AUTO_TEST_CASE(extra_tensor) {
  const auto spoil = [](auto& entries) {
    entries.push_back({"perplexity", entries.back().tensor});
  };
  check_faults(judge(spoil), {});
  check_faults(judge(spoil, kSeed, {.strict = true}), {Fault::extra});
}

// A name of ours in another spelling, where ours is not there.
BOOST_AUTO_TEST_CASE(misspelled_tensor) {
  const auto rename = [](auto& entries) { keys(entries).name = "model.layers.1.attn.k"; };
  check_faults(judge(rename), {Fault::extra});
  const auto copy = [](auto& entries) {
    Entry again = keys(entries);
    again.name = "layers.1.attn.k";
    entries.push_back(again);
  };
  check_faults(judge(copy), {});
}

BOOST_AUTO_TEST_CASE(transposed_tensor) {
  const auto spoil = [](auto& entries) {
    golden::Shape& shape = keys(entries).tensor.shape;
    std::swap(shape[2], shape[3]);
  };
  check_faults(judge(spoil), {Fault::shape});
}

BOOST_AUTO_TEST_CASE(one_nan) {
  const auto spoil = [](auto& entries) { keys(entries).tensor.values[7] = std::nan(""); };
  check_faults(judge(spoil), {Fault::nonfinite});
}

BOOST_AUTO_TEST_CASE(float32_for_float64) {
  const auto spoil = [](auto& entries) { keys(entries).dtype = golden::DType::float32; };
  check_faults(judge(spoil), {Fault::dtype});
}

BOOST_AUTO_TEST_CASE(other_seed) {
  check_faults(judge([](auto&) {}, kSeed + 1), {Fault::seed});
}

BOOST_AUTO_TEST_CASE(what_a_query_that_sees_no_key_computes_is_left_out) {
  const auto padded = [&](auto& entries) { see_all_in_padding(entries, golden.reader()); };
  const NumericsResult right = judge(padded);
  check_faults(right, {});
  const std::string said = text_of(right);
  BOOST_TEST(said.find("not compared: 2 of 24 positions, padding whose query sees no key") !=
                 std::string::npos,
             said);
  BOOST_TEST(said.find("loss counts 1 predictions made there") != std::string::npos, said);
  BOOST_TEST(row_of(right, "layers/2/output").elements == (24 - 2) * 32);
  BOOST_TEST(row_of(right, "embed").elements == 24 * 32);
}

BOOST_AUTO_TEST_CASE(what_is_wrong_beside_it_is_found) {
  const std::string name = "layers/1/mlp/act";
  const auto judge_with = [&](const auto& spoil, const NumericsOptions& options) {
    return judge(
        [&](auto& entries) {
          see_all_in_padding(entries, golden.reader());
          spoil(entries);
        },
        kSeed, options);
  };
  const NumericsResult real = judge_with(
      [&](auto& entries) {
        std::vector<double>& values = entry_of(entries, name).tensor.values;
        values[values.size() / 24 * 14] += 1e-6;  // (b1,t2): the first real one
      },
      {});
  BOOST_TEST(exit_code_of(real) == 1, text_of(real));
  BOOST_TEST(real.diverged == name);
  const NumericsResult loss =
      judge_with([&](auto& entries) { entry_of(entries, "loss").tensor.values[0] += 1e-6; }, {});
  BOOST_TEST(exit_code_of(loss) == 1, text_of(loss));
  BOOST_TEST(loss.diverged == "loss");
  const NumericsResult blind = judge_with(
      [](auto& entries) {
        std::erase_if(entries, [](const Entry& entry) { return entry.name != "loss"; });
      },
      {.pattern = "loss"});
  BOOST_TEST(exit_code_of(blind) == 3, text_of(blind));
}

// Kernels of ours are held to 0 there.
BOOST_AUTO_TEST_CASE(a_subject_that_runs_is_held_to_what_the_reference_has) {
  GraphSubject reference = golden.reference(Precision::fp64);
  Altered subject(reference, change_one("layers/1/attn/context", [](Observed& observed) {
                    observed.tensor.values[observed.tensor.values.size() / 2] = 1e-3;  // (b1,t0)
                  }));
  const NumericsResult result = verify_numerics(golden.reader(), subject, {});
  BOOST_TEST(exit_code_of(result) == 1, text_of(result));
  BOOST_TEST(result.diverged == "layers/1/attn/context");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::verify::testing
