#define _POSIX_C_SOURCE 200809L
#include "readings.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long count;

void readings_word(char *to, size_t size, const char *from)
{
    size_t i = 0;
    for (; from[i] != '\0' && i + 1 < size; i++)
        to[i] = isalnum((unsigned char)from[i]) || from[i] == '-' ? from[i] : '-';
    to[i] = '\0';
}

static FILE *open_or_die(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    return file;
}

/* Time of each processor since the start, in ticks of 1/100 s. */
static void take_cpu(reading_callback *each, void *context)
{
    FILE *file = open_or_die("/proc/stat");
    char line[512], name[32], values[160];
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned number;
        count user, nice, system, idle, iowait;
        if (strncmp(line, "cpu", 3) != 0 || !isdigit((unsigned char)line[3]))
            continue; /* "cpu " is the sum, other lines are not about processors */
        if (sscanf(line, "cpu%u %llu %llu %llu %llu %llu", &number, &user, &nice, &system, &idle, &iowait) != 6)
            continue;
        snprintf(name, sizeof name, "cpu.%u", number);
        snprintf(values, sizeof values, "\"user\":%llu,\"system\":%llu,\"idle\":%llu,\"iowait\":%llu", user + nice,
                 system, idle, iowait);
        each(name, values, context);
    }
    fclose(file);
}

static void take_memory(reading_callback *each, void *context)
{
    FILE *file = open_or_die("/proc/meminfo");
    char line[256], values[128];
    count total = 0, available = 0, value;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemTotal: %llu", &value) == 1)
            total = value;
        else if (sscanf(line, "MemAvailable: %llu", &value) == 1)
            available = value;
    }
    fclose(file);
    snprintf(values, sizeof values, "\"total_kb\":%llu,\"available_kb\":%llu", total, available);
    each("mem", values, context);
}

static void take_load(reading_callback *each, void *context)
{
    FILE *file = open_or_die("/proc/loadavg");
    char one[16], five[16], fifteen[16], values[160];
    unsigned running, threads;
    int fields = fscanf(file, "%15s %15s %15s %u/%u", one, five, fifteen, &running, &threads);
    fclose(file);
    if (fields != 5)
        return;
    snprintf(values, sizeof values, "\"load\":[%s,%s,%s],\"running\":%u,\"threads\":%u", one, five, fifteen, running,
             threads);
    each("load", values, context);
}

static void take_network(reading_callback *each, void *context)
{
    FILE *file = open_or_die("/proc/net/dev");
    char line[512], word[64], name[72], values[192];
    while (fgets(line, sizeof line, file) != NULL) {
        char *colon = strrchr(line, ':'), *interface = line;
        count received, received_packets, sent, sent_packets;
        if (colon == NULL)
            continue; /* the two lines of headings */
        *colon = '\0';
        if (sscanf(colon + 1, "%llu %llu %*u %*u %*u %*u %*u %*u %llu %llu", &received, &received_packets, &sent,
                   &sent_packets) != 4)
            continue;
        interface += strspn(interface, " ");
        readings_word(word, sizeof word, interface);
        snprintf(name, sizeof name, "net.%s", word);
        snprintf(values, sizeof values,
                 "\"rx_bytes\":%llu,\"rx_packets\":%llu,\"tx_bytes\":%llu,\"tx_packets\":%llu", received,
                 received_packets, sent, sent_packets);
        each(name, values, context);
    }
    fclose(file);
}

static void take_disks(reading_callback *each, void *context)
{
    FILE *file = open_or_die("/proc/diskstats");
    char line[512], device[64], word[64], name[72], values[192];
    while (fgets(line, sizeof line, file) != NULL) {
        count reads, read_sectors, writes, written_sectors;
        if (sscanf(line, "%*u %*u %63s %llu %*u %llu %*u %llu %*u %llu", device, &reads, &read_sectors, &writes,
                   &written_sectors) != 5)
            continue;
        if (reads + writes == 0)
            continue; /* devices that exist in name only, such as unused loop devices */
        readings_word(word, sizeof word, device);
        snprintf(name, sizeof name, "disk.%s", word);
        snprintf(values, sizeof values,
                 "\"reads\":%llu,\"read_sectors\":%llu,\"writes\":%llu,\"written_sectors\":%llu", reads, read_sectors,
                 writes, written_sectors);
        each(name, values, context);
    }
    fclose(file);
}

void readings_take(reading_callback *each, void *context)
{
    take_cpu(each, context);
    take_memory(each, context);
    take_load(each, context);
    take_network(each, context);
    take_disks(each, context);
}
