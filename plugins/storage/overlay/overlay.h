/* overlay.h: the inside of the overlay plugin. */
#ifndef STORAGE_OVERLAY_H
#define STORAGE_OVERLAY_H

#include <crio/storage.h>
#include <pthread.h>
#include <stdatomic.h>

#define OV_LINK_LEN 26
#define OV_NEW ".crio-new-"
#define OV_DEL ".crio-del-"

struct ov {
	const struct crio_host *host;
	crio_instance *in;
	char *home; /* <root>/overlay; set once by store_open, as all of these */
	int fd;	    /* of home; -1 before store_open */
	int read_only;
	int metacopy; /* the kernel knows the option */
	const char *backing;

	/* The reaper. mu guards work and running. */
	pthread_mutex_t mu;
	pthread_cond_t cond;
	pthread_t thread;
	int running, work;
	atomic_int stop;
	atomic_uint serial; /* of names in the trash */
};

int ov_fail_errno(struct ov *o, crio_err *err, const char *what, const char *name);
int ov_is_id(const char *s);
/* Reads <dir>/link. -1 and errno. */
int ov_read_link(struct ov *o, const char *dir, char ret[OV_LINK_LEN + 1]);
int ov_make_link(struct ov *o, const char *link, const char *id);
/* Makes the short links of all layers again that are missing, and removes those that lead nowhere. */
void ov_repair_links(struct ov *o);

/* reap.c: renames an entry of home away and has it deleted in the background. -1 and errno. */
int ov_trash(struct ov *o, const char *name);
void ov_reaper_start(struct ov *o);
void ov_reaper_stop(struct ov *o);

/* tree.c */
int ov_list(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_strs_out *out,
	    crio_err *err);
int ov_usage(void *p, crio_call *call, const struct crio_storage_usage_args *a, struct crio_storage_usage_out *out,
	     crio_err *err);
int ov_recover(void *p, crio_call *call, const struct crio_storage_recover_args *a, struct crio_storage_no_out *out,
	       crio_err *err);

#endif
