// run.cpp: run the nodes of a recorded step on the CPU, many steps in one call, on a thread pool.
//
// A program is a list of phases, a phase a list of tasks, a task a list of calls. The tasks of a phase are independent:
// thread t of n runs the tasks t, t + n, t + 2 n ... A barrier ends a phase. A phase with a single task is run by the
// thread that arrives last at the barrier before it, so it needs no barrier of its own. Results do not depend on which
// thread runs a task. Values that change from step to step (step number, position in the epoch, sums) are in memory
// that the calls read and advance.
//
// The threads spin for some microseconds while they wait for work, then sleep. One program at a time uses the pool; a
// concurrent one, from a second Python thread, runs on its calling thread. After a fork the child creates its own pool.
//
// Denormal numbers are flushed to zero. The gradients and moments of a network that fits its data become denormal, and
// an x86 processor takes about a hundred cycles for an operation on such a number.
//
// While programs run, the BLAS library is set to one thread: its threads would compete with these. The setting belongs
// to the process, so the first program sets it and the last one to end restores it.

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <cstdint>

using Int = int64_t;

struct Call {
    void (*kernel)(const void* slots, Int begin, Int end);
    const void* slots;
    Int begin, end;
};

struct Program {
    const Call* calls;
    const Int* tasks;   // [tasks + 1]: the first call of each task
    const Int* phases;  // [phase_count + 1]: the first task of each phase
    Int phase_count;
    int (*get_blas_threads)();  // null if the library has no such setting
    void (*set_blas_threads)(int);
};

namespace {

void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Spin until ready() is true, for at most `turns` iterations; return whether it is.
template <typename Ready>
bool spin(Ready ready, Int turns) {
    for (Int i = 0; i < turns; ++i) {
        if (ready()) return true;
        pause_briefly();
    }
    return false;
}

// Holds a mutex. <mutex>, <condition_variable> and <thread> would double the compile time of this file.
class Lock {
   public:
    explicit Lock(pthread_mutex_t& mutex) : mutex_(mutex) { pthread_mutex_lock(&mutex_); }
    ~Lock() { pthread_mutex_unlock(&mutex_); }

   private:
    pthread_mutex_t& mutex_;
};

// Flushes denormal operands and results of the calling thread to zero while it exists.
class FlushDenormals {
   public:
    FlushDenormals() : before_(mode()) { set_mode(before_ | FLUSH); }
    ~FlushDenormals() { set_mode(before_); }

   private:
#if defined(__x86_64__)
    using Mode = unsigned;
    static constexpr Mode FLUSH = 0x8040;  // FTZ and DAZ of MXCSR
    static Mode mode() { return __builtin_ia32_stmxcsr(); }
    static void set_mode(Mode mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
    using Mode = uint64_t;
    static constexpr Mode FLUSH = 1 << 24;  // FZ of FPCR
    static Mode mode() {
        Mode mode;
        asm volatile("mrs %0, fpcr" : "=r"(mode));
        return mode;
    }
    static void set_mode(Mode mode) { asm volatile("msr fpcr, %0" ::"r"(mode)); }
#else
    using Mode = int;
    static constexpr Mode FLUSH = 0;
    static Mode mode() { return 0; }
    static void set_mode(Mode) {}
#endif
    const Mode before_;
};

constexpr Int SPINS = 4000;  // about 100 microseconds

class Barrier {
   public:
    explicit Barrier(int threads) : threads_(threads) {}

    // Wait for all threads; the last to arrive calls serial() before it releases the others.
    template <typename Serial>
    void wait(Serial serial) {
        const int mine = generation_.load(std::memory_order_relaxed);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
            serial();
            arrived_.store(0, std::memory_order_relaxed);
            generation_.store(mine + 1, std::memory_order_release);
            return;
        }
        const auto released = [&] { return generation_.load(std::memory_order_acquire) != mine; };
        while (!spin(released, SPINS)) sched_yield();
    }

