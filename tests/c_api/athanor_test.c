/* The C ABI from C99: a fragment is read, compiled and run; bad use is refused with a message. usage: athanor_test CACHE_DIRECTORY */
#include <athanor.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0, checks = 0;

static void Check(int good, const char* what, int line) {
  ++checks;
  if (!good) ++failures, printf("line %d: %s (last error: %s)\n", line, what, athanor_last_error());
}
#define CHECK(condition) Check(condition, #condition, __LINE__)
/* A call that has to fail with `status` and a message that says `text`. */
#define REFUSED(call, status, text) Check((call) == (status) && strstr(athanor_last_error(), text) != NULL, #call, __LINE__)

/* y = x w^T + b */
static const char kLinear[] =
    "{\"format\": \"athanor.fragment/1\", \"name\": \"linear\","
    " \"inputs\": [{\"name\": \"x\", \"dtype\": \"f32\", \"shape\": [2, 3], \"grad\": true},"
    "  {\"name\": \"w\", \"dtype\": \"f32\", \"shape\": [2, 3]}, {\"name\": \"b\", \"dtype\": \"f32\", \"shape\": [2]}],"
    " \"nodes\": [{\"op\": \"linear\", \"inputs\": [\"x\", \"w\", \"b\"], \"outputs\": [\"y\"]}], \"outputs\": [\"y\"]}";
static const char kEmbedding[] =
    "{\"format\": \"athanor.fragment/1\", \"name\": \"rows\","
    " \"inputs\": [{\"name\": \"i\", \"dtype\": \"i64\", \"shape\": [2]}, {\"name\": \"w\", \"dtype\": \"f32\", \"shape\": [4, 2]}],"
    " \"nodes\": [{\"op\": \"embedding\", \"inputs\": [\"i\", \"w\"], \"outputs\": [\"y\"]}], \"outputs\": [\"y\"]}";
static const char kUpdate[] =
    "{\"format\": \"athanor.fragment/1\", \"name\": \"update\","
    " \"inputs\": [{\"name\": \"p\", \"dtype\": \"f32\", \"shape\": [3]}, {\"name\": \"g\", \"dtype\": \"f32\", \"shape\": [3]}],"
    " \"nodes\": [{\"op\": \"sub\", \"inputs\": [\"p\", \"g\"], \"outputs\": [\"q\"]}], \"outputs\": [\"q\"]}";

static const char* settings[] = {NULL, "ATHANOR_THREADS=2", "ATHANOR_TUNE=off", NULL};

static athanor_fragment* Parse(const char* text) {
  athanor_fragment* fragment = NULL;
  CHECK(athanor_fragment_parse(text, strlen(text), "test", &fragment) == ATHANOR_OK);
  return fragment;
}

static athanor_executable* Compile(const athanor_fragment* fragment, const athanor_in_place* pairs, size_t pair_count) {
  athanor_executable* executable = NULL;
  athanor_compile_options options;
  options.struct_bytes = sizeof(options), options.settings = settings, options.in_place = pairs, options.in_place_count = pair_count;
  CHECK(athanor_compile(fragment, &options, &executable) == ATHANOR_OK);
  return executable;
}

static DLTensor Tensor(void* data, DLDataTypeCode code, int bits, int32_t ndim, int64_t* shape) {
  DLTensor tensor;
  memset(&tensor, 0, sizeof(tensor));
  tensor.data = data, tensor.device.device_type = kDLCPU, tensor.ndim = ndim, tensor.shape = shape;
  tensor.dtype.code = (uint8_t)code, tensor.dtype.bits = (uint8_t)bits, tensor.dtype.lanes = 1;
  return tensor;
}

static float x_data[] = {1, 2, 3, 4, 5, 6}, w_data[] = {1, 0, 0, 0, 1, 1}, b_data[] = {10, 20};
static int64_t matrix[] = {2, 3}, vector[] = {2}, square[] = {2, 2};
static const float kExpected[] = {11, 25, 14, 31};

