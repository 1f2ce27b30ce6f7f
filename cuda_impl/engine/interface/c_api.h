/* The production implementation for programs in C, or in anything that calls C: a model from a
   Hugging Face config.json (docs/families.md; the method and its options stand under its key
   "assay") and a function that reads weights.

   Every function returns ASSAY_OK, or another status with a message in assay_last_error(). A model
   belongs to one thread at a time; different models do not share anything. Arrays are row-major and
   belong to the caller. */
#ifndef ASSAY_CUDA_C_API_H
#define ASSAY_CUDA_C_API_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  ASSAY_OK = 0,
  ASSAY_BAD_INPUT = 1,   /* an argument, the config, a weight, a batch: the message names it */
  ASSAY_UNSUPPORTED = 2, /* a method, precision or back end that is not there */
  ASSAY_FAILED = 3       /* a kernel, memory, or a fault inside */
} assay_status;

/* Of the calling thread's last call that did not return ASSAY_OK; valid until its next call. */
const char* assay_last_error(void);

/* Fills values[0 .. count) with a weight by its checkpoint's name, such as
   "model.layers.0.self_attn.q_proj.weight", in its checkpoint's layout, and returns 0; anything
   else means that there is no such weight. */
typedef int (*assay_read_weight)(void* context, const char* name, double* values, int64_t count);

typedef struct assay_model assay_model;

/* backend: "host" (the host executor) or "device" (the GPU), and behind it in any order (model.h,
   ModelOptions)
     ":stacked"       methods 1 to 4 recompute all earlier layers at once
     ":stored=BYTES"  recomputes read stored probabilities where they fit into so many bytes
     ":stack=BYTES"   stacked recomputes in groups that fit into so many bytes, a layer at least
     ":head=BYTES"    logits in tiles of positions that fit, where the loss alone is asked for
     ":keep=WORD"     all, shared or inputs: what a forward pass keeps for the backward pass
     ":fast-atomics"  the gradient of embeddings is added up in the order of arrival
   precision, of stored tensors: "fp32", "bf16", "fp16", on the host also "fp64"; or "tf32", which
   is fp32 whose gemms with weights read their factors as tf32. Weights are read before it
   returns. */
assay_status assay_model_create(const char* config_json, const char* backend, const char* precision,
                                assay_read_weight read, void* context, assay_model** model);
void assay_model_free(assay_model* model); /* NULL is allowed */

typedef struct {
  int64_t batch, positions;      /* B, T */
  const int32_t* tokens;         /* [B,T] */
  const uint8_t* attention_mask; /* [B,T], 1 = real token, 0 = padding; NULL: all real */
  /* [B,T], -100 = not counted, position t predicts labels[t+1]; NULL: the tokens */
  const int32_t* labels;
} assay_batch;

/* logits [B,T,V] and loss [1] may be NULL. */
assay_status assay_model_forward(assay_model* model, const assay_batch* batch, double* logits,
                                 double* loss);

/* Called once for every weight, learned parameters included, with the gradient of the loss with
   respect to it, or with the weight itself. */
typedef void (*assay_receive_tensor)(void* context, const char* name, const double* values,
                                     int64_t count);
typedef assay_receive_tensor assay_receive_gradient;

/* receive may be NULL: the gradients are formed and stay where they are, as in a step of training.
 */
assay_status assay_model_gradients(assay_model* model, const assay_batch* batch,
                                   assay_receive_gradient receive, void* context, double* loss);

/* Training with AdamW. What the kernels read are master weights, fp32 (fp64 where precision is),
   rounded to precision. A trainer belongs to one thread at a time. */
typedef struct assay_trainer assay_trainer;

typedef struct {
  double beta1, beta2, eps;
  double weight_decay; /* decoupled; of weights with two dimensions or more */
  double max_norm;     /* of all gradients together; 0: no clipping */
  double loss_scale;   /* of fp16 alone: the first one; it then follows the overflows */
  double dropout;      /* share of O_l and U_l that is dropped; 0: none; of pt always */
  uint64_t dropout_seed;
} assay_training_options;

/* 0.9, 0.999, 1e-8, 0, 0, 65536, 0 and 1 */
assay_training_options assay_training_defaults(void);

/* As assay_model_create; options NULL: the defaults. */
assay_status assay_trainer_create(const char* config_json, const char* backend,
                                  const char* precision, const assay_training_options* options,
                                  assay_read_weight read, void* context, assay_trainer** trainer);
void assay_trainer_free(assay_trainer* trainer); /* NULL is allowed */

/* A forward and a backward pass over a micro-batch of the next step. All counted positions of a
   step weigh the same. After ASSAY_BAD_INPUT nothing is added. */
assay_status assay_trainer_accumulate(assay_trainer* trainer, const assay_batch* batch);

typedef struct {
  double loss;          /* mean over the counted positions of the step's micro-batches */
  double gradient_norm; /* before clipping */
  int32_t skipped;      /* 1: it was not finite, no weight has changed */
} assay_step_report;

/* report may be NULL. */
assay_status assay_trainer_step(assay_trainer* trainer, double learning_rate,
                                assay_step_report* report);

/* The master weights, as checkpoints lay them out. */
assay_status assay_trainer_read_weights(assay_trainer* trainer, assay_receive_tensor receive,
                                        void* context);

/* Decoding: sequences read piece by piece, a prompt and then token by token, with caches. A decoder
   belongs to one thread at a time and stays valid without its model. */
typedef struct assay_decoder assay_decoder;

/* For `sequences` rows (B) of up to `capacity` positions each. ASSAY_UNSUPPORTED for pt unless its
   heads are causal. */
assay_status assay_decoder_create(assay_model* model, int64_t sequences, int64_t capacity,
                                  assay_decoder** decoder);
void assay_decoder_free(assay_decoder* decoder); /* NULL is allowed */

typedef struct {
  int64_t positions;             /* C */
  const int32_t* tokens;         /* [B,C] */
  const uint8_t* attention_mask; /* [B,C], 1 = real token, 0 = padding; NULL: all real */
  const int32_t* counts;         /* [B], a row has its first counts[b] of C; NULL: every row C */
} assay_chunk;

/* Appends the chunk to its sequences. logits [B,V], which may be NULL, are those behind each one's
   last new position; of a row with count 0 they are 0. After another status than ASSAY_OK nothing
   is appended. */
assay_status assay_decoder_append(assay_decoder* decoder, const assay_chunk* chunk, double* logits);

/* Empties a sequence. */
assay_status assay_decoder_reset(assay_decoder* decoder, int64_t sequence);

#ifdef __cplusplus
}
#endif

#endif
