/* Threads, signals and processes, where a C program may meet them. */
#include "check.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whether a thread of this process sleeps in a system call, as one does that waits for messages. */
static bool sleeps(pid_t thread) {
    char path[64], state = '?';
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    CHECK(fscanf(file, "%*d (%*[^)]) %c", &state) == 1);
    fclose(file);
    return state == 'S';
}

struct waiter {
    ps_channel *channel;
    atomic_int thread; /* its id, once it is about to wait */
    int64_t timeout_ms;
    int answer;
};

static void *wait_for_one(void *argument) {
    struct waiter *waiter = argument;
    ps_message *message = NULL;
    atomic_store(&waiter->thread, (int)syscall(SYS_gettid));
    waiter->answer = ps_fetch_wait(waiter->channel, waiter->timeout_ms, &message);
    if (waiter->answer == PS_ERR_INTERRUPTED) {
        CHECK(ps_last_error()[0] != '\0'); /* each thread has its own */
    }
    ps_message_free(message);
    return NULL;
}

/* Starts a thread that waits, and returns once it does. */
static pthread_t start_waiting(struct waiter *waiter) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, wait_for_one, waiter) == 0);
    while (atomic_load(&waiter->thread) == 0) {
        sched_yield();
    }
    /* Several times, since a thread may also sleep briefly on its way there. */
    for (int times = 0; times < 20; times = sleeps(atomic_load(&waiter->thread)) ? times + 1 : 0) {
        usleep(500);
    }
    return thread;
}

static void an_interrupt_ends_a_wait_from_another_thread(void) {
    ps_channel *channel = open_channel("concurrency.interrupt");
    struct waiter waiter = {.channel = channel, .timeout_ms = PS_FOREVER};
    pthread_t thread = start_waiting(&waiter);

    /* While it waits, all other receiving functions are refused, and what may be asked is answered. */
    ps_message *message = NULL;
    FAILS(PS_ERR_INVALID_ARGUMENT, "concurrency.interrupt", ps_fetch(channel, &message));
    FAILS(PS_ERR_INVALID_ARGUMENT, "in use", ps_channel_close(channel));
    CHECK(strcmp(ps_channel_topic(channel), "concurrency.interrupt") == 0);
    ps_channel_stats stats;
    stats.size = sizeof stats;
    ANSWERS(0, ps_channel_stats_get(channel, &stats));
    CHECK(stats.unread_messages == 0 && stats.alive);

    errno = 77;
    ANSWERS(0, ps_channel_interrupt(channel));
    CHECK(errno == 77);
    CHECK(pthread_join(thread, NULL) == 0);
    ANSWERS(PS_ERR_INTERRUPTED, waiter.answer);

    /* Once. */
    ANSWERS(0, ps_fetch_wait(channel, 5, &message));
    ANSWERS(0, ps_channel_close(channel));
}

/* A wake-up may be a write that a full queue refuses: errno is kept then too, and the wait ends. */
static void an_interrupt_works_and_keeps_errno_when_the_queue_is_full(void) {
    ps_channel_options options = PS_CHANNEL_OPTIONS_INIT;
    options.capacity_messages = 20000;
    ps_channel *channel;
    ANSWERS(0, ps_channel_open("concurrency.full", &options, &channel));
    ps_publisher *publisher = open_publisher("concurrency.full");
    static const uint32_t lengths[10000]; /* more than a FIFO has room for */
    ANSWERS(10000, ps_publisher_publish_packed(publisher, NULL, lengths, 10000, NULL));
    errno = 79;
    ANSWERS(0, ps_channel_interrupt(channel));
    CHECK(errno == 79);
    ps_message *message = NULL;
    ANSWERS(PS_ERR_INTERRUPTED, ps_fetch_wait(channel, PS_FOREVER, &message));
    CHECK(message == NULL);
    ANSWERS(1, ps_fetch_wait(channel, PS_FOREVER, &message));
    ps_message_free(message);
    ps_publisher_close(publisher);
    ANSWERS(0, ps_channel_close(channel));
}

static int count_it(const ps_message *message, void *context) {
    (void)message;
    ++*(int *)context;
    return 0;
}

static void an_interrupt_is_kept_for_the_next_wait_and_fetch_leaves_it(void) {
    ps_channel *channel = open_channel("concurrency.sticky");
    uint64_t buffer[64];
    size_t used;
    ps_message *message = NULL;
    int count = 0;
    for (int way = 0; way < 4; way++) {
        ANSWERS(0, ps_channel_interrupt(channel));
        expect_nothing(channel);
        switch (way) {
        case 0: ANSWERS(PS_ERR_INTERRUPTED, ps_fetch_wait(channel, PS_FOREVER, &message)); break;
        case 1: ANSWERS(PS_ERR_INTERRUPTED, ps_fetch_batch(channel, &message, 1, PS_FOREVER)); break;
        case 2: ANSWERS(PS_ERR_INTERRUPTED, ps_fetch_packed(channel, buffer, sizeof buffer, PS_FOREVER, &used)); break;
        case 3: ANSWERS(PS_ERR_INTERRUPTED, ps_subscribe(channel, count_it, &count, PS_FOREVER)); break;
        }
        ANSWERS(0, ps_fetch_wait(channel, 1, &message));
    }
    CHECK(count == 0);
    ANSWERS(0, ps_channel_close(channel));
}