static int Equal(const float* a, const float* b, int n) {
  while (n-- > 0) {
    if (a[n] != b[n]) return 0;
  }
  return 1;
}

static void TestDescriptions(const athanor_fragment* fragment) {
  athanor_tensor_info info;
  CHECK(athanor_fragment_inputs(fragment) == 3 && athanor_fragment_outputs(fragment) == 1);
  CHECK(athanor_fragment_input(fragment, 1, &info) == ATHANOR_OK);
  CHECK(strcmp(info.name, "w") == 0 && info.ndim == 2 && info.shape[1] == 3 && info.strides[0] == 3 && info.dtype.code == kDLFloat);
  CHECK(athanor_fragment_output(fragment, 0, &info) == ATHANOR_OK && info.shape[0] == 2 && info.shape[1] == 2);
  REFUSED(athanor_fragment_output(fragment, 1, &info), ATHANOR_INVALID, "there are 1");
}

static void TestRuns(athanor_executable* executable) {
  float y_data[4] = {0}, wide[8] = {0}, offset_x[8] = {9, 9, 1, 2, 3, 4, 5, 6}, transposed_x[] = {1, 4, 2, 5, 3, 6};
  int64_t x_strides[] = {1, 2}, y_strides[] = {4, 2};
  DLTensor x = Tensor(x_data, kDLFloat, 32, 2, matrix), w = Tensor(w_data, kDLFloat, 32, 2, matrix), b = Tensor(b_data, kDLFloat, 32, 1, vector);
  DLTensor y = Tensor(y_data, kDLFloat, 32, 2, square);
  const DLTensor *inputs[3], *outputs[1];
  const void* in_pointers[3];
  void* out_pointers[1];
  inputs[0] = &x, inputs[1] = &w, inputs[2] = &b, outputs[0] = &y;
  CHECK(athanor_run(executable, inputs, 3, outputs, 1) == ATHANOR_OK && Equal(y_data, kExpected, 4));

  x.data = offset_x, x.byte_offset = 2 * sizeof(float), memset(y_data, 0, sizeof(y_data));
  CHECK(athanor_run(executable, inputs, 3, outputs, 1) == ATHANOR_OK && Equal(y_data, kExpected, 4));

  x.data = transposed_x, x.byte_offset = 0, x.strides = x_strides, y.data = wide, y.strides = y_strides;
  CHECK(athanor_run(executable, inputs, 3, outputs, 1) == ATHANOR_OK);
  CHECK(wide[0] == 11 && wide[2] == 25 && wide[4] == 14 && wide[6] == 31 && wide[1] == 0 && wide[7] == 0);

  in_pointers[0] = x_data, in_pointers[1] = w_data, in_pointers[2] = b_data, out_pointers[0] = y_data, memset(y_data, 0, sizeof(y_data));
  CHECK(athanor_run_pointers(executable, in_pointers, out_pointers) == ATHANOR_OK && Equal(y_data, kExpected, 4));
}

