/* notifier.c: see notifier.h. */
#include "core/lifecycle/notifier.h"

#include <fcntl.h>
#include <seccomp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "core/exec/loop.h"
#include "core/lifecycle/annotations.h"
#include "core/util/fs.h"
#include "core/util/log.h"
#include "core/util/meter.h"
#include "core/util/sock.h"

#define SEC 1000000000LL
#define TURN 16		/* events of one turn of the loop */
#define HELLO_MAX 32768 /* bytes of a runtime's message: it is not looked at */
#define FDS_MAX 8	/* descriptors in it */

enum peer_kind { LISTENER, CONNECTION, QUESTIONS };

struct peer {
	struct peer *next; /* of watch->peers */
	struct watched *of;
	enum peer_kind kind;
	int fd;
	int64_t until_ns; /* CONNECTION */
	unsigned asked;	  /* QUESTIONS */
};

/* One container. */
struct watched {
	struct watched *next;
	struct notifiers *set;
	char id[65];
	char *name;
	bool stop;
	struct sock_file file;
	struct peer listener;
	struct peer *peers;
	size_t n_peers;
	int64_t due_ns, latest_ns; /* 0: nothing was forbidden yet, or it is being stopped */
	struct used {
		char *name;
		uint64_t n;
	} *used;
	size_t n_used;
};

struct notifiers {
	struct loop *loop;
	char *dir;
	void (*due)(void *arg, const char *id, const char *used);
	void *arg;
	int64_t hello_ns, quiet_ns, wait_ns;
	int epoll_fd, watch; /* all descriptors; its own watch of the loop */
	struct seccomp_notif *req;
	struct seccomp_notif_resp *resp;
	pthread_mutex_t lock; /* guards what follows, and req and resp */
	struct watched *all;
	int timer; /* of the loop; 0: none */
	int64_t timer_ns;
	bool ending;
};

/* ---- one descriptor ---- */

static int watch_peer(struct notifiers *n, struct peer *p, crio_err *err)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = p };
	return epoll_ctl(n->epoll_fd, EPOLL_CTL_ADD, p->fd, &ev) < 0 ? err_errno(err, errno, "watch a seccomp descriptor") : 0;
}

static void close_peer(struct peer *p)
{
	if (p->fd >= 0)
		(void)epoll_ctl(p->of->set->epoll_fd, EPOLL_CTL_DEL, p->fd, NULL);
	p->fd = safe_close(p->fd);
}

static void drop_peer(struct peer *p)
{
	struct watched *w = p->of;
	struct peer **at = &w->peers;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	w->n_peers--;
	close_peer(p);
	free(p);
}

/* Takes the descriptor. False: too many, or no memory. */
static bool add_peer(struct watched *w, enum peer_kind kind, int fd)
{
	struct peer *p = w->n_peers < NOTIFIER_PEERS_MAX ? calloc(1, sizeof(*p)) : NULL;
	if (p) {
		*p = (struct peer){ .of = w, .kind = kind, .fd = fd, .until_ns = now_mono_ns() + w->set->hello_ns };
		if (watch_peer(w->set, p, NULL) == 0) {
			p->next = w->peers;
			w->peers = p;
			w->n_peers++;
			return true;
		}
	}
	free(p);
	(void)safe_close(fd);
	return false;
}

/* ---- times ---- */

static void on_timer(void *arg);

/* Sees to it that something happens at that time. With the lock. */
static void want_timer(struct notifiers *n, int64_t at_ns)
{
	if (n->ending || (n->timer && n->timer_ns <= at_ns))
		return;
	if (n->timer)
		loop_remove(n->loop, n->timer); /* we are on the loop's thread, or it is not in on_timer's lock */
	int id = loop_timer(n->loop, at_ns - now_mono_ns(), on_timer, n, NULL);
	n->timer = id > 0 ? id : 0;
	n->timer_ns = at_ns;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct used *)a)->name, ((const struct used *)b)->name);
}

/* "chmod (1x), swapoff (3x)". NULL without memory. */
static char *used_text(struct watched *w)
{
	struct buf b = BUF_INIT;
	qsort(w->used, w->n_used, sizeof(*w->used), by_name);
	for (size_t i = 0; i < w->n_used; i++)
		buf_addf(&b, "%s%s (%llux)", i ? ", " : "", w->used[i].name, (unsigned long long)w->used[i].n);
	return buf_take(&b);
}

