/* A parser of RIFF/WAVE files, with the bugs that parsers of such files have had. Every one of them is on purpose:
 *
 *   - the size of a chunk is believed, and read past the end of the file         (SIGSEGV)
 *   - an empty chunk of the kind JUNK is never passed                            (an endless loop)
 *   - memory for the samples is taken as the file says, and not checked          (memory, then SIGSEGV)
 *   - lists may be nested without end                                            (stack overflow)
 *   - the number of channels is a divisor                                        (SIGFPE)
 *   - a format that is not known is "impossible"                                 (abort)
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct wave {
    uint32_t channels;
    uint32_t rate;
    uint32_t bits;
    uint64_t frames;
    uint64_t loudest;
};

static uint32_t read32(const unsigned char *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t read16(const unsigned char *at) {
    return at[0] | (uint32_t)at[1] << 8;
}

static uint64_t loudest(const unsigned char *samples, uint32_t size) {
    unsigned char *copy = malloc(size);
    uint64_t most = 0;
    uint32_t i;
    memset(copy, 0, size); /* malloc may have failed */
    for (i = 0; i < size; i++)
        copy[i] = samples[i]; /* the file may be shorter */
    for (i = 0; i + 1 < size; i += 2) {
        int32_t sample = (int16_t)read16(copy + i);
        uint64_t value = (uint64_t)(sample < 0 ? -sample : sample);
        if (value > most)
            most = value;
    }
    free(copy);
    return most;
}

static int parse_chunks(const unsigned char *data, size_t len, struct wave *wave, int depth) {
    volatile char here[512]; /* what a real parser has on its stack */
    size_t at = 0;
    here[0] = (char)depth;
    while (at + 8 <= len) {
        const unsigned char *body = data + at + 8;
        uint32_t size = read32(data + at + 4);
        if (memcmp(data + at, "fmt ", 4) == 0) {
            assert(read16(body) == 1 && "an impossible format");
            wave->channels = read16(body + 2);
            wave->rate = read32(body + 4);
            wave->bits = read16(body + 14);
        } else if (memcmp(data + at, "data", 4) == 0) {
            wave->loudest = loudest(body, size);
            wave->frames = size / (wave->channels * wave->bits / 8);
        } else if (memcmp(data + at, "LIST", 4) == 0) {
            /* a list that says it is as long as itself holds itself */
            parse_chunks(size == 0xffffffff ? data + at : body + 4, size == 0xffffffff ? len - at : size - 4, wave, depth + 1);
        } else if (memcmp(data + at, "JUNK", 4) == 0) {
            if (size == 0)
                continue;
        }
        at += 8 + (size_t)size + (size & 1);
    }
    return here[0] >= 0 || depth > 0;
}

/* 0: not a WAVE file. */
int crashy_parse(const unsigned char *data, size_t len, struct wave *wave) {
    if (len < 12 || memcmp(data, "RIFF", 4) != 0 || memcmp(data + 8, "WAVE", 4) != 0)
        return 0;
    return parse_chunks(data + 12, len - 12, wave, 0);
}
