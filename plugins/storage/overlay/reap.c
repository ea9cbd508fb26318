/*
 * reap.c: deleting trees in the background, so that removing a layer is one rename. The directory is the queue: every
 * entry named .crio-del-* goes. A tree may be arbitrarily deep (a container made it): deep directories are moved up to
 * the top of their tree first, so that neither stack nor descriptors depend on the depth.
 */
#include "plugins/storage/overlay/overlay.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LEVELS_MAX 32

struct reap {
	struct ov *o;
	int top;	/* fd of the tree being deleted */
	unsigned moved; /* names made in top */
	int errnum;	/* of the first thing that could not be deleted */
};

static void reap_dir(struct reap *r, int dirfd, int level);

static void reap_entry(struct reap *r, int dirfd, const char *name, int level)
{
	char up[32];
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return;
	if (errno != EISDIR && errno != EPERM) {
		r->errnum = r->errnum ? r->errnum : errno;
		return;
	}
	if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0)
		return;
	if (errno != ENOTEMPTY && errno != EEXIST) {
		r->errnum = r->errnum ? r->errnum : errno;
		return;
	}
	if (level == LEVELS_MAX) {
		(void)snprintf(up, sizeof(up), ".crio-up-%u", r->moved++);
		if (renameat(dirfd, name, r->top, up) < 0)
			r->errnum = r->errnum ? r->errnum : errno;
		return;
	}
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) {
		r->errnum = r->errnum ? r->errnum : errno;
		return;
	}
	reap_dir(r, fd, level + 1);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT && !r->errnum)
		r->errnum = errno;
}

/* Empties a directory; takes the fd. */
static void reap_dir(struct reap *r, int dirfd, int level)
{
	DIR *d = fdopendir(dirfd);
	if (!d) {
		r->errnum = r->errnum ? r->errnum : errno;
		(void)close(dirfd);
		return;
	}
	for (struct dirent *e; !atomic_load(&r->o->stop) && (e = readdir(d));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			reap_entry(r, dirfd, e->d_name, level);
	(void)closedir(d);
}

static void reap_tree(struct ov *o, const char *name)
{
	struct reap r = {.o = o};
	if (unlinkat(o->l.fd, name, 0) == 0 || unlinkat(o->l.fd, name, AT_REMOVEDIR) == 0)
		return;
	r.top = openat(o->l.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (r.top < 0)
		return;
	unsigned before;
	do { /* as long as directories were moved up */
		before = r.moved;
		int fd = openat(r.top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			break;
		reap_dir(&r, fd, 0);
	} while (r.moved != before && !atomic_load(&o->stop));
	(void)close(r.top);
	if (atomic_load(&o->stop))
		return;
	if (unlinkat(o->l.fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		o->l.host->log(o->in, CRIO_LOG_WARN, "%s/%s not deleted: %s; tried again at the next start", o->l.home,
			       name, strerror(r.errnum ? r.errnum : errno));
}

/* One pass over the trash. What could not be deleted stays and is not tried again in this pass. */
static void reap_all(struct ov *o)
{
	DIR *d = layers_dir(o->l.fd, ".");
	if (!d)
		return;
	for (struct dirent *e; !atomic_load(&o->stop) && (e = readdir(d));)
		if (!strncmp(e->d_name, OV_DEL, strlen(OV_DEL)))
			reap_tree(o, e->d_name);
	(void)closedir(d);
}

static void *reaper(void *arg)
{
	struct ov *o = arg;
	(void)pthread_mutex_lock(&o->mu);
	while (!atomic_load(&o->stop)) {
		if (!o->work) {
			(void)pthread_cond_wait(&o->cond, &o->mu);
			continue;
		}
		o->work = 0;
		(void)pthread_mutex_unlock(&o->mu);
		reap_all(o);
		(void)pthread_mutex_lock(&o->mu);
	}
	(void)pthread_mutex_unlock(&o->mu);
	return NULL;
}

void ov_reaper_start(struct ov *o)
{
	(void)pthread_mutex_init(&o->mu, NULL);
	(void)pthread_cond_init(&o->cond, NULL);
	o->running = pthread_create(&o->thread, NULL, reaper, o) == 0;
}

void ov_reaper_stop(struct ov *o)
{
	if (!o->running)
		return;
	(void)pthread_mutex_lock(&o->mu);
	atomic_store(&o->stop, 1);
	(void)pthread_cond_signal(&o->cond);
	(void)pthread_mutex_unlock(&o->mu);
	(void)pthread_join(o->thread, NULL);
	(void)pthread_cond_destroy(&o->cond);
	(void)pthread_mutex_destroy(&o->mu);
}

int ov_trash(struct ov *o, const char *name)
{
	char to[160];
	if (!strncmp(name, OV_DEL, strlen(OV_DEL))) {
		(void)snprintf(to, sizeof(to), "%s", name);
	} else {
		for (int tries = 0;; tries++) {
			(void)snprintf(to, sizeof(to), OV_DEL "%.80s.%ld-%u", name + (*name == '.'), (long)getpid(),
				       atomic_fetch_add(&o->serial, 1));
			if (renameat2(o->l.fd, name, o->l.fd, to, 1u /* RENAME_NOREPLACE */) == 0)
				break;
			if (errno == ENOENT)
				return 0;
			if (errno != EEXIST || tries == 100)
				return -1;
		}
	}
	if (!o->running) {
		reap_tree(o, to);
		return 0;
	}
	(void)pthread_mutex_lock(&o->mu);
	o->work = 1;
	(void)pthread_cond_signal(&o->cond);
	(void)pthread_mutex_unlock(&o->mu);
	return 0;
}