   private:
    const int threads_;
    std::atomic<int> arrived_{0}, generation_{0};
};

void run_task(const Program& program, Int task) {
    for (Int i = program.tasks[task]; i < program.tasks[task + 1]; ++i) {
        const Call& call = program.calls[i];
        call.kernel(call.slots, call.begin, call.end);
    }
}

void run_alone(const Program& program, Int steps) {
    const Int tasks = program.phases[program.phase_count];
    for (Int step = 0; step < steps; ++step)
        for (Int task = 0; task < tasks; ++task) run_task(program, task);
}

// Return the first phase from `phase` on with more than one task, or the number of phases. If `run`, run the phases
// before it.
Int skip_serial(const Program& program, Int phase, bool run) {
    for (; phase < program.phase_count && program.phases[phase + 1] - program.phases[phase] <= 1; ++phase)
        if (run && program.phases[phase + 1] > program.phases[phase]) run_task(program, program.phases[phase]);
    return phase;
}

struct Job {
    const Program& program;
    const Int steps;
    const int threads;
    Barrier barrier{threads};

    void work(int thread) {
        const bool begins_serial = skip_serial(program, 0, false) > 0;
        for (Int step = 0; step < steps; ++step) {
            if (begins_serial) barrier.wait([&] { skip_serial(program, 0, true); });
            Int phase = skip_serial(program, 0, false);
            while (phase < program.phase_count) {
                for (Int task = program.phases[phase] + thread; task < program.phases[phase + 1]; task += threads)
                    run_task(program, task);
                ++phase;
                barrier.wait([&] { skip_serial(program, phase, true); });
                phase = skip_serial(program, phase, false);
            }
        }
    }
};

// Threads that wait for jobs. A pool lives until its process ends.
class Pool {
   public:
    bool try_run(const Program& program, Int steps, int threads) {
        if (pthread_mutex_trylock(&busy_) != 0) return false;
        threads = start(threads);
        Job job{program, steps, threads};
        working_.store(threads - 1, std::memory_order_relaxed);
        {
            const Lock lock(sleep_);
            job_ = &job;
            job_threads_ = threads;
            posted_.fetch_add(1, std::memory_order_release);
        }
        pthread_cond_broadcast(&wake_);
        job.work(0);
        const auto done = [&] { return working_.load(std::memory_order_acquire) == 0; };
        while (!spin(done, SPINS)) sched_yield();
        pthread_mutex_unlock(&busy_);
        return true;
    }

   private:
    struct Worker {
        Pool* pool;
        int thread;
        Int seen;
    };

    // Start the missing threads; return the number of threads, including the caller. The system may refuse some.
    int start(int threads) {
        for (pthread_t id; workers_ < threads - 1; ++workers_) {
            Worker* worker = new Worker{this, workers_ + 1, posted_.load()};
            if (pthread_create(&id, nullptr, serve, worker) != 0) {
                delete worker;
                return workers_ + 1;
            }
            pthread_detach(id);
        }
        return threads;
    }

    static void* serve(void* argument) {
        const Worker worker = *static_cast<Worker*>(argument);
        delete static_cast<Worker*>(argument);
        worker.pool->wait_for_jobs(worker.thread, worker.seen);
        return nullptr;
    }

    void wait_for_jobs(int thread, Int seen) {
        const FlushDenormals flush;
        for (;;) {
            const auto called = [&] { return posted_.load(std::memory_order_acquire) != seen; };
            spin(called, SPINS);
            Job* job;
            {
                const Lock lock(sleep_);
                while (!called()) pthread_cond_wait(&wake_, &sleep_);
                seen = posted_.load(std::memory_order_relaxed);
                job = thread < job_threads_ ? job_ : nullptr;
            }
            if (job == nullptr) continue;  // this thread is not part of the job
            job->work(thread);
            working_.fetch_sub(1, std::memory_order_release);
        }
    }

