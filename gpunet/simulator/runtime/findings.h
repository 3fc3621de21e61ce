// What a launch does wrong. A finding is recorded once, however often it is met, and the launch goes on where it can.
#pragma once
#include <cstdint>
#include <string>

namespace simulator {

enum class Grade : int { error, warning, benign };

// Returns the text to fill in, or null where the same was found before, which is counted.
// `place` and `other` are offsets of code in the kernel's library; a place of 0 is that of the kernel's innermost call.
std::string* new_finding(Grade grade, const char* kind, uint32_t place = 0, uint32_t other = 0);

// Turns a finding that was recorded into an error; returns the text to fill in anew, or null where it is one.
std::string* make_error(const char* kind, uint32_t place, uint32_t other);

// Takes a finding back.
void retract(const char* kind, uint32_t place, uint32_t other);

void forget_findings();

// Returns all findings in lines of text, or null; engine.py reads them. The text lives until the next call.
const char* told_findings();

// The running thread goes no further: what it was about to do is not done. The others of its block go on without it.
[[noreturn]] void stop_thread();

// Nothing of the launch goes further.
[[noreturn]] void abandon_launch();

// Returns what engine.py turns into file and line: of code at this offset in the kernel's library.
std::string place_text(uint32_t offset);

// Records an error of the launch, unless a thread that was stopped before explains it.
void record_failure(const std::string& text);

// Records an error that no thread can get past, as `record_failure`, and abandons the launch.
[[noreturn]] void fail(const std::string& text);

// Whether a thread was stopped: what is missing afterwards may be what it would have done.
bool thread_was_stopped();

}  // namespace simulator
