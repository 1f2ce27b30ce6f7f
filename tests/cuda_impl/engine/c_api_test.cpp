// The C interface: the same numbers as the C++ one, and every fault a status with its message.
#include "cuda_impl/engine/interface/c_api.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <vector>

#include "cuda_impl/engine/interface/backend_name.h"
#include "cuda_impl/engine/interface/trainer.h"
#include "golden/contract/error.h"
#include "golden/contract/names.h"

using namespace assay;

extern "C" double last_position(const char* config, assay_read_weight read, void* context,
                                const int32_t* tokens, int64_t positions, int64_t vocabulary,
                                double* logits);

namespace {

constexpr int64_t kB = 2, kT = 5;

golden::ModelConfig config_of(const std::string& method) {
  golden::ModelConfig config = golden::preset("tiny");
  config.method = method;
  return config;
}

int read_weight(void* context, const char* name, double* values, int64_t count) {
  const auto& source = *static_cast<const golden::SyntheticWeights*>(context);
  source.read(name, {values, static_cast<std::size_t>(count)});
  return 0;
}

int no_weight(void*, const char*, double*, int64_t) { return 1; }

struct Made {
  explicit Made(const std::string& method, const char* backend = "host")
      : config(config_of(method)), weights(config, 7), json(golden::to_json(config)) {
    status = assay_model_create(json.c_str(), backend, "fp32", read_weight, &weights, &model);
  }
  ~Made() { assay_model_free(model); }

  golden::ModelConfig config;
  golden::SyntheticWeights weights;
  std::string json;
  assay_model* model = nullptr;
  assay_status status = ASSAY_FAILED;
};

std::vector<int32_t> tokens_of(const golden::ModelConfig& config, int64_t batch = kB) {
  return golden::synthetic_tokens(config.vocab_size, batch, kT, 5);
}

struct Logits final : cuda::Probe {
  std::vector<double> logits, loss;
  bool wants(const std::string& name) override { return name == "logits" || name == "loss"; }
  void tap(const std::string& name, golden::TensorView value) override {
    (name == "loss" ? loss : logits).assign(value.values.begin(), value.values.end());
  }
  bool force(const std::string&, std::span<double>) override { return false; }
};

void check_fails(assay_status got, assay_status expected, const std::string& message) {
  BOOST_TEST(got == expected);
  BOOST_TEST(assay_last_error() == message);
}

void check_forward(const char* backend, const cuda::ModelOptions& options) {
  Made made("3.2", backend);
  BOOST_REQUIRE_EQUAL(made.status, ASSAY_OK);
  const std::vector<int32_t> tokens = tokens_of(made.config);
  const std::vector<uint8_t> mask(tokens.size(), 1);
  Logits expected;
  cuda::make_host_model(made.config, golden::Precision::fp32, made.weights, options)
      ->forward({kB, kT, tokens, mask, tokens}, &expected);

  const assay_batch batch{kB, kT, tokens.data(), nullptr, nullptr};
  std::vector<double> logits(expected.logits.size());
  double loss = 0;
  BOOST_TEST(assay_model_forward(made.model, &batch, logits.data(), &loss) == ASSAY_OK);
  BOOST_TEST(logits == expected.logits, boost::test_tools::per_element());
  BOOST_TEST(loss == expected.loss[0]);
  BOOST_TEST(assay_model_forward(made.model, &batch, nullptr, nullptr) == ASSAY_OK);
}

}  // namespace

BOOST_AUTO_TEST_CASE(forward_has_the_numbers_of_the_engine) {
  check_forward("host", {});
  check_forward("host:stacked", {.recompute = cuda::Recompute::stacked});
  check_forward("host:stored=100000:stacked",
                {.recompute = cuda::Recompute::stacked, .stored_bytes = 100000});
}