static void TestBadTensors(athanor_executable* executable) {
  float y_data[5];
  int64_t wrong_shape[] = {3, 2};
  const DLTensor good = Tensor(x_data, kDLFloat, 32, 2, matrix);
  DLTensor x = good, w = Tensor(w_data, kDLFloat, 32, 2, matrix), b = Tensor(b_data, kDLFloat, 32, 1, vector);
  DLTensor y = Tensor(y_data, kDLFloat, 32, 2, square);
  const DLTensor *inputs[3], *outputs[1];
  inputs[0] = &x, inputs[1] = &w, inputs[2] = &b, outputs[0] = &y;
  REFUSED(athanor_run(executable, inputs, 2, outputs, 1), ATHANOR_INVALID, "2 inputs given, 3 expected");
  x.shape = wrong_shape;
  REFUSED(athanor_run(executable, inputs, 3, outputs, 1), ATHANOR_INVALID, "input 'x' has shape [3, 2], expected [2, 3]");
  x = good, x.dtype.bits = 64;
  REFUSED(athanor_run(executable, inputs, 3, outputs, 1), ATHANOR_INVALID, "input 'x' has dtype float64, expected f32");
  x = good, x.dtype.lanes = 2;
  REFUSED(athanor_run(executable, inputs, 3, outputs, 1), ATHANOR_INVALID, "float32x2");
  x = good, x.device.device_type = kDLCUDA, x.device.device_id = 1;
  REFUSED(athanor_run(executable, inputs, 3, outputs, 1), ATHANOR_INVALID, "input 'x' is on CUDA device 1, expected host memory");
  x = good, x.data = NULL;
  REFUSED(athanor_run(executable, inputs, 3, outputs, 1), ATHANOR_INVALID, "data pointer is NULL");
  x = good, x.byte_offset = 2;
  REFUSED(athanor_run(executable, inputs, 3, outputs, 1), ATHANOR_INVALID, "no multiple of the 4 bytes");
  x = good, x.ndim = -1;
  REFUSED(athanor_run(executable, inputs, 3, outputs, 1), ATHANOR_INVALID, "no valid shape");
  inputs[2] = NULL, x = good;
  REFUSED(athanor_run(executable, inputs, 3, outputs, 1), ATHANOR_INVALID, "input 'b': the tensor is NULL");
  REFUSED(athanor_run(NULL, inputs, 3, outputs, 1), ATHANOR_INVALID, "executable is NULL");
}

static void TestManaged(athanor_executable* executable) {
  float y_data[4] = {0};
  DLManagedTensorVersioned tensors[4];
  const DLManagedTensorVersioned *inputs[3], *outputs[1];
  int i;
  memset(tensors, 0, sizeof(tensors));
  for (i = 0; i < 4; ++i) tensors[i].version.major = DLPACK_MAJOR_VERSION, tensors[i].version.minor = 7;
  tensors[0].dl_tensor = Tensor(x_data, kDLFloat, 32, 2, matrix), tensors[1].dl_tensor = Tensor(w_data, kDLFloat, 32, 2, matrix);
  tensors[2].dl_tensor = Tensor(b_data, kDLFloat, 32, 1, vector), tensors[3].dl_tensor = Tensor(y_data, kDLFloat, 32, 2, square);
  tensors[0].flags = DLPACK_FLAG_BITMASK_READ_ONLY;
  inputs[0] = &tensors[0], inputs[1] = &tensors[1], inputs[2] = &tensors[2], outputs[0] = &tensors[3];
  CHECK(athanor_run_managed(executable, inputs, 3, outputs, 1) == ATHANOR_OK && Equal(y_data, kExpected, 4));
  tensors[3].flags = DLPACK_FLAG_BITMASK_READ_ONLY;
  REFUSED(athanor_run_managed(executable, inputs, 3, outputs, 1), ATHANOR_INVALID, "output 0 is read-only");
  tensors[3].flags = 0, tensors[1].version.major = 2;
  REFUSED(athanor_run_managed(executable, inputs, 3, outputs, 1), ATHANOR_INVALID, "input 1 has DLPack version 2.7, expected 1.x");
}

/* Many runs of one executable from two threads at once. */
static void* RunOften(void* executable) {
  const void* inputs[3];
  void* outputs[1];
  float y_data[4];
  int i, good = 1;
  inputs[0] = x_data, inputs[1] = w_data, inputs[2] = b_data, outputs[0] = y_data;
  for (i = 0; i < 2000 && good; ++i) {
    memset(y_data, 0, sizeof(y_data));
    good = athanor_run_pointers((athanor_executable*)executable, inputs, outputs) == ATHANOR_OK && Equal(y_data, kExpected, 4);
  }
  return good ? executable : NULL;
}

static void TestThreads(athanor_executable* executable) {
  pthread_t threads[2];
  void* results[2];
  int i;
  for (i = 0; i < 2; ++i) CHECK(pthread_create(&threads[i], NULL, RunOften, executable) == 0);
  for (i = 0; i < 2; ++i) pthread_join(threads[i], &results[i]);
  CHECK(results[0] != NULL && results[1] != NULL);
}

