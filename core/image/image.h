/*
 * image.h: images as the rest of the daemon sees them: one catalogue over all stores. There is one store per storage
 * plugin instance; the default one comes first and owns crio.conf's `root`. An image is known by its id (the hex of its
 * config's digest) whatever store holds its layers: lists are the union, untagging and pins are global.
 *
 * Everything here is thread-safe. Functions that take a call honour its deadline and cancellation. Strings handed out
 * in `ret_` pointers are the caller's; those inside a struct image live as long as a reference to it.
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/exec/call.h"
#include "core/util/str.h"

struct conf;
struct plugins;
struct store;
struct images;

/* ---- one image ---- */

/* A snapshot: never changes. A later pull or untag makes a new one under the same id. */
struct image {
	_Atomic int refs;
	char id[65];
	struct strv names;	  /* as recorded: repo:tag and repo@digest */
	struct strv repo_tags;	  /* sorted */
	struct strv repo_digests; /* sorted: each known repository with each known digest of the image */
	char *digest;		  /* of its manifest, "sha256:..."; "" unknown */
	uint64_t size;	    /* bytes: layers unpacked, plus manifest and config, as containers/storage sums them up */
	int64_t created_ns; /* as the config says; 0 unknown */
	bool pinned;	    /* a pinned_images pattern or the pause image: not for garbage collection */

	/* From its config. Strings are "" when absent. */
	char *architecture, *os, *variant;
	struct strv entrypoint, cmd;
	struct strv env; /* "KEY=value", in order */
	char *user;	 /* "1000:1000", "www-data"; as written */
	char *workdir;
	char *stop_signal;
	struct strv volumes; /* paths, sorted */
	struct strv exposed_ports;
	struct kvs labels;
	struct kvs annotations; /* of an OCI manifest */
	bool has_uid;		/* `user` begins with a number */
	int64_t uid;
	char *username;	   /* `user` up to ':' when it is no number; "" */
	char *config_json; /* the whole config document */
};
struct image *image_ref(struct image *im);
void image_unref(struct image *im); /* NULL is fine */
static inline void image_unrefp(struct image **im)
{
	image_unref(*im);
}
#define cleanup_image_ref CLEANUP(image_unrefp)

/* What ContainerStatus and PullImage call the image reference: a repo digest, or the id when it has none. Borrowed. */
const char *image_ref_of(const struct image *im);

/* ---- the catalogue ---- */

struct images_args {
	const struct conf *conf; /* referenced */
	struct plugins *plugins;
	const char *auth_file; /* NULL: the default places (auth.json and so on); tests */
	const char *certs_dir; /* NULL: /etc/containers/certs.d, then /etc/docker/certs.d; tests */
};
/* Opens the default store and every other store that the configuration names or that an earlier run made. Plugins
 * outlive it. A store that is not the default and cannot be opened is logged and left out. */
int images_new(const struct images_args *args, crio_call *call, struct images **ret, crio_err *err);
/* Pulls must have ended. Closes the stores. NULL is fine. */
void images_free(struct images *is);
/* After the configuration was reloaded: pins, registries.conf, authentication. conf is referenced. On failure what was
 * in force stays. */
int images_reload(struct images *is, const struct conf *conf, crio_err *err);

/* The store of a storage driver ("overlay"; "" the default), opened on first use. Borrowed: lives as long as `is`.
 * NOT_FOUND when there is no such plugin. */
int images_store(struct images *is, crio_call *call, const char *driver, struct store **ret, crio_err *err);
/* The stores that are open: i = 0 is the default; NULL past the end. Never removed. */
struct store *images_store_at(struct images *is, size_t i);

/* ---- pulling ---- */

