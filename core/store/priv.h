/*
 * priv.h: the inside of core/store.
 *
 * A table is one kind of record (layers, images, containers) with its lock file. Its current content is a set:
 * immutable, reference-counted, swapped under store.mu. Writers hold table.wr and the lock file, copy the set into an
 * edit, change that, and save it; readers just take a reference.
 *
 * Lock order: layers.wr, images.wr, containers.wr, then store.mu or mnt_mu or busy_mu (each alone and short). The lock
 * files follow the same order, which is that of the Go tools.
 */
#ifndef STORE_PRIV_H
#define STORE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/plugin/ops.h"
#include "core/store/store.h"
#include "core/util/fs.h"
#include "core/util/json.h"
#include "core/util/map.h"

#define STORE_FILE_MAX (64u << 20) /* layers.json and its like */
#define STORE_BIG_MAX (64u << 20)  /* one big data item */
#define STORE_RECORDS_MAX 200000u  /* records in one table */
#define STORE_DEPTH_MAX 500	   /* layers of one image; overlay's own limit is the same */
#define STORE_GC_AGE_NS (3600ll * 1000000000)
#define STORE_CLEANUP_NS (60ll * 1000000000) /* for work that goes on after its call was cancelled */

enum table_kind { T_LAYERS, T_IMAGES, T_CONTAINERS, T_KINDS };

/* One record. The strings of the public part point into o, which is never changed after rec_new. */
struct rec {
	atomic_uint refs;
	enum table_kind kind;
	bool is_volatile; /* comes from the volatile file, and is written back there */
	struct json_object *o;
	char *text; /* o as it goes into the file */
	char *id;   /* borrowed from o */
	int64_t created_ns;
	struct crio_strs names, history;
	const char **strv; /* memory of both */
	struct store_big *big;
	union {
		struct store_layer layer;
		struct store_image image;
		struct store_container ctr;
	} u;
};
#define rec_of(pub) ((struct rec *)(void *)((char *)(pub)-offsetof(struct rec, u)))

/* Takes o also on failure. CORRUPT: not a record of that kind. */
int rec_new(enum table_kind kind, struct json_object *o, bool is_volatile, bool read_only, struct rec **ret,
	    crio_err *err);
struct rec *rec_ref(struct rec *r);
void rec_unref(struct rec *r);
static inline void rec_unrefp(struct rec **r)
{
	rec_unref(*r);
}
#define cleanup_rec CLEANUP(rec_unrefp)
/* A private copy of its document, to change and give to rec_new. NULL without memory. */
struct json_object *rec_copy(const struct rec *r);
static inline bool rec_has_name(const struct rec *r, const char *name)
{
	for (size_t i = 0; i < r->names.n; i++)
		if (str_eq(r->names.v[i], name))
			return true;
	return false;
}

/* pub.v are pointers to the public parts, in file order; the same type for all three kinds. */
struct set {
	struct {
		void **v;
		size_t n;
	} pub;
	atomic_uint refs;
	struct rec **by_id; /* sorted */
};
struct set *set_ref(struct set *t);
void set_unref(struct set *t);
static inline void set_unrefp(struct set **t)
{
	set_unref(*t);
}
#define cleanup_set CLEANUP(set_unrefp)
struct rec *set_get(const struct set *t, const char *id); /* borrowed */
static inline struct rec *set_rec(const struct set *t, size_t i)
{
	return rec_of(t->pub.v[i]);
}

struct table {
	struct store *s;
	enum table_kind kind;
	pthread_mutex_t wr; /* held by who holds the lock file */
	int lock_fd;	    /* -1: a read-only store without one */
	int dirfd;	    /* of <root>/<driver>-<kind>; -1 when missing in a read-only store */
	char *dir;
	char last[64]; /* last writer that we loaded or wrote. guarded by wr */
	ssize_t last_n;
	struct file_seen {
		struct timespec mtime;
		uint64_t ino;
		int64_t size;
	} seen[2];	 /* as loaded or written; a person may have edited the file. guarded by wr */
	bool damaged;	 /* a file was quarantined: what is on disk may be more than what is recorded. guarded by wr */
	struct set *cur; /* guarded by store.mu */
};