    pthread_mutex_t busy_ = PTHREAD_MUTEX_INITIALIZER, sleep_ = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t wake_ = PTHREAD_COND_INITIALIZER;
    std::atomic<Int> posted_{0};
    std::atomic<int> working_{0};
    Job* job_ = nullptr;
    int job_threads_ = 0, workers_ = 0;
};

// State of the process. The child of a fork has none of the threads, and may have inherited a locked mutex, so it
// starts with new state.
struct Process {
    Pool pool;
    pthread_mutex_t blas = PTHREAD_MUTEX_INITIALIZER;
    int users = 0, blas_threads = 0;
    bool forked_inside = false;  // BLAS was set to one thread at the fork; blas_threads is restored later

    static std::atomic<Process*> current;

    static void forget() {
        const Process* parent = current;
        Process* child = new Process;
        child->blas_threads = parent->blas_threads;
        child->forked_inside = parent->users > 0;
        current = child;
    }
    static Process& get() {
        static const bool made = (current = new Process, pthread_atfork(nullptr, nullptr, forget), true);
        (void)made;
        return *current;
    }
};

std::atomic<Process*> Process::current{nullptr};

class SingleThreadedBlas {
   public:
    SingleThreadedBlas(const Program& program, Process& process) : program_(program), process_(process) {
        if (program.set_blas_threads == nullptr) return;
        const Lock lock(process.blas);
        if (process.users++ > 0) return;
        if (!process.forked_inside) process.blas_threads = program.get_blas_threads();
        process.forked_inside = false;
        if (process.blas_threads > 1) program.set_blas_threads(1);
    }
    ~SingleThreadedBlas() {
        if (program_.set_blas_threads == nullptr) return;
        const Lock lock(process_.blas);
        if (--process_.users == 0 && process_.blas_threads > 1) program_.set_blas_threads(process_.blas_threads);
    }

   private:
    const Program& program_;
    Process& process_;
};

}  // namespace

extern "C" __attribute__((visibility("default"))) void gpunet_run(const Program* program, Int steps, int threads) {
    Process& process = Process::get();
    const SingleThreadedBlas blas(*program, process);
    const FlushDenormals flush;  // after `blas`: the threads that BLAS may start inherit the mode of this one
    if (threads <= 1 || !process.pool.try_run(*program, steps, threads)) run_alone(*program, steps);
}

// Where the arrays of a batch enter a program: the slots of its nodes that hold their addresses.
struct Batch {
    Int arrays;
    const Int* alignments;  // [arrays]: bytes
    const Int* places;      // [arrays + 1]: the first slot of each array
    Int* const* slots;
    Int labels, classes;  // the second array has `labels` integers that must be in [0, classes); 0: it has no labels
};

// Write the addresses of a batch into a program; return 0 and write nothing if a kernel cannot read an array.
extern "C" __attribute__((visibility("default"))) int gpunet_bind(const Batch* batch, const void* x, const Int* y,
                                                                  const void* weight) {
    const Int starts[] = {reinterpret_cast<Int>(x), reinterpret_cast<Int>(y), reinterpret_cast<Int>(weight)};
    Int refused = 0;
    for (Int i = 0; i < batch->arrays; ++i) refused |= starts[i] % batch->alignments[i];
    if (refused != 0) return 0;
    for (Int i = 0; i < batch->labels; ++i) refused |= y[i] < 0 || y[i] >= batch->classes;
    if (refused != 0) return 0;
    for (Int i = 0; i < batch->arrays; ++i)
        for (Int j = batch->places[i]; j < batch->places[i + 1]; ++j) *batch->slots[j] = starts[i];
    return 1;
}

// Called when a compiler is tried: returns 42 for 1764 if this processor runs the code.
extern "C" __attribute__((visibility("default"))) int gpunet_probe(int x) { return x / 42; }
