/*
 * images_priv.h: inside core/image: the catalogue's state. Lock order: build_lock or open_lock, then lock. `lock` is never
 * held over a store's or plugin's work, network or disk; the other two exist to be held while one thread reads configs or
 * opens a store.
 */
#ifndef IMAGE_IMAGES_PRIV_H
#define IMAGE_IMAGES_PRIV_H

#include <pthread.h>

#include "core/conf/conf.h"
#include "core/conf/registries.h"
#include "core/image/image.h"
#include "core/image/manifest.h"
#include "core/image/reference.h"
#include "core/image/registry.h"
#include "core/store/store.h"

#define STORES_MAX 16
#define PULLS_MAX 64 /* transfers at a time */

struct pull;

/* One state of all images; immutable once published, refcounted under images.lock. */
struct catalog {
	int refs;
	struct image **v; /* newest first */
	size_t n;
	const struct store_images *snap[STORES_MAX]; /* what it was made from: another pointer means a change */
	size_t n_snap;
	uint64_t pins; /* generation of the pinned patterns it was made with */
};

struct images {
	struct plugins *plugins;
	struct http *http;
	char *certs_dir; /* NULL: default places */
	char *auth_file; /* NULL: conf's, then the default places */
	char *user_agent;

	pthread_mutex_t open_lock; /* held while a store is opened, so that it is opened once */
	pthread_mutex_t lock;	   /* guards what follows */
	const struct conf *conf;
	const struct registries *registries;
	uint64_t pins;
	struct {
		char *driver;
		struct store *store;
	} stores[STORES_MAX];
	_Atomic size_t n_stores; /* entries below it never change */
	struct catalog *catalog;
	pthread_mutex_t build_lock; /* one thread makes a new catalogue; taken before `lock` */
	image_in_use_fn in_use;
	void *in_use_arg;

	struct pull *pulls;	    /* in progress */
	size_t n_pulls;		    /* transfer threads at work */
	pthread_t ended[PULLS_MAX]; /* those that have ended and were not joined yet */
	size_t n_ended;
	pthread_cond_t pulls_idle;
	struct images_stats stats;
};

/* References to what is in force now. */
const struct conf *images_conf(struct images *is);
const struct registries *images_registries(struct images *is);

/* stores.c */
int stores_open_all(struct images *is, crio_call *call, crio_err *err);
void stores_close_all(struct images *is);

/* catalog.c: brings the catalogue up to date and gives a reference. */
int catalog_get(struct images *is, struct catalog **ret, crio_err *err);
void catalog_put(struct images *is, struct catalog *c);
struct image *image_new(const char *id); /* NULL without memory */
/* Reads one image of a store, names and all. */
struct image *catalog_by_id(const struct catalog *c, const char *id); /* borrowed, or NULL */
/* A prefix of exactly one image's id. */
struct image *catalog_by_prefix(const struct catalog *c, const char *prefix);
/* By a name it has, or by digest in one of its repositories. */
struct image *catalog_by_ref(const struct catalog *c, const struct reference *ref);
/* Manifest and config of a recorded image; the config's key is its digest. */
int image_read_config(struct store *s, const struct store_image *si, char **ret_config, size_t *ret_n,
		      struct kvs *annotations, crio_err *err);

/* resolve.c: what a client's text may mean. */
struct references {
	struct reference *v;
	size_t n;
};
void references_release(struct references *r);
#define cleanup_references CLEANUP(references_release)
int images_candidates(struct images *is, const char *text, struct references *ret, crio_err *err);
/* "repo[:tag]" patterns of crio.conf's pinned_images and the pause image. */
bool pinned_match(const struct conf *conf, const char *name);
/* Is the text an id: 64 hex, perhaps after "sha256:"? Returns the hex or NULL. */
const char *image_id_of_text(const char *text);

/* policy.c: may this image be used? ref_text: "docker.io/library/busybox:latest". DENIED "SignatureValidationFailed:
 * ..." */
int policy_check(const struct conf *conf, const char *pod_namespace, const struct reference *ref, crio_err *err);
/* One document; for tests. */
int policy_check_text(const char *text, size_t n, const struct reference *ref, crio_err *err);

/* pull.c: joins the threads that have ended; images.lock is held. */
void pulls_join_locked(struct images *is);

/* layers.c: an image's layers into a store. */
struct layers_args {
	struct images *is;
	struct store *store;
	const struct strv *diff_ids;
	const struct descriptor *blobs;	   /* as many as diff_ids; NULL: from other stores only */
	struct registry_session *session;  /* for blobs */
	_Atomic int64_t *last_progress_ns; /* may be NULL */
	const char *name;		   /* of the image, for what is counted; with blobs */
};
/* All layers are in the store afterwards; ret_top is the top one's id, "" without layers. */
int layers_fetch(const struct layers_args *a, crio_call *call, char ret_top[65], crio_err *err);

/* Records the image in the store and takes its names from other images in all stores. */
int images_record(struct images *is, crio_call *call, struct store *s, const struct store_image_args *a, crio_err *err);
/* Takes the name from every image but `keep` in every store but `but` (may be NULL). */
int images_take_name(struct images *is, crio_call *call, const char *name, const char *keep, const struct store *but,
		     crio_err *err);

#endif
