/*
 * verdicts.c: which files have passed their probe and been loaded in this boot, so that a restart runs no probe: nine of them took two
 * thirds of the time from the daemon's start to its first answer. A file is known by device, inode, size and time of change, with its
 * path, and so is the program that probed it: what is replaced, mended or moved is probed again.
 *
 * The record is removed when it is read and written when the start is through: a plugin that passes its probe and then ends the daemon
 * while that loads it (a library below it has changed, say) is probed at the next start.
 */
#include <sys/stat.h>

#include "core/plugin/inner.h"
#include "core/util/fs.h"
#include "core/util/log.h"

#define RECORD "probed"
#define RECORD_MAX (1u << 20)

static char *record_path(const struct plugins *p)
{
	return path_fmt("%s/%s", p->args.run_dir, RECORD);
}

static void add_line(struct buf *b, const char *what, dev_t dev, ino_t ino, off_t size, int64_t ctime_ns, const char *path)
{
	buf_addf(b, "%s %ju %ju %jd %jd %s\n", what, (uintmax_t)dev, (uintmax_t)ino, (intmax_t)size, (intmax_t)ctime_ns, path);
}

/* The first line: whose verdicts these are. */
static int add_head(const struct plugins *p, struct buf *b)
{
	struct stat st;

	if (!p->args.remember || !p->args.probe_path || stat(p->args.probe_path, &st) < 0)
		return CRIO_E_NOT_FOUND;
	add_line(b, "crio", st.st_dev, st.st_ino, st.st_size, fs_ctime_ns(&st), p->args.probe_path);
	return 0;
}

static void add_module(const struct module *m, struct buf *b)
{
	add_line(b, plugin_kind_name(m->kind), m->dev, m->ino, m->file_size, m->ctime_ns, m->path);
}

void verdicts_read(struct plugins *p)
{
	cleanup_buf struct buf head = BUF_INIT;
	cleanup_free char *path = record_path(p), *text = NULL;

	if (!path || add_head(p, &head) < 0 || buf_bad(&head))
		return;
	int r = fs_read_file(-1, path, RECORD_MAX, &text, NULL, NULL);
	/* What cannot be removed must not be believed at each start. */
	if (fs_unlink(path, NULL) < 0 || r < 0 || strncmp(text, head.p, head.n))
		return;
	p->verdicts = text;
	text = NULL;
}

bool verdicts_has(const struct module *m)
{
	cleanup_buf struct buf line = BUF_INIT;

	if (!m->host->verdicts || strchr(m->path, '\n'))
		return false;
	add_module(m, &line);
	if (buf_bad(&line))
		return false;
	for (const char *at = m->host->verdicts; (at = strstr(at, line.p)); at++)
		if (at > m->host->verdicts && at[-1] == '\n')
			return true;
	return false;
}

void verdicts_write(struct plugins *p)
{
	cleanup_buf struct buf b = BUF_INIT;
	cleanup_err crio_err err = ERR_INIT;
	cleanup_free char *path = record_path(p);

	if (!path || add_head(p, &b) < 0)
		return;
	for (struct module *m = p->modules; m; m = m->next)
		if (m->loaded && !m->linked_in)
			add_module(m, &b);
	if (buf_bad(&b) || b.n > RECORD_MAX || fs_write_path(path, b.p, b.n, 0600, FS_RUN, &err) < 0)
		log_debug("The verdicts of the plugins' probes are not kept: %s", *err_text(&err) ? err_text(&err) : "no memory");
}
