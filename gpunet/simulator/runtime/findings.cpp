#include "findings.h"

#include <unwind.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <tuple>
#include <vector>

#include "block.h"
#include "checker.h"
#include "scheduler.h"

namespace simulator {
namespace {

constexpr size_t kMostFindings = 128, kMostBenign = 64;  // of one launch
constexpr unsigned kMostStopped = 10'000;
constexpr uint64_t kAccessesAfterError = 20'000'000;  // a wrong value may cause an endless loop

struct Finding {
  Grade grade;
  std::string text;
  std::vector<uint32_t> stack;  // places of calls in the kernel's library, innermost first
  uint64_t times;
};

using Key = std::tuple<std::string, uint32_t, uint32_t>;

std::vector<Finding> findings;
std::map<Key, size_t> numbers;
unsigned stopped = 0;
std::string report_text;

// Returns the call stack in the kernel's library, up to its caller in the runtime.
std::vector<uint32_t> kernel_stack() {
  std::vector<uint32_t> stack;
  if (!thread) return stack;  // called by the scheduler
  _Unwind_Backtrace(
      [](_Unwind_Context* context, void* data) {
        auto& places = *static_cast<std::vector<uint32_t>*>(data);
        const char* code = reinterpret_cast<char*>(_Unwind_GetIP(context));
        if (code >= running.library_begin && code < running.library_end)
          places.push_back(code - running.library_begin - 1);  // the call, which is before its return address
        else if (!places.empty())
          return _URC_END_OF_STACK;
        return _URC_NO_REASON;
      },
      &stack);
  return stack;
}

void limit_accesses() {
  if (running.exceptions & kLimited) return;
  running.exceptions |= kLimited;
  running.accesses_left = kAccessesAfterError;
}

}  // namespace

std::string* new_finding(Grade grade, const char* kind, uint32_t place, uint32_t other) {
  std::vector<uint32_t> stack;
  if (!place) {
    stack = kernel_stack();
    if (!stack.empty()) place = stack.front();
  }
  const auto [known, is_new] = numbers.try_emplace({kind, place, other}, findings.size());
  if (!is_new) {
    ++findings[known->second].times;
    return nullptr;
  }
  if (findings.size() >= (grade == Grade::error ? kMostFindings : kMostBenign)) {
    numbers.erase(known);
    if (grade == Grade::error) abandon_launch();
    return nullptr;
  }
  if (stack.empty()) stack = kernel_stack();
  if (grade == Grade::error) limit_accesses();
  findings.push_back({grade, {}, std::move(stack), 1});
  return &findings.back().text;
}

bool same_place(Where a, Where b) {
  if (std::memcmp(&a, &b, sizeof a) == 0) return true;
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

std::string text(Where where) {
  const char* file = where.file_name();
  const char* slash = std::strrchr(file, '/');
  return std::string(slash ? slash + 1 : file) + ":" + std::to_string(where.line());
}

uint3 index_of(unsigned number, uint3 size) {
  return {number % size.x, number / size.x % size.y, number / size.x / size.y};
}

std::string describe(unsigned block_number, unsigned thread_number) {
  auto triple = [](uint3 v) {
    return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
  };
  return "thread " + triple(index_of(thread_number, position.block_size)) + " of block " +
         triple(index_of(block_number, position.grid_size));
}

void take_back(const char* kind, uint32_t place, uint32_t other) {
  const auto known = numbers.find({kind, place, other});
  if (known == numbers.end() || !findings[known->second].times) return;
  --findings[known->second].times;
  const auto is_error = [](const Finding& finding) { return finding.times && finding.grade == Grade::error; };
  if (std::none_of(findings.begin(), findings.end(), is_error)) running.exceptions &= ~kLimited;
}

void retract(const char* kind, uint32_t place, uint32_t other) {
  findings[numbers.at({kind, place, other})].times = 1;
  take_back(kind, place, other);
}

void forget_findings() {
  findings.clear();
  numbers.clear();
  stopped = 0;
}

std::string* make_error(const char* kind, uint32_t place, uint32_t other) {
  const auto known = numbers.find({kind, place, other});
  if (known == numbers.end()) return new_finding(Grade::error, kind, place, other);
  Finding& finding = findings[known->second];
  if (finding.grade == Grade::error) return nullptr;
  finding.grade = Grade::error;
  limit_accesses();
  return &finding.text;
}

const char* report_findings() {
  report_text.clear();
  for (const auto& [grade, text, stack, times] : findings) {
    if (!times) continue;
    report_text += std::to_string(static_cast<int>(grade)) + '\t' + std::to_string(times) + '\t' + text + '\t';
    for (const uint32_t place : stack) report_text += place_text(place) + ' ';
    report_text += '\n';
  }
  return report_text.empty() ? nullptr : report_text.c_str();
}

void stop_thread() {
  if (!kChecked || ++stopped == kMostStopped) abandon_launch();
  forget_copies(*thread);
  end_thread();
  return_to_scheduler();
  __builtin_unreachable();
}

std::string place_text(uint32_t offset) {
  char text[32];
  std::snprintf(text, sizeof text, "{pc %x}", offset);
  return text;
}

bool thread_was_stopped() { return stopped > 0; }

void record_failure(const std::string& text) {
  if (thread_was_stopped()) return;
  if (std::string* finding = new_finding(Grade::error, text.c_str())) *finding = text;
}

void fail(const std::string& text) {
  record_failure(text);
  abandon_launch();
}

}  // namespace simulator
