/* Athanor for frameworks: the C ABI of libathanor.so. C99, no C++ and no Python needed.
 *
 *   athanor_fragment* fragment;
 *   athanor_executable* executable;
 *   if (athanor_fragment_load("linear_gelu.json", &fragment) != ATHANOR_OK) puts(athanor_last_error());
 *   if (athanor_compile(fragment, NULL, &executable) != ATHANOR_OK) puts(athanor_last_error());
 *   athanor_run(executable, inputs, 3, outputs, 1);
 *
 * Functions that can fail return a status; where it is not ATHANOR_OK, nothing was made, and athanor_last_error() says what was wrong and
 * what was expected. No exception and no exit crosses this interface. All functions may be called from any thread. A fragment never
 * changes; runs of one executable take turns, runs of different ones do not wait for each other except for the worker threads that
 * they share. Memory of inputs and outputs belongs to the caller, and is not kept beyond the call. */
#ifndef ATHANOR_H_
#define ATHANOR_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- DLPack 1.x (https://dmlc.github.io/dlpack): how frameworks hand tensors to each other ----
 * Under the include guard of the official header: whichever is included first serves. */
#ifndef DLPACK_DLPACK_H_
#define DLPACK_DLPACK_H_

#define DLPACK_MAJOR_VERSION 1
#define DLPACK_MINOR_VERSION 0
#define DLPACK_FLAG_BITMASK_READ_ONLY (1UL << 0UL)
#define DLPACK_FLAG_BITMASK_IS_COPIED (1UL << 1UL)

typedef struct {
  uint32_t major;
  uint32_t minor;
} DLPackVersion;

typedef enum {
  kDLCPU = 1,
  kDLCUDA = 2,
  kDLCUDAHost = 3,
  kDLOpenCL = 4,
  kDLVulkan = 7,
  kDLMetal = 8,
  kDLVPI = 9,
  kDLROCM = 10,
  kDLROCMHost = 11,
  kDLExtDev = 12,
  kDLCUDAManaged = 13,
  kDLOneAPI = 14
} DLDeviceType;

typedef struct {
  DLDeviceType device_type;
  int32_t device_id;
} DLDevice;

typedef enum { kDLInt = 0, kDLUInt = 1, kDLFloat = 2, kDLOpaqueHandle = 3, kDLBfloat = 4, kDLComplex = 5, kDLBool = 6 } DLDataTypeCode;

typedef struct {
  uint8_t code; /* a DLDataTypeCode */
  uint8_t bits;
  uint16_t lanes;
} DLDataType;

typedef struct {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides; /* in elements; NULL: row-major contiguous */
  uint64_t byte_offset;
} DLTensor;

/* The form before DLPack 1.0. */
typedef struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(struct DLManagedTensor* self);
} DLManagedTensor;

typedef struct DLManagedTensorVersioned {
  DLPackVersion version;
  void* manager_ctx;
  void (*deleter)(struct DLManagedTensorVersioned* self);
  uint64_t flags;
  DLTensor dl_tensor;
} DLManagedTensorVersioned;

#endif /* DLPACK_DLPACK_H_ */

#define ATHANOR_ABI_VERSION 0 /* the number in the library's soname and in the version of its symbols */

#if defined(__GNUC__)
#define ATHANOR_API __attribute__((visibility("default")))
#else
#define ATHANOR_API
#endif

typedef struct athanor_fragment athanor_fragment;     /* a graph of operations (docs/fragment-format.md) */
typedef struct athanor_executable athanor_executable; /* a fragment compiled for this machine */

typedef enum {
  ATHANOR_OK = 0,
  ATHANOR_INVALID = 1,       /* the caller got something wrong: a fragment, a setting, a tensor, an index */
  ATHANOR_OUT_OF_MEMORY = 2, /* of the host */
  ATHANOR_INTERNAL = 3       /* a broken promise inside Athanor: please report it */
} athanor_status;

/* Of the last call on this thread that failed; valid until the next call on this thread that fails. Never NULL. */
ATHANOR_API const char* athanor_last_error(void);
/* "0.1.0" */
ATHANOR_API const char* athanor_version(void);

/* ---- fragments ---- */

ATHANOR_API athanor_status athanor_fragment_load(const char* path, athanor_fragment** fragment);
/* From `bytes` bytes of text; messages call it `name`. */
ATHANOR_API athanor_status athanor_fragment_parse(const char* json, size_t bytes, const char* name, athanor_fragment** fragment);
/* A fragment with its gradients: behind the inputs stands `grad.OUT` for each floating-point output OUT, behind the outputs `grad.NAME` for
 * each input NAME with "grad": true. */
