/* Owns fibers: what would be threads and processes elsewhere, each with a stack of its own, one at
 * a time. POSIX threads of the product become fibers too: its calls of pthread_create and of
 * condition variables come here (the linker's --wrap). */
#include "simulation.h"

#include <pthread.h>
#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>

enum { STACK_BYTES = 1 << 20 };

struct sim_fiber {
    struct sim_fiber *next;
    ucontext_t context; /* of its beginning; from then on it is left and resumed by jumps, which ask
                           nothing of the kernel */
    jmp_buf place;
    bool has_begun;
    void *stack;
    struct sim_process *process;
    void (*run)(void *context);
    void *argument;
    const void *waits_on;
    uint64_t wakes; /* how often it was woken: a timer of an earlier wait finds it out */
    uint64_t faults, settled_faults; /* met here; those that have had their consequence */
    bool is_over;
};

static struct sim_fiber *fibers, *current;
static void **free_stacks; /* of fibers that are over: their pages are there already */
static size_t free_stack_count, free_stack_capacity;
static jmp_buf main_place;

static void start(void)
{
    current->run(current->argument);
    current->is_over = true;
    _longjmp(main_place, 1);
}

static void enter(struct sim_fiber *fiber)
{
    if (_setjmp(main_place))
        return;
    if (fiber->has_begun)
        _longjmp(fiber->place, 1);
    fiber->has_begun = true;
    setcontext(&fiber->context);
}

static void resume(struct sim_fiber *fiber)
{
    struct sim_process *before = sim.process;
    struct sim_process *process = fiber->process;
    fiber->waits_on = NULL;
    fiber->wakes++;
    current = fiber;
    sim.process = process;
    if (process->is_dead)
        sim_process_keep_shm(process);
    enter(fiber);
    current = NULL;
    sim.process = before;
    if (process->is_dead)
        sim_process_restore_shm(process);
    if (fiber->is_over && fiber->stack) {
        SIM_GROW(free_stacks, free_stack_count, free_stack_capacity);
        free_stacks[free_stack_count++] = fiber->stack;
        fiber->stack = NULL;
        if (--process->fiber_count == 0 && process->is_dead && process->on_end)
            process->on_end(process);
    }
}

static void on_timer(void *context, uint64_t wakes)
{
    struct sim_fiber *fiber = context;
    if (!fiber->is_over && fiber->wakes == wakes)
        resume(fiber);
}

static void wake_in(struct sim_fiber *fiber, int64_t ms)
{
    sim_after(ms, on_timer, fiber, fiber->wakes);
}

static void *take_stack(void)
{
    if (free_stack_count > 0)
        return free_stacks[--free_stack_count];
    void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    sim_check(stack != MAP_FAILED, "no stack");
    return stack;
}

struct sim_fiber *sim_fiber_new(struct sim_process *process, void (*run)(void *context),
                                void *context)
{
    struct sim_fiber *fiber = sim_alloc(NULL, sizeof *fiber);
    memset(fiber, 0, sizeof *fiber);
    fiber->stack = take_stack();
    fiber->process = process;
    fiber->run = run;
    fiber->argument = context;
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack;
    fiber->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&fiber->context, start, 0);
    fiber->next = fibers;
    fibers = fiber;
    process->fiber_count++;
    wake_in(fiber, 0);
    return fiber;
}

void sim_fiber_note_fault(void)
{
    if (current)
        current->faults++;
}

uint64_t sim_fiber_faults(void)
{
    return current ? current->faults - current->settled_faults : UINT64_MAX;
}

void sim_fiber_settle_faults(void)
{
    if (current)
        current->settled_faults = current->faults;
}

bool sim_in_fiber(void)
{
    return current != NULL;
}

static void wait_for_resume(void)
{
    if (!_setjmp(current->place))
        _longjmp(main_place, 1);
}