struct edit {
	struct table *t;
	struct rec **v; /* references */
	size_t n, cap;
	bool touched[2]; /* stable file, volatile file */
};

struct busy {
	struct busy *next;
	char id[65];
};

struct mnt {
	unsigned refs;	    /* guarded by mnt_mu */
	pthread_mutex_t mu; /* held over a mount or unmount of this layer */
	bool looked;	    /* count and path are known. guarded by mu, as all below */
	unsigned count;
	char *path;
	bool direct; /* path is the driver's own directory: nothing is mounted there */
	bool own_dir; /* the mountpoint is no directory of the driver's: it goes with the mount */
	atomic_bool mounted;
	char id[65];
};

struct store {
	char *root, *runroot, *driver, *backing;
	char *image_fs, *container_fs, *driver_dir;
	struct plugin_inst *inst;
	enum crio_whiteout whiteout;
	bool read_only;
	enum fs_durability ctr_durability; /* of records that only concern containers */
	int owner_fd;			   /* <root>/crio/lock, held while we are the store's daemon; -1 */
	int journal_fd;			   /* -1: read only */
	struct table t[T_KINDS];
	pthread_mutex_t mu;
	_Atomic uint64_t generation;
	pthread_mutex_t busy_mu;
	pthread_cond_t busy_cond;
	struct busy *busy;
	pthread_mutex_t mnt_mu;
	struct map *mnts; /* layer id -> struct mnt. guarded by mnt_mu */
	pthread_mutex_t usage_mu;
	struct map *usage; /* layer id -> struct store_usage, of committed layers. guarded by usage_mu */
	int usage_fd;	   /* <root>/crio/usage, for appending; -1: read only */
};

/* ---- usage (usage.c) ---- */
int usage_open(struct store *s, crio_err *err); /* tables loaded */
void usage_release(struct store *s);
/* Asks the plugin, and keeps the answer. */
int usage_measure(struct store *s, crio_call *call, const char *id, struct store_usage *ret, crio_err *err);

/* ---- tables (table.c) ---- */
int table_init(struct table *t, struct store *s, enum table_kind kind, crio_err *err);
void table_release(struct table *t);
/* Locks, and loads what others have changed. On failure nothing is held. */
int table_lock(struct table *t, crio_call *call, bool exclusive, crio_err *err);
void table_unlock(struct table *t);
static inline void table_unlockp(struct table **t)
{
	if (*t)
		table_unlock(*t);
}
/* struct table *held = NULL; ... held = t; unlocks at the end of the scope. */
#define cleanup_table CLEANUP(table_unlockp) __attribute__((unused))
struct set *table_get(struct table *t); /* a reference */
/* Like set_get(table_get()), as a reference or NULL. */
struct rec *table_find(struct table *t, const char *id);

int edit_init(struct edit *e, struct table *t, crio_err *err); /* table locked */
void edit_release(struct edit *e);
#define cleanup_edit CLEANUP(edit_release)
struct rec *edit_get(const struct edit *e, const char *id); /* borrowed */
/* Takes r; replaces the record of that id, or appends. */
int edit_put(struct edit *e, struct rec *r, crio_err *err);
void edit_del(struct edit *e, const char *id);
int edit_save(struct edit *e, enum fs_durability d, crio_err *err);
/* After a save that failed, maybe when the file was in its place already: takes the record of that id off the disk, if it is there.
 * False: it may still be there, so what it names must stay. */
bool edit_take_back(struct table *t, const char *id, enum fs_durability d);

/* ---- journal (journal.c): ids that may be garbage after a crash ---- */
int journal_open(struct store *s, crio_err *err);
/* kind 'l' (layer; note: "", or JOURNAL_REMOVE) or 'c' (container; note: its layer). */
#define JOURNAL_REMOVE "remove" /* nobody waits for it: removed at the next look, whatever its age */
int journal_add(struct store *s, char kind, const char *id, const char *note, crio_err *err);
void journal_del(struct store *s, char kind, const char *id);
bool journal_note(struct store *s, char kind, const char *id, char *ret, size_t n); /* false: no entry */
/* Ids of that kind with the age of their entry. */
int journal_list(struct store *s, char kind, struct strv *ret, crio_err *err);
int64_t journal_age_ns(struct store *s, char kind, const char *id);

