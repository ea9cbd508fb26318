/*
 * inner.h: the plugin host's own structures. Private to core/plugin.
 *
 * Lock order: plugins.lock, plugin_inst.lock. Neither is held over plugin code, dlopen's constructors excepted
 * (plugins.load_lock, taken alone, serialises loading).
 */
#ifndef PLUGIN_INNER_H
#define PLUGIN_INNER_H

#include <ltdl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "core/exec/loop.h"
#include "core/exec/workers.h"
#include "core/plugin/fields.h"
#include "core/plugin/ops.h"
#include "core/plugin/plugins.h"
#include "core/util/map.h"

/* ---- operations (dispatch.c) ---- */

enum lock_class { CLASS_MAIN, CLASS_CONTROL, CLASS_FREE };

enum op_index {
#define OP(kind, op, class, args_t, out_t, id_field) OP_##kind##_##op,
#include "core/plugin/ops.def"
#undef OP
	OP_COUNT
};

struct op_desc {
	enum crio_kind kind;
	const char *name;
	enum lock_class class;
	size_t offset;      /* of its pointer in the kind's ops struct */
	size_t args_size, out_size;
	size_t id_offset;   /* 0: no object */
	const struct field *args, *out;
	int (*run)(const void *ops, void *self, crio_call *call, const void *args, void *out, crio_err *err);
};
extern const struct op_desc op_descs[OP_COUNT];

struct op_stats {
	_Atomic uint64_t calls, failures, total_ns, max_ns;
};

/* ---- modules (loader.c) ---- */

union any_ops {
	struct crio_runtime_ops runtime;
	struct crio_storage_ops storage;
	struct crio_network_ops network;
	struct crio_hook_ops hook;
};

/* A plugin file, or a plugin linked in. Lives as long as the host. Fields are set under plugins.load_lock before `desc.name`
 * becomes visible through `loaded`. */
struct module {
	struct plugins *host;
	enum crio_kind kind;
	char *name;         /* from the file */
	char *path;         /* "(linked in)" for static ones */
	bool linked_in;
	_Atomic bool loaded;
	char *refused;      /* reason; guarded by plugins.lock */
	dev_t dev;          /* of the file that was looked at */
	ino_t ino;
	int64_t ctime_ns;     /* also changes with owner and mode, and when a file is moved */
	off_t file_size;
	bool passed_before; /* its probe, in an earlier daemon */
	lt_dlhandle handle;
	struct crio_plugin desc; /* copied, zero beyond the plugin's own size */
	union any_ops ops;       /* likewise */
	size_t instances;        /* guarded by plugins.lock */
	struct module *next;
};

struct plugins {
	struct plugins_args args; /* strings owned */
	pthread_mutex_t load_lock;
	pthread_mutex_t lock;     /* modules' list and counts, instances */
	struct module *modules;
	struct plugin_inst *instances;
	pthread_mutex_t reload_lock; /* one reload at a time; taken first */
	char *verdicts; /* of an earlier daemon's probes, NULL: none; set before the first load */
	bool settled;   /* the start is through: verdicts are kept from here on; guarded by load_lock */
};

/* Looks at the directories and adds what is new; no code is loaded. Called with load_lock. */
void loader_scan(struct plugins *p);
/* Checks, probes and loads; 0 when it is loaded already. Called with load_lock. */
int loader_load(struct module *m, crio_err *err);
/* The static ones. */
void loader_add_linked(struct plugins *p);
/* The descriptor's own soundness (magic, ABI, kind, name, ...), and the copies in m. */
int loader_take_desc(struct module *m, const struct crio_plugin *d, crio_err *err);
/* Owner, mode, type of the file and of its parents. */
int loader_check_file(const char *path, struct stat *ret, crio_err *err);
/* Its ELF segments lie within it. */
int elf_check(const char *path, crio_err *err);
/* Runs `<probe_path> --probe-plugin <kind> <path> <directory>`. */
int probe_run(struct module *m, crio_err *err);
/* Removes what probes left in run_dir whose maker was killed. */
void probe_sweep(const char *run_dir);

/* verdicts.c: probes that need not be run again. Called with load_lock, but for the first. */
void verdicts_read(struct plugins *p); /* takes the record away; only a host that was told to remember has one */
/* Has this very file, by what loader_load has noted of it, passed? */
bool verdicts_has(const struct module *m);
void verdicts_write(struct plugins *p);

/* ---- instances ---- */

/* The SDK's crio_instance. */
struct crio_instance {
	struct plugin_inst *in;
};

/* One object with an operation in progress (PER_OBJECT), or the whole instance (SERIAL). */
struct object {
	char *id;
	bool busy[2];      /* by CLASS_MAIN, CLASS_CONTROL */
	bool stuck[2];     /* busy by an abandoned call */
	int waiters;
	struct object *next;
};

/* Options of an instance. They live until it is closed: an operation may have asked for a string just before a reload. */
struct inst_options {
	struct kvs kv;     /* canonical */
	struct map *lists; /* name -> struct strv *, made when asked for; guarded by plugin_inst.lock */
	struct inst_options *older;
};
struct inst_options *inst_options_new(void); /* NULL without memory */
void inst_options_free(struct inst_options *o); /* with the older ones */

struct plugin_inst {
	struct crio_instance handle;
	struct plugins *host;
	struct module *mod;
	char *name;
	void *self;
	struct kvs given;         /* settings of who opened it; they win over plugins.d */
	_Atomic int refs;
	int opening;              /* guarded by plugins.lock: 1 while its open runs */
	pthread_mutex_t lock;     /* guards the rest */
	pthread_cond_t changed;   /* an object became free */
	struct object *objects;
	int stuck;                /* abandoned threads */
	struct inst_options *options; /* those in force; replaced by reload only */
	plugin_event_fn listener;
	void *listener_arg;
	int ready;                /* last CRIO_EVENT_READY: -1 none yet */
	char *ready_reason, *ready_message;
	struct map *metrics;      /* name -> int64_t * */
	struct op_stats stats[OP_COUNT];
	struct plugin_inst *next; /* plugins.instances */
};

/* Takes a reference unless the last one is just going away. */
bool plugin_inst_try_ref(struct plugin_inst *in);
/* The plugin's own reload, in its turn. */
int plugin_inst_call_reload(struct plugin_inst *in, crio_call *call, crio_err *err);

#define STUCK_MAX 8

extern const struct crio_host host_table;

/* state.c */
/* Before the plugin is opened: what a killed daemon was writing. */
void state_sweep(const struct plugin_inst *in);
int state_put(struct plugin_inst *in, const char *key, struct crio_bytes v, int durability, crio_err *err);
int state_get(struct plugin_inst *in, crio_call *call, const char *key, struct crio_bytes *ret, crio_err *err);
int state_del(struct plugin_inst *in, const char *key, crio_err *err);
int state_list(struct plugin_inst *in, crio_call *call, struct crio_strs *ret, crio_err *err);

#endif
