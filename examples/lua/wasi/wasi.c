/* setjmp() and longjmp() of WebAssembly, by which Lua raises errors: what clang calls for them, and throws. */
#include <stdint.h>

__asm__(".globl __c_longjmp\n.tagtype __c_longjmp i32\n__c_longjmp:\n");

struct place { void *call; uint32_t label; struct { void *env; int value; } thrown; };

void __wasm_setjmp(void *env, uint32_t label, void *call) {
  struct place *place = env;
  place->call = call;
  place->label = label;
}

uint32_t __wasm_setjmp_test(void *env, void *call) {
  struct place *place = env;
  return place->call == call ? place->label : 0;
}

void __wasm_longjmp(void *env, int value) {
  struct place *place = env;
  place->thrown.env = env;
  place->thrown.value = value ? value : 1;
  __builtin_wasm_throw(1, &place->thrown);
}
