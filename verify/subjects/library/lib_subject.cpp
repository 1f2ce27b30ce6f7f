#include "verify/subjects/library/lib_subject.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "golden/contract/error.h"
#include "golden/contract/names.h"
#include "golden/exchange/export.h"
#include "golden/file/element.h"
#include "verify/subjects/description.h"
#include "verify/subjects/program.h"

namespace assay::verify {
namespace {

using golden::DType;
using golden::Element;

constexpr int32_t kStop = 1;           // what a callback returns where something is wrong
constexpr int32_t kMostAxes = 16;      // of a tensor that is handed over
constexpr std::size_t kLongest = 256;  // bytes of a name

std::optional<Element> element_of_library(int32_t dtype) {
  switch (dtype) {
    case ASSAY_F64:
      return Element::f64;
    case ASSAY_F32:
      return Element::f32;
    case ASSAY_F16:
      return Element::f16;
    case ASSAY_BF16:
      return Element::bf16;
    default:
      return std::nullopt;
  }
}

std::string text_or_empty(const char* text) { return text == nullptr ? "" : text; }

// A name as a library passes it; nullopt where it is none.
std::optional<std::string> name_from(const char* name) {
  if (name == nullptr) return std::nullopt;
  const std::size_t length = ::strnlen(name, kLongest + 1);
  if (length == 0 || length > kLongest) return std::nullopt;
  return std::string(name, length);
}

}  // namespace

// For read_weight; what it throws waits until the library has returned.
struct LibSubject::Weights {
  const golden::WeightSource* source;
  std::map<std::string, int64_t> sizes = {};
  std::exception_ptr thrown = nullptr;

  static int32_t read(void* context, const char* name, double* values, int64_t count) {
    auto& self = *static_cast<Weights*>(context);
    const std::optional<std::string> wanted = name_from(name);
    if (!wanted || values == nullptr) return kStop;
    const auto found = self.sizes.find(*wanted);
    if (found == self.sizes.end() || found->second != count) return kStop;
    try {
      self.source->read(*wanted, {values, static_cast<std::size_t>(count)});
      return 0;
    } catch (...) {
      self.thrown = std::current_exception();
      return kStop;
    }
  }
};

// One run: what the callbacks need, and what is wrong with what they were given.
struct LibSubject::Running {
  LibSubject& subject;
  const Forced& forced;
  const Receive& receive;
  std::map<std::string, golden::Shape> shapes = {};  // of what the model's tensors are to have
  std::set<std::string> taken = {};                  // names of what was handed over
  std::string problem = {};                          // the first
  std::exception_ptr thrown = nullptr;

  static Running& of(void* context) { return *static_cast<Running*>(context); }

  int32_t refuse(std::string why) {
    if (problem.empty()) problem = std::move(why);
    return kStop;
  }

  static int32_t wanted(void* context, const char* name) {
    Running& self = of(context);
    try {
      const std::optional<std::string> asked = name_from(name);
      const Interests& interests = self.subject.interests_;
      if (!asked || !interests) return 1;
      const Interest interest = interests(*asked);
      return interest == Interest::needed || interest == Interest::useful ? 1 : 0;
    } catch (...) {  // nothing is thrown through the library
      self.thrown = std::current_exception();
      return 0;
    }
  }

  static int32_t force(void* context, const char* name, double* values, int64_t count) {
    Running& self = of(context);
    const std::optional<std::string> asked = name_from(name);
    if (!asked || values == nullptr) {
      return -self.refuse("it asks for a forced tensor without a name or a place for it");
    }
    if (!self.forced) return 0;
    try {
      const golden::Tensor* given = self.forced(*asked);
      if (given == nullptr) return 0;
      if (static_cast<int64_t>(given->values.size()) != count) {
        return -self.refuse(fmt::format("it asks for {} with {} elements: expected {}",
                                        golden::printable(*asked), count,
                                        golden::shape_text(given->shape)));
      }
      std::copy(given->values.begin(), given->values.end(), values);
      return 1;
    } catch (...) {
      self.thrown = std::current_exception();
      return -kStop;
    }
  }

  static int32_t hand_over(void* context, const char* name, int32_t dtype, int32_t rank,
                           const int64_t* shape, const void* data) {
    Running& self = of(context);
    try {
      return self.take(name, dtype, rank, shape, data);
    } catch (const InputError& error) {
      return self.refuse(error.what());
    } catch (...) {
      self.thrown = std::current_exception();
      return kStop;
    }
  }

