#include "golden/generate/generate_suite.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>

#include "golden/contract/error.h"
#include "golden/contract/strict_json.h"
#include "golden/file/hdf5.h"
#include "golden/file/manifest.h"
#include "golden/file/output.h"
#include "golden/generate/generate.h"
#include "golden/suites/suite_data.h"

namespace assay::golden {
namespace {

namespace fs = std::filesystem;

// Memory shared by cases that run at once. Cases start in order: a large one is not overtaken, or
// it might wait for ever.
class Budget {
 public:
  explicit Budget(uint64_t bytes) : free_(bytes) {}
  void take(uint64_t bytes) {
    std::unique_lock lock(mutex_);
    const uint64_t ticket = next_++;
    changed_.wait(lock, [&] { return ticket == serving_ && bytes <= free_; });
    free_ -= bytes;
    ++serving_;
    changed_.notify_all();
  }
  void give(uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    free_ += bytes;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t free_, next_ = 0, serving_ = 0;
};

// What a case has of the budget while it runs.
class Share {
 public:
  Share(Budget& budget, uint64_t bytes) : budget_(budget), bytes_(bytes) { budget_.take(bytes_); }
  ~Share() { budget_.give(bytes_); }
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;

 private:
  Budget& budget_;
  uint64_t bytes_;
};

uint64_t work_of(const SuiteCase& c) { return estimated_live_bytes(c) + 1; }

CaseOutcome failed(const SuiteCase& c, const std::string& path, std::string problem) {
  return {.name = c.name, .path = path, .root_hash = {}, .problem = std::move(problem)};
}

CaseOutcome run_case(const SuiteCase& c, const GenerateSuiteRequest& request, Budget& budget,
                     uint64_t budget_bytes) {
  const std::string path = case_path(request.folder, c);
  try {
    const std::string stale = why_stale(c, path);
    if (stale.empty() && !request.force) {
      return {.name = c.name,
              .state = CaseState::up_to_date,
              .path = path,
              .root_hash = GoldenReader(path).root_hash(),
              .problem = {},
              .bytes = fs::file_size(path)};
    }
    require_own({"case", path}, {kSchema}, request.force);
    const uint64_t bytes = estimated_live_bytes(c);
    if (bytes > budget_bytes) {
      return failed(c, path,
                    fmt::format("case {}: needs up to {} bytes of memory: expected at most {}; "
                                "raise --memory",
                                c.name, bytes, budget_bytes));
    }
    CaseOutcome outcome;
    {
      const Share share(budget, bytes);
      outcome = generate_case(c, path, true);
    }
    if (outcome.state == CaseState::written && fs::exists(path) && stale != "no file") {
      outcome.problem = stale;
    }
    return outcome;
  } catch (const std::bad_alloc&) {
    return failed(c, path,
                  fmt::format("not enough memory: needs about {} MB; lower --jobs or --memory",
                              (estimated_live_bytes(c) >> 20) + 1));
  } catch (const std::exception& error) {
    return failed(c, path, error.what());
  }
}

int threads_for(const Suite& suite, int jobs) {
  if (jobs <= 0) jobs = static_cast<int>(std::thread::hardware_concurrency());
  if (!hdf5::safe_from_threads()) jobs = 1;
  return std::clamp(jobs, 1, static_cast<int>(suite.cases.size()));
}

}  // namespace

std::string case_path(const std::string& folder, const SuiteCase& c) {
  return (fs::path(folder) / (c.name + ".h5")).string();
}

std::string why_stale(const SuiteCase& c, const std::string& path) {
  if (!fs::exists(path)) return "no file";
  try {
    const GoldenReader file(path);  // checks that manifest and root hash are intact
    const Header& header = file.header();
    if (to_json(header.config) != to_json(c.config)) return "made for another config";
    if (header.seed != c.settings.seed) return "made from another seed";
    if (file.capture() != c.settings.capture) return "made with another capture";
    const nlohmann::json provenance =
        parse_strict_json(header.provenance, path + ": provenance", kHandWritten);
    if (provenance.value("recipe", nlohmann::json()) != recipe_hash(c, kGoldenVersion)) {
      return "made from another shape, padding, data or version of the reference";
    }
    file.check_all();  // the header can be in order and data damaged
    return "";
  } catch (const InputError& error) {
    return error.what();
  }
}

CaseOutcome generate_case(const SuiteCase& c, const std::string& path, bool force) {
  CaseData data = case_data(c);
  GenerateRequest request;
  request.config = c.config;
  request.seed = c.settings.seed;
  request.batch = c.batch;
  request.positions = c.positions;
  request.tokens = std::move(data.tokens);
  request.attention_mask = std::move(data.attention_mask);
  request.weights = data.weights.get();
  request.store_weights = !data.drawn_from_seed;
  request.recipe = recipe_hash(c, kGoldenVersion);
  request.capture = c.settings.capture;
  request.gradients = c.settings.gradients;
  request.out = path;
  request.force = force;
  GenerateResult result = generate(request);
  return {.name = c.name,
          .state = CaseState::written,
          .path = path,
          .root_hash = std::move(result.root_hash),
          .problem = {},
          .bytes = result.bytes_written,
          .seconds = result.total_seconds};
}

std::vector<CaseOutcome> generate_suite(const Suite& suite, const GenerateSuiteRequest& request) {
  std::error_code failure;
  fs::create_directories(request.folder, failure);
  if (!fs::is_directory(request.folder)) {
    throw InputError(fmt::format("--dir {}: cannot be made: {}", request.folder,
                                 failure ? failure.message() : "a file is in its place"));
  }
  const uint64_t budget_bytes =
      request.memory_bytes == 0 ? available_memory() : request.memory_bytes;
  Budget budget(budget_bytes);
  uint64_t work_total = 0, work_done = 0;
  for (const SuiteCase& c : suite.cases) work_total += work_of(c);

  std::vector<CaseOutcome> outcomes(suite.cases.size());
  std::mutex mutex;
  std::size_t next = 0;
  std::exception_ptr problem;  // of a thread, which must not throw: no memory for an outcome
  const auto work = [&] {
    for (;;) {
      std::unique_lock lock(mutex);
      if (next == suite.cases.size()) return;
      const std::size_t i = next++;
      lock.unlock();
      CaseOutcome outcome = run_case(suite.cases[i], request, budget, budget_bytes);
      lock.lock();
      work_done += work_of(suite.cases[i]);
      if (request.ended) request.ended(outcome, work_done, work_total);
      outcomes[i] = std::move(outcome);
    }
  };
  const auto worker = [&] {
    try {
      work();
    } catch (...) {
      const std::lock_guard lock(mutex);
      problem = std::current_exception();
    }
  };
  std::vector<std::jthread> threads;
  try {
    for (int i = threads_for(suite, request.jobs); i > 1; --i) threads.emplace_back(worker);
  } catch (const std::system_error&) {
    // There is no room for more threads: those that are there do the work.
  }
  worker();
  threads.clear();  // joins
  if (problem) std::rethrow_exception(problem);
  return outcomes;
}

uint64_t available_memory() {
  uint64_t bytes = uint64_t{1} << 30;
  std::ifstream info("/proc/meminfo");
  for (std::string key; info >> key;) {
    uint64_t kilobytes = 0;
    if (key == "MemAvailable:" && info >> kilobytes) bytes = kilobytes * 1024;
  }
  uint64_t most = 0, used = 0;  // "max" is no number: no limit
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> most &&
      std::ifstream("/sys/fs/cgroup/memory.current") >> used) {
    bytes = std::min(bytes, most > used ? most - used : 0);
  }
  return bytes / 4 * 3;
}

}  // namespace assay::golden
