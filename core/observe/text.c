/* text.c: figures as text. */
#include "core/observe/text.h"

#include <math.h>

#include "core/observe/process.h"
#include "core/plugin/plugins.h"
#include "core/util/meter.h"

uint64_t text_chosen(const struct strv *names)
{
	uint64_t chosen = 0;
	for (size_t i = 0; i < names->n; i++) {
		const char *s = names->v[i];
		if (str_starts(s, "container_runtime_"))
			s += strlen("container_runtime_");
		if (str_starts(s, "crio_"))
			s += strlen("crio_");
		for (int m = 0; m < METER_N; m++)
			if (str_eq(s, meter_infos[m].name))
				chosen |= UINT64_C(1) << m;
	}
	return chosen;
}

/* ---- one line ---- */

/* label="value", with what the form reserves in the value escaped. */
static void put_label(struct buf *out, const char *label, const char *value)
{
	buf_addf(out, "%s=\"", label);
	for (; *value; value++) {
		if (*value == '\n')
			buf_adds(out, "\\n");
		else if (*value == '"' || *value == '\\')
			buf_addf(out, "\\%c", *value);
		else
			buf_addc(out, *value);
	}
	buf_addc(out, '"');
}

static void put_number(struct buf *out, double v)
{
	if (isnan(v))
		buf_adds(out, " NaN\n");
	else
		buf_addf(out, " %.12g\n", v);
}

static void put_head(struct buf *out, const char *prefix, const char *name, const char *type, const char *help)
{
	buf_addf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", prefix, name, help, prefix, name, type);
}

/* ---- the kinds ---- */

struct series_out {
	struct buf *out;
	const struct meter_info *m;
	bool any;
};

static void head_once(struct series_out *o)
{
	if (!o->any)
		put_head(o->out, TEXT_PREFIX, o->m->name, o->m->type == METER_GAUGE ? "gauge" : "counter", o->m->help);
	o->any = true;
}

static void put_series(void *arg, const char *label1, const char *label2, uint64_t value)
{
	struct series_out *o = arg;
	head_once(o);
	buf_addf(o->out, TEXT_PREFIX "%s{", o->m->name);
	put_label(o->out, o->m->labels[0], label1);
	if (label2) {
		buf_addc(o->out, ',');
		put_label(o->out, o->m->labels[1], label2);
	}
	buf_addf(o->out, "} %llu\n", (unsigned long long)value);
}

static void put_counter(struct buf *out, enum meter id)
{
	const struct meter_info *m = &meter_infos[id];
	struct series_out o = { .out = out, .m = m };
	if (m->labels[0]) {
		meter_each(id, put_series, &o);
		return;
	}
	head_once(&o);
	buf_addf(out, TEXT_PREFIX "%s %llu\n", m->name, (unsigned long long)meter_value(id));
}

static void put_summary(struct buf *out, const struct meter_info *m, const struct meter_op_figures *f)
{
	for (size_t q = 0; q < METER_QUANTILES; q++) {
		buf_addf(out, TEXT_PREFIX "%s{", m->name);
		put_label(out, m->labels[0], f->name);
		buf_addf(out, ",quantile=\"%g\"}", meter_quantiles[q]);
		put_number(out, f->quantile_s[q]);
	}
	buf_addf(out, TEXT_PREFIX "%s_sum{", m->name);
	put_label(out, m->labels[0], f->name);
	buf_addc(out, '}');
	put_number(out, f->sum_s);
	buf_addf(out, TEXT_PREFIX "%s_count{", m->name);
	put_label(out, m->labels[0], f->name);
	buf_addf(out, "} %llu\n", (unsigned long long)f->done);
}

/* What never happened is not shown, as nobody asked for it. */
static void put_operations(struct buf *out, enum meter id)
{
	const struct meter_info *m = &meter_infos[id];
	const char *type = m->type == METER_OPS_SUMMARY ? "summary" : m->type == METER_OPS_GAUGE ? "gauge" : "counter";
	struct meter_op_figures f;
	bool any = false;
	for (int i = 0; meter_op_look(i, &f); i++) {
		uint64_t n = id == METER_ERRORS ? f.failed : f.done;
		if (m->type == METER_OPS_GAUGE ? !f.took : !n)
			continue;
		if (!any)
			put_head(out, TEXT_PREFIX, m->name, type, m->help);
		any = true;
		if (m->type == METER_OPS_SUMMARY) {
			put_summary(out, m, &f);
			continue;
		}
		buf_addf(out, TEXT_PREFIX "%s{", m->name);
		put_label(out, m->labels[0], f.name);
		buf_addc(out, '}');
		if (m->type == METER_OPS_GAUGE)
			put_number(out, f.last_s);
		else
			buf_addf(out, " %llu\n", (unsigned long long)n);
	}
}

