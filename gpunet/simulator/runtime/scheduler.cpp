// Runs a block: each thread until it waits for others.
#include "scheduler.h"

#include <new>

#include "block.h"
#include "checker.h"
#include "findings.h"

namespace simulator {

Position position;
Running running;
Counts counts;
const Launch* launch;
Block* block;
Thread* thread;
bool over;

namespace {

void* scheduler_stack;

// --- threads

void make_current(Thread& next) {
  thread = &next;
  position.thread = next.index;
  copies = &next.copies;
  if constexpr (kChecked) {
    enter_epoch(next);
    running.stack_begin = next.fiber->stack_begin;
    running.stack_end = next.fiber->stack_end;
  }
}

// The code of a fiber. Runs a thread and, after it exits, the block's next thread that has not started. So a kernel
// without barriers needs one fiber and no switches.
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

// Runs a thread, and those that follow without the scheduler's help. `thread` is then the last of them.
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
  if (!over && thread->state == State::exited) give_back_fiber(thread->fiber);
}

// --- blocks

const char* activity(const Thread& t) {
  switch (t.state) {
    case State::at_block_barrier: return " waits at the barrier ";
    case State::at_warp_collective: return " waits at the warp collective ";
    case State::at_grid_barrier: return " waits at the grid barrier ";
    default: return " has exited";
  }
}

// Describes why no thread can continue: names the first two threads that wait at different places.
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
      return "divergent barrier: " + describe(block->number, first.number) + activity(first) + place(first) + ", " +
             describe(block->number, other.number) + activity(other) + place(other);
    }
  return "divergent warp collective: " + describe(block->number, first.number) + activity(first) + place(first) +
         ", which not all lanes of its mask reach";
}

bool all_wait_at_grid_barrier() {
  const Thread& first = block->threads.front();
  for (const Thread& t : block->threads)
    if (t.state != State::at_grid_barrier || !same_place(t.where, first.where)) return false;
  return true;
}

// A barrier waits for the threads that have not exited, as on GPUs from compute capability 7.0 on.
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
                 describe(block->number, first->number) + activity(*first) + text(first->where);
  return true;
}

}  // namespace

void begin_block(Block& next, unsigned number) {
  const uint3 size = position.block_size;
  const unsigned count = size.x * size.y * size.z;
  next.number = number;
  next.index = index_of(number, position.grid_size);
  next.unstarted = next.exited = next.waiting = next.epoch = next.votes = 0;
  next.threads.resize(count);
  next.warps.resize((count + kWarpSize - 1) / kWarpSize);
  for (Warp& warp : next.warps) warp.arrived = warp.exited = warp.epoch = warp.order.partial = 0;
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

void release(State state) {
  for (Thread& t : block->threads)
    if (t.state == state) t.state = State::ready;
  block->last_votes = block->votes;
  block->votes = block->waiting = 0;
  for (Warp& warp : block->warps) warp.order.partial = 0;
  ++block->epoch;
  ++counts.barriers;
}

bool fail_block(const std::string& text) {
  record_failure(text);
  over = true;
  return false;
}

bool run_block(Block& next) {
  block = &next;
  position.block = next.index;
  for (;;) {
    bool moved = false;
    for (Thread *t = next.threads.data(), *end = t + next.threads.size(); t != end; ++t) {
      if (t->state != State::unstarted && t->state != State::ready) continue;
      run_thread(*t);
      if (over) return false;
      moved = true;
      t = thread;
    }
    const bool all_wait = next.waiting + next.exited == next.threads.size();
    if (!all_wait && (moved || answer_active_masks())) continue;
    if (next.exited == next.threads.size() || all_wait_at_grid_barrier()) return true;
    if (!all_wait_at_block_barrier()) return fail_block(why_block_is_stuck());
    release(State::at_block_barrier);
  }
}

void return_to_scheduler() {
  checker::settle();
  gpunet_switch(&thread->fiber->stack_pointer, scheduler_stack);
}

// Switches directly to the next thread, if it is ready. At a barrier in a loop all threads then switch at the same
// place in the code, so that the processor predicts their return addresses.
void yield() {
  Thread& next = thread[1];
  if (thread->number + 1 == block->threads.size() || next.state != State::ready) return return_to_scheduler();
  checker::settle();
  Fiber* fiber = thread->fiber;
  make_current(next);
  gpunet_switch(&fiber->stack_pointer, next.fiber->stack_pointer);
}

void end_thread() {
  thread->state = State::exited;
  ++block->exited;
  leave_warp();
}

// --- functions that kernels call

void trap(const char* what, Where where) {
  if (std::string* finding = new_finding(Grade::error, what))
    *finding = std::string(what) + " at " + text(where) + " by " + describe(block->number, thread->number);
  stop_thread();
}

unsigned block_barrier(int predicate, Where where) {
  block->votes += predicate != 0;
  ++block->waiting;
  thread->where = where;
  thread->state = State::at_block_barrier;
  yield();
  return block->last_votes;
}

void grid_barrier(Where where) {
  if (!launch->cooperative) fail("grid barrier at " + text(where) + " in a launch that is not cooperative");
  thread->where = where;
  thread->state = State::at_grid_barrier;
  yield();
}

void abandon_launch() {
  over = true;
  thread->state = State::ready;  // so that `abandon` returns its fiber to the pool
  return_to_scheduler();
  __builtin_unreachable();
}

void let_others_run() {
  for (int turn = 0; turn < 2; ++turn) {  // in the first they may only complete a warp collective
    thread->state = State::ready;
    yield();
  }
}

}  // namespace simulator
