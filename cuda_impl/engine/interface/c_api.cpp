#include "cuda_impl/engine/interface/c_api.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cuda_impl/engine/interface/backend_name.h"
#include "cuda_impl/engine/interface/trainer.h"
#include "golden/contract/error.h"

namespace cuda = assay::cuda;
namespace golden = assay::golden;

struct assay_model {
  golden::ModelConfig config;
  std::unique_ptr<cuda::Model> model;
};

struct assay_decoder {
  int64_t vocabulary;
  std::unique_ptr<cuda::Decoder> decoder;
};

struct assay_trainer {
  std::unique_ptr<cuda::Trainer> trainer;
};

namespace {

thread_local std::string last_error;

// Runs `work`, which throws, and turns what it throws into a status.
template <class Work>
assay_status guarded(const Work& work) {
  try {
    work();
    return ASSAY_OK;
  } catch (const assay::Unsupported& error) {
    last_error = error.what();
    return ASSAY_UNSUPPORTED;
  } catch (const assay::InputError& error) {
    last_error = error.what();
    return ASSAY_BAD_INPUT;
  } catch (const std::exception& error) {
    last_error = error.what();
    return ASSAY_FAILED;
  }
}

void expect(const void* pointer, const char* where) {
  if (pointer != nullptr) return;
  throw assay::InputError(std::string(where) + ": expected memory, got NULL");
}

class CallbackWeights final : public golden::WeightSource {
 public:
  CallbackWeights(assay_read_weight reader, void* context) : read_(reader), context_(context) {}
  void read(const std::string& name, std::span<double> values) const override {
    if (read_(context_, name.c_str(), values.data(), static_cast<int64_t>(values.size())) == 0) {
      return;
    }
    throw assay::InputError(
        fmt::format("weight {}: expected {} values, the reader has none", name, values.size()));
  }

 private:
  assay_read_weight read_;
  void* context_;
};

cuda::ReceiveTensor receiver(assay_receive_tensor receive, void* context) {
  return [=](const std::string& name, const golden::TensorView& tensor) {
    receive(context, name.c_str(), tensor.values.data(),
            static_cast<int64_t>(tensor.values.size()));
  };
}

// The arguments that a model and a trainer are made from.
struct Source {
  golden::ModelConfig config;
  golden::Precision precision;
  bool on_host;
  cuda::ModelOptions options;
  CallbackWeights weights;

  Source(const char* config_json, const char* backend, const char* storage, assay_read_weight read,
         void* context)
      : weights(read, context) {
    expect(config_json, "config_json");
    expect(backend, "backend");
    expect(storage, "precision");
    if (read == nullptr) throw assay::InputError("read: expected a function, got NULL");
    const cuda::BackendName where = cuda::parse_backend_name(backend);
    options = where.options;
    if (where.name != "host" && where.name != "device") {
      throw assay::InputError(
          fmt::format("backend {}: no such back end; have host, device", backend));
    }
    on_host = where.name == "host";
    config = golden::parse_config(config_json, "config_json");
    precision = golden::parse_precision(storage);
  }
};

// A batch with what its caller left out.
struct Inputs {
  std::vector<uint8_t> all_real;
  cuda::Batch view;

  explicit Inputs(const assay_batch* batch) {
    expect(batch, "batch");
    expect(batch->tokens, "batch: tokens");
    if (batch->batch < 1 || batch->positions < 1) {
      throw assay::InputError(fmt::format("batch: expected [B,T] of at least [1,1], got [{},{}]",
                                          batch->batch, batch->positions));
    }
    const auto count = static_cast<std::size_t>(batch->batch * batch->positions);
    if (batch->attention_mask == nullptr) all_real.assign(count, 1);
    view = {.batch = batch->batch,
            .positions = batch->positions,
            .tokens = {batch->tokens, count},
            .attention_mask = {batch->attention_mask == nullptr ? all_real.data()
                                                                : batch->attention_mask,
                               count},
            .labels = {batch->labels == nullptr ? batch->tokens : batch->labels, count}};
  }
};

class Results final : public cuda::Probe {
 public:
  Results(double* logits, double* loss) : logits_(logits), loss_(loss) {}
  bool looks_inside() override { return false; }
  bool wants(const std::string& name) override {
    return (logits_ != nullptr && name == "logits") || (loss_ != nullptr && name == "loss");
  }
  void tap(const std::string& name, golden::TensorView value) override {
    std::copy(value.values.begin(), value.values.end(), name == "loss" ? loss_ : logits_);
  }
  bool force(const std::string&, std::span<double>) override { return false; }

 private:
  double *logits_, *loss_;
};

}  // namespace

const char* assay_last_error(void) { return last_error.c_str(); }

assay_status assay_model_create(const char* config_json, const char* backend, const char* precision,
                                assay_read_weight read, void* context, assay_model** model) {
  return guarded([&] {
    expect(model, "model");
    *model = nullptr;
    const Source source(config_json, backend, precision, read, context);
    const auto make = source.on_host ? cuda::make_host_model : cuda::make_device_model;
    *model = new assay_model{source.config,
                             make(source.config, source.precision, source.weights, source.options)};
  });
}

