/* template.c: the table written out: crio.conf with comments, plain TOML, the list of what is not acted on, crio.conf(5). */
#include "core/conf/conf_int.h"

static void comment(const char *text, struct buf *out)
{
	cleanup_strv struct strv lines = STRV_INIT;

	if (str_split(text, '\n', &lines) < 0) {
		out->oom = true;
		return;
	}
	for (size_t i = 0; i < lines.n; i++)
		buf_addf(out, "# %s\n", lines.v[i]);
}

/* A TOML key: bare where that is possible. */
static void add_name(const char *s, struct buf *out)
{
	if (*s && !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")])
		buf_adds(out, s);
	else
		toml_quote(s, out);
}

static bool in_file(const struct conf_key *k, const struct conf *c, const struct conf *defaults)
{
	if (k->flags & KEY_FLAG_ONLY)
		return false;
	/* Old keys that stand for another one are shown only while they say something. */
	if ((k->flags & KEY_NO_FLAG) && (k->flags & KEY_DEPRECATED))
		return defaults && !key_equal(k, c, defaults);
	return true;
}

/* A table without entries is written as a comment: people add it by a line of their own, and twice is an error. */
static const char *map_prefix(const struct conf_key *k, const void *base, const char *prefix)
{
	const struct kvs *m = (const void *)((const char *)base + k->offset);

	return m->n ? prefix : "# ";
}

static void write_entry_keys(const struct conf_key *rows, size_t n, const void *base, const char *prefix, struct buf *out)
{
	for (size_t i = 0; i < n; i++)
		if (!strstr(rows[i].table, ">.") && rows[i].type != KEY_MAP)
			key_write(&rows[i], base, prefix, out);
	for (size_t i = 0; i < n; i++)
		if (rows[i].type == KEY_MAP)
			key_write(&rows[i], base, map_prefix(&rows[i], base, prefix), out);
}

static void write_runtimes(const struct conf *c, const struct conf *defaults, bool help, struct buf *out)
{
	if (help) {
		buf_adds(out, "# Runtime handlers, by the name that a RuntimeClass uses. An entry given again replaces the whole entry.\n#\n");
		for (size_t i = 0; i < runtime_keys_n; i++) {
			cleanup_free char *text = NULL;
			cleanup_buf struct buf b = BUF_INIT;
			buf_addf(&b, "- %s (%s): %s", runtime_keys[i].name, key_type_text(&runtime_keys[i]), runtime_keys[i].help);
			text = buf_take(&b);
			comment(text ? text : "", out);
		}
	}
	for (size_t i = 0; i < c->runtime.n_runtimes; i++) {
		const struct conf_runtime *h = &c->runtime.runtimes[i];
		const struct conf_runtime *d = defaults ? conf_find_runtime(defaults, h->name) : NULL;
		const char *prefix = d && keys_equal(runtime_keys, runtime_keys_n, h, d) ? "# " : "";

		buf_addf(out, "%s[crio.runtime.runtimes.", prefix);
		add_name(h->name, out);
		buf_adds(out, "]\n");
		write_entry_keys(runtime_keys, runtime_keys_n, h, prefix, out);
		buf_addc(out, '\n');
	}
}

static void write_workloads(const struct conf *c, bool help, struct buf *out)
{
	if (help) {
		buf_adds(out, "# Workloads: settings for pods with an annotation.\n#\n");
		for (size_t i = 0; i < workload_keys_n; i++)
			buf_addf(out, "# - %s%s (%s): %s\n", strstr(workload_keys[i].table, ">.") ? "resources." : "",
				 workload_keys[i].name, key_type_text(&workload_keys[i]), workload_keys[i].help);
		buf_adds(out, "#\n# Example:\n# [crio.runtime.workloads.management]\n"
			      "# activation_annotation = \"target.workload.example.com/management\"\n"
			      "# annotation_prefix = \"resources.workload.example.com\"\n"
			      "# [crio.runtime.workloads.management.resources]\n# cpushares = 2\n# cpuset = \"0-1\"\n\n");
	}
	for (size_t i = 0; i < c->runtime.n_workloads; i++) {
		const struct conf_workload *w = &c->runtime.workloads[i];

		buf_adds(out, "[crio.runtime.workloads.");
		add_name(w->name, out);
		buf_adds(out, "]\n");
		write_entry_keys(workload_keys, workload_keys_n, w, "", out);
		buf_adds(out, "[crio.runtime.workloads.");
		add_name(w->name, out);
		buf_adds(out, ".resources]\n");
		for (size_t j = 0; j < workload_keys_n; j++)
			if (strstr(workload_keys[j].table, ">."))
				key_write(&workload_keys[j], w, "", out);
		buf_addc(out, '\n');
	}
}

/* All keys; those equal to the defaults behind "# ". The tables' headers are never commented. */
static void write_all(const struct conf *c, const struct conf *defaults, bool help, struct buf *out)
{
	for (size_t t = 0; t < conf_tables_n; t++) {
		if (help)
			comment(conf_tables[t].help, out);
		buf_addf(out, "[%s]\n%s", conf_tables[t].name, help ? "\n" : "");
		for (size_t i = 0; i < conf_keys_n; i++) {
			const struct conf_key *k = &conf_keys[i];

			if (strcmp(k->table, conf_tables[t].name) != 0 || !in_file(k, c, defaults))
				continue;
			if (help) {
				comment(k->help, out);
				if (k->flags & KEY_DEPRECATED)
					buf_adds(out, "# This option is deprecated.\n");
				if (k->flags & KEY_RELOAD)
					buf_adds(out, "# This option supports live configuration reload.\n");
				if (k->flags & KEY_TODO)
					buf_adds(out, "# Read and checked, but nothing acts on it yet.\n");
			}
			key_write(k, c, defaults && key_equal(k, c, defaults) ? "# " : "", out);
			if (help)
				buf_addc(out, '\n');
		}
		if (!help)
			buf_addc(out, '\n');
		if (!strcmp(conf_tables[t].name, "crio.runtime")) {
			write_runtimes(c, defaults, help, out);
			write_workloads(c, help, out);
		}
	}
}

char *conf_template(const struct conf *c, const struct conf *defaults)
{
	struct buf b = BUF_INIT;

	buf_adds(&b, "# crio.conf: configuration of the container runtime daemon crio. See crio.conf(5).\n"
		     "# Files in /etc/crio/crio.conf.d are read after this one; what they set wins, and flags win over files.\n"
		     "# `crio config` prints the configuration in effect in this form.\n\n");
	write_all(c, defaults, true, &b);
	return buf_take(&b);
}

char *conf_toml(const struct conf *c)
{
	struct buf b = BUF_INIT;

	write_all(c, NULL, false, &b);
	return buf_take(&b);
}

static void list_todo(const struct conf_key *rows, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		char flag[96];
		if (!(rows[i].flags & KEY_TODO))
			continue;
		if ((rows[i].flags & KEY_FLAG_ONLY) && key_flag(&rows[i], flag))
			buf_addf(out, "--%s\n", flag);
		else
			buf_addf(out, "%s.%s\n", rows[i].table, rows[i].name);
	}
}