ATHANOR_API athanor_status athanor_fragment_gradient(const athanor_fragment* forward, athanor_fragment** joint);
ATHANOR_API void athanor_fragment_free(athanor_fragment* fragment); /* NULL does nothing */

/* What a tensor has to be like. The pointers live as long as the fragment. */
typedef struct {
  const char* name;
  DLDataType dtype;
  int32_t ndim;
  const int64_t* shape;
  const int64_t* strides; /* in elements */
} athanor_tensor_info;

ATHANOR_API size_t athanor_fragment_inputs(const athanor_fragment* fragment); /* how many */
ATHANOR_API size_t athanor_fragment_outputs(const athanor_fragment* fragment);
ATHANOR_API athanor_status athanor_fragment_input(const athanor_fragment* fragment, size_t index, athanor_tensor_info* info);
ATHANOR_API athanor_status athanor_fragment_output(const athanor_fragment* fragment, size_t index, athanor_tensor_info* info);

/* ---- compiling ---- */

/* An output that lives in the memory of an input of the same dtype and shape: a parameter updated in place. The results are the same as
 * without; where the input is still needed the output is computed elsewhere and copied at the end. */
typedef struct {
  const char* output;
  const char* input;
} athanor_in_place;

typedef struct {
  size_t struct_bytes; /* sizeof(athanor_compile_options): fields added later are not read from older callers */
  /* "NAME=VALUE" with the names of the environment variables (ATHANOR_THREADS=4, ATHANOR_CACHE_DIR=...), which they override; ends with
   * NULL. NULL: only the environment. */
  const char* const* settings;
  const athanor_in_place* in_place;
  size_t in_place_count;
} athanor_compile_options;

/* `options` may be NULL. Kernels come from the cache where it has them; otherwise this takes up to seconds. */
ATHANOR_API athanor_status athanor_compile(const athanor_fragment* fragment, const athanor_compile_options* options,
                                           athanor_executable** executable);
ATHANOR_API void athanor_executable_free(athanor_executable* executable); /* NULL does nothing; not while it runs */

/* What was compiled, as JSON: {"threads", "arena_bytes", "fuse_ms", "load_ms", "kernels": [{"nodes", "skeleton", "schedule", "flops", "bytes",
 * "cached", "miss", "compile_ms"}]}. The text lives as long as the executable. */
ATHANOR_API athanor_status athanor_executable_report(athanor_executable* executable, const char** json);

/* ---- running ---- */

/* Inputs and outputs in the fragment's order, with its dtypes and shapes. Strides and byte offsets are arbitrary, but of two elements
 * of an output none may share memory: inputs that do not lie as the fragment says, and outputs that are not contiguous, are copied
 * through memory of the library, which costs time. Devices: CPU, and host memory pinned by a GPU's driver.
 * Outputs may not overlap inputs, except those that are in place, which have to. Indices into tables are checked. After a failure the contents of the outputs are undefined. */
ATHANOR_API athanor_status athanor_run(athanor_executable* executable, const DLTensor* const* inputs, size_t input_count,
                                       const DLTensor* const* outputs, size_t output_count);
/* The same with DLPack's versioned form. Borrowed: no deleter is called. Refuses another major version and outputs that are read-only. */
ATHANOR_API athanor_status athanor_run_managed(athanor_executable* executable, const DLManagedTensorVersioned* const* inputs, size_t input_count,
                                               const DLManagedTensorVersioned* const* outputs, size_t output_count);
/* The fast road, for callers that have checked their tensors once: memory that lies as the fragment says (outputs: contiguous), in its
 * order and number. Only indices into tables, and that in-place outputs lie where their inputs do, are checked. */
ATHANOR_API athanor_status athanor_run_pointers(athanor_executable* executable, const void* const* inputs, void* const* outputs);

/* Threads of the caller's, instead of the library's own, for executables that are compiled afterwards: where the caller's own threads still spin when
 * an executable runs, and the library's when it has run, they take each other's cores. `parallel` runs body(data) on `threads` threads at once, or on
 * fewer, the calling one among them, and returns when all have; `number` tells a thread in there its number, 0 for the calling one. GOMP_parallel and
 * omp_get_thread_num of OpenMP are such (flags are 0). Executables of one number of threads then take turns, call by call. A process forked from this one
 * has no such threads: executables of its parent run on the calling thread, its own on threads of the library's. Both null: the library's own. */
ATHANOR_API athanor_status athanor_use_threads(void (*parallel)(void (*body)(void*), void* data, unsigned threads, unsigned flags), int (*number)(void));

#ifdef __cplusplus
}
#endif
#endif /* ATHANOR_H_ */
