/*
 * pb.h: as much of the protocol buffers wire format as the shim's task service needs: strings, bytes, varints and
 * nested messages. An encoder's failed allocation sticks; a decoder reads untrusted bytes and never leaves them.
 */
#ifndef KATA_PB_H
#define KATA_PB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pb {
	uint8_t *p;
	size_t n, cap;
	bool oom;
};
void pb_release(struct pb *b);
void pb_raw(struct pb *b, const void *p, size_t n);
/* Fields of the default value ("", 0, false) are left out, as proto3 has it. */
void pb_str(struct pb *b, unsigned field, const char *s);
void pb_bytes(struct pb *b, unsigned field, const void *p, size_t n);
void pb_uint(struct pb *b, unsigned field, uint64_t v);
/* A nested message, written even when empty; m is released. */
void pb_msg(struct pb *b, unsigned field, struct pb *m);
#define auto_pb __attribute__((cleanup(pb_release)))

struct pb_field {
	unsigned nr;
	unsigned wire; /* 0 varint, 1 64 bits, 2 bytes, 5 32 bits */
	uint64_t v;    /* wire 0, 1, 5 */
	const uint8_t *p;
	size_t n; /* wire 2 */
};
/* The next field of the n bytes at p, advancing both. False at the end and at a fault; *bad tells which. */
bool pb_next(const uint8_t **p, size_t *n, struct pb_field *f, bool *bad);
/* Single fields of a message, 0 or NULL when absent: the last one wins. */
uint64_t pb_get_uint(const uint8_t *p, size_t n, unsigned field);
bool pb_get_bytes(const uint8_t *p, size_t n, unsigned field, const uint8_t **ret, size_t *ret_n);
char *pb_get_str(const uint8_t *p, size_t n, unsigned field); /* on the heap; "" when absent */
bool pb_is_sound(const uint8_t *p, size_t n);

#endif
