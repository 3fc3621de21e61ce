// The state of a running launch: its blocks, warps and threads.
#pragma once
#include <string>
#include <vector>

#include "async_copy.h"
#include "fiber.h"
#include "history.h"
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

struct alignas(64) Thread {  // what every switch uses lies in one cache line
  State state = State::unstarted;
  unsigned number;
  uint3 index;
  Fiber* fiber = nullptr;
  Where where;
  unsigned mask = 0;  // the mask of the warp collective at which the thread waits
  Operation operation = nullptr;
  Memory memory = Memory::unordered;
  CopyQueue copies;
  std::vector<Copy> room_for_copies;
};

struct Warp {
  Lanes lanes;
  unsigned arrived = 0;
  unsigned exited = 0;
  unsigned epoch = 0;
  LaneOrder order;
};

struct Block {
  uint3 index;
  unsigned number;
  unsigned unstarted = 0;  // the first thread that has not started
  unsigned exited = 0;
  unsigned waiting = 0;  // threads at the block barrier
  unsigned epoch = 0;
  unsigned votes = 0;         // number of true predicates at the current barrier
  unsigned last_votes = 0;    // and at the last released barrier
  std::vector<Thread> threads;
  std::vector<Warp> warps;
};

extern Block* block;    // the running block
extern Thread* thread;  // the running thread
extern bool over;       // whether the launch was abandoned

void begin_block(Block& next, unsigned number);

// Makes the accesses of a thread belong to the present epochs of its block and warp.
[[gnu::always_inline]] inline void enter_epoch(const Thread& t) {
  const Warp& warp = block->warps[t.number / kWarpSize];
  running.now = Access::of(block->number, t.number, block->epoch, warp.epoch);
  running.exceptions = (running.exceptions & ~kPartialSync) | warp.order.partial;
}

// Runs the block until all of its threads have exited or wait at a grid barrier. Returns false if the launch is over.
bool run_block(Block& next);

// Makes the threads of the running block that wait in this state ready.
void release(State state);

// Records why no thread can continue, and abandons the launch.
bool fail_block(const std::string& text);

// Lets other threads run; resumes the running thread in its turn once its state is `ready`.
void yield();

// The same for a thread that has exited or abandons the launch.
void return_to_scheduler();

// Marks the running thread as exited.
void end_thread();

// Marks the running thread as exited for its warp, and completes collectives that waited for it alone.
void leave_warp();

// Orders the accesses of these lanes of the running thread's warp so far before their later ones.
void synchronize_lanes(unsigned lanes);

// Completes the calls of __activemask in the running block; returns whether there were any.
bool answer_active_masks();

void forget_copies(Thread& thread);

uint3 index_of(unsigned number, uint3 size);
bool same_place(Where a, Where b);
std::string text(Where where);

}  // namespace simulator
