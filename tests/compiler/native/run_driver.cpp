// Runs synthetic programs with kernels/cpu/run.cpp and checks what each call reads: "threads" under ThreadSanitizer,
// "forks" without it, because it does not support threads in a forked child (test_run.py).
//
// In a phase of several tasks each task adds the result of the previous phase to its own cell. A phase of a single task
// sums all cells. So a task that begins too early, runs twice or is omitted changes all later numbers. Cells are plain
// (not atomic) memory on purpose.

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

using Int = int64_t;

struct Call {
    void (*kernel)(const void* slots, Int begin, Int end);
    const void* slots;
    Int begin, end;
};

struct Program {
    const Call* calls;
    const Int* tasks;
    const Int* phases;
    Int phase_count;
    int (*get_blas_threads)();
    void (*set_blas_threads)(int);
};

extern "C" void gpunet_run(const Program* program, Int steps, int threads);

static void check(bool right, const char* what) {
    if (right) return;
    std::printf("wrong: %s\n", what);
    std::fflush(stdout);
    std::_Exit(1);
}

// A process-wide setting of a library.
static std::atomic<int> blas_threads{4}, times_set{0};
static int get_blas_threads() { return blas_threads; }
static void set_blas_threads(int threads) {
    blas_threads = threads;
    ++times_set;
}

struct State {
    std::vector<uint64_t> cells;
    uint64_t total = 0;
    bool watches_blas = false;
};

static uint64_t mixed(uint64_t x) { return (x ^ (x >> 29)) * 0x9E3779B97F4A7C15u + 1; }

// A task of a parallel phase: computes each cell from the previous total.
static void spread(const void* slots, Int begin, Int end) {
    State& state = *static_cast<State*>(*static_cast<State* const*>(slots));
    if (state.watches_blas) check(blas_threads == 1, "BLAS has several threads within a program");
    for (Int i = begin; i < end; ++i) state.cells[i] = mixed(state.cells[i] + state.total + static_cast<uint64_t>(i));
}

// A second call in the same task: reads its own cells.
static void again(const void* slots, Int begin, Int end) {
    State& state = *static_cast<State*>(*static_cast<State* const*>(slots));
    for (Int i = begin; i < end; ++i) state.cells[i] = mixed(state.cells[i]);
}

// A single task: reads all cells.
static void gather(const void* slots, Int, Int) {
    State& state = *static_cast<State*>(*static_cast<State* const*>(slots));
    state.total = std::accumulate(state.cells.begin(), state.cells.end(), mixed(state.total));
}

// Combines each cell with its neighbour of the previous phase: a parallel phase after a parallel phase.
static void neighbours(const void* slots, Int begin, Int end) {
    State& state = *static_cast<State*>(*static_cast<State* const*>(slots));
    const Int half = static_cast<Int>(state.cells.size()) / 2;
    for (Int i = begin; i < end; ++i)
        if (i < half) state.cells[i] += mixed(state.cells[i + half]);
}

// Phases by letter: S spread and again, N neighbours, G gather, E a phase without tasks.
class Made {
   public:
    Made(const char* letters, Int cells, Int parts, bool watches_blas = false) {
        state_.cells.assign(cells, 1);
        state_.watches_blas = watches_blas;
        tasks_.push_back(0);
        phases_.push_back(0);
        for (const char* letter = letters; *letter; ++letter) {
            if (*letter == 'G') add({gather}, 0, 1);
            for (Int part = 0; part < parts && (*letter == 'S' || *letter == 'N'); ++part) {
                const Int begin = cells * part / parts, end = cells * (part + 1) / parts;
                if (*letter == 'S') add({spread, again}, begin, end);
                else add({neighbours}, begin, end);
            }
            phases_.push_back(static_cast<Int>(tasks_.size()) - 1);
        }
        program_ = {calls_.data(), tasks_.data(), phases_.data(), static_cast<Int>(phases_.size()) - 1,
                    watches_blas ? get_blas_threads : nullptr, watches_blas ? set_blas_threads : nullptr};
    }
    uint64_t run(Int steps, int threads) {
        gpunet_run(&program_, steps, threads);
        return std::accumulate(state_.cells.begin(), state_.cells.end(), mixed(state_.total));
    }

   private:
    void add(std::vector<void (*)(const void*, Int, Int)> kernels, Int begin, Int end) {
        for (auto kernel : kernels) calls_.push_back({kernel, &slot_, begin, end});
        tasks_.push_back(static_cast<Int>(calls_.size()));
    }