/* ---- layers (layers.c) ---- */
/* Marks the id as being made or removed in this process; false: it is already. */
int busy_take(struct store *s, crio_call *call, const char *id, bool nowait, crio_err *err);
void busy_drop(struct store *s, const char *id);
int plugin_layer_remove(struct store *s, crio_call *call, const char *id, crio_err *err);
/* Files of a layer beside its record. */
void layer_files_remove(struct store *s, const char *id);
/* Layers of `e` (locked) from `top` downwards that nothing uses any more, but for the image `but` ("" none), which is about to go:
 * removed from the edit, their ids added to gone. */
int layers_unreferenced(struct edit *e, const struct set *images, const char *but, const struct set *containers,
			const char *top, struct strv *gone, crio_err *err);
/* Removes trees and files of `gone`; the records are gone already. The first error is returned, the rest still done. */
int layers_discard(struct store *s, crio_call *call, const struct strv *gone, crio_err *err);
/* Removes a layer that another tool left incomplete. layers locked. */
int layer_incomplete_remove(struct store *s, crio_call *call, const char *id, crio_err *err);
/* maps may be NULL. */
int layer_record(const char *id, const char *parent, const char *mount_label, const struct id_maps *maps, struct json_object **ret);
int record_maps(struct json_object *o, const struct id_maps *maps); /* "uidmap", "gidmap", when there are any. NOMEM */

/* ---- mounts (mounts.c, mount.c) ---- */
void mnts_release(struct store *s);
int mnt_unmount(struct store *s, crio_call *call, const char *layer, bool force, crio_err *err);
void mnt_forget(struct store *s, const char *layer);
/* Mounts the rows over each other at path. userns: a user namespace by whose maps ids are shown; -1 as they are. Of an overlay the
 * lower directories are mapped (the upper one's files have the mapped owners on disk), of all else the mount. */
int mount_rows(const struct crio_mount_rows *rows, int userns, const char *path, crio_err *err);
/* An overlay with mapped lower directories, for kernels that want those by path (before 6.15): they are mounted where only a
 * short-lived thread sees them. */
int mount_overlay_apart(const struct crio_mount_row *row, int userns, const char *path, crio_err *err);
/* One row with mount(2), for kernels without the new way. */
int mount_row_old(const struct crio_mount_row *row, const char *path, crio_err *err);

/* ---- recovery (recover.c) ---- */
int store_recover(struct store *s, crio_call *call, crio_err *err);
/* Directories of a container below both roots. */
int container_dirs_remove(struct store *s, const char *id, crio_err *err);

/* Big data file name of a key ("manifest" stays, others become "=base64"). The caller's; NULL without memory. */
char *big_file_name(const char *key);
/* INVALID unless it is 64 hexadecimal digits. */
int id_check(const char *what, const char *id, crio_err *err);
/* A copy of `call` that its cancellation does not touch, with STORE_CLEANUP_NS. */
crio_call *cleanup_new_call(crio_call *call);

/* Locks m, waiting until until_ns (monotonic) at the longest; CALL_NO_DEADLINE: as long as it takes. False: not locked. */
static inline bool lock_until(pthread_mutex_t *m, int64_t until_ns)
{
	if (until_ns == CALL_NO_DEADLINE)
		return pthread_mutex_lock(m) == 0;
#ifdef __SANITIZE_THREAD__
	/* It does not know pthread_mutex_clocklock, and would take the unlock for a mistake. */
	for (struct timespec ms = {0, 1000000}; pthread_mutex_trylock(m); (void)nanosleep(&ms, NULL))
		if (now_mono_ns() >= until_ns)
			return false;
	return true;
#else
	struct timespec until = {(time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000)};
	return pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &until) == 0;
#endif
}

#endif