static ps_channel *of_the_handler;
static volatile sig_atomic_t handled, errno_kept;

static void interrupt_it(int signal) {
    (void)signal;
    int before = errno;
    errno = 78;
    int answer = ps_channel_interrupt(of_the_handler);
    errno_kept = answer == 0 && errno == 78;
    errno = before;
    handled = 1;
}

static void a_signal_handler_may_interrupt(void) {
    struct sigaction action = {.sa_handler = interrupt_it};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    ps_channel *channel = of_the_handler = open_channel("concurrency.signal");

    /* Handled in this thread while another waits: only the interrupt can end that. */
    struct waiter waiter = {.channel = channel, .timeout_ms = PS_FOREVER};
    pthread_t thread = start_waiting(&waiter);
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(handled && errno_kept);
    ANSWERS(PS_ERR_INTERRUPTED, waiter.answer);

    /* Handled in the waiting thread itself, inside the library. */
    handled = errno_kept = 0;
    struct waiter itself = {.channel = channel, .timeout_ms = PS_FOREVER};
    thread = start_waiting(&itself);
    CHECK(pthread_kill(thread, SIGUSR1) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(handled && errno_kept);
    ANSWERS(PS_ERR_INTERRUPTED, itself.answer);
    ps_message *message = NULL;
    ANSWERS(0, ps_fetch_wait(channel, 5, &message)); /* the signal and the interrupt ended one wait together */
    ANSWERS(0, ps_channel_close(channel));
}

static void do_nothing(int signal) {
    (void)signal;
}

static void a_signal_that_the_waiting_thread_handles_ends_its_wait(void) {
    struct sigaction action = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
    struct waiter waiter = {.channel = open_channel("concurrency.eintr"), .timeout_ms = PS_FOREVER};
    pthread_t thread = start_waiting(&waiter);
    CHECK(pthread_kill(thread, SIGUSR2) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    ANSWERS(PS_ERR_INTERRUPTED, waiter.answer);
    ANSWERS(0, ps_channel_close(waiter.channel));
}

static void a_message_ends_a_wait(void) {
    struct waiter waiter = {.channel = open_channel("concurrency.wake"), .timeout_ms = PS_FOREVER};
    pthread_t thread = start_waiting(&waiter);
    ANSWERS(1, ps_publish("concurrency.wake", "x", 1, NULL));
    CHECK(pthread_join(thread, NULL) == 0);
    ANSWERS(1, waiter.answer);
    ANSWERS(0, ps_channel_close(waiter.channel));
}

#define PER_THREAD 200
#define THREADS 4

static void *publish_many(void *publisher) {
    for (int i = 0; i < PER_THREAD; i++) {
        ANSWERS(1, ps_publisher_publish(publisher, &i, sizeof i, NULL));
    }
    return NULL;
}

static void *free_them(void *messages) {
    ps_message_free_batch(messages, THREADS * PER_THREAD);
    return NULL;
}

static void threads_share_a_publisher_and_free_each_other_s_messages(void) {
    ps_channel *channel = open_channel("concurrency.many");
    ps_publisher *publisher = open_publisher("concurrency.many");
    pthread_t threads[THREADS], freeing;
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, publish_many, publisher) == 0);
    }
    static ps_message *messages[THREADS * PER_THREAD];
    int count = 0;
    while (count < THREADS * PER_THREAD) {
        int more = ps_fetch_batch(channel, messages + count, (size_t)(THREADS * PER_THREAD - count), 30000);
        CHECK(more > 0);
        count += more;
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    expect_nothing(channel);
    CHECK(pthread_create(&freeing, NULL, free_them, messages) == 0);
    CHECK(pthread_join(freeing, NULL) == 0);
    ps_publisher_close(publisher);
    ANSWERS(0, ps_channel_close(channel));
}

static void *fetch_one(void *channel) {
    ps_message *message = NULL;
    ANSWERS(1, ps_fetch_wait(channel, PS_FOREVER, &message));
    ps_message_free(message);
    return NULL;
}

