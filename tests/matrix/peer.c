/* The matrix's program in C: see README.md. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pubsub.h>

enum { CHANNELS = 8, PATIENCE_MS = 20000 };

static ps_channel *channels[CHANNELS];
static size_t channel_count;

static void fail(const char *what)
{
    fprintf(stderr, "peer.c: %s\n", what);
    exit(1);
}

static int64_t checked(int64_t answer)
{
    if (answer < 0)
        fail(ps_last_error());
    return answer;
}

/* The next field, which may be empty: up to the mark, which becomes its NUL. NULL when there is no more. */
static char *cut(char **rest, char mark)
{
    char *field = *rest;
    if (field == NULL)
        return NULL;
    char *end = strchr(field, mark);
    if (end != NULL)
        *end++ = '\0';
    *rest = end;
    return field;
}

static char *need(char *field)
{
    if (field == NULL)
        fail("a field is missing");
    return field;
}

/* Hexadecimal digits become what they mean, in place, with a NUL behind. Answers how many bytes. */
static size_t unhex(char *text)
{
    size_t length = strlen(text) / 2;
    for (size_t i = 0; i < length; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        text[i] = (char)strtoul(digits, NULL, 16);
    }
    text[length] = '\0';
    return length;
}

static void print_hex(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        printf("%02x", (unsigned char)text[i]);
}

/* Headers that the C interface cannot set, only parse, are a JSON object of one. */
static ps_headers *parsed(const char *name, const char *json)
{
    size_t size = strlen(name) + strlen(json) + 8;
    char *text = malloc(size);
    ps_headers *headers;
    if (text == NULL)
        fail("out of memory");
    snprintf(text, size, "{\"%s\":%s}", name, json);
    checked(ps_headers_parse(text, PS_NUL_TERMINATED, &headers));
    free(text);
    return headers;
}

static ps_headers *read_headers(char *list)
{
    ps_headers *headers = NULL;
    char *item, *value;
    if (strcmp(list, "-") == 0)
        return NULL;
    while ((item = cut(&list, ',')) != NULL) {
        char *name = cut(&item, ':'), type = *need(cut(&item, ':'));
        value = need(item);
        unhex(name);
        if (type == 'j') {
            if (headers != NULL)
                fail("other JSON must be the first header");
            unhex(value);
            headers = parsed(name, value);
            continue;
        }
        if (headers == NULL && (headers = ps_headers_new()) == NULL)
            fail(ps_last_error());
        if (type == 'n') {
            checked(ps_headers_set_null(headers, name));
        } else if (type == 'b') {
            checked(ps_headers_set_bool(headers, name, *value == '1'));
        } else if (type == 'i') {
            checked(ps_headers_set_int(headers, name, strtoll(value, NULL, 10)));
        } else if (type == 'd') {
            uint64_t bits = strtoull(value, NULL, 16);
            double number;
            memcpy(&number, &bits, sizeof number);
            checked(ps_headers_set_double(headers, name, number));
        } else {
            size_t length = unhex(value);
            checked(ps_headers_set_string(headers, name, value, length));
        }
    }
    return headers;
}

static void print_headers(const ps_message *message)
{
    ps_headers *headers;
    checked(ps_message_headers(message, &headers));
    size_t count = ps_headers_count(headers);
    if (count == 0)
        putchar('-');
    for (size_t i = 0; i < count; i++) {
        const char *name;
        size_t name_len;
        ps_header_value value;
        uint64_t bits;
        checked(ps_headers_at(headers, i, &name, &name_len, &value));
        if (i > 0)
            putchar(',');
        print_hex(name, name_len);
        switch (value.type) {
        case PS_HEADER_NULL: printf(":n:"); break;
        case PS_HEADER_BOOL: printf(":b:%d", value.boolean); break;
        case PS_HEADER_INT: printf(":i:%" PRId64, value.integer); break;
        case PS_HEADER_DOUBLE:
            memcpy(&bits, &value.number, sizeof bits);
            printf(":d:%016" PRIx64, bits);
            break;
        default:
            printf(value.type == PS_HEADER_STRING ? ":s:" : ":j:");
            print_hex(value.string, value.string_len);
        }
    }
    ps_headers_free(headers);
}

static void fetch(char *rest, int64_t timeout_ms)
{
    size_t index = strtoul(need(cut(&rest, ' ')), NULL, 10);
    const char *path = need(cut(&rest, ' '));
    ps_message *message;
    if (index >= channel_count)
        fail("there is no such channel");
    if (checked(ps_fetch_wait(channels[index], timeout_ms, &message)) == 0) {
        puts("nothing");
        return;
    }
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(message->data, 1, message->data_len, file) != message->data_len || fclose(file) != 0)
        fail(path);
    printf("message %s ", message->topic);
    print_headers(message);
    putchar('\n');
    ps_message_free(message);
}

static void publish(char *rest)
{
    const char *topic = need(cut(&rest, ' ')), *path = need(cut(&rest, ' '));
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        fail(path);
    size_t size = (size_t)ftell(file);
    char *content = malloc(size + 1);
    rewind(file);
    if (content == NULL || fread(content, 1, size, file) != size)
        fail(path);
    fclose(file);
    ps_headers *headers = read_headers(need(rest));
    printf("published %" PRId64 "\n", checked(ps_publish(topic, content, size, headers)));
    ps_headers_free(headers);
    free(content);
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    while ((length = getline(&line, &size, stdin)) > 0) {
        if (line[length - 1] == '\n')
            line[length - 1] = '\0';
        char *rest = line, *command = cut(&rest, ' ');
        if (strcmp(command, "open") == 0) {
            if (channel_count == CHANNELS)
                fail("too many channels");
            checked(ps_channel_open(need(rest), NULL, &channels[channel_count++]));
            puts("opened");
        } else if (strcmp(command, "fetch") == 0) {
            fetch(rest, PATIENCE_MS);
        } else if (strcmp(command, "try") == 0) {
            fetch(rest, 0);
        } else if (strcmp(command, "publish") == 0) {
            publish(rest);
        } else if (strcmp(command, "close") == 0) {
            while (channel_count > 0)
                checked(ps_channel_close(channels[--channel_count]));
            puts("closed");
        } else {
            fail("unknown command");
        }
        fflush(stdout);
    }
    free(line);
    return 0;
}
