/*
 * crio/types.h: the value types that cross the plugin boundary.
 *
 * Everything a plugin receives or returns is made of the types in this file: integers, strings, string lists,
 * string maps, byte runs, file descriptors and rows of these. That is what lets the host copy any call (it does so
 * before each operation, so that a plugin that overruns its deadline can keep reading its arguments) and could later
 * carry it over a socket.
 *
 * Conventions that hold for the whole SDK:
 *   - Strings are UTF-8, end in NUL, and are never NULL unless the field's comment says "optional".
 *   - Times are nanoseconds. Points in time are since the Unix epoch (CLOCK_REALTIME) unless called "monotonic".
 *   - Sizes are bytes.
 *   - File descriptors in arguments stay the host's: a plugin that keeps one past the operation dups it.
 *   - Memory in arguments lives until the operation returns (also when it returns late). Memory in results must
 *     come from crio_host.alloc()/strdup() and belongs to the call: neither side frees what the other allocated.
 *
 * The headers compile as C11 and as C++17, and need nothing but the C library.
 */
#ifndef CRIO_TYPES_H
#define CRIO_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Result codes. Operations return 0 for success or one of these negative values, and have then filled the error
 * through crio_host.fail() or .wrap(). The numbers are part of the ABI and never change meaning.
 * The comment names the gRPC status that a client sees.
 */
enum crio_code {
	CRIO_OK = 0,
	CRIO_E_INVALID = -1,         /* INVALID_ARGUMENT: the request can never succeed as it is */
	CRIO_E_NOT_FOUND = -2,       /* NOT_FOUND */
	CRIO_E_EXISTS = -3,          /* ALREADY_EXISTS */
	CRIO_E_PRECONDITION = -4,    /* FAILED_PRECONDITION: wrong state; the message says which is needed */
	CRIO_E_EXHAUSTED = -5,       /* RESOURCE_EXHAUSTED: a limit of counts or bytes; the message names it */
	CRIO_E_DEADLINE = -6,        /* DEADLINE_EXCEEDED */
	CRIO_E_CANCELLED = -7,       /* CANCELLED: the caller gave up */
	CRIO_E_UNAVAILABLE = -8,     /* UNAVAILABLE: may work later */
	CRIO_E_UNSUPPORTED = -9,     /* UNIMPLEMENTED */
	CRIO_E_DENIED = -10,         /* PERMISSION_DENIED */
	CRIO_E_UNAUTHENTICATED = -11,/* UNAUTHENTICATED */
	CRIO_E_INTERNAL = -12,       /* INTERNAL */
	CRIO_E_CORRUPT = -13,        /* DATA_LOSS: stored or received data fails its check */
	CRIO_E_IO = -14,             /* INTERNAL: a system call failed; the message has its name and errno text */
	CRIO_E_NOMEM = -15,          /* RESOURCE_EXHAUSTED */
	CRIO_E_NOSPACE = -16,        /* RESOURCE_EXHAUSTED: disk or quota full */
	CRIO_E_ABORTED = -17         /* ABORTED: lost a race; a retry may succeed */
};

/* A list of strings. v may be NULL when n is 0. */
struct crio_strs {
	const char *const *v;
	size_t n;
};

/* One entry of a string map. */
struct crio_kv {
	const char *key;
	const char *value;
};

/* A string map; keys are unique, order has no meaning. */
struct crio_map {
	const struct crio_kv *v;
	size_t n;
};

/* A run of bytes. */
struct crio_bytes {
	const void *p;
	size_t n;
};

/*
 * Sized structs. Argument, result and row structs begin with `uint32_t size`, set by the side that allocates them to
 * the sizeof it was compiled with. CRIO_HAS says whether the other side's struct reaches as far as a field; new
 * fields are only ever appended.
 */
#define CRIO_HAS(s, field) \
	((size_t)(s)->size >= (size_t)((const char *)(&(s)->field + 1) - (const char *)(s)))

/* Rows (lists of sized structs) carry the writer's row size as a stride. CRIO_ROW gives row i. */
#define CRIO_ROW(type, rows, i) \
	((const struct type *)(const void *)((const char *)(rows).v + (size_t)(i) * (rows).stride))

/* A call in progress: deadline, cancellation, and the memory of its results. Opaque; thread-safe. */
typedef struct crio_call crio_call;
/* An error under construction. Opaque: fill through crio_host.fail()/wrap(). */
typedef struct crio_err crio_err;

#ifdef __cplusplus
}
#endif
#endif