/* Connections that said nothing go. The id and text of one container that is due; false: none. With the lock. */
static bool take_due(struct notifiers *n, int64_t now, char id[65], char **ret_used, int64_t *ret_next)
{
	*ret_next = INT64_MAX;
	for (struct watched *w = n->all; w; w = w->next) {
		for (struct peer *p = w->peers, *next; p; p = next) {
			next = p->next;
			if (p->kind != CONNECTION)
				continue;
			if (p->until_ns <= now)
				drop_peer(p);
			else if (p->until_ns < *ret_next)
				*ret_next = p->until_ns;
		}
		if (!w->due_ns)
			continue;
		if (w->due_ns > now) {
			*ret_next = w->due_ns < *ret_next ? w->due_ns : *ret_next;
			continue;
		}
		w->due_ns = 0;
		memcpy(id, w->id, sizeof(w->id));
		*ret_used = used_text(w);
		return true;
	}
	return false;
}

static void on_timer(void *arg)
{
	struct notifiers *n = arg;
	int64_t next = INT64_MAX;
	for (bool first = true;; first = false) {
		cleanup_free char *used = NULL;
		char id[65];
		(void)pthread_mutex_lock(&n->lock);
		if (first)
			n->timer = 0;
		bool due = !n->ending && take_due(n, now_mono_ns(), id, &used, &next);
		if (!due && next != INT64_MAX)
			want_timer(n, next);
		(void)pthread_mutex_unlock(&n->lock);
		if (!due)
			return;
		n->due(n->arg, id, used ? used : "");
	}
}

/* ---- questions ---- */

/* True: it is the first of its name. */
static bool count(struct watched *w, const char *name)
{
	for (size_t i = 0; i < w->n_used; i++)
		if (str_eq(w->used[i].name, name)) {
			w->used[i].n++;
			return false;
		}
	if (w->n_used == NOTIFIER_NAMES_MAX)
		return false;
	struct used *v = realloc(w->used, (w->n_used + 1) * sizeof(*v));
	if (!v)
		return false;
	w->used = v;
	v[w->n_used] = (struct used){ .name = strdup(name), .n = 1 };
	w->n_used += v[w->n_used].name != NULL;
	return true;
}

static void note(struct peer *p, const char *name)
{
	struct watched *w = p->of;
	int64_t now = now_mono_ns();
	/* Each process's first call, and each call's first time: the rest would fill the disk. */
	if (count(w, name) || !p->asked)
		log_info("Got seccomp notifier message for container ID: %s (syscall = %s)", w->id, name);
	meter_add_for(METER_SECCOMP, 1, w->name, name);
	if (!w->stop)
		return;
	if (!w->latest_ns)
		w->latest_ns = now + w->set->wait_ns;
	w->due_ns = now + w->set->quiet_ns < w->latest_ns ? now + w->set->quiet_ns : w->latest_ns;
	want_timer(w->set, w->due_ns);
}

/* One question, which is there: the kernel has said so. False: nothing more comes of this descriptor. */
static bool answer_one(struct peer *p)
{
	struct notifiers *n = p->of->set;
	if (!n->req)
		return false;
	memset(n->req, 0, sizeof(*n->req));
	if (seccomp_notify_receive(p->fd, n->req) < 0)
		return errno == ENOENT || errno == EINTR; /* who asked has been killed meanwhile */
	char *name = seccomp_syscall_resolve_num_arch(n->req->data.arch, n->req->data.nr);
	note(p, name ? name : "unknown");
	free(name);
	memset(n->resp, 0, sizeof(*n->resp));
	n->resp->id = n->req->id;
	n->resp->error = -ENOSYS;
	(void)seccomp_notify_respond(p->fd, n->resp); /* fails when who asked has gone */
	return ++p->asked < NOTIFIER_ASKED_MAX;
}

static void on_questions(struct peer *p, uint32_t events)
{
	/* Without a question it is the end: all of its processes have gone. */
	if ((events & EPOLLIN) && answer_one(p))
		return;
	if (p->asked == NOTIFIER_ASKED_MAX)
		log_warn("Container %s has made %u forbidden system calls in one process tree: no more of them are counted", p->of->id, p->asked);
	drop_peer(p);
}