BOOST_AUTO_TEST_CASE(names_of_back_ends_carry_options) {
  const cuda::BackendName plain = cuda::parse_backend_name("device");
  BOOST_TEST(plain.name == "device");
  BOOST_TEST((plain.options.recompute == cuda::Recompute::each));
  BOOST_TEST(!plain.options.fast_atomics);
  BOOST_TEST(plain.options.stored_bytes == 0u);
  const cuda::BackendName all =
      cuda::parse_backend_name("simt:fast-atomics:stored=5000000000:stacked");
  BOOST_TEST(all.name == "simt");
  BOOST_TEST((all.options.recompute == cuda::Recompute::stacked));
  BOOST_TEST(all.options.fast_atomics);
  BOOST_TEST(all.options.stored_bytes == 5000000000u);
  const cuda::BackendName groups = cuda::parse_backend_name("simt:head=300:stacked:stack=0");
  BOOST_TEST(groups.options.head_bytes == 300u);
  BOOST_TEST(groups.options.stack_bytes == 0u);
  BOOST_TEST((groups.options.keep == cuda::Keep::all));
  BOOST_TEST((cuda::parse_backend_name("host:keep=shared").options.keep == cuda::Keep::shared));
  BOOST_TEST((cuda::parse_backend_name("host:keep=inputs").options.keep == cuda::Keep::inputs));
  const cuda::BackendName blocks = cuda::parse_backend_name("host:blocks=20:block=16");
  BOOST_TEST(blocks.options.cache.positions == 16u);
  BOOST_TEST(blocks.options.cache.count == 20u);
  const std::string options =
      "expected :stacked, :stored=BYTES, :stack=BYTES, :head=BYTES, :span=KEYS, "
      ":block=POSITIONS, :blocks=COUNT, :keep=all|shared|inputs, :fast-atomics, each at most once, "
      "got ";
  for (const auto& [text, message] : std::map<std::string, std::string>{
           {"host:stack", options + "':stack'"},
           {"host:", options + "':'"},
           {"host:stored", options + "':stored'"},
           {"host:stacked:stacked", options + "':stacked' again"},
           {"host:keep", options + "':keep'"},
           {"host:block", options + "':block'"},
           {"host:block=0", "block: expected a number from 1 to 1073741824, got '0'"},
           {"host:block=16:blocks=-1", "blocks: expected a number from 1 to 1073741824, got '-1'"},
           {"host:blocks=20", "blocks: expected :block=POSITIONS beside it"},
           {"host:keep=some", "keep: expected all, shared or inputs, got 'some'"},
           {"host:keep=all:keep=shared", options + "':keep' again"},
           {"host:stored=1k", "stored: expected a number of bytes, got '1k'"},
           {"host:stack=1k", "stack: expected a number of bytes, got '1k'"},
           {"host:stored=", "stored: expected a number of bytes, got ''"},
           {"host:stored=-1", "stored: expected a number of bytes, got '-1'"}}) {
    const auto says = [&](const InputError& error) {
      return error.what() == "backend " + text + ": " + message;
    };
    BOOST_CHECK_EXCEPTION(cuda::parse_backend_name(text), InputError, says);
  }
}

