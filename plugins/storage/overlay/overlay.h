/* overlay.h: the inside of the overlay plugin. */
#ifndef STORAGE_OVERLAY_H
#define STORAGE_OVERLAY_H

#include <pthread.h>
#include <stdatomic.h>

#include "plugins/storage/common/layers.h"

#define OV_LINK_LEN 26
#define OV_LOWER_MAX (500 * (OV_LINK_LEN + 3)) /* the kernel's limit of lower directories */
#define OV_NEW ".crio-new-"
#define OV_DEL ".crio-del-"

struct ov {
	struct layers l; /* of <root>/overlay */
	crio_instance *in;
	int read_only; /* set once by store_open, as the next two */
	int metacopy;  /* the kernel knows the option */
	const char *backing;

	/* The reaper. mu guards work and running. */
	pthread_mutex_t mu;
	pthread_cond_t cond;
	pthread_t thread;
	int running, work;
	atomic_int stop;
	atomic_uint serial; /* of names in the trash */
};

/* link.c. A `dir` in text is an entry of home, a layer or one being made; as a number, its descriptor. */
/* Reads <dir>/link, and <dir>/lower ("" when there is none). -1 and errno. */
int ov_read_link(struct ov *o, const char *dir, char ret[OV_LINK_LEN + 1]);
int ov_read_lower(struct ov *o, const char *dir, char *buf, size_t n);
/* Writes dir's lower as a child of parent has it. */
int ov_write_lower(struct ov *o, int dir, const char *parent, crio_err *err);
/* Makes a short link of layer id, and writes its name into dir. */
int ov_write_link(struct ov *o, int dir, const char *id, char ret[OV_LINK_LEN + 1], crio_err *err);
void ov_drop_link(struct ov *o, const char *link);
/* Makes the short links of all layers again that are missing. */
void ov_repair_links(struct ov *o);
/* Removes links that lead nowhere, or are not the ones their layers know. */
void ov_drop_stale_links(struct ov *o);
/* Every short link of the list leads somewhere? Else they are made again from the layers' `link` files. */
int ov_check_lowers(struct ov *o, const char *lower, crio_err *err);

/* reap.c: renames an entry of home away and has it deleted in the background. -1 and errno. */
int ov_trash(struct ov *o, const char *name);
void ov_reaper_start(struct ov *o);
void ov_reaper_stop(struct ov *o);

/* The operations, see <crio/storage.h>. layer.c */
int ov_apply_begin(void *p, crio_call *call, const struct crio_storage_apply_args *a,
		   struct crio_storage_apply_out *out, crio_err *err);
int ov_apply_end(void *p, crio_call *call, const struct crio_storage_apply_args *a, struct crio_storage_usage_out *out,
		 crio_err *err);
int ov_layer_create(void *p, crio_call *call, const struct crio_storage_create_args *a, struct crio_storage_no_out *out,
		    crio_err *err);
int ov_remove(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_no_out *out,
	      crio_err *err);
/* mount.c */
int ov_mounts(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_mounts_out *out,
	      crio_err *err);
int ov_tree_open(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_tree_out *out,
		 crio_err *err);
int ov_info(void *p, crio_call *call, const struct crio_storage_id_args *a, struct crio_storage_map_out *out,
	    crio_err *err);
/* tree.c */
int ov_usage(void *p, crio_call *call, const struct crio_storage_usage_args *a, struct crio_storage_usage_out *out,
	     crio_err *err);
int ov_recover(void *p, crio_call *call, const struct crio_storage_recover_args *a, struct crio_storage_no_out *out,
	       crio_err *err);

#endif