static void a_publisher_waits_for_room_until_there_is_some(void) {
    ps_channel_options options = PS_CHANNEL_OPTIONS_INIT;
    options.capacity_messages = 1;
    ps_channel *channel;
    ANSWERS(0, ps_channel_open("concurrency.room", &options, &channel));
    ps_publisher_options sending = PS_PUBLISHER_OPTIONS_INIT;
    sending.full_timeout_ms = 60000;
    ps_publisher *publisher;
    ANSWERS(0, ps_publisher_open("concurrency.room", &sending, &publisher));
    ANSWERS(1, ps_publisher_publish(publisher, "one", 3, NULL));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fetch_one, channel) == 0);
    ANSWERS(1, ps_publisher_publish(publisher, "two", 3, NULL));
    CHECK(pthread_join(thread, NULL) == 0);
    expect_text(channel, "two");
    ps_publisher_close(publisher);
    ANSWERS(0, ps_channel_close(channel));
}

/* Runs in a child; the answer is its exit status. */
static int in_child(int (*body)(ps_channel *, ps_publisher *), ps_channel *channel, ps_publisher *publisher) {
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        _exit(body(channel, publisher));
    }
    int status;
    while (waitpid(child, &status, 0) == -1) {
        CHECK(errno == EINTR);
    }
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int use_inherited(ps_channel *channel, ps_publisher *publisher) {
    ps_message *message = NULL;
    uint64_t buffer[64];
    size_t used;
    int count = 0;
    FAILS(PS_ERR_CLOSED, "", ps_fetch(channel, &message));
    FAILS(PS_ERR_CLOSED, "", ps_fetch_wait(channel, PS_FOREVER, &message));
    FAILS(PS_ERR_CLOSED, "", ps_fetch_batch(channel, &message, 1, PS_FOREVER));
    FAILS(PS_ERR_CLOSED, "", ps_fetch_packed(channel, buffer, sizeof buffer, PS_FOREVER, &used));
    FAILS(PS_ERR_CLOSED, "", ps_subscribe(channel, count_it, &count, PS_FOREVER));
    FAILS(PS_ERR_CLOSED, "", ps_channel_fd(channel));
    FAILS(PS_ERR_CLOSED, "", ps_publisher_publish(publisher, "x", 1, NULL));
    CHECK(strcmp(ps_channel_topic(channel), "concurrency.fork") == 0);
    ps_publisher_close(publisher);
    ANSWERS(0, ps_channel_close(channel));

    /* New ones work, and reach the parent. */
    channel = open_channel("concurrency.fork");
    ANSWERS(2, ps_publish("concurrency.fork", "from the child", 14, NULL));
    expect_text(channel, "from the child");
    ANSWERS(0, ps_channel_close(channel));
    return 0;
}

static int die_open(ps_channel *channel, ps_publisher *publisher) {
    (void)channel, (void)publisher;
    static ps_channel *volatile never_closed; /* not lost, for leak checkers */
    never_closed = open_channel("concurrency.dead");
    return never_closed == NULL;
}

static void a_child_has_closed_handles_and_the_parent_notices_nothing(void) {
    ps_channel *channel = open_channel("concurrency.fork");
    ps_publisher *publisher = open_publisher("concurrency.fork");
    ANSWERS(1, ps_publisher_publish(publisher, "before", 6, NULL));
    ANSWERS(0, in_child(use_inherited, channel, publisher));
    expect_text(channel, "before");
    expect_text(channel, "from the child");
    ANSWERS(1, ps_publisher_publish(publisher, "after", 5, NULL));
    expect_text(channel, "after");
    ps_publisher_close(publisher);
    ANSWERS(0, ps_channel_close(channel));
}

static void what_the_dead_left_is_listed_as_dead_and_cleaned_up(void) {
    ANSWERS(0, in_child(die_open, NULL, NULL));
    ps_channel_stats **list;
    ANSWERS(1, ps_channel_list(NULL, &list));
    CHECK(strcmp(list[0]->topic, "concurrency.dead") == 0 && !list[0]->alive && !list[0]->foreign);
    ps_channel_list_free(list, 1);
    ANSWERS(1, ps_cleanup(NULL));
    ANSWERS(0, ps_channel_list(NULL, &list));
    ps_channel_list_free(list, 0);
}

int main(void) {
    a_message_ends_a_wait();
    an_interrupt_ends_a_wait_from_another_thread();
    an_interrupt_works_and_keeps_errno_when_the_queue_is_full();
    an_interrupt_is_kept_for_the_next_wait_and_fetch_leaves_it();
    a_signal_that_the_waiting_thread_handles_ends_its_wait();
    a_signal_handler_may_interrupt();
    threads_share_a_publisher_and_free_each_other_s_messages();
    a_publisher_waits_for_room_until_there_is_some();
    a_child_has_closed_handles_and_the_parent_notices_nothing();
    what_the_dead_left_is_listed_as_dead_and_cleaned_up();
    printf("concurrency passed\n");
    return 0;
}