/* Threads of the caller's: two at once, of which the second is made anew each time. */
static __thread int thread_number;
static int calls = 0;
static const char kAbs[] = "{\"format\": \"athanor.fragment/1\", \"name\": \"abs\", \"inputs\": [{\"name\": \"x\", \"dtype\": \"f32\", \"shape\": [100000]}],"
                           "\"nodes\": [{\"op\": \"abs\", \"inputs\": [\"x\"], \"outputs\": [\"y\"]}], \"outputs\": [\"y\"]}";
static int Number(void) { return thread_number; }

struct Call {
  void (*body)(void*);
  void* data;
};

static void* Second(void* call) {
  thread_number = 1;
  ((struct Call*)call)->body(((struct Call*)call)->data);
  return NULL;
}

static void Parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags) {
  pthread_t second;
  struct Call call;
  call.body = body, call.data = data, ++calls;
  CHECK(threads == 2 && flags == 0 && pthread_create(&second, NULL, Second, &call) == 0);
  body(data);
  pthread_join(second, NULL);
}

static void TestCallersThreads(void) {
  static float in[100000], out[100000];
  athanor_fragment* fragment = Parse(kAbs);
  athanor_executable* executable;
  const void* inputs[1];
  void* outputs[1];
  int i, right = 0;
  inputs[0] = in, outputs[0] = out;
  for (i = 0; i < 100000; ++i) in[i] = (float)-i;
  REFUSED(athanor_use_threads(Parallel, NULL), ATHANOR_INVALID, "both or none expected");
  CHECK(athanor_use_threads(Parallel, Number) == ATHANOR_OK);
  executable = Compile(fragment, NULL, 0);
  CHECK(athanor_run_pointers(executable, inputs, outputs) == ATHANOR_OK && calls == 1);
  for (i = 0; i < 100000; ++i) right += out[i] == (float)i;
  CHECK(right == 100000);
  athanor_executable_free(executable), athanor_fragment_free(fragment);
  CHECK(athanor_use_threads(NULL, NULL) == ATHANOR_OK);
}

static void TestGradient(const athanor_fragment* fragment) {
  athanor_fragment* joint = NULL;
  athanor_executable* executable;
  float dy[] = {1, 2, 3, 4}, y_data[4], dx[6];
  const float expected[] = {1, 2, 2, 3, 4, 4};
  const void* inputs[4];
  void* outputs[2];
  CHECK(athanor_fragment_gradient(fragment, &joint) == ATHANOR_OK);
  CHECK(athanor_fragment_inputs(joint) == 4 && athanor_fragment_outputs(joint) == 2);
  executable = Compile(joint, NULL, 0);
  athanor_fragment_free(joint); /* an executable does not need its fragment */
  inputs[0] = x_data, inputs[1] = w_data, inputs[2] = b_data, inputs[3] = dy, outputs[0] = y_data, outputs[1] = dx;
  CHECK(athanor_run_pointers(executable, inputs, outputs) == ATHANOR_OK && Equal(y_data, kExpected, 4) && Equal(dx, expected, 6));
  athanor_executable_free(executable);
}

static void TestIndices(void) {
  athanor_fragment* fragment = Parse(kEmbedding);
  athanor_executable* executable = Compile(fragment, NULL, 0);
  float table[] = {0, 1, 2, 3, 4, 5, 6, 7}, rows[4] = {0};
  const float expected[] = {6, 7, 2, 3};
  int64_t indices[] = {3, 1};
  const void* inputs[2];
  void* outputs[1];
  inputs[0] = indices, inputs[1] = table, outputs[0] = rows;
  CHECK(athanor_run_pointers(executable, inputs, outputs) == ATHANOR_OK && Equal(rows, expected, 4));
  indices[1] = 4;
  REFUSED(athanor_run_pointers(executable, inputs, outputs), ATHANOR_INVALID, "index 4 at position 1 of input 'i' is out of range");
  athanor_executable_free(executable), athanor_fragment_free(fragment);
}

