// cuda::atomic and cuda::atomic_ref. All threads observe atomics in the same order here. A memory order other than
// relaxed is a fence.
#pragma once
#include "atomics.h"
#include "cuda_pipeline.h"
#include "device.h"

namespace cuda {

enum memory_order {
  memory_order_relaxed,
  memory_order_consume,
  memory_order_acquire,
  memory_order_release,
  memory_order_acq_rel,
  memory_order_seq_cst
};

inline void atomic_thread_fence(memory_order order, thread_scope scope = thread_scope_system) {
  if (order != memory_order_relaxed && scope <= thread_scope_device) simulator::thread_fence();
}

namespace std {
using cuda::memory_order_acq_rel;
using cuda::memory_order_acquire;
using cuda::memory_order_consume;
using cuda::memory_order_relaxed;
using cuda::memory_order_release;
using cuda::memory_order_seq_cst;
}  // namespace std

// The members of both. Self::address() is required.
template <class T, thread_scope Scope, class Self>
struct atomic_operations {
  // always_inline, so that findings name the kernel's line.
#define GPUNET_MEMBER inline __attribute__((always_inline))
#define GPUNET_ORDER memory_order order = memory_order_seq_cst
#define GPUNET_OPERATION(NAME, EXPRESSION)                       \
  GPUNET_MEMBER T NAME(T value, GPUNET_ORDER) const {            \
    atomic_thread_fence(order, Scope);                                  \
    const T old = EXPRESSION;                                    \
    atomic_thread_fence(order, Scope);                                  \
    return old;                                                  \
  }
  GPUNET_OPERATION(exchange, atomicExch(address(), value))
  GPUNET_OPERATION(fetch_add, atomicAdd(address(), value))
  GPUNET_OPERATION(fetch_sub, atomicSub(address(), value))
  GPUNET_OPERATION(fetch_min, atomicMin(address(), value))
  GPUNET_OPERATION(fetch_max, atomicMax(address(), value))
  GPUNET_OPERATION(fetch_and, atomicAnd(address(), value))
  GPUNET_OPERATION(fetch_or, atomicOr(address(), value))
  GPUNET_OPERATION(fetch_xor, atomicXor(address(), value))
#undef GPUNET_OPERATION

  GPUNET_MEMBER T load(GPUNET_ORDER) const {
    simulator::atomic_access(address(), sizeof(T), false);
    const T value = simulator::exchange(address(), [](T old) { return old; });
    atomic_thread_fence(order, Scope);
    return value;
  }
  GPUNET_MEMBER void store(T value, GPUNET_ORDER) const {
    atomic_thread_fence(order, Scope);
    simulator::atomic_access(address(), sizeof(T), false, true);
    simulator::exchange(address(), [value](T) { return value; });
  }
  GPUNET_MEMBER bool compare_exchange_strong(T& expected, T value, GPUNET_ORDER) const {
    atomic_thread_fence(order, Scope);
    const T old = atomicCAS(address(), expected, value);
    atomic_thread_fence(order, Scope);
    const bool same = old == expected;
    expected = old;
    return same;
  }
  GPUNET_MEMBER bool compare_exchange_strong(T& expected, T value, memory_order order, memory_order) const {
    return compare_exchange_strong(expected, value, order);
  }
  GPUNET_MEMBER bool compare_exchange_weak(T& expected, T value, GPUNET_ORDER) const {
    return compare_exchange_strong(expected, value, order);
  }
  GPUNET_MEMBER bool compare_exchange_weak(T& expected, T value, memory_order order, memory_order) const {
    return compare_exchange_strong(expected, value, order);
  }
  GPUNET_MEMBER operator T() const { return load(); }
  GPUNET_MEMBER T operator=(T value) const {
    store(value);
    return value;
  }
  GPUNET_MEMBER T operator++() const { return fetch_add(1) + 1; }
  GPUNET_MEMBER T operator++(int) const { return fetch_add(1); }
  GPUNET_MEMBER T operator--() const { return fetch_sub(1) - 1; }
  GPUNET_MEMBER T operator--(int) const { return fetch_sub(1); }
  GPUNET_MEMBER T operator+=(T value) const { return fetch_add(value) + value; }
  GPUNET_MEMBER T operator-=(T value) const { return fetch_sub(value) - value; }
#undef GPUNET_MEMBER
#undef GPUNET_ORDER

 private:
  T* address() const { return static_cast<const Self*>(this)->address(); }
};

template <class T, thread_scope Scope = thread_scope_system>
struct atomic_ref : atomic_operations<T, Scope, atomic_ref<T, Scope>> {
  explicit atomic_ref(T& value) : value(&value) {}
  using atomic_operations<T, Scope, atomic_ref<T, Scope>>::operator=;
  T* address() const { return value; }

 private:
  T* value;
};

template <class T, thread_scope Scope = thread_scope_system>
struct atomic : atomic_operations<T, Scope, atomic<T, Scope>> {
  atomic() = default;
  atomic(T value) : value(value) {}
  using atomic_operations<T, Scope, atomic<T, Scope>>::operator=;
  T* address() const { return &value; }

 private:
  mutable T value;
};

}  // namespace cuda