char *conf_unimplemented(void)
{
	struct buf b = BUF_INIT;

	list_todo(conf_keys, conf_keys_n, &b);
	list_todo(runtime_keys, runtime_keys_n, &b);
	list_todo(workload_keys, workload_keys_n, &b);
	return buf_take(&b);
}

/* ---- crio.conf(5) */

static void man_text(const char *s, struct buf *out)
{
	bool start = true;

	for (; *s; s++) {
		if (start && (*s == '.' || *s == '\''))
			buf_adds(out, "\\&");
		start = *s == '\n';
		if (*s == '\\')
			buf_adds(out, "\\e");
		else
			buf_addc(out, *s);
	}
}

static void man_key(const struct conf_key *k, struct buf *out)
{
	char flag[96], env[96];

	buf_addf(out, ".It Ic %s Pq %s\n", k->name, key_type_text(k));
	man_text(k->help, out);
	buf_addc(out, '\n');
	if (k->dflt && *k->dflt) {
		buf_adds(out, "Default:\n.Li ");
		man_text(k->dflt, out);
		buf_adds(out, " .\n");
	}
	if (k->flags & KEY_DEPRECATED)
		buf_adds(out, "Deprecated.\n");
	if (k->flags & KEY_RELOAD)
		buf_adds(out, "Changes at SIGHUP.\n");
	if (k->flags & KEY_OURS)
		buf_adds(out, "Not in CRI-O, which ignores it.\n");
	if (k->flags & KEY_TODO)
		buf_adds(out, "Read and checked, but nothing acts on it yet.\n");
	if (!str_starts(k->table, "crio.runtime.runtimes.") && !str_starts(k->table, "crio.runtime.workloads.") && key_flag(k, flag)) {
		buf_addf(out, "Flag:\n.Fl -%s", flag);
		if (key_env(k, env))
			buf_addf(out, " ,\nvariable:\n.Ev %s", env);
		buf_adds(out, " .\n");
	}
}