static void TestInPlace(void) {
  const athanor_in_place pair = {"q", "p"}, wrong = {"q", "nobody"};
  athanor_fragment* fragment = Parse(kUpdate);
  athanor_executable *executable = Compile(fragment, &pair, 1), *none = NULL;
  athanor_compile_options options;
  float p[] = {5, 6, 7}, g[] = {1, 2, 3}, elsewhere[3];
  const float expected[] = {4, 4, 4};
  const void* inputs[2];
  void* outputs[1];
  inputs[0] = p, inputs[1] = g, outputs[0] = p;
  CHECK(athanor_run_pointers(executable, inputs, outputs) == ATHANOR_OK && Equal(p, expected, 3));
  outputs[0] = elsewhere;
  REFUSED(athanor_run_pointers(executable, inputs, outputs), ATHANOR_INVALID, "their pointers differ");
  options.struct_bytes = sizeof(options), options.settings = settings, options.in_place = &wrong, options.in_place_count = 1;
  REFUSED(athanor_compile(fragment, &options, &none), ATHANOR_INVALID, "nobody");
  CHECK(none == NULL);
  athanor_executable_free(executable), athanor_fragment_free(fragment);
}

static void TestBadUse(const athanor_fragment* fragment) {
  const char* bad_value[] = {"ATHANOR_THREADS=many", NULL};
  const char* no_setting[] = {"threads", NULL};
  athanor_fragment* none = NULL;
  athanor_executable* executable = NULL;
  athanor_compile_options options;
  options.struct_bytes = sizeof(options), options.in_place = NULL, options.in_place_count = 0;
  REFUSED(athanor_fragment_load("/nowhere/at/all.json", &none), ATHANOR_INVALID, "/nowhere/at/all.json");
  REFUSED(athanor_fragment_parse("{", 1, "broken", &none), ATHANOR_INVALID, "broken");
  REFUSED(athanor_fragment_parse("{}", 2, "empty", &none), ATHANOR_INVALID, "has no \"format\"");
  REFUSED(athanor_fragment_parse(NULL, 0, "null", &none), ATHANOR_INVALID, "json is NULL");
  CHECK(none == NULL);
  options.settings = bad_value;
  REFUSED(athanor_compile(fragment, &options, &executable), ATHANOR_INVALID, "'many' given");
  options.settings = no_setting;
  REFUSED(athanor_compile(fragment, &options, &executable), ATHANOR_INVALID, "expected ATHANOR_NAME=VALUE");
  options.struct_bytes = 1;
  REFUSED(athanor_compile(fragment, &options, &executable), ATHANOR_INVALID, "struct_bytes is 1");
  CHECK(executable == NULL);
  athanor_fragment_free(NULL), athanor_executable_free(NULL);
}

int main(int argc, char** argv) {
  static char cache[4096];
  athanor_fragment* fragment;
  athanor_executable* executable;
  const char* report = NULL;
  if (argc != 2) return 2;
  snprintf(cache, sizeof(cache), "ATHANOR_CACHE_DIR=%s", argv[1]);
  settings[0] = cache;
  CHECK(athanor_version()[0] >= '0' && athanor_version()[0] <= '9');
  fragment = Parse(kLinear);
  executable = Compile(fragment, NULL, 0);
  if (fragment == NULL || executable == NULL) return 1;
  CHECK(athanor_executable_report(executable, &report) == ATHANOR_OK && strstr(report, "\"threads\":2") != NULL);
  TestDescriptions(fragment);
  TestRuns(executable);
  TestBadTensors(executable);
  TestManaged(executable);
  TestThreads(executable);
  TestCallersThreads();
  TestGradient(fragment);
  TestIndices();
  TestInPlace();
  TestBadUse(fragment);
  athanor_executable_free(executable), athanor_fragment_free(fragment);
  printf("%d checks, %d failures\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
