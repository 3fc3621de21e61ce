// Runs a launch: its blocks one after another, or, in a cooperative launch, in turns from grid barrier to grid barrier.
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <new>
#include <numeric>
#include <random>

#include "block.h"
#include "checker.h"
#include "findings.h"
#include "shared_memory.h"
#include "signals.h"

namespace simulator {
namespace {

void abandon(Block& stuck) {
  // Threads that ran one after another on one fiber all point to it; only the one that still waits owns it.
  for (Thread& t : stuck.threads)
    if (t.state != State::exited && t.state != State::unstarted) give_back_fiber(t.fiber);
}

// The shuffled order begins with every second block, including the one with the highest number. So that block is never
// the last to arrive, and no group of neighbouring blocks that share data is complete in the first half.
std::vector<unsigned> order_of_blocks(unsigned block_count) {
  std::vector<unsigned> order(block_count);
  std::iota(order.begin(), order.end(), 0);
  if (!launch->shuffled) return order;
  const auto is_first = [=](unsigned number) { return (block_count - number) % 2 == 1; };
  const auto second = std::partition(order.begin(), order.end(), is_first);
  std::mt19937_64 random(launch->seed);
  std::shuffle(order.begin(), second, random);
  std::shuffle(second, order.end(), random);
  return order;
}

void run_sequentially(unsigned block_count) {
  static Block reused;
  for (const unsigned number : order_of_blocks(block_count)) {
    begin_block(reused, number);
    fresh_shared_memory(launch->dynamic_shared_bytes);
    checker::begin_block();
    if (!run_block(reused)) return abandon(reused);
  }
}

// A cooperative launch: all blocks are resident and take turns from one grid barrier to the next.
void run_cooperatively(unsigned block_count) {
  std::vector<Block> blocks(block_count);
  std::vector<SavedShared> saved(block_count);
  const std::vector<unsigned> order = order_of_blocks(block_count);
  for (const unsigned number : order) begin_block(blocks[number], number);
  for (bool first = true; !over; first = false) {
    unsigned waiting = 0;
    for (const unsigned number : order) {
      Block& next = blocks[number];
      if (first) fresh_shared_memory(launch->dynamic_shared_bytes);
      else restore_shared_memory(saved[number]);
      checker::begin_block();
      if (!run_block(next)) break;
      save_shared_memory(saved[number], launch->dynamic_shared_bytes);
      waiting += next.exited < next.threads.size();
    }
    if (over || waiting == 0) break;
    if (waiting < block_count) fail_block("divergent grid barrier: some blocks wait at it and others have exited");
    for (Block& next : blocks) {
      block = &next;
      release(State::at_grid_barrier);
    }
    checker::pass_grid_barrier();
  }
  if (over)
    for (Block& stuck : blocks) abandon(stuck);
}

}  // namespace
}  // namespace simulator

using namespace simulator;

// Runs a launch; returns its findings as text, or null.
extern "C" const char* gpunet_launch(const Launch* next) {
  launch = next;
  thread = nullptr;
  over = false;
  forget_findings();
  counts = {};
  position.grid_size = {next->grid[0], next->grid[1], next->grid[2]};
  position.block_size = {next->block[0], next->block[1], next->block[2]};
  find_library(*next);
  try {
    checker::begin_launch();
    const SignalsOfKernels caught;
    const unsigned block_count = next->grid[0] * next->grid[1] * next->grid[2];
    if (next->cooperative) run_cooperatively(block_count);
    else run_sequentially(block_count);
  } catch (const std::bad_alloc&) {
    record_failure("out of host memory: launch fewer threads, or check smaller arrays");
  }
  return report_findings();
}

extern "C" const Counts* gpunet_counts() { return &counts; }

extern "C" int gpunet_printf(const char* format, ...) {
  if (launch->shuffled) return 0;
  va_list arguments;
  va_start(arguments, format);
  const int count = std::vprintf(format, arguments);
  va_end(arguments);
  std::fflush(stdout);
  return count;
}
