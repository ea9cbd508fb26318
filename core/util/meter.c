/* meter.c: the counters. */
#include "core/util/meter.h"

#include <math.h>
#include <stdatomic.h>

#include "core/util/fs.h"
#include "core/util/str.h"

const struct meter_info meter_infos[METER_N] = {
#define METER(id, name, type, label1, label2, help) [METER_##id] = { name, METER_##type, { label1, label2 }, help },
#include "core/util/meters.def"
#undef METER
};
const uint64_t meter_size_bounds[METER_SIZE_BUCKETS] = { 1000,	    1000000,   10000000,  50000000,   100000000,  200000000,
							 300000000, 400000000, 500000000, 1000000000, 10000000000 };
const double meter_quantiles[METER_QUANTILES] = { 0.5, 0.9, 0.99 };

static _Atomic bool enabled;
static _Atomic uint64_t plain[METER_N];

void meter_enable(void)
{
	enabled = true;
}

static bool counting(void)
{
	return atomic_load_explicit(&enabled, memory_order_relaxed);
}

static void bump(_Atomic uint64_t *v, uint64_t n)
{
	(void)atomic_fetch_add_explicit(v, n, memory_order_relaxed);
}

static uint64_t look(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

void meter_add(enum meter m, uint64_t n)
{
	if (counting())
		bump(&plain[m], n);
}

uint64_t meter_value(enum meter m)
{
	return look(&plain[m]);
}

/* ---- with labels ---- */

struct series {
	struct series *prev, *next; /* most lately counted first */
	uint64_t hash, value;
	char *label2; /* NULL: none; within text */
	size_t bytes;
	char text[]; /* label1, NUL, label2, NUL */
};
static struct family {
	struct series *first, *last;
	size_t n, bytes;
} families[METER_N];
static pthread_mutex_t series_lock = PTHREAD_MUTEX_INITIALIZER; /* guards families */

static uint64_t hash_of(const char *s, uint64_t h)
{
	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 1099511628211u;
	return (h ^ 0xff) * 1099511628211u;
}

static void unlink_series(struct family *f, struct series *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		f->first = s->next;
	if (s->next)
		s->next->prev = s->prev;
	else
		f->last = s->prev;
}

static void link_first(struct family *f, struct series *s)
{
	s->prev = NULL;
	s->next = f->first;
	if (f->first)
		f->first->prev = s;
	else
		f->last = s;
	f->first = s;
}

static void drop(struct family *f, struct series *s)
{
	unlink_series(f, s);
	f->n--;
	f->bytes -= s->bytes;
	free(s);
}

static struct series *find(struct family *f, uint64_t hash, const char *label1, const char *label2)
{
	for (struct series *s = f->first; s; s = s->next)
		if (s->hash == hash && str_eq(s->text, label1) && str_eq(s->label2 ? s->label2 : "", label2 ? label2 : ""))
			return s;
	return NULL;
}

static struct series *make(struct family *f, uint64_t hash, const char *label1, const char *label2)
{
	size_t n1 = strlen(label1), n2 = label2 ? strlen(label2) : 0, bytes = n1 + n2 + 2;
	if (bytes > METER_BYTES)
		return NULL;
	while (f->last && (f->n >= METER_SERIES || f->bytes + bytes > METER_BYTES))
		drop(f, f->last);
	struct series *s = calloc(1, sizeof(*s) + bytes);
	if (!s)
		return NULL;
	s->hash = hash;
	s->bytes = bytes;
	memcpy(s->text, label1, n1);
	if (label2) {
		s->label2 = s->text + n1 + 1;
		memcpy(s->label2, label2, n2);
	}
	f->n++;
	f->bytes += bytes;
	link_first(f, s);
	return s;
}

void meter_add_for(enum meter m, uint64_t n, const char *label1, const char *label2)
{
	if (!counting())
		return;
	if (!str_is_utf8(label1, strlen(label1)) || (label2 && !str_is_utf8(label2, strlen(label2))))
		return;
	uint64_t hash = hash_of(label2 ? label2 : "", hash_of(label1, 14695981039346656037u));
	cleanup_unlock pthread_mutex_t *l = lock(&series_lock);
	struct family *f = &families[m];
	struct series *s = find(f, hash, label1, label2);
	if (s) {
		unlink_series(f, s);
		link_first(f, s);
	} else {
		s = make(f, hash, label1, label2);
	}
	if (s)
		s->value += n;
}

void meter_forget(enum meter m, const char *label1)
{
	if (!counting())
		return;
	cleanup_unlock pthread_mutex_t *l = lock(&series_lock);
	struct family *f = &families[m];
	for (struct series *s = f->first, *next; s; s = next) {
		next = s->next;
		if (str_eq(s->text, label1))
			drop(f, s);
	}
}

void meter_each(enum meter m, void (*fn)(void *arg, const char *label1, const char *label2, uint64_t value), void *arg)
{
	cleanup_unlock pthread_mutex_t *l = lock(&series_lock);
	for (const struct series *s = families[m].first; s; s = s->next)
		fn(arg, s->text, s->label2, s->value);
}

/* ---- sizes ---- */

static _Atomic uint64_t size_buckets[METER_SIZE_BUCKETS + 1], size_sum;

void meter_size(uint64_t bytes)
{
	size_t i = 0;
	if (!counting())
		return;
	while (i < METER_SIZE_BUCKETS && bytes > meter_size_bounds[i])
		i++;
	bump(&size_buckets[i], 1);
	bump(&size_sum, bytes);
}

void meter_sizes(uint64_t ret_buckets[METER_SIZE_BUCKETS + 1], uint64_t *ret_sum)
{
	for (size_t i = 0; i <= METER_SIZE_BUCKETS; i++)
		ret_buckets[i] = look(&size_buckets[i]);
	*ret_sum = look(&size_sum);
}

const char *meter_size_label(uint64_t bytes)
{
	static const char *const names[METER_SIZE_BUCKETS] = { ">1 KiB",   ">1 MiB",   ">10 MiB",  ">50 MiB", ">100 MiB", ">200 MiB",
							       ">300 MiB", ">400 MiB", ">500 MiB", ">1 GiB",  ">10 GiB" };
	for (size_t i = METER_SIZE_BUCKETS; i; i--)
		if (bytes > meter_size_bounds[i - 1])
			return names[i - 1];
	return ">0 B";
}

/* ---- operations ---- */

/*
 * Quantiles are read from five windows of two minutes each, which are used in turn; a window counts times in bins whose width is an
 * eighth of their power of two. Who first counts in a window whose turn has come empties it. A count that another thread makes in that
 * moment may be lost to the quantiles; the totals lose none.
 */
#define WINDOWS 5
#define WINDOW_NS (120 * 1000000000LL)
#define BINS 240 /* to 2^32 microseconds */

struct window {
	_Atomic int64_t turn; /* of time, from 1 on; 0: never used */
	_Atomic uint32_t bins[BINS];
};
static struct op {
	char name[48];
	_Atomic uint64_t done, failed, last_ns, sum_ns;
	_Atomic bool took;
	struct window windows[WINDOWS];
} ops[METER_OPS];
static _Atomic int n_ops;
static pthread_mutex_t ops_lock = PTHREAD_MUTEX_INITIALIZER; /* of meter_op() against itself */

int meter_op(const char *name)
{
	cleanup_unlock pthread_mutex_t *l = lock(&ops_lock);
	int n = n_ops;
	for (int i = 0; i < n; i++)
		if (str_eq(ops[i].name, name))
			return i;
	if (n == METER_OPS)
		return -1;
	(void)snprintf(ops[n].name, sizeof(ops[n].name), "%s", name);
	n_ops = n + 1;
	return n;
}

static unsigned bin_of(uint64_t us)
{
	if (us < 8)
		return (unsigned)us;
	if (us > UINT32_MAX)
		return BINS - 1;
	unsigned power = 63 - (unsigned)__builtin_clzll(us);
	return (power - 2) * 8 + (unsigned)((us >> (power - 3)) & 7);
}

/* The middle of a bin, in seconds. */
static double bin_middle(unsigned i)
{
	if (i < 8)
		return ((double)i + 0.5) / 1e6;
	unsigned power = i / 8 + 2;
	double width = (double)(UINT64_C(1) << (power - 3));
	return ((double)(8 + i % 8) + 0.5) * width / 1e6;
}

static struct window *window_at(struct op *o, int64_t now_ns)
{
	int64_t turn = now_ns / WINDOW_NS + 1;
	struct window *w = &o->windows[turn % WINDOWS];
	int64_t was = atomic_load_explicit(&w->turn, memory_order_acquire);
	if (was != turn && atomic_compare_exchange_strong(&w->turn, &was, turn))
		for (unsigned i = 0; i < BINS; i++)
			atomic_store_explicit(&w->bins[i], 0, memory_order_relaxed);
	return w;
}

void meter_op_took(int op, int64_t took_ns)
{
	if (op < 0 || !counting())
		return;
	atomic_store_explicit(&ops[op].last_ns, took_ns > 0 ? (uint64_t)took_ns : 0, memory_order_relaxed);
	atomic_store_explicit(&ops[op].took, true, memory_order_relaxed);
}

void meter_op_done_at(int op, int64_t took_ns, bool failed, int64_t now_ns)
{
	if (op < 0 || !counting())
		return;
	struct op *o = &ops[op];
	uint64_t ns = took_ns > 0 ? (uint64_t)took_ns : 0;
	meter_op_took(op, took_ns);
	bump(&o->sum_ns, ns);
	(void)atomic_fetch_add_explicit(&window_at(o, now_ns)->bins[bin_of(ns / 1000)], 1, memory_order_relaxed);
	if (failed)
		bump(&o->failed, 1);
	bump(&o->done, 1);
}

void meter_op_done(int op, int64_t took_ns, bool failed)
{
	if (op >= 0 && counting())
		meter_op_done_at(op, took_ns, failed, now_mono_ns());
}

static void find_quantiles(const struct op *o, int64_t now_ns, double ret[METER_QUANTILES])
{
	uint64_t all[BINS] = { 0 }, n = 0;
	int64_t turn = now_ns / WINDOW_NS + 1;
	for (size_t w = 0; w < WINDOWS; w++) {
		int64_t t = atomic_load_explicit(&o->windows[w].turn, memory_order_acquire);
		for (unsigned i = 0; t && t > turn - WINDOWS && t <= turn && i < BINS; i++) {
			uint32_t v = atomic_load_explicit(&o->windows[w].bins[i], memory_order_relaxed);
			all[i] += v;
			n += v;
		}
	}
	for (size_t q = 0; q < METER_QUANTILES; q++) {
		double want = meter_quantiles[q] * (double)n, seen = 0;
		ret[q] = NAN;
		for (unsigned i = 0; n && i < BINS; i++) {
			seen += (double)all[i];
			if (all[i] && seen >= want) {
				ret[q] = bin_middle(i);
				break;
			}
		}
	}
}

bool meter_op_look_at(int i, struct meter_op_figures *ret, int64_t now_ns)
{
	if (i < 0 || i >= n_ops)
		return false;
	const struct op *o = &ops[i];
	*ret = (struct meter_op_figures){ .name = o->name,
					  .done = look(&o->done),
					  .failed = look(&o->failed),
					  .took = o->took,
					  .last_s = (double)look(&o->last_ns) / 1e9,
					  .sum_s = (double)look(&o->sum_ns) / 1e9 };
	find_quantiles(o, now_ns, ret->quantile_s);
	return true;
}

bool meter_op_look(int i, struct meter_op_figures *ret)
{
	return meter_op_look_at(i, ret, now_mono_ns());
}
