/*
 * plugins.h: the plugin host as the rest of the core sees it: which plugins are there, instances of them, what they emit.
 * Calls into an instance are in ops.h. Thread-safe.
 */
#ifndef PLUGIN_PLUGINS_H
#define PLUGIN_PLUGINS_H

#include <crio/plugin.h>
#include <stdbool.h>

#include "core/exec/call.h"
#include "core/util/str.h"

struct loop;
struct workers;
struct plugins;
struct plugin_inst;

struct plugins_args {
	const char *dir;         /* CRIO_PLUGINDIR */
	const char *options_dir; /* /etc/crio/plugins.d; need not exist */
	const char *state_dir;   /* of records that survive a reboot */
	const char *run_dir;     /* of records that do not */
	const char *probe_path;  /* the crio binary for probing new files, NULL: no probe (tests) */
	bool remember;           /* files that have passed the probe in this boot are not probed again: for the daemon alone, as run_dir has one such record */
	struct loop *loop;
	struct workers *workers;
	/* Told of each operation that breaks the rule "an error is set if, and only if, the operation fails"; the host mends the
	 * result all the same. May be NULL. Called on the operation's thread. For the conformance tool. */
	void (*breach)(void *arg, const char *op, const char *what);
	void *breach_arg;
};

/* Looks at <dir>/<kind>/ and loads what is sound. Files that are refused are kept in the list with their reason; none of them
 * makes this fail. */
int plugins_new(const struct plugins_args *args, struct plugins **ret, crio_err *err);
/* All instances must have been released. */
void plugins_free(struct plugins *p);
/* Loads files that have appeared since. Loaded code is never replaced. */
void plugins_rescan(struct plugins *p);
/* Reads plugins.d again for every open instance: reloadable options change, and plugins that have a reload operation are told. What
 * fails is logged, and that instance keeps its options. Takes as long as the plugins do. */
void plugins_reload(struct plugins *p);

/* Opens an instance of plugin `name`, or references the one that is open under this (kind, name, instance). `options` win over
 * plugins.d and defaults; may be NULL. NOT_FOUND names the plugins that are there, or repeats why the file was refused. */
int plugins_open(struct plugins *p, crio_call *call, enum crio_kind kind, const char *name, const char *instance,
		 const struct kvs *options, struct plugin_inst **ret, crio_err *err);
struct plugin_inst *plugin_inst_ref(struct plugin_inst *in);
void plugin_inst_unref(struct plugin_inst *in); /* closes at the last; NULL is fine */
/* The plugin's check operation: can it work here? 0 when it has none. */
int plugin_inst_check(struct plugin_inst *in, crio_call *call, crio_err *err);
const char *plugin_inst_plugin(const struct plugin_inst *in);   /* "crun" */
const char *plugin_inst_name(const struct plugin_inst *in);     /* the instance's */
uint64_t plugin_inst_caps(const struct plugin_inst *in);
bool plugin_inst_has_op(const struct plugin_inst *in, const char *op); /* "exec_resize" */

/* Events of an instance. Called on the thread the plugin emits from: must be short and must not call into plugins. Strings live
 * until it returns. One listener an instance. */
typedef void (*plugin_event_fn)(void *arg, struct plugin_inst *in, int type, const void *event);
void plugin_inst_listen(struct plugin_inst *in, plugin_event_fn fn, void *arg);

/* Is there a file (or linked-in plugin) of that name? Says nothing about its soundness. */
bool plugins_has(struct plugins *p, enum crio_kind kind, const char *name);
/* Does the plugin declare that option? Loads it; false when it cannot be loaded. */
bool plugins_has_option(struct plugins *p, enum crio_kind kind, const char *name, const char *option);

/* What is there, for `crio plugins list`. */
struct plugin_info {
	enum crio_kind kind;
	const char *name, *path, *version, *summary;
	const char *refused;      /* reason, NULL when it is loaded */
	const struct crio_plugin *desc; /* NULL when refused */
	size_t instances;
	const void *module;       /* the host's */
};
/* The operations of a kind, by number, for `describe`; and whether a loaded plugin has one. */
size_t plugin_ops_count(enum crio_kind kind);
const char *plugin_op_name(enum crio_kind kind, size_t i);
bool plugin_info_has_op(const struct plugin_info *info, size_t i);
/* Calls fn for each, sorted by kind and name; info lives until fn returns. */
void plugins_each(struct plugins *p, void (*fn)(void *arg, const struct plugin_info *info), void *arg);
/* Calls fn for each counter of each instance: what metric_add() of the host has added up. fn must not call into plugins. */
void plugins_each_metric(struct plugins *p,
			 void (*fn)(void *arg, const char *kind, const char *plugin, const char *instance, const char *metric, int64_t value),
			 void *arg);
const char *plugin_kind_name(enum crio_kind kind); /* "runtime" */

#endif
