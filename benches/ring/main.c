/* How fast messages travel between processes through libpubsub's C ABI on the ring transport, next to what the machine
   allows, in one run. See benches/README.md.

     ring [--check] [--quick] [--only throughput|latency|crowds]

   --check: exit code 1 when a promise is missed. --quick: a look, fewer rounds and 1,000 other channels instead of 10,000. */
#define _GNU_SOURCE
#include "harness.h"
#include "limits.h"
#include "ours.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check, quick, missed;

static void section(const char *title, const char *unit)
{
    printf("\n%-56s %10s %10s %12s\n", title, "best", "median", unit);
}

static void show(const struct measure *measures, int count, int rates)
{
    for (int i = 0; i < count; i++) {
        const struct measure *m = &measures[i];
        printf("  %-54s %7.1f ns %7.1f ns", m->name, best(m), median(m));
        if (rates)
            printf(" %9.2f M/s", 1e3 / median(m));
        if (i > 0)
            printf("   x %.2f", median(m) / median(&measures[0]));
        printf("\n");
    }
    fflush(stdout);
}

struct promise {
    const char *what;
    double measured, bound;
    int at_least;
};

static struct promise promises[16];
static int promised;

static void promise(const char *what, double measured, int at_least, double bound)
{
    promises[promised++] = (struct promise){what, measured, bound, at_least};
}

static void show_promises(void)
{
    printf("\n%-56s %10s %18s\n", "Promises", "measured", "promised");
    for (int i = 0; i < promised; i++) {
        const struct promise *p = &promises[i];
        int kept = p->at_least ? p->measured >= p->bound : p->measured <= p->bound;
        missed += !kept;
        printf("  %-54s %10.2f %9s %8.2f%s\n", p->what, p->measured, p->at_least ? "at least" : "at most", p->bound,
               kept ? "" : "   missed");
    }
}

static double millions(const struct measure *measure) { return 1e3 / median(measure); }

static void throughput(int rounds)
{
    uint64_t many = quick ? 400000 : 2000000, few = many / 4;
    struct bare_arguments small = {many, 64, 1}, small_batch = {many, 64, 16}, large = {few, 1024, 1};
    struct flow_arguments one = {many, 64, ONE_BY_ONE, FETCH_BATCH, 1, 1};
    struct flow_arguments one_packed = {many, 64, ONE_BY_ONE, FETCH_PACKED, 1, 1};
    struct flow_arguments batch = {many / 64 * 64, 64, BATCHES, FETCH_BATCH, 1, 1};
    struct flow_arguments batch_packed = {many / 64 * 64, 64, BATCHES, FETCH_PACKED, 1, 1};
    struct flow_arguments packed = {many / 64 * 64, 64, PACKED, FETCH_PACKED, 1, 1};
    struct flow_arguments large_one = {few, 1024, ONE_BY_ONE, FETCH_BATCH, 1, 1};
    struct flow_arguments large_packed = {few / 64 * 64, 1024, PACKED, FETCH_PACKED, 1, 1};
    struct flow_arguments fan_out = {few, 64, ONE_BY_ONE, FETCH_BATCH, 1, 4};
    struct flow_arguments fan_in = {few, 64, ONE_BY_ONE, FETCH_BATCH, 4, 1};
    struct measure smalls[] = {
        {.name = "bare ring, one producer", .run = bare_ring, .arguments = &small},
        {.name = "bare ring, a commit for 16", .run = bare_ring, .arguments = &small_batch},
        {.name = "publish, fetch_batch", .run = flow, .arguments = &one},
        {.name = "publish, fetch_packed", .run = flow, .arguments = &one_packed},
        {.name = "publish_batch of 64, fetch_batch", .run = flow, .arguments = &batch},
        {.name = "publish_batch of 64, fetch_packed", .run = flow, .arguments = &batch_packed},
        {.name = "publish_packed of 64, fetch_packed", .run = flow, .arguments = &packed},
    };
    struct measure larges[] = {
        {.name = "bare ring, one producer", .run = bare_ring, .arguments = &large},
        {.name = "publish, fetch_batch", .run = flow, .arguments = &large_one},
        {.name = "publish_packed of 64, fetch_packed", .run = flow, .arguments = &large_packed},
    };
    struct measure several[] = {
        {.name = "1 publisher, 1 receiver", .run = flow, .arguments = &one},
        {.name = "1 publisher, 4 receivers (ns a delivery)", .run = flow, .arguments = &fan_out},
        {.name = "4 publishers, 1 receiver", .run = flow, .arguments = &fan_in},
    };
    section("64 bytes from one process to another", "a second");
    contest(smalls, 7, rounds);
    show(smalls, 7, 1);
    section("1 KiB from one process to another", "a second");
    contest(larges, 3, rounds);
    show(larges, 3, 1);
    section("Several processes, publish and fetch_batch", "a second");
    contest(several, 3, quick ? 3 : rounds / 2);
    show(several, 3, 1);
    promise("64 bytes one by one, receiver batching: M/s", millions(&smalls[2]), 1, 12);
    double packs = millions(&smalls[6]) > millions(&smalls[5]) ? millions(&smalls[6]) : millions(&smalls[5]);
    promise("64 bytes in batches of 64, packed receiving: M/s", packs, 1, 40);
    promise("1 KiB: M/s", millions(&larges[1]), 1, 8);
}

