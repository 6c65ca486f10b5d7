/* A stand-in for NVIDIA's driver library: records calls, runs nothing. test_aot.py compiles it. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static char log_text[1 << 16];
static int capability, failure_code;
static const char *failing, *parameter_kinds; /* of a launch: 4 or 8 bytes each */
static void *context;

static int record(const char *name, const char *format, ...) {
  size_t used = strlen(log_text);
  used += snprintf(log_text + used, sizeof log_text - used, "%s", name);
  va_list arguments;
  va_start(arguments, format);
  used += vsnprintf(log_text + used, sizeof log_text - used, format, arguments);
  va_end(arguments);
  snprintf(log_text + used, sizeof log_text - used, "\n");
  return failing && !strcmp(failing, name) ? failure_code : 0;
}

void fake_reset(int new_capability, int has_context, const char *kinds) {
  log_text[0] = 0;
  capability = new_capability;
  context = has_context ? (void *)0xC0 : NULL;
  parameter_kinds = kinds;
  failing = NULL;
}
void fake_fail(const char *name, int code) {
  failing = name;
  failure_code = code;
}
const char *fake_log(void) { return log_text; }

int cuInit(unsigned flags) { return record("cuInit", " %u", flags); }
int cuGetErrorString(int code, const char **text) {
  *text = "a reason";
  return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : -1;
  return 0;
}
int cuCtxGetCurrent(void **current) {
  *current = context;
  return 0;
}
int cuCtxSetCurrent(void *new_context) {
  context = new_context;
  return record("cuCtxSetCurrent", " %p", new_context);
}
int cuCtxGetDevice(int *device) {
  *device = 0;
  return 0;
}
int cuDevicePrimaryCtxRetain(void **retained, int device) {
  *retained = (void *)0xC1;
  return record("cuDevicePrimaryCtxRetain", " %d", device);
}
int cuModuleLoadData(void **module, const char *image) {
  *module = (void *)0x10;
  int is_cubin = !memcmp(image, "\177ELF", 4);
  return is_cubin ? record("cuModuleLoadData", " cubin")
                  : record("cuModuleLoadData", " ptx of %zu bytes", strlen(image));
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
  *function = (void *)0xF0;
  return record("cuModuleGetFunction", " %p %s", module, name);
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
  return record("cuFuncSetAttribute", " %p %d=%d", function, attribute, value);
}
int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                   void *stream, void **parameters, void **extra) {
  char values[4096] = "";
  for (size_t i = 0, used = 0; i < strlen(parameter_kinds); i++) {
    int64_t value = parameter_kinds[i] == '8' ? *(int64_t *)parameters[i]
                                              : *(int32_t *)parameters[i];
    used += snprintf(values + used, sizeof values - used, " %lld", (long long)value);
  }
  return record("cuLaunchKernel", " %p grid %u %u %u block %u %u %u shared %u stream %p extra %p:%s",
                function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, extra,
                values);
}
