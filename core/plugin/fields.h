/*
 * fields.h: the field tables of the SDK's argument and result structs: what the dispatcher needs to copy a call's
 * arguments, to duplicate and close descriptors, and what a later out-of-process carrier would need. tests/unit/plugin
 * checks that each table covers its struct without a gap.
 */
#ifndef PLUGIN_FIELDS_H
#define PLUGIN_FIELDS_H

#include <crio/hook.h>
#include <crio/network.h>
#include <crio/runtime.h>
#include <crio/storage.h>
#include <stdbool.h>

enum field_type {
	FIELD_END = 0,
	FIELD_SCALAR, /* integers: copied as they are */
	FIELD_FD,     /* int32_t, -1: none */
	FIELD_FDS,    /* const int32_t * with a size_t count right behind it */
	FIELD_STR,    /* const char * */
	FIELD_STRS,   /* struct crio_strs */
	FIELD_MAP,    /* struct crio_map */
	FIELD_BYTES,  /* struct crio_bytes */
	FIELD_ROWS,   /* { const row *v; size_t n; size_t stride; } of `row` */
	FIELD_INTS    /* const int32_t * whose count is another field: results only, never copied */
};

struct field {
	const char *name;
	size_t offset, size;
	enum field_type type;
	const struct field *row; /* ROWS: the row's own table */
	size_t row_size;
};

/* fields_runtime_create_args and so on, ended by FIELD_END. */
#define OP(kind, op, class, args_t, out_t, id_field) extern const struct field fields_##args_t[], fields_##out_t[];
#include "core/plugin/ops.def"
#undef OP
extern const struct field fields_mount_row[], fields_port_mapping[], fields_network_attachment[], fields_storage_change[];

/* A copy of a struct of `size` bytes (ours; the source may be shorter by its own `size` member) in the call's memory,
 * descriptors duplicated. NULL without memory or descriptors (*ret_errno says which). */
void *fields_copy(const struct field *t, const void *src, size_t size, crio_call *call, int *ret_errno);
/* Closes every descriptor in it. */
void fields_close(const struct field *t, const void *s);

#endif
