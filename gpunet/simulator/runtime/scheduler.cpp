// Runs a launch: block by block, and in a block every thread until it waits for others.
#include "scheduler.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>
#include <random>

#include "block.h"
#include "checker.h"
#include "findings.h"
#include "shared_memory.h"
#include "signals.h"

namespace simulator {

Position position;
Running running;
Counts counts;
const Launch* launch;
Block* block;
Thread* thread;

namespace {

void* scheduler_stack;
bool over;  // the launch is abandoned

uint3 index_of(unsigned number, uint3 size) {
  return {number % size.x, number / size.x % size.y, number / size.x / size.y};
}

// --- threads

void make_current(Thread& next) {
  thread = &next;
  position.thread = next.index;
  copies = &next.copies;
  if constexpr (kChecked) {
    running.now = {.block = block->number,
                   .thread = next.number,
                   .block_epoch = block->epoch,
                   .warp_epoch = block->warps[next.number / kWarpSize].epoch};
    running.stack_begin = next.fiber->stack_begin;
    running.stack_end = next.fiber->stack_end;
  }
}

// What a fiber runs: a thread, and when that exits without ever having waited, the block's next one, so that a kernel
// without barriers needs one fiber and no switch.
void fiber_main() {
  for (;;) {
    launch->kernel->call(launch->arguments);
    checker::exit_thread();
    end_thread();
    if (block->unstarted < block->threads.size()) {
      Thread& next = block->threads[block->unstarted++];
      next.state = State::ready;
      next.fiber = thread->fiber;
      make_current(next);
    } else {
      return_to_scheduler();
    }
  }
}

void run_thread(Thread& next) {
  if (next.state == State::unstarted) {
    Fiber* fiber = take_fiber(fiber_main);
    if (!fiber) {
      throw std::bad_alloc();
    }
    next.fiber = fiber;
    next.state = State::ready;
    ++block->unstarted;
  }
  make_current(next);
  gpunet_switch(&scheduler_stack, next.fiber->stack_pointer);
  // `thread` is by now the one that the fiber ran last.
  if (!over && thread->state == State::exited) give_back_fiber(thread->fiber);
}

// --- blocks

void begin_block(Block& next, unsigned number) {
  const uint3 size = position.block_size;
  const unsigned count = size.x * size.y * size.z;
  next.number = number;
  next.index = index_of(number, position.grid_size);
  next.unstarted = next.exited = next.epoch = next.votes = 0;
  next.threads.resize(count);
  next.warps.resize((count + kWarpSize - 1) / kWarpSize);
  for (Warp& warp : next.warps) warp.arrived = warp.exited = warp.epoch = 0;
  Thread* t = next.threads.data();
  for (unsigned z = 0; z < size.z; ++z)
    for (unsigned y = 0; y < size.y; ++y)
      for (unsigned x = 0; x < size.x; ++x, ++t) {
        t->state = State::unstarted;
        t->index = {x, y, z};
        t->number = t - next.threads.data();
        forget_copies(*t);
      }
}

const char* what_it_does(const Thread& t) {
  switch (t.state) {
    case State::at_block_barrier: return " waits at the barrier ";
    case State::at_warp_collective: return " waits at the warp collective ";
    case State::at_grid_barrier: return " waits at the grid barrier ";
    default: return " has exited";
  }
}

// Says why nobody can go on: names the first two threads that wait for different things.
std::string why_block_is_stuck() {
  const Thread& first = block->threads.front();
  bool columns = false;
  auto place = [&](const Thread& t) {
    if (t.state == State::exited) return std::string();
    return text(t.where) + (columns ? ":" + std::to_string(t.where.column()) : "");
  };
  for (const Thread& other : block->threads)
    if (other.state != first.state || (other.state != State::exited && !same_place(other.where, first.where))) {
      columns = place(other) == place(first);
      return "divergent barrier: " + describe(block->number, first.number) + what_it_does(first) + place(first) + ", " +
             describe(block->number, other.number) + what_it_does(other) + place(other);
    }
  return "divergent warp collective: " + describe(block->number, first.number) + what_it_does(first) + place(first) +
         ", but the lanes of its mask do not all come";
}

bool all_wait_at_grid_barrier() {
  const Thread& first = block->threads.front();
  for (const Thread& t : block->threads)
    if (t.state != State::at_grid_barrier || !same_place(t.where, first.where)) return false;
  return true;
}

// A barrier waits for the threads that have not exited, as devices do from compute capability 7.0 on.
bool all_wait_at_block_barrier() {
  const Thread *first = nullptr, *exited = nullptr;
  for (const Thread& t : block->threads) {
    if (t.state == State::exited) {
      exited = &t;
      continue;
    }
    if (t.state != State::at_block_barrier || (first && !same_place(t.where, first->where))) return false;
    if (!first) first = &t;
  }
  if (exited && kChecked && !thread_was_stopped())
    if (std::string* finding = new_finding(Grade::benign, "early exit", first->where.line(), first->where.column()))
      *finding = "barrier after an early exit: " + describe(block->number, exited->number) + " has exited, " +
                 describe(block->number, first->number) + what_it_does(*first) + text(first->where);
  return true;
}

void release(State state) {
  for (Thread& t : block->threads)
    if (t.state == state) t.state = State::ready;
  block->last_votes = block->votes;
  block->votes = 0;
  ++block->epoch;
  ++counts.barriers;
}

bool fail_block(const std::string& text) {
  record_failure(text);
  over = true;
  return false;
}

// Runs the block until all of its threads have exited or wait at a grid barrier. Returns false when all is over.
bool run_block(Block& next) {
  block = &next;
  position.block = next.index;
  for (;;) {
    bool moved = false;
    for (Thread& t : next.threads) {
      if (t.state != State::unstarted && t.state != State::ready) continue;
      run_thread(t);
      if (over) return false;
      moved = true;
    }
    if (moved || answer_active_masks()) continue;
    if (next.exited == next.threads.size() || all_wait_at_grid_barrier()) return true;
    if (!all_wait_at_block_barrier()) return fail_block(why_block_is_stuck());
    release(State::at_block_barrier);
  }
}

void abandon(Block& stuck) {
  // Threads that ran one after the other on one fiber all name it; only the one that still waits owns it.
  for (Thread& t : stuck.threads)
    if (t.state != State::exited && t.state != State::unstarted) give_back_fiber(t.fiber);
}

// The shuffled order begins with every second block, among them the one with the highest number: so that one is never
// the last to arrive, and of the groups of neighbours that share something none is complete in the first half.
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

void run_one_after_the_other(unsigned block_count) {
  static Block reused;
  for (const unsigned number : order_of_blocks(block_count)) {
    begin_block(reused, number);
    fresh_shared_memory(launch->dynamic_shared_bytes);
    checker::begin_block();
    if (!run_block(reused)) return abandon(reused);
  }
}

// A cooperative launch: all blocks live at once and take turns from one grid barrier to the next.
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

void return_to_scheduler() {
  checker::settle();
  gpunet_switch(&thread->fiber->stack_pointer, scheduler_stack);
}

void end_thread() {
  thread->state = State::exited;
  ++block->exited;
  leave_warp();
}

bool same_place(Where a, Where b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

std::string text(Where where) {
  const char* file = where.file_name();
  const char* slash = std::strrchr(file, '/');
  return std::string(slash ? slash + 1 : file) + ":" + std::to_string(where.line());
}

// --- what kernels call

void trap(const char* what, Where where) {
  if (std::string* finding = new_finding(Grade::error, what))
    *finding = std::string(what) + " at " + text(where) + " by " + describe(block->number, thread->number);
  stop_thread();
}

unsigned block_barrier(int predicate, Where where) {
  block->votes += predicate != 0;
  thread->where = where;
  thread->state = State::at_block_barrier;
  return_to_scheduler();
  return block->last_votes;
}

void grid_barrier(Where where) {
  if (!launch->cooperative) fail("grid barrier at " + text(where) + " in a launch that is not cooperative");
  thread->where = where;
  thread->state = State::at_grid_barrier;
  return_to_scheduler();
}

// --- what the checker asks

void abandon_launch() {
  over = true;
  thread->state = State::ready;  // which means that it owns its fiber
  return_to_scheduler();
  __builtin_unreachable();
}

void let_others_run() {
  for (int turn = 0; turn < 2; ++turn) {  // where this thread was begun on another's fiber, the first turn is its own
    thread->state = State::ready;
    return_to_scheduler();
  }
}

std::string describe(unsigned block_number, unsigned thread_number) {
  auto triple = [](uint3 v) {
    return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
  };
  return "thread " + triple(index_of(thread_number, position.block_size)) + " of block " +
         triple(index_of(block_number, position.grid_size));
}

}  // namespace simulator

using namespace simulator;

// Runs a launch; returns null, or what went wrong.
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
    else run_one_after_the_other(block_count);
  } catch (const std::bad_alloc&) {
    record_failure("the host has no memory for so many threads, or to check so large arrays");
  }
  return told_findings();
}

extern "C" const Counts* gpunet_counts() { return &counts; }
