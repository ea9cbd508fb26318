/*
 * journal.c: <root>/crio/journal/{l,c}-<id>: a layer or container that may be garbage. An entry is made before the
 * first thing that would have to be undone and removed after the last: what a crash leaves behind is found by its
 * entry. The records decide: an entry of something that is in use is stale and just dropped.
 */
#include "core/store/priv.h"

#include <fcntl.h>

#include "core/util/failpoint.h"

int journal_open(struct store *s, crio_err *err)
{
	cleanup_free char *dir = path_fmt("%s/crio/journal", s->root);
	cleanup_free char *aside = path_fmt("%s/crio/quarantine", s->root);
	if (!dir || !aside)
		return err_nomem(err);
	int r = fs_mkdir_p(dir, 0700, err);
	if (r < 0)
		return r;
	r = fs_mkdir_p(aside, 0700, err);
	if (r < 0)
		return r;
	s->journal_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return s->journal_fd < 0 ? err_errno(err, errno, "open %s", dir) : 0;
}

static void entry_name(char kind, const char *id, char ret[72])
{
	(void)snprintf(ret, 72, "%c-%.64s", kind, id);
}

int journal_add(struct store *s, char kind, const char *id, const char *note, crio_err *err)
{
	char name[72];
	entry_name(kind, id, name);
	if (FAILPOINT("store.journal.add", err) < 0)
		return CRIO_E_IO;
	/* The name is what counts; a note that a crash cut short is only missed by a delete that was never answered. */
	cleanup_close int fd = openat(s->journal_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(err, errno, "journal of %s: create %s", s->root, name);
	int r = FAILPOINT("store.journal.added", err);
	r = r == 0 && *note ? fs_write_all(fd, note, strlen(note), err) : r;
	return r < 0 ? err_wrap(err, "journal of %s", s->root) : 0;
}

void journal_del(struct store *s, char kind, const char *id)
{
	char name[72];
	entry_name(kind, id, name);
	FAILPOINT_CUT("store.journal.del");
	/* An entry that stays is found stale by the next recovery. */
	(void)unlinkat(s->journal_fd, name, 0);
	FAILPOINT_CUT("store.journal.deleted");
}

bool journal_note(struct store *s, char kind, const char *id, char *ret, size_t n)
{
	char name[72];
	entry_name(kind, id, name);
	return fs_read_small(s->journal_fd, name, ret, n, NULL) >= 0;
}

int64_t journal_age_ns(struct store *s, char kind, const char *id)
{
	char name[72];
	struct stat st;
	entry_name(kind, id, name);
	if (fstatat(s->journal_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	int64_t age = now_real_ns() - ((int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
	return age < 0 ? 0 : age;
}

int journal_list(struct store *s, char kind, struct strv *ret, crio_err *err)
{
	int fd = openat(s->journal_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		int e = errno;
		(void)safe_close(fd);
		return err_errno(err, e, "read the journal of %s", s->root);
	}
	for (struct dirent *ent; (ent = readdir(d));) {
		if (ent->d_name[0] != kind || ent->d_name[1] != '-' || !str_is_hex(ent->d_name + 2, 64))
			continue;
		if (ret->n >= STORE_RECORDS_MAX)
			break;
		if (strv_add(ret, ent->d_name + 2) < 0)
			return err_nomem(err);
	}
	return 0;
}
