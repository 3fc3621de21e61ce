// The state of a running launch: its blocks, warps and threads.
#pragma once
#include <string>
#include <vector>

#include "async_copy.h"
#include "fiber.h"
#include "launch.h"
#include "scheduler.h"

namespace simulator {

enum class State : char {
  unstarted,
  ready,
  at_block_barrier,
  at_warp_collective,
  at_active_mask,
  at_grid_barrier,
  exited
};

struct Thread {
  State state = State::unstarted;
  uint3 index;
  unsigned number;
  Fiber* fiber = nullptr;
  unsigned mask = 0;  // of the warp collective that it waits at
  Operation operation = nullptr;
  Memory memory = Memory::unordered;
  Where where;
  CopyQueue copies;
  std::vector<Copy> room_for_copies;
};

struct Warp {
  Lanes lanes;
  unsigned arrived = 0;
  unsigned exited = 0;
  unsigned epoch = 0;
};

struct Block {
  uint3 index;
  unsigned number;
  unsigned unstarted = 0;  // the first thread that has not begun
  unsigned exited = 0;
  unsigned epoch = 0;
  unsigned votes = 0;         // predicates that were true at the barrier that is filling
  unsigned last_votes = 0;    // and at the last one that was released
  std::vector<Thread> threads;
  std::vector<Warp> warps;
};

extern Block* block;    // the running one
extern Thread* thread;  // the running one
extern bool over;       // the launch is abandoned

void begin_block(Block& next, unsigned number);

// Runs the block until all of its threads have exited or wait at a grid barrier. Returns false when all is over.
bool run_block(Block& next);

// Lets the threads of the running block that wait so go on.
void release(State state);

// Records why nobody can go on.
bool fail_block(const std::string& text);

// Goes on with the scheduler; the running thread comes back when its state is `ready` and it is its turn.
void return_to_scheduler();

// Counts the running thread as one that has exited.
void end_thread();

// Tells the collectives of the running thread's warp that it has exited: it may be the one they were waiting for.
void leave_warp();

// Answers the lanes of the running block that ask which lanes are active; returns whether there were any.
bool answer_active_masks();

void forget_copies(Thread& thread);

uint3 index_of(unsigned number, uint3 size);
bool same_place(Where a, Where b);
std::string text(Where where);

}  // namespace simulator