// A prompt of two positions, then one at a time; the second row stays behind.
BOOST_AUTO_TEST_CASE(decoding_has_the_numbers_of_a_forward_pass) {
  Made made("1");
  BOOST_REQUIRE_EQUAL(made.status, ASSAY_OK);
  const std::vector<int32_t> tokens = tokens_of(made.config);
  const auto V = static_cast<std::size_t>(made.config.vocab_size);
  const assay_batch batch{kB, kT, tokens.data(), nullptr, nullptr};
  std::vector<double> all(tokens.size() * V);
  BOOST_TEST(assay_model_forward(made.model, &batch, all.data(), nullptr) == ASSAY_OK);

  assay_decoder* decoder = nullptr;
  BOOST_TEST(assay_decoder_create(made.model, kB, kT, &decoder) == ASSAY_OK);
  const std::vector<int32_t> prompt{tokens[0], tokens[1], tokens[kT], tokens[kT + 1]};
  const assay_chunk first{2, prompt.data(), nullptr, nullptr};
  std::vector<double> logits(kB * V);
  BOOST_TEST(assay_decoder_append(decoder, &first, logits.data()) == ASSAY_OK);
  for (std::size_t v = 0; v < V; ++v) {
    BOOST_TEST(logits[v] == all[V + v]);
    BOOST_TEST(logits[V + v] == all[(kT + 1) * V + v]);
  }
  const std::vector<int32_t> next{tokens[2], 0}, counts{1, 0};
  const assay_chunk second{1, next.data(), nullptr, counts.data()};
  BOOST_TEST(assay_decoder_append(decoder, &second, logits.data()) == ASSAY_OK);
  for (std::size_t v = 0; v < V; ++v) {
    BOOST_TEST(logits[v] == all[2 * V + v]);
    BOOST_TEST(logits[V + v] == 0.0);
  }
  BOOST_TEST(assay_decoder_append(decoder, &first, nullptr) == ASSAY_OK);
  check_fails(assay_decoder_append(decoder, &first, nullptr), ASSAY_BAD_INPUT,
              "chunk: sequence 0: expected at most 5 positions in all, got 2 after 5: make the "
              "decoder with a larger capacity, or reset the sequence");
  BOOST_TEST(assay_decoder_reset(decoder, 0) == ASSAY_OK);
  check_fails(assay_decoder_reset(decoder, 2), ASSAY_BAD_INPUT,
              "decoder: sequence: expected 0 .. 1, got 2");
  check_fails(assay_decoder_append(decoder, nullptr, nullptr), ASSAY_BAD_INPUT,
              "chunk: expected memory, got NULL");
  assay_decoder_free(decoder);
  check_fails(assay_decoder_create(made.model, 1, 0, &decoder), ASSAY_BAD_INPUT,
              "decoder: expected at least 1 sequence and 1 position, got 1, 0");
  BOOST_TEST(decoder == nullptr);
  Made pt("pt");
  check_fails(assay_decoder_create(pt.model, 1, 4, &decoder), ASSAY_UNSUPPORTED,
              "decoder: method pt: message full is not causal: a word would hear from every later "
              "word whose head it is; expected message head or symmetric, with causal_heads");
}

BOOST_AUTO_TEST_CASE(gradients_come_for_every_weight) {
  Made made("5.6");
  BOOST_REQUIRE_EQUAL(made.status, ASSAY_OK);
  const std::vector<int32_t> tokens = tokens_of(made.config);
  const assay_batch batch{kB, kT, tokens.data(), nullptr, nullptr};
  std::map<std::string, std::vector<double>> gradients;
  double loss = 0, forward_loss = 0;
  const auto receive = [](void* context, const char* name, const double* values, int64_t count) {
    auto& all = *static_cast<std::map<std::string, std::vector<double>>*>(context);
    all[name].assign(values, values + count);
  };
  BOOST_TEST(assay_model_gradients(made.model, &batch, receive, &gradients, &loss) == ASSAY_OK);
  BOOST_TEST(assay_model_forward(made.model, &batch, nullptr, &forward_loss) == ASSAY_OK);
  BOOST_TEST(loss == forward_loss);
  double loss_alone = -1;  // nobody receives the gradients
  BOOST_TEST(assay_model_gradients(made.model, &batch, nullptr, nullptr, &loss_alone) == ASSAY_OK);
  BOOST_TEST(loss_alone == loss);
  for (const golden::TensorInfo& weight : golden::weight_list(made.config)) {
    BOOST_REQUIRE_MESSAGE(gradients.contains(weight.name), weight.name);
    BOOST_TEST(static_cast<int64_t>(gradients[weight.name].size()) ==
               golden::element_count(weight.shape));
  }
}