    State state_;
    State* slot_ = &state_;
    std::vector<Call> calls_;
    std::vector<Int> tasks_, phases_;
    Program program_;
};

static const char* const SHAPES[] = {"S", "SG", "GS", "GSG", "SSNNG", "GGSGGNGG", "SESG", "G", "E", "ESNE"};

static void every_shape_gives_the_numbers_of_one_thread() {
    for (const char* letters : SHAPES)
        for (Int parts : {1, 2, 3, 7})
            for (int threads : {2, 3, 5}) {
                Made alone(letters, 24, parts), shared(letters, 24, parts);
                for (Int steps : {1, 0, 4}) check(alone.run(steps, 1) == shared.run(steps, threads), letters);
            }
}

// Idle for longer than the threads spin, so that they sleep and must be woken.
static void threads_that_sleep_wake_up() {
    Made alone("SNG", 16, 4), shared("SNG", 16, 4);
    for (int i = 0; i < 5; ++i) {
        usleep(20000);
        check(alone.run(3, 1) == shared.run(3, 1 + i % 3), "a program after a pause");
    }
}

static void many_threads_call_at_once() {
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([caller] {
            Made alone("SNSG", 12, 3), shared("SNSG", 12, 3);
            for (int i = 0; i < 20; ++i)
                check(alone.run(2, 1) == shared.run(2, 2 + caller % 2), "programs of several callers");
        });
    for (std::thread& caller : callers) caller.join();
}

static void the_setting_of_blas_is_restored() {
    check(blas_threads == 4, "BLAS before");
    Made(SHAPES[4], 12, 3, true).run(5, 3);
    check(blas_threads == 4 && times_set == 2, "BLAS after a program");
    std::vector<std::thread> callers;  // programs of different lengths, which overlap
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([caller] {
            for (int i = 0; i < 10; ++i) Made("SG", 12, 3, true).run(1 + 7 * caller, 1 + caller % 3);
        });
    for (std::thread& caller : callers) caller.join();
    check(blas_threads == 4, "BLAS after programs that overlap");
    blas_threads = 1;
    const int before = times_set;
    Made("SG", 12, 3, true).run(3, 2);
    check(blas_threads == 1 && times_set == before, "a library of one thread is left alone");
    blas_threads = 4;
}

template <typename Child>
static void fork_and(Child child, const char* what) {
    std::fflush(stdout);
    const pid_t process = fork();
    if (process == 0) {
        alarm(60);
        child();
        std::_Exit(0);
    }
    int status = 0;
    waitpid(process, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, what);
}

static void a_child_of_a_fork_has_a_pool_of_its_own() {
    Made("SG", 12, 3).run(2, 3);
    fork_and(
        [] {
            Made alone("SNG", 12, 3), shared("SNG", 12, 3);
            check(alone.run(5, 1) == shared.run(5, 3), "a program in the child");
            many_threads_call_at_once();
            fork_and([] { every_shape_gives_the_numbers_of_one_thread(); }, "the child's own child");
        },
        "the child of a fork");
    every_shape_gives_the_numbers_of_one_thread();
}

static void a_fork_while_programs_run_leaves_no_lock_and_no_setting_behind() {
    std::atomic<bool> stop{false};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 2; ++caller)
        callers.emplace_back([&stop, caller] {
            Made made("SNG", 64, 4, true);
            while (!stop) made.run(20, 2 + caller);
        });
    usleep(5000);
    for (int i = 0; i < 5; ++i)
        fork_and(
            [] {
                Made("SG", 12, 3, true).run(3, 3);
                check(blas_threads == 4, "BLAS in a child that was forked while a program ran");
            },
            "a child that was forked while a program ran");
    stop = true;
    for (std::thread& caller : callers) caller.join();
    check(blas_threads == 4, "BLAS in the parent");
}

int main(int count, char** arguments) {
    const std::string what = count > 1 ? arguments[1] : "";
    if (what == "threads") {
        every_shape_gives_the_numbers_of_one_thread();
        threads_that_sleep_wake_up();
        many_threads_call_at_once();
        the_setting_of_blas_is_restored();
    } else if (what == "forks") {
        a_child_of_a_fork_has_a_pool_of_its_own();
        a_fork_while_programs_run_leaves_no_lock_and_no_setting_behind();
    } else {
        return 2;
    }
    std::puts("all programs done");
}