static void man_list(const struct conf_key *rows, size_t n, const char *table, struct buf *out)
{
	buf_adds(out, ".Bl -tag -width Ds\n");
	for (size_t i = 0; i < n; i++)
		if (!strcmp(rows[i].table, table) && !(rows[i].flags & KEY_FLAG_ONLY))
			man_key(&rows[i], out);
	buf_adds(out, ".El\n");
}

static const char man_head[] =
	".Dd November 1, 2026\n.Dt CRIO.CONF 5\n.Os\n.Sh NAME\n.Nm crio.conf\n.Nd configuration of the container runtime daemon crio\n"
	".Sh SYNOPSIS\n.Pa /etc/crio/crio.conf\n.Pa /etc/crio/crio.conf.d/*\n.Sh DESCRIPTION\n"
	"The configuration is TOML.\nKeys are matched without regard to case, and unknown keys are ignored.\n"
	"A value of the wrong type, or one that is not allowed, stops the start; the message names file, line and key.\n.Pp\n"
	"Values come from, the later winning: the built-in defaults, with those of\n.Pa /etc/containers/storage.conf ;\n"
	".Pa /etc/crio/crio.conf\n(or the file of\n.Fl c ) ;\nthe files in\n.Pa /etc/crio/crio.conf.d\n(or the directory of\n.Fl d ) ,\n"
	"its directories too, in the order of their names, whatever those are; environment variables; flags.\n"
	"A list replaces the list before it, except that\n.Ic storage_option\nis added to.\n"
	"An entry of\n.Ic runtimes\nor\n.Ic workloads\nthat is given again replaces the whole entry.\n.Pp\n"
	"SIGHUP makes the daemon read everything again.\nOnly the keys marked below change then; a file with a mistake changes nothing.\n"
	"Flags and the environment win over files until a reload finds the value changed in a file, which then wins.\n"
	".Pp\nDurations are written like\n.Dq 1m30s .\nThe command\n.Dq crio config\n"
	"prints the configuration in effect, and\n.Dq crio config --default\nthe defaults.\n";

static const char man_foot[] =
	".Sh SELECTION OF PLUGINS\nThe handler decides:\n.Ic runtime_plugin ,\n.Ic storage_plugin\nand\n.Ic network_plugin\n"
	"of its entry.\nA workload may change storage and network.\nIt may change the runtime of pods that name no handler; for pods that name one, "
	"only where that handler sets\n.Ic allow_workload_runtime .\n"
	"Options for a plugin come from, the later winning: its own defaults;\n.Pa <options_dir>/<kind>-<name>.conf ;\n"
	"for storage,\n.Ic storage_option ;\nand\n.Ic runtime_options ,\n.Ic storage_options\nor\n.Ic network_options\nof the handler.\n"
	".Sh FILES\n.Bl -tag -width Ds\n.It Pa /etc/crio/crio.conf\n.It Pa /etc/crio/crio.conf.d\n.It Pa /etc/crio/plugins.d\n"
	"Options of plugins.\n.It Pa /etc/containers/storage.conf\n.It Pa /etc/containers/registries.conf\n.El\n"
	".Sh SEE ALSO\n.Xr crio 8 ,\n.Xr containers-registries.conf 5 ,\n.Xr containers-storage.conf 5\n";

char *conf_manual(void)
{
	static const char runtimes[] = "crio.runtime.runtimes.<name>", workloads[] = "crio.runtime.workloads.<name>";
	struct buf b = BUF_INIT;

	buf_adds(&b, man_head);
	for (size_t t = 0; t < conf_tables_n; t++) {
		buf_addf(&b, ".Sh TABLE [%s]\n", conf_tables[t].name);
		man_text(conf_tables[t].help, &b);
		buf_addc(&b, '\n');
		man_list(conf_keys, conf_keys_n, conf_tables[t].name, &b);
		if (strcmp(conf_tables[t].name, "crio.runtime") != 0)
			continue;
		buf_addf(&b, ".Sh TABLE [%s]\nA runtime handler: the name is that of a RuntimeClass's handler.\n"
			     "A handler that cannot work is left out with a warning; the default one must work.\n", runtimes);
		man_list(runtime_keys, runtime_keys_n, runtimes, &b);
		buf_addf(&b, ".Sh TABLE [%s]\nSettings for pods with an annotation.\nOf several that match, the first by name counts.\n",
			 workloads);
		man_list(workload_keys, workload_keys_n, workloads, &b);
		buf_addf(&b, ".Sh TABLE [%s.resources]\nResources of the workload's containers.\n", workloads);
		man_list(workload_keys, workload_keys_n, "crio.runtime.workloads.<name>.resources", &b);
	}
	buf_adds(&b, man_foot);
	return buf_take(&b);
}
