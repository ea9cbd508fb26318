/*
 * userns.h: which ids a pod's user namespace maps: by the CRI's userns_options, else by the annotation userns-mode.crio.io, else by the
 * configuration (uid_mappings, gid_mappings). What is chosen has passed id_maps_check.
 */
#ifndef LIFECYCLE_USERNS_H
#define LIFECYCLE_USERNS_H

#include "core/lifecycle/config.h"

/* What the annotation's value is applied to; all borrowed. */
struct userns_env {
	const struct security_context *sec; /* of the pod: who it runs as */
	const struct id_maps *dflt;	    /* of the configuration; without lines: none */
	int64_t min_uid, min_gid;	    /* minimum_mappable_*; -1 none */
	const struct id_maps *available;    /* for "auto": ranges of host ids (host_id, length), by host_id */
	const struct id_maps *used;	    /* of those, what others have; in any order */
};

/* "auto[:size=N;uidmapping=...;gidmapping=...;keep-id=true;map-to-root=true]" or "private:uidmapping=...;gidmapping=...". INVALID:
 * anything else, or maps that cannot be; EXHAUSTED: no ids are left for "auto". */
int userns_by_mode(const char *mode, const struct userns_env *env, struct id_maps *ret, crio_err *err);
/* Does it need available and used? */
bool userns_is_auto(const char *mode);
/* The CRI's options; *ret stays without lines when they ask for the host's (mode NODE). */
int userns_by_options(const struct userns_options *o, int64_t min_uid, int64_t min_gid, struct id_maps *ret, crio_err *err);
/* uid_mappings and gid_mappings; without lines unless both are set. */
int userns_by_conf(const char *uids, const char *gids, struct id_maps *ret, crio_err *err);
/* Lines "name:first:count" of /etc/subuid or subgid that are `user`'s, sorted; others and damaged ones are passed over. */
int userns_subids(const char *text, const char *user, struct id_map *ret, crio_err *err);

/* Makes path reachable for root of the namespace: directories that belong to one container ("<64 hex digits>" and what is in it) for
 * its group alone, those above for all, as far as they are not yet. */
int userns_reach(const struct id_maps *maps, const char *path, crio_err *err);

struct pod;
/* The maps of a pod that is being made, into p->maps; its annotations are filtered. Ids of "auto" are kept from others until
 * pod_forget_userns: by then its record in the store does that, or it will never have one. */
int pod_choose_userns(struct pod *p, crio_err *err);
void pod_forget_userns(struct pod *p);
/* Are users in its containers' requests ids of the host? */
bool pod_userns_host_ids(const struct pod *p);

#endif
