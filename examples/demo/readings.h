/* Live readings of the machine, from /proc. */
#ifndef READINGS_H
#define READINGS_H
#include <stddef.h>

/* Called with each reading: its name ("cpu.0", "net.lo": what follows the machine's name in the topic) and its values,
 * the inside of a JSON object (no braces). Both are lent for the call. */
typedef void reading_callback(const char *name, const char *values, void *context);

/* Reads everything once: cpu.N, mem, load, net.IF, disk.DEV. Ends the program when /proc cannot be read. */
void readings_take(reading_callback *each, void *context);

/* Copies `from`, with every character that a topic's word cannot hold (outside [a-zA-Z0-9-]) replaced by '-'. */
void readings_word(char *to, size_t size, const char *from);

#endif
