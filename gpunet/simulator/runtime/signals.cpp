#include "signals.h"

#include <pthread.h>
#include <signal.h>
#include <sys/ucontext.h>

#include <cstdint>
#include <cstdio>
#include <iterator>
#include <string>

#include "block.h"
#include "findings.h"
#include "scheduler.h"

namespace simulator {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
constexpr uint64_t kWrite = 2;              // of a page fault's error code
constexpr uint64_t kDirectionFlag = 0x400;  // the ABI requires it clear at a function's entry
constexpr uint64_t kLargestFrame = 128 * 1024;

struct sigaction before[std::size(kSignals)];
stack_t stack_before;
pthread_t launcher;
alignas(16) char handler_stack[64 * 1024];  // separate, because the kernel's stack may have overflowed

struct {
  int signal, code;
  bool write;
  uint64_t address, instruction;
} caught;

// Describes the array nearest to the address: an invalid pointer usually started as one into this array.
std::string nearest_array(uint64_t address) {
  const BufferArgument* nearest = nullptr;
  uint64_t least = uint64_t{1} << 32;
  bool past = false;
  for (const BufferArgument* b = launch->buffers; b != launch->buffers + launch->buffer_count; ++b) {
    const auto begin = reinterpret_cast<uint64_t>(b->begin), end = begin + b->bytes;
    const uint64_t distance = address >= end ? address - end : begin - address;
    if (distance >= least) continue;
    nearest = b, least = distance, past = address >= end;
  }
  if (!nearest) return "";
  return ", " + bytes_text(least) + (past ? " past the end of " : " before ") + nearest->name + ",";
}

std::string description() {
  if (caught.signal == SIGFPE) return "integer division by zero or overflow";
  // the compiler emits an illegal instruction where it can prove undefined behaviour
  if (caught.signal == SIGILL) return "undefined behaviour, such as a division by zero";
  const Fiber& fiber = *thread->fiber;
  const auto begin = reinterpret_cast<uint64_t>(fiber.stack_begin);
  if (caught.address < begin && caught.address >= begin - kLargestFrame) return "stack overflow";
  if (caught.code != SEGV_MAPERR && caught.code != SEGV_ACCERR) return "access to a misaligned or invalid address";
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(caught.address));
  return std::string(caught.write ? "write to" : "read from") + " unmapped address " + text +
         (caught.address < 4096 ? " (a null pointer)" : nearest_array(caught.address));
}

// Where a kernel resumes after such a signal, at the top of its stack.
[[noreturn]] void report() {
  const auto begin = reinterpret_cast<uint64_t>(running.library_begin);
  const auto end = reinterpret_cast<uint64_t>(running.library_end);
  std::string place;  // empty inside a function of the host's libraries
  if (caught.instruction >= begin && caught.instruction < end) place = " at " + place_text(caught.instruction - begin);
  const std::string what = description();
  if (std::string* finding = new_finding(Grade::error, "signal", caught.instruction))
    *finding = what + place + " by " + describe(block->number, thread->number);
  stop_thread();
}

bool in_kernel(uint64_t stack_pointer) {
  if (!pthread_equal(pthread_self(), launcher) || !thread || !thread->fiber) return false;
  return stack_pointer <= reinterpret_cast<uint64_t>(thread->fiber->stack_end) &&
         stack_pointer >= reinterpret_cast<uint64_t>(thread->fiber->stack_begin) - kLargestFrame;
}

void restore_actions() {
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &before[i], nullptr);
}

// Only changes where the kernel resumes, so it does not matter what the signal interrupted.
void handle(int signal, siginfo_t* info, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (info->si_code <= 0 || !in_kernel(registers[REG_RSP])) return restore_actions();  // the signal is raised again
  caught = {signal, info->si_code, (registers[REG_ERR] & kWrite) != 0, reinterpret_cast<uint64_t>(info->si_addr),
            static_cast<uint64_t>(registers[REG_RIP])};
  registers[REG_RIP] = reinterpret_cast<greg_t>(report);
  registers[REG_RSP] = reinterpret_cast<greg_t>(thread->fiber->stack_end) - 8;  // aligned as after a call
  registers[REG_EFL] &= ~kDirectionFlag;
}

}  // namespace

SignalsOfKernels::SignalsOfKernels() {
  launcher = pthread_self();
  const stack_t stack = {.ss_sp = handler_stack, .ss_flags = 0, .ss_size = sizeof handler_stack};
  sigaltstack(&stack, &stack_before);
  struct sigaction action = {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &before[i]);
}

SignalsOfKernels::~SignalsOfKernels() {
  restore_actions();
  sigaltstack(&stack_before, nullptr);
}

}  // namespace simulator
