/* A program in C: what it needs of the header, and nothing else. Called by c_api_test. */
#include "cuda_impl/engine/interface/c_api.h"

/* The sum of the logits of the last position, or -1. */
double last_position(const char* config, assay_read_weight read, void* context,
                     const int32_t* tokens, int64_t positions, int64_t vocabulary, double* logits) {
  assay_model* model = 0;
  assay_batch batch = {1, positions, tokens, 0, 0};
  double sum = 0;
  int64_t v;
  if (assay_model_create(config, "host", "fp64", read, context, &model) != ASSAY_OK) return -1;
  if (assay_model_forward(model, &batch, logits, 0) != ASSAY_OK) return -1;
  for (v = 0; v < vocabulary; ++v) sum += logits[(positions - 1) * vocabulary + v];
  assay_model_free(model);
  return sum;
}