/* ---- connections of runtimes ---- */

static bool is_notify_fd(int fd)
{
	char path[40], to[64];
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, to, sizeof(to) - 1);
	if (n <= 0)
		return false;
	to[n] = '\0';
	return str_eq(to, "anon_inode:seccomp notify");
}

/* The runtime's one message: a JSON of the container's state, which says nothing that we do not know, and the descriptor. */
static void on_connection(struct peer *p)
{
	struct watched *w = p->of;
	char text[HELLO_MAX];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec v = { .iov_base = text, .iov_len = sizeof(text) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t r = recvmsg(p->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	bool got = false;
	for (struct cmsghdr *c = r > 0 ? CMSG_FIRSTHDR(&m) : NULL; c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (is_notify_fd(fd) && add_peer(w, QUESTIONS, fd))
				got = true;
			else if (!is_notify_fd(fd))
				(void)safe_close(fd);
		}
	}
	if (!got)
		log_warn("The seccomp notifier of container %s got a connection without a descriptor for it, or it has too many already", w->id);
	drop_peer(p);
}

static void on_listener(struct watched *w)
{
	int fd = accept4(w->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (add_peer(w, CONNECTION, fd))
		want_timer(w->set, now_mono_ns() + w->set->hello_ns);
	else
		log_warn("The seccomp notifier of container %s turns a connection away: it has %zu", w->id, w->n_peers);
}

/* One event at a time, as what it does may end what the next is about. */
static int on_events(void *arg, int fd, uint32_t events)
{
	struct notifiers *n = arg;
	(void)events;
	cleanup_unlock pthread_mutex_t *l = lock(&n->lock);
	for (int i = 0; i < TURN; i++) {
		struct epoll_event ev;
		if (epoll_wait(fd, &ev, 1, 0) <= 0)
			break;
		struct peer *p = ev.data.ptr;
		if (p->kind == LISTENER)
			on_listener(p->of);
		else if (p->kind == CONNECTION)
			on_connection(p);
		else
			on_questions(p, ev.events);
	}
	return 0;
}

/* ---- containers ---- */

char *notifier_path(const struct notifiers *n, const char *id)
{
	return path_fmt("%s/%s", n->dir, id);
}

const char *notifier_action(const struct kvs *annotations, const char *container)
{
	const char *own = annotation_get(annotations, ANN_SECCOMP_NOTIFIER, container);
	return own ? own : annotation_get(annotations, ANN_SECCOMP_NOTIFIER, NULL);
}

static void watched_free(struct notifiers *n, struct watched *w)
{
	cleanup_free char *path = notifier_path(n, w->id);
	while (w->peers)
		drop_peer(w->peers);
	if (w->listener.fd >= 0 && path)
		sock_unlink(path, &w->file);
	close_peer(&w->listener);
	for (size_t i = 0; i < w->n_used; i++)
		free(w->used[i].name);
	free(w->used);
	free(w->name);
	free(w);
}

static struct watched *find(struct notifiers *n, const char *id)
{
	struct watched *w = n->all;
	while (w && !str_eq(w->id, id))
		w = w->next;
	return w;
}

int notifier_add(struct notifiers *n, const char *id, const char *name, bool stop, crio_err *err)
{
	cleanup_free char *path = notifier_path(n, id);
	struct watched *w = calloc(1, sizeof(*w));
	if (!w || !path || !(w->name = strdup(name))) {
		free(w);
		return err_nomem(err);
	}
	w->set = n;
	w->stop = stop;
	w->listener = (struct peer){ .of = w, .kind = LISTENER, .fd = -1 };
	(void)snprintf(w->id, sizeof(w->id), "%s", id);
	cleanup_unlock pthread_mutex_t *l = lock(&n->lock);
	int r = fs_mkdir_p(n->dir, 0700, err);
	if (r == 0)
		r = sock_listen_unix(path, 0600, &w->listener.fd, &w->file, err);
	if (r == 0)
		r = watch_peer(n, &w->listener, err);
	if (r < 0) {
		watched_free(n, w);
		return err_wrap(err, "seccomp notifier of container %s, below container_attach_socket_dir", id);
	}
	w->next = n->all;
	n->all = w;
	log_debug("Waiting for seccomp file descriptor on container %s", id);
	return 0;
}

void notifier_drop(struct notifiers *n, const char *id)
{
	if (!n)
		return;
	cleanup_unlock pthread_mutex_t *l = lock(&n->lock);
	struct watched *w = find(n, id), **at = &n->all;
	if (!w)
		return;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	watched_free(n, w);
	if (!n->all)
		(void)rmdir(n->dir);
}

void notifiers_sweep(struct notifiers *n)
{
	cleanup_unlock pthread_mutex_t *l = lock(&n->lock);
	cleanup_closedir DIR *d = opendir(n->dir);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		cleanup_free char *path = notifier_path(n, e->d_name);
		/* Another daemon of this machine may have the same directory. */
		if (*e->d_name != '.' && !find(n, e->d_name) && path && !sock_is_live(path))
			(void)unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d && !n->all)
		(void)rmdir(n->dir);
}

/* ---- life ---- */

int notifiers_new(const struct notifiers_args *a, struct notifiers **ret, crio_err *err)
{
	struct notifiers *n = calloc(1, sizeof(*n));
	if (!n)
		return err_nomem(err);
	n->loop = a->loop;
	n->due = a->due;
	n->arg = a->arg;
	n->hello_ns = a->hello_ns ? a->hello_ns : 10 * SEC;
	n->quiet_ns = a->quiet_ns ? a->quiet_ns : 5 * SEC;
	n->wait_ns = a->wait_ns ? a->wait_ns : 30 * SEC;
	(void)pthread_mutex_init(&n->lock, NULL);
	n->dir = strdup(a->dir);
	n->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	int r = n->dir ? 0 : err_nomem(err);
	if (r == 0 && n->epoll_fd < 0)
		r = err_errno(err, errno, "epoll for the seccomp notifier");
	/* A kernel without it: then no profile asks for it either, as its runtime would refuse. */
	if (r == 0 && seccomp_notify_alloc(&n->req, &n->resp) < 0)
		log_debug("This kernel has no seccomp notifications");
	if (r == 0) {
		r = loop_watch(n->loop, n->epoll_fd, EPOLLIN, on_events, n, err);
		n->watch = r > 0 ? r : 0;
	}
	if (r < 0) {
		notifiers_free(n);
		return r;
	}
	*ret = n;
	return 0;
}

void notifiers_free(struct notifiers *n)
{
	if (!n)
		return;
	(void)pthread_mutex_lock(&n->lock);
	n->ending = true;
	int timer = n->timer;
	(void)pthread_mutex_unlock(&n->lock);
	if (n->watch)
		loop_remove(n->loop, n->watch);
	if (timer)
		loop_remove(n->loop, timer);
	while (n->all) {
		struct watched *w = n->all;
		n->all = w->next;
		/* The container goes on, and so does its socket's name: a new daemon listens there again. */
		w->listener.fd = safe_close(w->listener.fd);
		watched_free(n, w);
	}
	(void)safe_close(n->epoll_fd);
	seccomp_notify_free(n->req, n->resp);
	free(n->dir);
	(void)pthread_mutex_destroy(&n->lock);
	free(n);
}

/* ---- the profile ---- */

static bool is_refused(const char *action)
{
	static const char *const words[] = { "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD" };
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (str_eq(action, words[i]))
			return true;
	return false;
}

int notifier_change_profile(struct json_object *seccomp, const char *path, crio_err *err)
{
	struct json_object *rows = json_arr(seccomp, "syscalls");
	if (is_refused(json_str(seccomp, "defaultAction")))
		log_debug("What the seccomp profile's default action %s refuses cannot be told by the notifier", json_str(seccomp, "defaultAction"));
	for (size_t i = 0; rows && i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);
		if (!is_refused(json_str(row, "action")) || json_int(row, "errnoRet", 0) == ENOSYS)
			continue;
		if (json_set_str(row, "action", "SCMP_ACT_NOTIFY") < 0)
			return err_nomem(err);
		json_object_object_del(row, "errnoRet");
	}
	return json_set_str(seccomp, "listenerPath", path) < 0 ? err_nomem(err) : 0;
}
