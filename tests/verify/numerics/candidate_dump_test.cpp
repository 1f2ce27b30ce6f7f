// Six candidate dumps, each wrong in its own way: six different failures. The clean twin passes.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <set>

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
  NumericsResult judge(const std::function<void(std::vector<Entry>&)>& spoil,
                       uint64_t seed = kSeed) {
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
    return verify_numerics(golden.reader(), subject, {});
  }
};

Entry& keys(std::vector<Entry>& entries) {  // [2,2,12,8]
  return *std::find_if(entries.begin(), entries.end(),
                       [](const Entry& entry) { return entry.name == "layers/1/attn/k"; });
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
  check_faults(judge(spoil), {Fault::missing});
}

BOOST_AUTO_TEST_CASE(extra_tensor) {
  const auto spoil = [](auto& entries) {
    entries.push_back({"perplexity", entries.back().tensor});
  };
  check_faults(judge(spoil), {Fault::extra});
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

BOOST_AUTO_TEST_SUITE_END()

}  // namespace assay::verify::testing