static void put_sizes(struct buf *out, enum meter id)
{
	const struct meter_info *m = &meter_infos[id];
	uint64_t n[METER_SIZE_BUCKETS + 1], sum, all = 0;
	meter_sizes(n, &sum);
	put_head(out, TEXT_PREFIX, m->name, "histogram", m->help);
	for (size_t i = 0; i < METER_SIZE_BUCKETS; i++) {
		all += n[i];
		buf_addf(out, TEXT_PREFIX "%s_bucket{le=\"%g\"} %llu\n", m->name, (double)meter_size_bounds[i], (unsigned long long)all);
	}
	all += n[METER_SIZE_BUCKETS];
	buf_addf(out, TEXT_PREFIX "%s_bucket{le=\"+Inf\"} %llu\n", m->name, (unsigned long long)all);
	buf_addf(out, TEXT_PREFIX "%s_sum %llu\n" TEXT_PREFIX "%s_count %llu\n", m->name, (unsigned long long)sum, m->name,
		 (unsigned long long)all);
}

static void put_asked(struct buf *out, enum meter id, const struct text_args *a)
{
	const struct meter_info *m = &meter_infos[id];
	put_head(out, TEXT_PREFIX, m->name, "gauge", m->help);
	if (id == METER_DEFUNCT) {
		buf_addf(out, TEXT_PREFIX "%s %llu\n", m->name, (unsigned long long)process_defunct(a->proc));
		return;
	}
	buf_addf(out, TEXT_PREFIX "%s{", m->name);
	put_label(out, m->labels[0], a->default_runtime);
	buf_adds(out, "} 1\n");
}

static void put_meter(struct buf *out, enum meter id, const struct text_args *a)
{
	switch (meter_infos[id].type) {
	case METER_COUNTER:
	case METER_GAUGE:
		put_counter(out, id);
		break;
	case METER_OPS_COUNTER:
	case METER_OPS_GAUGE:
	case METER_OPS_SUMMARY:
		put_operations(out, id);
		break;
	case METER_SIZES:
		put_sizes(out, id);
		break;
	case METER_ASKED:
		put_asked(out, id, a);
		break;
	}
}

/* ---- this process, and the plugins ---- */

/* Under the names that Prometheus's own libraries use. */
static void put_process(struct buf *out)
{
	struct process_figures p;
	process_look(&p);
	const struct {
		const char *name, *type, *help;
		double v;
	} rows[] = {
		{ "process_cpu_seconds_total", "counter", "CPU time that this daemon has used, in seconds.", p.cpu_s },
		{ "process_open_fds", "gauge", "Its open file descriptors.", (double)p.open_fds },
		{ "process_max_fds", "gauge", "How many it may have open.", (double)p.max_fds },
		{ "process_virtual_memory_bytes", "gauge", "Its address space.", (double)p.virtual_bytes },
		{ "process_resident_memory_bytes", "gauge", "Its memory.", (double)p.resident_bytes },
		{ "process_threads", "gauge", "Its threads.", (double)p.threads },
		{ "process_start_time_seconds", "gauge", "When it started, in seconds since 1970.", p.start_s },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		put_head(out, "", rows[i].name, rows[i].type, rows[i].help);
		buf_adds(out, rows[i].name);
		put_number(out, rows[i].v);
	}
}

/* As part of a metric's name: what may not be in one becomes '_'. */
static void put_word(struct buf *out, const char *s)
{
	for (; *s; s++)
		buf_addc(out, (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ? *s : '_');
}

/* Without a type: two instances of a plugin have the same metric, and its lines need not be together then. */
static void put_plugin(void *arg, const char *kind, const char *plugin, const char *instance, const char *metric, int64_t value)
{
	struct buf *out = arg;
	buf_adds(out, TEXT_PREFIX);
	put_word(out, kind);
	buf_addc(out, '_');
	put_word(out, plugin);
	buf_addc(out, '_');
	put_word(out, metric);
	buf_addc(out, '{');
	put_label(out, "instance", str_is_utf8(instance, strlen(instance)) ? instance : "?");
	buf_addf(out, "} %lld\n", (long long)value);
}

void text_write(struct buf *out, const struct text_args *a)
{
	for (int m = 0; m < METER_N; m++)
		if (a->chosen >> m & 1)
			put_meter(out, (enum meter)m, a);
	put_process(out);
	if (a->plugins)
		plugins_each_metric(a->plugins, put_plugin, out);
}