  int32_t take(const char* name, int32_t dtype, int32_t rank, const int64_t* shape,
               const void* data);
  // Hands it on, with or without values.
  int32_t pass_on(const std::string& name, Element element, golden::Shape extents,
                  const void* data);
};

int32_t LibSubject::Running::take(const char* name, int32_t dtype, int32_t rank,
                                  const int64_t* shape, const void* data) {
  const std::optional<std::string> given = name_from(name);
  if (!given) {
    return refuse(fmt::format("it hands over a tensor without a name, or one of more than {} bytes",
                              kLongest));
  }
  const std::string shown = golden::printable(*given);
  const std::optional<Element> element = element_of_library(dtype);
  if (!element) {
    return refuse(
        fmt::format("{}: dtype: expected ASSAY_F64, ASSAY_F32, ASSAY_F16 or ASSAY_BF16, "
                    "got {}",
                    shown, dtype));
  }
  if (rank < 0 || rank > kMostAxes || (rank > 0 && shape == nullptr)) {
    return refuse(fmt::format("{}: expected 0 to {} axes and their extents, got {}{}", shown,
                              kMostAxes, rank, shape == nullptr ? " and no extents" : ""));
  }
  golden::Shape extents(shape, shape + rank);
  if (std::any_of(extents.begin(), extents.end(), [](int64_t extent) { return extent < 0; })) {
    return refuse(fmt::format("{}: expected extents of 0 or more, got {}", shown,
                              golden::shape_text(extents)));
  }
  if (data == nullptr && std::find(extents.begin(), extents.end(), 0) == extents.end()) {
    return refuse(fmt::format("{}: {} without data", shown, golden::shape_text(extents)));
  }
  if (!taken.insert(*given).second) {
    return refuse(fmt::format("{}: handed over twice in one run", shown));
  }
  return pass_on(*given, *element, std::move(extents), data);
}

// Elements of a tensor in another shape than the batch gives it are not read: nobody knows how many
// there are.
int32_t LibSubject::Running::pass_on(const std::string& name, Element element,
                                     golden::Shape extents, const void* data) {
  const Interest interest = subject.interests_ ? subject.interests_(name) : Interest::needed;
  Observed observed{.name = name, .dtype = golden::dtype_of(element), .tensor = {}};
  subject.dtypes_[name] = observed.dtype;
  if (interest == Interest::none) return 0;
  if (interest != Interest::named) {
    const auto due = shapes.find(name);
    const bool as_due = due == shapes.end() || due->second == extents;
    if (!as_due && !subject.interests_) {
      return refuse(fmt::format("{}: expected {}, got {}", name, golden::shape_text(due->second),
                                golden::shape_text(extents)));
    }
    observed.tensor.shape = std::move(extents);
    if (as_due) {
      observed.tensor.values.resize(
          static_cast<std::size_t>(golden::element_count(observed.tensor.shape)));
      golden::decode(element, static_cast<const std::byte*>(data), observed.tensor.values, name);
    } else {  // the ledger says what it looks like
      observed.read = [name](std::span<double>) {
        throw InternalError(name + ": in another shape, and read");
      };
    }
  }
  receive(std::move(observed));
  return 0;
}

LibSubject::LibSubject(const LibOptions& options, const golden::ModelConfig& config,
                       const golden::WeightSource& weights)
    : LibSubject(options, &config, &weights) {}

LibSubject::LibSubject(const LibOptions& options) : LibSubject(options, nullptr, nullptr) {}

LibSubject::LibSubject(const LibOptions& options, const golden::ModelConfig* config,
                       const golden::WeightSource* weights)
    : options_(options),
      config_(config),
      weights_(weights),
      library_(options.path),
      library_name_(std::filesystem::path(options.path).filename()) {
  open_model();
  try {
    learn_description();
  } catch (...) {
    library_.close(model_);
    throw;
  }
}

LibSubject::~LibSubject() {
  try {
    library_.close(model_);
  } catch (...) {  // there is nobody left to tell
  }
}

// A call of the library: what it throws is its failure.
template <class Call>
int32_t LibSubject::guarded(const char* what, Call&& call) const {
  try {
    return call();
  } catch (const std::exception& error) {
    fail(fmt::format("{} threw: {}", what, golden::printable(error.what())));
  } catch (...) {
    fail(fmt::format("{} threw what is no std::exception", what));
  }
}

void LibSubject::fail(const std::string& what) const {
  throw SubjectFailure(fmt::format("{}: {}", describe(), what));
}

// Of its last call, as the library tells it.
std::string LibSubject::reason(assay_subject* model, int32_t status) const {
  std::string why;
  guarded("assay_subject_error", [&] {
    why = text_or_empty(library_.error(model));
    return 0;
  });
  return why.empty() ? fmt::format("error {}", status) : golden::printable(why);
}

void LibSubject::open_model() {
  Weights weights{weights_};
  std::string text;
  if (config_ != nullptr) {
    for (const golden::TensorInfo& info : golden::weight_list(*config_)) {
      weights.sizes[info.name] = golden::element_count(info.shape);
    }
    const bool wide = options_.storage == golden::Precision::fp64;
    text = golden::model_config_text(*config_, wide ? golden::Element::f64 : golden::Element::f32);
  }
  const std::string precision = golden::precision_name(options_.storage);
  const assay_subject_model asked{text.c_str(), precision.c_str(), &weights, &Weights::read};
  const int32_t status =
      guarded("assay_subject_open", [&] { return library_.open(&asked, &model_); });
  if (weights.thrown) std::rethrow_exception(weights.thrown);
  if (status != 0) {
    fail(fmt::format("it cannot open the model: {}", reason(nullptr, status)));
  }
  if (model_ == nullptr) fail("assay_subject_open returned 0 and no model");
}

void LibSubject::learn_description() {
  assay_subject_description said{};
  const int32_t status =
      guarded("assay_subject_describe", [&] { return library_.describe(model_, &said); });
  if (status != 0) {
    fail(fmt::format("it does not describe itself: {}", reason(model_, status)));
  }
  const std::string name = text_or_empty(said.name), version = text_or_empty(said.version);
  if (name.empty()) fail("its description has no name");
  ProgramDescription description;
  description.name = version.empty() ? name : name + " " + version;
  description.storage = declared_storage_ = text_or_empty(said.storage);
  try {
    if (!declared_storage_.empty()) golden::parse_precision(declared_storage_);
  } catch (const InputError&) {
    fail(fmt::format("its description: storage: expected fp64, fp32, tf32, bf16 or fp16, got {}",
                     golden::printable(declared_storage_)));
  }
  description.schedule = text_or_empty(said.schedule);
  description.angles = text_or_empty(said.angles);
  library_name_ = golden::printable(description.name);
  says_schedule_ = !(options_.schedule.empty() && description.schedule.empty());
  if (config_ != nullptr) {
    schedule_ = schedule_of(description, options_.storage, options_.schedule, options_.angles);
  }
  can_force_ = said.can_force != 0;
  can_grad_ = said.can_gradients != 0;
}

std::string LibSubject::describe() const {
  return fmt::format("{} (lib:{})", library_name_, options_.path);
}

std::string LibSubject::arithmetic() const {
  return golden::schedule_text(schedule_) +
         (says_schedule_ ? "" : ", the widest schedule, for it declares none");
}

DType LibSubject::dtype_of(const std::string& tensor_name) const {
  if (config_ == nullptr) return dtypes_.at(tensor_name);
  const DType storage = verify::dtype_of(schedule_.storage_of(tensor_name));
  if (storage == DType::float64) return storage;
  const auto found = dtypes_.find(tensor_name);
  return found != dtypes_.end() && found->second == storage ? storage : DType::float32;
}

std::unique_ptr<Subject> LibSubject::another() const {
  return std::unique_ptr<Subject>(new LibSubject(options_, config_, weights_));
}

void LibSubject::run(const Batch& batch, const Forced& forced, const Receive& receive) {
  ask(batch, forced, false, receive);
}

void LibSubject::run_gradients(const Batch& batch, const Receive& receive) {
  ask(batch, {}, true, receive);
}

void LibSubject::ask(const Batch& batch, const Forced& forced, bool gradients,
                     const Receive& receive) {
  dtypes_.clear();
  Running running{*this, forced, receive};
  if (config_ != nullptr) {
    for (const golden::TensorInfo& info :
         golden::tensor_list(*config_, batch.batch, batch.positions)) {
      running.shapes[gradients ? kGrad + info.name : info.name] = info.shape;
    }
  }
  const assay_subject_request request{.batch = batch.batch,
                                      .positions = batch.positions,
                                      .tokens = batch.tokens.data(),
                                      .attention_mask = batch.attention_mask.data(),
                                      .labels = batch.labels.data(),
                                      .gradients = gradients ? 1 : 0,
                                      .context = &running,
                                      .wanted = &Running::wanted,
                                      .forced = &Running::force,
                                      .hand_over = &Running::hand_over};
  const int32_t status =
      guarded("assay_subject_run", [&] { return library_.run(model_, &request); });
  if (running.thrown) std::rethrow_exception(running.thrown);
  if (!running.problem.empty()) fail(running.problem);
  if (status != 0) {
    fail(fmt::format("it failed: {}", reason(model_, status)));
  }
}

}  // namespace assay::verify
