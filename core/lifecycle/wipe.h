/* wipe.h: removing records and stores as a whole: after a reboot, an upgrade, damage, and for `crio wipe` and `crio check`. */
#ifndef LIFECYCLE_WIPE_H
#define LIFECYCLE_WIPE_H

#include "core/image/image.h"
#include "core/store/store.h"

/* Is the record a pod's or container's of ours or CRI-O's? Other tools keep containers in the same store. */
bool wipe_is_ours(const struct store_container *rec, bool *ret_pod);
/* Removes the records, layers and directories of all pods and containers in all stores; the ids of their images are added to
 * ret_images. For when nothing of them runs: no runtime and no network is asked. Goes on after a failure and returns the first. */
int wipe_records(struct images *is, crio_call *call, struct strv *ret_images, crio_err *err);
/* Removes all that is below the roots of all stores. Closes *is. PRECONDITION, with nothing removed: a container of another
 * program is mounted there, unless force. */
int wipe_stores(struct images **is, crio_call *call, bool force, crio_err *err);

struct wipe_findings {
	struct strv lines;
	bool hopeless; /* what was found is still there after the repair, or the check itself failed */
};
void wipe_findings_release(struct wipe_findings *f);
/* Checks every store, and repairs: what is damaged is removed. */
int wipe_repair(struct images *is, crio_call *call, struct wipe_findings *ret, crio_err *err);
/* Reads every file of every image's layers and compares with what was unpacked: bytes, sizes, presence. Each finding is a line in
 * ret. With repair, images with such a layer are removed, and with force their containers too. */
int wipe_check_layers(struct store *s, crio_call *call, bool repair, bool force, struct strv *ret, crio_err *err);

#endif