void assay_model_free(assay_model* model) { delete model; }

assay_status assay_model_forward(assay_model* model, const assay_batch* batch, double* logits,
                                 double* loss) {
  return guarded([&] {
    expect(model, "model");
    const Inputs inputs(batch);
    Results results(logits, loss);
    model->model->forward(inputs.view, logits == nullptr && loss == nullptr ? nullptr : &results);
  });
}

assay_status assay_model_gradients(assay_model* model, const assay_batch* batch,
                                   assay_receive_gradient receive, void* context, double* loss) {
  return guarded([&] {
    expect(model, "model");
    const Inputs inputs(batch);
    cuda::ReceiveGradient receive_gradient;
    if (receive != nullptr) receive_gradient = receiver(receive, context);
    const double value = model->model->gradients(inputs.view, receive_gradient);
    if (loss != nullptr) *loss = value;
  });
}

assay_training_options assay_training_defaults(void) {
  const cuda::TrainingOptions defaults;
  return {defaults.beta1,    defaults.beta2,      defaults.eps,     defaults.weight_decay,
          defaults.max_norm, defaults.loss_scale, defaults.dropout, defaults.dropout_seed};
}

assay_status assay_trainer_create(const char* config_json, const char* backend,
                                  const char* precision, const assay_training_options* options,
                                  assay_read_weight read, void* context, assay_trainer** trainer) {
  return guarded([&] {
    expect(trainer, "trainer");
    *trainer = nullptr;
    const Source source(config_json, backend, precision, read, context);
    const assay_training_options given = options == nullptr ? assay_training_defaults() : *options;
    const auto make = source.on_host ? cuda::make_host_trainer : cuda::make_device_trainer;
    *trainer = new assay_trainer{make(source.config, source.precision, source.weights,
                                      {.beta1 = given.beta1,
                                       .beta2 = given.beta2,
                                       .eps = given.eps,
                                       .weight_decay = given.weight_decay,
                                       .max_norm = given.max_norm,
                                       .loss_scale = given.loss_scale,
                                       .dropout = given.dropout,
                                       .dropout_seed = given.dropout_seed,
                                       .model = source.options})};
  });
}

void assay_trainer_free(assay_trainer* trainer) { delete trainer; }

assay_status assay_trainer_accumulate(assay_trainer* trainer, const assay_batch* batch) {
  return guarded([&] {
    expect(trainer, "trainer");
    trainer->trainer->accumulate(Inputs(batch).view);
  });
}

assay_status assay_trainer_step(assay_trainer* trainer, double learning_rate,
                                assay_step_report* report) {
  return guarded([&] {
    expect(trainer, "trainer");
    const cuda::StepReport taken = trainer->trainer->step(learning_rate);
    if (report != nullptr) *report = {taken.loss, taken.gradient_norm, taken.skipped};
  });
}

assay_status assay_trainer_read_weights(assay_trainer* trainer, assay_receive_tensor receive,
                                        void* context) {
  return guarded([&] {
    expect(trainer, "trainer");
    if (receive == nullptr) throw assay::InputError("receive: expected a function, got NULL");
    trainer->trainer->read_weights(receiver(receive, context));
  });
}

assay_status assay_decoder_create(assay_model* model, int64_t sequences, int64_t capacity,
                                  assay_decoder** decoder) {
  return guarded([&] {
    expect(decoder, "decoder");
    *decoder = nullptr;
    expect(model, "model");
    *decoder =
        new assay_decoder{model->config.vocab_size, model->model->decoder(sequences, capacity)};
  });
}

void assay_decoder_free(assay_decoder* decoder) { delete decoder; }

assay_status assay_decoder_append(assay_decoder* decoder, const assay_chunk* chunk,
                                  double* logits) {
  return guarded([&] {
    expect(decoder, "decoder");
    expect(chunk, "chunk");
    expect(chunk->tokens, "chunk: tokens");
    const std::size_t rows = decoder->decoder->lengths().size();
    const std::size_t count =
        rows * static_cast<std::size_t>(std::max<int64_t>(chunk->positions, 0));
    const auto span_of = [](auto* data, std::size_t size) {
      return std::span(data, data == nullptr ? 0 : size);
    };
    decoder->decoder->append({.positions = chunk->positions,
                              .tokens = {chunk->tokens, count},
                              .attention_mask = span_of(chunk->attention_mask, count),
                              .counts = span_of(chunk->counts, rows)},
                             span_of(logits, rows * static_cast<std::size_t>(decoder->vocabulary)));
  });
}

assay_status assay_decoder_reset(assay_decoder* decoder, int64_t sequence) {
  return guarded([&] {
    expect(decoder, "decoder");
    decoder->decoder->reset(sequence);
  });
}
