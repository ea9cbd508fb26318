/*
 * user.h: users and groups of an image. The files are the image's: they are opened confined to its root, regular
 * files only (a FIFO or device is never opened), 1 MiB and 4 KiB a line at most; a line that breaks a rule is skipped,
 * a file that does is an error only where a name must be looked up.
 */
#ifndef LIFECYCLE_USER_H
#define LIFECYCLE_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/util/str.h"

#define USER_GROUPS_MAX 1024
#define USER_ID_MAX 2147483647u

struct user {
	uint32_t uid, gid;
	uint32_t *groups; /* of /etc/group, where the user is a member; without gid unless listed there */
	size_t n_groups;
	char *name;	/* "" when passwd has none */
	char *home;	/* "" when passwd has none */
	bool in_passwd; /* the uid has an entry */
};
void user_release(struct user *u);
#define cleanup_user CLEANUP(user_release)

/*
 * user: "", "name", "uid", "name:group", "uid:gid" and mixes. All digits are a number and never looked up as a name;
 * numbers above USER_ID_MAX are INVALID. "" is 0. A name without an entry is INVALID. A uid without an entry has
 * gid 0 and no groups.
 */
int user_resolve(int rootfs_fd, const char *user, struct user *ret, crio_err *err);

/* The image's /etc/passwd with an entry for uid appended, the caller's; NULL in *ret when it needs none (there is an
 * entry, the image has no passwd, or it is unreadable). `user` names the entry when it is a valid name, else "default"
 * or the number. home with ':' or control bytes is INVALID. */
int user_make_passwd(int rootfs_fd, const char *user, uint32_t uid, uint32_t gid, const char *home, char **ret,
		     crio_err *err);
/* The same for /etc/group. */
int user_make_group(int rootfs_fd, uint32_t gid, char **ret, crio_err *err);

#endif