struct image_auth {
	const char *username, *password;
	const char *auth; /* base64 of "user:password" */
	const char *server_address;
	const char *identity_token; /* a refresh token for the registry's token service */
	const char *registry_token; /* a bearer token sent as it is */
};
struct pull_args {
	const char *ref;	/* as the client named it: short, tagged, by digest; "docker://" may stand before it */
	struct image_auth auth; /* all NULL or "": the files decide */
	const char *driver;	/* storage driver of the runtime handler; "" or NULL the default */
	const char *pod_namespace; /* chooses policy and auth; "" or NULL none */
};
/*
 * Fetches the image and unpacks it in the driver's store. Pulls of the same image with the same credentials, driver and
 * namespace share one transfer, which ends when the last of their calls has.
 * ret_id: 64 hex. ret_ref: "repo@sha256:...".
 * Errors: NOT_FOUND (manifest unknown), UNAUTHENTICATED, DENIED, UNAVAILABLE with a text that starts
 * "RegistryUnavailable: ", DENIED with one that starts "SignatureValidationFailed: ", CORRUPT (digest or size differs),
 * EXHAUSTED (a limit), INVALID (reference), DEADLINE (pull_progress_timeout or the call's).
 */
int images_pull(struct images *is, crio_call *call, const struct pull_args *args, char **ret_id, char **ret_ref,
		crio_err *err);

/* ---- looking up ---- */

/* By id, prefix of an id (3 digits at least; a name that looks like one loses, as in CRI-O) or name. Short names
 * are looked up under each candidate that registries.conf gives. NOT_FOUND; INVALID when it is neither. */
int images_get(struct images *is, const char *ref, struct image **ret, crio_err *err);
/* All, newest first; `filter` non-empty: the one image it names, an empty list when absent. Each is a reference of the
 * caller's, and the array. */
int images_list(struct images *is, const char *filter, struct image ***ret, size_t *ret_n, crio_err *err);
void images_list_free(struct image **v, size_t n);

/* Re-reads the records when another program (podman, skopeo) has changed a store. Cheap when nothing has. The two
 * functions above do this themselves; for tests and start-up. */
int images_refresh(struct images *is, crio_err *err);

/* ---- removing ---- */

/* Absent is success. By name: takes the name away, and the image with its last one. By id: the image with all its
 * names. PRECONDITION with "image used by <container>: image is in use by a container" or "the image is in use by
 * <container>" (as a volume). Layers that no other image or container stands on go too. */
int images_remove(struct images *is, crio_call *call, const char *ref, crio_err *err);
/* Set once, by lifecycle: who uses image id as an image volume? Returns true and the container's id in ret_by. Called
 * without locks of ours held; must not call back into images. */
typedef bool (*image_in_use_fn)(void *arg, const char *image_id, char ret_by[65]);
void images_on_remove(struct images *is, image_in_use_fn fn, void *arg);

/* ---- for containers ---- */

/* The store of `driver` ("" default) and the id of the image's top layer in it. When only another store has the layers
 * they are streamed over first, never from the registry. ret_layer is "" for an image without layers. */
int images_container_layer(struct images *is, crio_call *call, const struct image *im, const char *driver,
			   struct store **ret_store, char ret_layer[65], crio_err *err);
/* The signature policy of the namespace, checked again when a container is made from the image. Text starts
 * "SignatureValidationFailed: " when it says no. */
int images_check_allowed(struct images *is, const char *pod_namespace, const char *user_ref, const struct image *im,
			 crio_err *err);

/* ---- figures ---- */

struct image_fs {
	char *mountpoint; /* <root>/<driver>-images, as CRI-O names it */
	uint64_t bytes;	  /* on disk, of all image layers, their metadata and the images' */
	uint64_t inodes;
	int64_t time_ns; /* when it was measured */
};
/* One row a store, default first. No walk over trees but those of layers that another tool has made since the last one. */
int images_fs_info(struct images *is, crio_call *call, struct image_fs **ret, size_t *ret_n, crio_err *err);
void image_fs_free(struct image_fs *v, size_t n);

/* Counters for metrics; monotonic since start. */
struct images_stats {
	uint64_t pulls_ok, pulls_failed, pulls_shared;
	uint64_t bytes_fetched, bytes_skipped, layers_reused;
};
void images_stats(struct images *is, struct images_stats *ret);

#endif