BOOST_AUTO_TEST_CASE(a_trainer_has_the_numbers_of_the_engine) {
  const golden::ModelConfig config = config_of("5.6");
  golden::SyntheticWeights weights(config, 7);
  const std::string json = golden::to_json(config);
  const std::vector<int32_t> tokens = tokens_of(config);
  const std::vector<uint8_t> mask(tokens.size(), 1);
  using Values = std::map<std::string, std::vector<double>>;
  const auto expected_after = [&](const cuda::TrainingOptions& options, Values& values) {
    const auto trainer = cuda::make_host_trainer(config, golden::Precision::fp16, weights, options);
    trainer->accumulate({kB, kT, tokens, mask, tokens});
    trainer->accumulate({1, kT, std::span(tokens).first(kT), std::span(mask).first(kT),
                         std::span(tokens).first(kT)});
    const cuda::StepReport report = trainer->step(0.01);
    trainer->read_weights([&](const std::string& name, golden::TensorView weight) {
      values[name].assign(weight.values.begin(), weight.values.end());
    });
    return report;
  };
  const auto receive = [](void* context, const char* name, const double* values, int64_t count) {
    (*static_cast<Values*>(context))[name].assign(values, values + count);
  };
  const assay_training_options given{0.5, 0.75, 1e-3, 0.25, 0.125, 2.0, 0.25, 9};
  const cuda::TrainingOptions same{.beta1 = 0.5,
                                   .beta2 = 0.75,
                                   .eps = 1e-3,
                                   .weight_decay = 0.25,
                                   .max_norm = 0.125,
                                   .loss_scale = 2.0,
                                   .dropout = 0.25,
                                   .dropout_seed = 9};
  for (const auto& [options, its] : {std::pair{&given, same}, {nullptr, cuda::TrainingOptions{}}}) {
    Values expected, got;
    const cuda::StepReport expected_report = expected_after(its, expected);
    assay_trainer* trainer = nullptr;
    BOOST_TEST(assay_trainer_create(json.c_str(), "host:keep=inputs", "fp16", options, read_weight,
                                    &weights, &trainer) == ASSAY_OK);
    const assay_batch whole{kB, kT, tokens.data(), nullptr, nullptr};
    const assay_batch row{1, kT, tokens.data(), nullptr, nullptr};
    BOOST_TEST(assay_trainer_accumulate(trainer, &whole) == ASSAY_OK);
    BOOST_TEST(assay_trainer_accumulate(trainer, &row) == ASSAY_OK);
    assay_step_report report{};
    BOOST_TEST(assay_trainer_step(trainer, 0.01, &report) == ASSAY_OK);
    BOOST_TEST(report.loss == expected_report.loss);
    BOOST_TEST(report.gradient_norm == expected_report.gradient_norm);
    BOOST_TEST((report.skipped != 0) == expected_report.skipped);
    BOOST_TEST(assay_trainer_read_weights(trainer, receive, &got) == ASSAY_OK);
    BOOST_TEST((got == expected));
    BOOST_TEST(got.size() == golden::weight_list(config).size());

    check_fails(assay_trainer_step(trainer, 0.01, nullptr), ASSAY_BAD_INPUT,
                "trainer: step: expected a counted position since the last step, got none");
    check_fails(assay_trainer_accumulate(trainer, nullptr), ASSAY_BAD_INPUT,
                "batch: expected memory, got NULL");
    check_fails(assay_trainer_read_weights(trainer, nullptr, nullptr), ASSAY_BAD_INPUT,
                "receive: expected a function, got NULL");
    BOOST_TEST(assay_trainer_accumulate(trainer, &row) == ASSAY_OK);
    BOOST_TEST(assay_trainer_step(trainer, 0.01, nullptr) == ASSAY_OK);
    assay_trainer_free(trainer);
  }
}

