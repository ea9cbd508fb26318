/*
 * layers.h: what the storage plugins share, linked into each of them: layers as entries, named by their ids, of one
 * directory; errors of the system as codes; what a plugin answers with.
 */
#ifndef STORAGE_LAYERS_H
#define STORAGE_LAYERS_H

#include <crio/storage.h>
#include <dirent.h>

/* A plugin's directory. Set once, by store_open; then read by any thread. */
struct layers {
	const struct crio_host *host;
	char *home; /* its path, for messages and mount sources; the plugin's */
	int fd;	    /* of the directory that has the layers; -1 before store_open */
};

/* errno as a code; "<what> <home>/<name>: <why>". Returns the code, as all here that take an err. */
int layers_code(int errnum);
int layers_fail_errno(const struct layers *l, crio_err *err, const char *what, const char *name);

/* 64 lower-case hexadecimal digits? */
int layers_is_id(const char *s);
/* PRECONDITION before store_open; INVALID: no id. In _ids, parent may be "". */
int layers_check_open(const struct layers *l, crio_err *err);
int layers_check_id(const struct layers *l, const char *id, crio_err *err);
int layers_check_ids(const struct layers *l, const char *id, const char *parent, crio_err *err);
/* Also NOT_FOUND. */
int layers_check_there(const struct layers *l, const char *id, crio_err *err);
/* UNSUPPORTED unless the kernel has the file system, built in or as a module, which this loads. */
int layers_check_kernel(const struct layers *l, const char *fs, crio_err *err);

/* Is there an entry of that name? No link is followed. */
int layers_exists(int dir, const char *name);
/* A stream of its own over sub of dir. NULL and errno. */
DIR *layers_dir(int dir, const char *sub);
/* The ids of all whole layers, in the call's memory. `where` names the directory below home in messages. */
int layers_list(const struct layers *l, crio_call *call, const char *where, struct crio_storage_strs_out *out,
		crio_err *err);
/* One row, target "" (the mountpoint), its options borrowed. NOMEM also when source is NULL. */
int layers_row(const struct layers *l, crio_call *call, const char *type, const char *source, struct crio_strs options,
	       struct crio_storage_mounts_out *out, crio_err *err);

#endif
