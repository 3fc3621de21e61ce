// Included after a kernel source: the parts of its kernel table, with the parameters' types in NumPy's notation.
#pragma once
#include <type_traits>

#include "launch.h"

namespace simulator {

template <int Size>
struct Text {
  char text[Size] = {};
  int length = 0;
  constexpr void add(const char* more) {
    while (*more) text[length++] = *more++;
  }
};

template <class T>
constexpr const char* scalar_code() {
  if (code_of<T>) return code_of<T>;
  if (std::is_same_v<T, bool>) return "?";
  if (std::is_floating_point_v<T>) return sizeof(T) == 8 ? "f8" : "f4";
  constexpr const char* integers[][2] = {{"u1", "i1"}, {"u2", "i2"}, {"u4", "i4"}, {"u8", "i8"}};
  if (std::is_integral_v<T>) return integers[__builtin_ctz(sizeof(T))][std::is_signed_v<T>];
  return "V";
}

constexpr void add_number(auto& text, size_t number) {
  if (number >= 10) add_number(text, number / 10);
  const char digit[] = {static_cast<char>('0' + number % 10), 0};
  text.add(digit);
}

// "f4", "f4*", "const f4*", "f4**" (const if the numbers are const), "V16" for a struct of 16 bytes, "V16*". float4*
// counts as float*, which callers pass.
template <class T>
constexpr Text<24> type_text() {
  Text<24> result;
  using Pointed = std::remove_pointer_t<T>;
  using Element = std::remove_cv_t<Pointed>;
  if (std::is_pointer_v<T> && std::is_const_v<Pointed>) result.add("const ");
  if constexpr (std::is_pointer_v<Element> && std::is_pointer_v<T>) {
    result = {};
    result.add(type_text<Element>().text);
  } else if constexpr (std::is_class_v<T> && !code_of<T>) {
    result.add("V");
    add_number(result, sizeof(T));
  } else if constexpr (std::is_class_v<Element> && !code_of<Element> && !requires(Element e) { e.x; }) {
    result.add(type_text<Element>().text);
  } else if constexpr (requires(Element e) { e.x; }) result.add(scalar_code<decltype(Element::x)>());
  else result.add(scalar_code<Element>());
  if (std::is_pointer_v<T>) result.add("*");
  return result;
}

template <class... Parameters>
struct Signature {
  static constexpr auto types = [] {
    Text<24 * sizeof...(Parameters) + 1> joined;
    ((joined.add(joined.length ? "," : ""), joined.add(type_text<Parameters>().text)), ...);
    return joined;
  }();
};

template <class... Parameters>
constexpr const char* types_of(void (*)(Parameters...)) {
  return Signature<Parameters...>::types.text;
}

// std::index_sequence without its header, which would take a quarter of the time of a small compilation.
template <size_t...>
struct Indices {};

// Calls the kernel with the values to which `arguments` point. Not instrumented: they are not the kernel's memory.
template <class... Parameters, size_t... I>
__attribute__((no_sanitize("thread", "undefined"))) inline void call_with(void (*kernel)(Parameters...),
                                                                          void** arguments, Indices<I...>) {
  kernel(*static_cast<std::remove_const_t<Parameters>*>(arguments[I])...);
}

template <auto kernel>
__attribute__((no_sanitize("thread", "undefined"))) void call(void** arguments) {
  [&]<class... Parameters>(void (*)(Parameters...)) __attribute__((no_sanitize("thread", "undefined"))) {
    call_with(kernel, arguments, Indices<__integer_pack(sizeof...(Parameters))...>{});
  }(kernel);
}

}  // namespace simulator

// Accesses the TLS block, because the loader allocates it at a thread's first access.
extern "C" __attribute__((visibility("default"), no_sanitize("thread"))) void gpunet_touch_shared() {
  *const_cast<volatile char*>(&simulator::shared_anchor) = 0;
}