BOOST_AUTO_TEST_CASE(faults_of_a_trainer_are_statuses_with_messages) {
  const golden::ModelConfig plain = config_of("plain");
  golden::SyntheticWeights weights(plain, 7);
  const std::string json = golden::to_json(plain);
  assay_training_options options = assay_training_defaults();
  options.eps = -1;
  assay_trainer* none = reinterpret_cast<assay_trainer*>(&weights);  // must be reset
  check_fails(
      assay_trainer_create(json.c_str(), "host", "fp32", &options, read_weight, &weights, &none),
      ASSAY_BAD_INPUT, "trainer: eps: expected a positive number, got -1");
  BOOST_TEST(none == nullptr);
  check_fails(
      assay_trainer_create(json.c_str(), "gpu", "fp32", nullptr, read_weight, &weights, &none),
      ASSAY_BAD_INPUT, "backend gpu: no such back end; have host, device");
  check_fails(assay_trainer_step(nullptr, 0.01, nullptr), ASSAY_BAD_INPUT,
              "trainer: expected memory, got NULL");
  assay_trainer_free(nullptr);
}

BOOST_AUTO_TEST_CASE(a_program_in_c_runs_a_model) {
  const golden::ModelConfig config = config_of("1");
  golden::SyntheticWeights weights(config, 7);
  const std::vector<int32_t> tokens = tokens_of(config, 1);
  std::vector<double> logits(static_cast<std::size_t>(kT * config.vocab_size));
  const double sum = last_position(golden::to_json(config).c_str(), read_weight, &weights,
                                   tokens.data(), kT, config.vocab_size, logits.data());
  Logits expected;
  const std::vector<uint8_t> mask(tokens.size(), 1);
  cuda::make_host_model(config, golden::Precision::fp64, weights)
      ->forward({1, kT, tokens, mask, tokens}, &expected);
  BOOST_TEST(logits == expected.logits, boost::test_tools::per_element());
  BOOST_TEST(sum != -1.0);
}

BOOST_AUTO_TEST_CASE(faults_are_statuses_with_messages) {
  Made made("plain");
  assay_model* none = made.model;  // must be reset
  const auto create = [&](const char* config, const char* backend, const char* precision,
                          assay_read_weight read) {
    return assay_model_create(config, backend, precision, read, &made.weights, &none);
  };
  check_fails(create(made.json.c_str(), "gpu", "fp32", read_weight), ASSAY_BAD_INPUT,
              "backend gpu: no such back end; have host, device");
  BOOST_TEST(none == nullptr);
  check_fails(create(nullptr, "host", "fp32", read_weight), ASSAY_BAD_INPUT,
              "config_json: expected memory, got NULL");
  check_fails(create(made.json.c_str(), "host", "fp32", nullptr), ASSAY_BAD_INPUT,
              "read: expected a function, got NULL");
  check_fails(create(made.json.c_str(), "host", "fp8", read_weight), ASSAY_BAD_INPUT,
              "--precision fp8: no such precision; have fp64, fp32, tf32, bf16, fp16");
  check_fails(create(made.json.c_str(), "host", "fp32", no_weight), ASSAY_BAD_INPUT,
              "weight model.embed_tokens.weight: expected 2048 values, the reader has none");
  BOOST_TEST(create("{", "host", "fp32", read_weight) == ASSAY_BAD_INPUT);

  const std::vector<int32_t> tokens(kB * kT, 1 << 20);
  const assay_batch bad_token{kB, kT, tokens.data(), nullptr, nullptr};
  check_fails(assay_model_forward(made.model, &bad_token, nullptr, nullptr), ASSAY_BAD_INPUT,
              "batch: tokens at (b0,t0): expected 0 .. 63, got 1048576");
  const assay_batch empty{0, kT, tokens.data(), nullptr, nullptr};
  check_fails(assay_model_forward(made.model, &empty, nullptr, nullptr), ASSAY_BAD_INPUT,
              "batch: expected [B,T] of at least [1,1], got [0,5]");
  check_fails(assay_model_forward(nullptr, &empty, nullptr, nullptr), ASSAY_BAD_INPUT,
              "model: expected memory, got NULL");
  check_fails(assay_model_gradients(made.model, &bad_token, nullptr, nullptr, nullptr),
              ASSAY_BAD_INPUT, "batch: tokens at (b0,t0): expected 0 .. 63, got 1048576");
}