void sim_sleep(int64_t ms)
{
    if (!current) {
        sim.now_ms += ms;
        return;
    }
    if (current->process->is_dead && !current->process->machine->is_server)
        return; /* it only comes back, in one go */
    wake_in(current, ms);
    wait_for_resume();
}

void sim_wait(const void *on, int64_t ms_max)
{
    if (current->process->is_dead && !current->process->machine->is_server)
        return;
    current->waits_on = on;
    if (ms_max >= 0)
        wake_in(current, ms_max);
    wait_for_resume();
}

void sim_wake(const void *on, int64_t after_ms)
{
    for (struct sim_fiber *fiber = fibers; fiber; fiber = fiber->next)
        if (!fiber->is_over && fiber->waits_on == on)
            wake_in(fiber, after_ms);
}

void sim_wake_process(const struct sim_process *process)
{
    if (process->machine->is_server)
        return; /* they end with their hub */
    for (struct sim_fiber *fiber = fibers; fiber; fiber = fiber->next) {
        if (fiber->is_over || fiber->process != process || fiber == current)
            continue;
        if (current)
            wake_in(fiber, 0); /* of a machine without power: nobody else is left on it */
        else
            resume(fiber);
    }
}

/* ---- the product's threads ---- */

struct thread_start {
    void *(*run)(void *);
    void *argument;
    struct sim_fiber *fiber;
};

static void run_thread(void *context)
{
    struct thread_start *thread = context;
    (void)thread->run(thread->argument);
}

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument)
{
    struct thread_start *thread = sim_alloc(NULL, sizeof *thread);
    (void)attributes;
    *thread = (struct thread_start){run, argument, NULL};
    thread->fiber = sim_fiber_new(sim.process, run_thread, thread);
    *out = (pthread_t)thread;
    return 0;
}

/* Called outside of fibers, by the server's loop: everything else stands still meanwhile, as it
 * stands there. */
int __wrap_pthread_join(pthread_t id, void **result);
int __wrap_pthread_join(pthread_t id, void **result)
{
    struct thread_start *thread = (struct thread_start *)id;
    struct sim_fiber *caller = current;
    (void)result;
    sim_check(!caller, "a fiber waits for the end of another");
    for (int i = 0; !thread->fiber->is_over; i++) {
        sim_check(i < 1000000, "a thread of the server does not end");
        resume(thread->fiber);
    }
    return 0;
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    pthread_mutex_unlock(mutex);
    sim_wait(condition, -1);
    pthread_mutex_lock(mutex);
    return 0;
}

int __wrap_pthread_cond_signal(pthread_cond_t *condition);
int __wrap_pthread_cond_signal(pthread_cond_t *condition)
{
    unsigned delay_ms = sim_skewed(SIM_ORDER, sim.options.queue_delay_ms);
    if (sim.options.queue_delay_ms > 0 && sim_one_in(SIM_ORDER, 200))
        delay_ms += 2000; /* the machine is busy with something else */
    sim_wake(condition, delay_ms);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *condition);
int __wrap_pthread_cond_broadcast(pthread_cond_t *condition)
{
    sim_wake(condition, 0);
    return 0;
}

/* ---- the system's time ---- */

int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)left;
    sim_sleep((int64_t)time->tv_sec * 1000 + (time->tv_nsec + 999999) / 1000000);
    return 0;
}

static void set_time(struct timespec *out, int64_t ms)
{
    out->tv_sec = (time_t)(ms / 1000);
    out->tv_nsec = (long)(ms % 1000) * 1000000;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    const struct sim_machine *machine = sim.process ? sim.process->machine : NULL;
    int64_t ms = sim.now_ms;
    if (machine)
        ms = clock == CLOCK_REALTIME ? sim_machine_utc_ms(machine) : ms - machine->booted_ms;
    set_time(out, ms);
    return 0;
}

int __wrap_timespec_get(struct timespec *out, int base);
int __wrap_timespec_get(struct timespec *out, int base)
{
    set_time(out, sim.now_ms);
    return base;
}
