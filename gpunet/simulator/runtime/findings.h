// The findings of a launch. Each is recorded once, with a count, and the launch continues where it can.
#pragma once
#include <cstdint>
#include <string>

namespace simulator {

enum class Grade : int { error, warning, benign };

// Records a finding. Returns its text for the caller to fill in. If it was recorded before, raises its count and returns
// null. `place` and `other` are code offsets in the kernel's library; place 0 stands for the kernel's innermost call.
std::string* new_finding(Grade grade, const char* kind, uint32_t place = 0, uint32_t other = 0);

// Regrades a recorded finding as an error. Returns its text for the caller to replace, or null if it is one already.
std::string* make_error(const char* kind, uint32_t place, uint32_t other);

// Subtracts one from the count of a finding; a finding with a count of zero is not reported.
void take_back(const char* kind, uint32_t place, uint32_t other);

// Removes a finding.
void retract(const char* kind, uint32_t place, uint32_t other);

void forget_findings();

// Returns all findings as lines of text for engine.py, or null. The text is valid until the next call.
const char* report_findings();

// Stops the running thread before its next operation. The other threads of the block continue.
[[noreturn]] void stop_thread();

// Ends the launch.
[[noreturn]] void abandon_launch();

// Returns a placeholder for the code at `offset` in the kernel's library, which engine.py replaces by file and line.
std::string place_text(uint32_t offset);

// Returns "1 byte" or "2 bytes".
inline std::string bytes_text(uint64_t count) { return std::to_string(count) + (count == 1 ? " byte" : " bytes"); }

// Records an error of the launch, unless a thread was stopped before, because that explains the error.
void record_failure(const std::string& text);

// Records an error after which no thread can continue, as `record_failure` does, and abandons the launch.
[[noreturn]] void fail(const std::string& text);

// Whether a thread was stopped: later errors may be due to its missing operations.
bool thread_was_stopped();

}  // namespace simulator
