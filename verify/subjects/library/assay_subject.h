/* A model in a shared library, judged in the judge's own process: --subject lib:PATH.

   The library defines the six functions at the end of this file; the judge loads it, opens a model,
   and runs it on batches. For each run the library hands over the tensors that it computed, by
   Assay's names (`assay tensors` lists them with shapes). docs/libraries.md walks through one.

   Conventions
     arrays      row-major, no padding between elements; sizes are numbers of elements, positions
                 and tokens count from 0
     ownership   whoever passes a pointer owns what it points at. What the judge passes is valid
                 until the function that it was passed to returns, and so is what the library passes
                 to a callback. Strings of a description belong to the library and stay valid until
                 the model is closed.
     errors      0 is success. After anything else the judge asks assay_subject_error for the
                 reason, and the verdict is `fail`. Where a callback returns anything but what is
                 said here, the library stops and returns an error of its own.
     threads     calls for one model come one at a time. Several models may be open at once (a fresh
                 one is compared with one that has run), all of one library: what it keeps in
                 globals is common to them, so that a state that a run leaves there is not seen by
                 that comparison. Callbacks are called from the thread that called the library,
                 before it returns.
     crashes     the library runs in the judge's process: what crashes it crashes the judge. A C++
                 exception that leaves a function is an error like any other. */
#ifndef ASSAY_SUBJECT_H
#define ASSAY_SUBJECT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The number of this interface. It changes with every change of a type or function below; the judge
   refuses a library that was compiled with another. */
#define ASSAY_SUBJECT_ABI 1

/* Element types of tensors: IEEE 754 binary64, binary32 and binary16, and bfloat16, which is the
   upper half of binary32. */
enum { ASSAY_F64 = 0, ASSAY_F32 = 1, ASSAY_F16 = 2, ASSAY_BF16 = 3 };

typedef struct assay_subject assay_subject; /* the library's own */

/* What a model is opened with. */
typedef struct {
  /* Hugging Face's config.json; Assay's own keys stand below "assay". "": the library is to open a
     model of its own, of which no weights are known; then its tensors have names, shapes and types
     of its own too, and every number is handed over as one of the types above. */
  const char* config_json;
  const char* precision; /* the storage type that is judged: "fp64", "fp32", "bf16", "fp16" */
  void* context;         /* for read_weight */
  /* Fills values[0 .. count) with a weight by its checkpoint's name, such as
     "model.layers.0.self_attn.q_proj.weight", in its checkpoint's layout, and returns 0; anything
     else: there is no such weight of that size. The values are those of the checkpoint; a library
     that computes in 16 bits rounds them to nearest, ties to even. */
  int32_t (*read_weight)(void* context, const char* name, double* values, int64_t count);
} assay_subject_model;

typedef struct {
  const char* name;     /* required: "my_engine" */
  const char* version;  /* "1.2"; NULL: none */
  const char* storage;  /* what it stores tensors in, as precision above; NULL: as asked for */
  const char* schedule; /* "eager": every operation is rounded to storage, "fused": only what is
                           handed over; NULL: not said, judged as eager, the wider */
  const char* angles;   /* what rotation angles are formed in: "double", "float32", "storage"; NULL:
                           not said, judged as float32 */
  int32_t can_force;    /* 1: it asks `forced` for every tensor that it computes, see below */
  int32_t can_gradients; /* 1: it has gradients, see below */
} assay_subject_description;

typedef struct {
  int64_t batch, positions;      /* B, T; another run may have others */
  const int32_t* tokens;         /* [B,T] */
  const uint8_t* attention_mask; /* [B,T], 1 = real token, 0 = padding */
  const int32_t* labels;         /* [B,T], -100 = not counted; logits at t predict labels at t+1 */
  /* 1: the gradients of the loss are asked for and nothing else, each as "grad/" and the name of
     the tensor or weight that it is with respect to; unscaled, of any type. Only where
     can_gradients. */
  int32_t gradients;
  void* context; /* for the functions below */

  /* 1: the tensor is looked at; 0: it need not be handed over. May be asked or not. */
  int32_t (*wanted)(void* context, const char* name);

  /* 1: the tensor is given, values[0 .. count) are filled with it, and whatever is computed from
     the tensor is to be computed from these values; they are numbers of the storage type. 0: it is
     not given. Anything else: the tensor has another number of elements. Only asked by a library
     that says can_force. A tensor that is given is handed over as it was computed, before it is
     replaced. Scores and probabilities are never given. */
  int32_t (*forced)(void* context, const char* name, double* values, int64_t count);

  /* Takes a tensor, once in a run, in any order (that of computation is what reports follow): its
     dtype, one of the enum above, and shape[0 .. rank); a scalar has rank 0. Storage type or
     float32. Returns 0, or anything else: the run is over. */
  int32_t (*hand_over)(void* context, const char* name, int32_t dtype, int32_t rank,
                       const int64_t* shape, const void* data);
} assay_subject_request;

#if defined(_WIN32)
#define ASSAY_SUBJECT_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define ASSAY_SUBJECT_EXPORT __attribute__((visibility("default")))
#else
#define ASSAY_SUBJECT_EXPORT
#endif

/* Returns ASSAY_SUBJECT_ABI. Called first. */
ASSAY_SUBJECT_EXPORT int32_t assay_subject_abi(void);

/* Opens a model; everything it needs of `model` is read before it returns. *subject is what the
   other functions get. Where it fails, *subject may be left as it is. */
ASSAY_SUBJECT_EXPORT int32_t assay_subject_open(const assay_subject_model* model,
                                                assay_subject** subject);

/* Fills the description, which is all zeros when it comes. */
ASSAY_SUBJECT_EXPORT int32_t assay_subject_describe(assay_subject* subject,
                                                    assay_subject_description* description);

/* Computes the tensors of a batch and hands them over. */
ASSAY_SUBJECT_EXPORT int32_t assay_subject_run(assay_subject* subject,
                                               const assay_subject_request* request);

/* Why the last call failed, one line; of a model that could not be opened, subject is NULL. Valid
   until the next call. NULL: no reason. */
ASSAY_SUBJECT_EXPORT const char* assay_subject_error(assay_subject* subject);

/* Ends the model; the judge has no pointer to it left. */
ASSAY_SUBJECT_EXPORT void assay_subject_close(assay_subject* subject);

#ifdef __cplusplus
}
#endif

#endif