static void latency(int rounds)
{
    uint64_t busy_trips = quick ? 50000 : 200000, trips = quick ? 2000 : 8000;
    struct trip_arguments busy = {busy_trips, 1, 0}, apart = {trips, 0, 0}, together = {trips, 0, 1};
    struct pair_arguments mail_apart = {trips, 0}, mail_together = {trips, 1};
    struct measure spinning[] = {
        {.name = "a cache line", .run = bare_line},
        {.name = "publish, ps_fetch again and again", .run = round_trip, .arguments = &busy},
    };
    struct measure two[] = {
        {.name = "unix datagram", .run = bare_datagram, .arguments = &mail_apart},
        {.name = "publish, ps_fetch_wait", .run = round_trip, .arguments = &apart},
    };
    struct measure same[] = {
        {.name = "unix datagram", .run = bare_datagram, .arguments = &mail_together},
        {.name = "publish, ps_fetch_wait", .run = round_trip, .arguments = &together},
    };
    section("Half a round trip, busy, two processors", "");
    contest(spinning, 2, rounds);
    show(spinning, 2, 0);
    section("Half a round trip, blocking, two processors", "");
    contest(two, 2, rounds);
    show(two, 2, 0);
    section("Half a round trip, blocking, one processor", "");
    contest(same, 2, rounds);
    show(same, 2, 0);
    promise("busy half round trip: us", median(&spinning[1]) / 1e3, 0, 0.5);
    promise("blocking, two processors: times a unix datagram", median(&two[1]) / median(&two[0]), 0, 1.3);
    promise("blocking, one processor: times a unix datagram", median(&same[1]) / median(&same[0]), 0, 1.3);
}

static void crowds(const char *empty, const char *crowded, const char *busy, int rounds)
{
    int channels = quick ? 1000 : 10000;
    struct crowd *others = crowd_start(crowded, channels);
    struct crowd *idle = crowd_start(busy, channels);
    struct measure opening[] = {
        {.name = "opened, alone in the store", .run = open_one, .arguments = empty},
        {.name = "closed, alone in the store", .run = close_one, .arguments = empty},
        {.name = "opened, among the others", .run = open_one, .arguments = crowded},
        {.name = "closed, among the others", .run = close_one, .arguments = crowded},
    };
    printf("\n%d other channels", channels);
    section("A channel of a process's own", "");
    contest(opening, 4, rounds);
    show(opening, 4, 0);
    struct crowd *changing = churn_start(busy, 100);
    struct measure publishing[] = {
        {.name = "alone in the store", .run = publish_one, .arguments = empty},
        {.name = "among the idle channels", .run = publish_one, .arguments = crowded},
        {.name = "and 100 opens and closes a second", .run = publish_one, .arguments = busy},
    };
    section("Publish 64 bytes to a channel of the same process", "");
    contest(publishing, 3, quick ? 5 : 2 * rounds);
    show(publishing, 3, 0);
    promise("a channel opened among the others: us", median(&opening[2]) / 1e3, 0, 60);
    promise("publish among the idle channels: times alone", median(&publishing[1]) / median(&publishing[0]), 0, 1.1);
    promise("the same with 100 opens and closes a second", median(&publishing[2]) / median(&publishing[0]), 0, 1.1);
    crowd_end(changing);
    crowd_end(idle);
    crowd_end(others);
}

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *walk)
{
    (void)stat, (void)kind, (void)walk;
    return remove(path);
}

int main(int argc, char **argv)
{
    char base[256], homes[4][288];
    const char *only = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--check") == 0)
            check = 1;
        else if (strcmp(argv[i], "--quick") == 0)
            quick = 1;
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only = argv[++i];
        else {
            fprintf(stderr, "usage: %s [--check] [--quick] [--only throughput|latency|crowds]\n", argv[0]);
            return 2;
        }
    }
    const char *parent = getenv("PUBSUB_BENCH_DIR");
    snprintf(base, sizeof base, "%s/pubsub-bench-XXXXXX", parent != NULL ? parent : "/dev/shm");
    if (mkdtemp(base) == NULL)
        die("no directory for the stores; PUBSUB_BENCH_DIR names where to make it");
    for (int i = 0; i < 4; i++)
        snprintf(homes[i], sizeof homes[i], "%s/%d", base, i);
    use_store(homes[0]);
    if (processors() < 2)
        printf("one processor only: what follows says little\n");
    int rounds = quick ? 3 : 11;
    if (only == NULL || strcmp(only, "throughput") == 0)
        throughput(rounds);
    if (only == NULL || strcmp(only, "latency") == 0)
        latency(rounds);
    if (only == NULL || strcmp(only, "crowds") == 0)
        crowds(homes[1], homes[2], homes[3], rounds);
    show_promises();
    nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return check && missed > 0;
}
