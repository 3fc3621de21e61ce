// Warp shuffles, votes, matches and reductions. Each is one collective of the runtime.
#pragma once
#include "device_math.h"
#include "runtime.h"

namespace simulator {

// Runs `operation` once for the warp and returns this lane's result.
template <class Result, class Argument>
inline Result collective(unsigned mask, const Argument& argument, Operation operation, Where where) {
  static_assert(sizeof(Argument) <= kLaneBytes && sizeof(Result) <= kLaneBytes);
  Result result;
  warp_collective(mask, operation, &argument, sizeof argument, &result, sizeof result, Memory::unordered, where);
  return result;
}

template <class T>
inline T& in(Lanes& lanes, int lane) {
  return *reinterpret_cast<T*>(lanes.in[lane]);
}

template <class T>
inline T& out(Lanes& lanes, int lane) {
  return *reinterpret_cast<T*>(lanes.out[lane]);
}

// Calls `visit(lane)` for every participating lane.
template <class Visit>
inline void for_each_lane(unsigned participants, Visit visit) {
  for (int lane = 0; lane < kWarpSize; ++lane)
    if (participants >> lane & 1) visit(lane);
}

template <class T>
struct ShuffleArgument {
  T value;
  int source;
};

// A separate operation for each intrinsic, because all lanes of a mask must call the same one.
enum class Shuffle { index, up, down, exchange };

template <Shuffle, class T>
void shuffle_lanes(Lanes& lanes, unsigned participants) {
  for_each_lane(participants, [&](int lane) {
    const int source = in<ShuffleArgument<T>>(lanes, lane).source;
    if (participants >> source & 1) {
      out<T>(lanes, lane) = in<ShuffleArgument<T>>(lanes, source).value;
    } else {  // undefined on a GPU
      std::memset(lanes.out[lane], 0xff, sizeof(T));
      lanes.misread |= 1u << lane;
    }
  });
}

template <Shuffle kind, class T>
inline T shuffle(unsigned mask, T value, int source, Where where) {
  return collective<T>(mask, ShuffleArgument<T>{value, source}, shuffle_lanes<kind, T>, where);
}

// The lanes of a warp form segments of `width`. No shuffle crosses the boundary of a segment.
inline int segment_begin(int lane, int width) { return lane & ~(width - 1); }

template <class T>
void match_lanes(Lanes& lanes, unsigned participants) {
  for_each_lane(participants, [&](int lane) {
    unsigned same = 0;
    for_each_lane(participants, [&](int other) {
      same |= static_cast<unsigned>(in<T>(lanes, other) == in<T>(lanes, lane)) << other;
    });
    out<unsigned>(lanes, lane) = same;
  });
}

enum class Vote { ballot, any, all };

template <Vote>
void ballot_lanes(Lanes& lanes, unsigned participants) {
  unsigned votes = 0;
  for_each_lane(participants, [&](int lane) { votes |= static_cast<unsigned>(in<int>(lanes, lane) != 0) << lane; });
  for_each_lane(participants, [&](int lane) { out<uint2>(lanes, lane) = {votes, participants}; });
}

// Returns the votes and the mask of the participating lanes (those of `mask` that have not exited).
template <Vote kind>
inline uint2 vote(unsigned mask, int predicate, Where where) {
  return collective<uint2>(mask, predicate, ballot_lanes<kind>, where);
}

template <class T, class Combine>
void reduce_lanes(Lanes& lanes, unsigned participants) {
  const int first = __builtin_ctz(participants);
  T total = in<T>(lanes, first);
  for_each_lane(participants & (participants - 1), [&](int lane) { total = Combine{}(total, in<T>(lanes, lane)); });
  for_each_lane(participants, [&](int lane) { out<T>(lanes, lane) = total; });
}

inline void no_operation(Lanes&, unsigned) {}

}  // namespace simulator

#define GPUNET_WHERE simulator::Where where = simulator::Where::current()

template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, GPUNET_WHERE) {
  const int begin = simulator::segment_begin(simulator::lane(), width);
  return simulator::shuffle<simulator::Shuffle::index>(mask, value, begin + (source & (width - 1)), where);
}

template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, GPUNET_WHERE) {
  const int lane = simulator::lane(), source = lane - static_cast<int>(delta);
  const int begin = simulator::segment_begin(lane, width);
  return simulator::shuffle<simulator::Shuffle::up>(mask, value, source < begin ? lane : source, where);
}

template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, GPUNET_WHERE) {
  const int lane = simulator::lane(), source = lane + static_cast<int>(delta);
  const int end = simulator::segment_begin(lane, width) + width;
  return simulator::shuffle<simulator::Shuffle::down>(mask, value, source < end ? source : lane, where);
}

template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = warpSize, GPUNET_WHERE) {
  const int lane = simulator::lane(), source = lane ^ lane_mask;
  const int end = simulator::segment_begin(lane, width) + width;
  return simulator::shuffle<simulator::Shuffle::exchange>(mask, value, source < end ? source : lane, where);
}

inline void __syncwarp(unsigned mask = 0xffffffffu, GPUNET_WHERE) {
  simulator::warp_collective(mask, simulator::no_operation, nullptr, 0, nullptr, 0, simulator::Memory::ordered, where);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, GPUNET_WHERE) {
  return simulator::vote<simulator::Vote::ballot>(mask, predicate, where).x;
}

inline int __any_sync(unsigned mask, int predicate, GPUNET_WHERE) {
  return simulator::vote<simulator::Vote::any>(mask, predicate, where).x != 0;
}

inline int __all_sync(unsigned mask, int predicate, GPUNET_WHERE) {
  const uint2 result = simulator::vote<simulator::Vote::all>(mask, predicate, where);
  return result.x == result.y;
}

inline unsigned __activemask(GPUNET_WHERE) { return simulator::active_mask(where); }

template <class T>
inline unsigned __match_any_sync(unsigned mask, T value, GPUNET_WHERE) {
  return simulator::collective<unsigned>(mask, value, simulator::match_lanes<T>, where);
}

template <class T>
inline unsigned __match_all_sync(unsigned mask, T value, int* same, GPUNET_WHERE) {
  const unsigned equal = simulator::collective<unsigned>(mask, value, simulator::match_lanes<T>, where);
  *same = equal == simulator::vote<simulator::Vote::all>(mask, 1, where).y;
  return *same ? equal : 0;
}

#define GPUNET_REDUCTION(NAME, T, EXPRESSION)                                           \
  inline T __reduce_##NAME##_sync(unsigned mask, T value, GPUNET_WHERE) {               \
    struct Combine {                                                                    \
      T operator()(T a, T b) { return EXPRESSION; }                                     \
    };                                                                                  \
    return simulator::collective<T>(mask, value, simulator::reduce_lanes<T, Combine>, where); \
  }
GPUNET_REDUCTION(add, unsigned, a + b)
GPUNET_REDUCTION(add, int, static_cast<int>(static_cast<unsigned>(a) + static_cast<unsigned>(b)))
GPUNET_REDUCTION(min, unsigned, min(a, b))
GPUNET_REDUCTION(min, int, min(a, b))
GPUNET_REDUCTION(max, unsigned, max(a, b))
GPUNET_REDUCTION(max, int, max(a, b))
GPUNET_REDUCTION(and, unsigned, a & b)
GPUNET_REDUCTION(or, unsigned, a | b)
GPUNET_REDUCTION(xor, unsigned, a ^ b)
#undef GPUNET_REDUCTION
