/*
 * meter.h: what the daemon counts. Anybody counts, from any thread; the metrics endpoint shows it (core/observe). The list is
 * meters.def. Until meter_enable() nothing is counted, and counting is a test of one flag.
 *
 * A count without labels, and everything of operations, is a few atomic additions. A count with labels takes a lock: it is for what
 * happens rarely, or is counted in batches.
 *
 * The figures are the process's, as the log is.
 */
#ifndef UTIL_METER_H
#define UTIL_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum meter_type {
	METER_COUNTER,
	METER_GAUGE,
	METER_OPS_COUNTER,
	METER_OPS_GAUGE,
	METER_OPS_SUMMARY,
	METER_SIZES,
	METER_ASKED
};
enum meter {
#define METER(id, name, type, label1, label2, help) METER_##id,
#include "core/util/meters.def"
#undef METER
	METER_N
};
struct meter_info {
	const char *name;
	enum meter_type type;
	const char *labels[2]; /* NULL: none */
	const char *help;
};
extern const struct meter_info meter_infos[METER_N];

void meter_enable(void);

/* ---- counting ---- */

void meter_add(enum meter m, uint64_t n); /* one without labels */
/* One with labels: label2 is NULL where it has one. At most METER_SERIES combinations, and METER_BYTES of text, are kept for each; what
 * has not been counted for longest makes room, and without memory nothing is counted. Values that are no UTF-8 are not counted. */
void meter_add_for(enum meter m, uint64_t n, const char *label1, const char *label2);
#define METER_SERIES 500u
#define METER_BYTES (128u << 10)
/* Forgets the combinations with that first label: its object has gone. */
void meter_forget(enum meter m, const char *label1);

void meter_size(uint64_t bytes); /* of a pulled layer: METER_PULL_LAYER_SIZE */
/* ">10 MiB" and so on: the labels that byte counts are told apart by. Static. */
const char *meter_size_label(uint64_t bytes);

/* An operation by its name, which is copied; the same one gets the same number. -1: there are METER_OPS of them already. */
int meter_op(const char *name);
#define METER_OPS 64
void meter_op_done(int op, int64_t took_ns, bool failed); /* op -1: not counted */
void meter_op_took(int op, int64_t took_ns);		      /* the time of the last one, nothing else */

/* ---- showing ---- */

uint64_t meter_value(enum meter m);
/* Calls fn for each combination of labels; fn must count nothing. */
void meter_each(enum meter m, void (*fn)(void *arg, const char *label1, const char *label2, uint64_t value), void *arg);

#define METER_SIZE_BUCKETS 11
extern const uint64_t meter_size_bounds[METER_SIZE_BUCKETS];
/* The last bucket is of sizes above all bounds. */
void meter_sizes(uint64_t ret_buckets[METER_SIZE_BUCKETS + 1], uint64_t *ret_sum);

#define METER_QUANTILES 3
extern const double meter_quantiles[METER_QUANTILES];
struct meter_op_figures {
	const char *name;
	uint64_t done, failed;
	bool took; /* last_s is something */
	double last_s, sum_s;
	double quantile_s[METER_QUANTILES]; /* within 6 %; NaN: nothing in the last ten minutes */
};
/* Of operation i, from 0 on. False: there is none. */
bool meter_op_look(int i, struct meter_op_figures *ret);

/* For tests: the same at another time (monotonic). */
void meter_op_done_at(int op, int64_t took_ns, bool failed, int64_t now_ns);
bool meter_op_look_at(int i, struct meter_op_figures *ret, int64_t now_ns);

#endif
