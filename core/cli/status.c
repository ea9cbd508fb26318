/* status.c: `crio status`: what the running daemon says of itself over HTTP on its socket. */
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "core/cli/cli.h"
#include "core/util/fs.h"
#include "core/util/json.h"

#define REPLY_MAX (64u << 20)
#define ANSWER_S 70 /* the daemon's own limit is a minute */

struct status_args {
	const char *socket, *id, *file, *what;
};

/* ---- one GET ---- */

static int dial(struct cli *cli, const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = ANSWER_S};
	cleanup_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(a.sun_path)) {
		(void)cli_fail(cli, "unix socket path \"%.120s\" is too long", path);
		return -1;
	}
	memcpy(a.sun_path, path, strlen(path) + 1);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0) {
		(void)cli_fail(cli, "connect to %s: %s: is crio running there?", path, strerror(errno));
		return -1;
	}
	return move_fd(fd);
}

/* The body of a reply with status 200, the caller's; NULL: the failure is printed. */
static char *get(struct cli *cli, const struct status_args *s, const char *path, size_t *ret_n)
{
	cleanup_close int fd = dial(cli, s->socket);
	cleanup_free char *q = path_fmt("GET %s HTTP/1.0\r\nHost: crio\r\n\r\n", path), *text = NULL;
	cleanup_err crio_err err = ERR_INIT;
	char *body, *code;
	size_t n = 0;

	if (fd < 0)
		return NULL;
	if (!q || fs_write_all(fd, q, strlen(q), &err) < 0 || fs_read_fd(fd, REPLY_MAX, &text, &n, &err) < 0) {
		(void)cli_fail(cli, "ask %s for %s: %s", s->socket, path, q ? err_text(&err) : "no memory");
		return NULL;
	}
	body = strstr(text, "\r\n\r\n");
	code = strchr(text, ' ');
	if (!str_starts(text, "HTTP/1.") || !body || !code || code > body) {
		(void)cli_fail(cli, "%s does not speak HTTP", s->socket);
		return NULL;
	}
	body += 4;
	if (!str_starts(code, " 200 ")) {
		body[strcspn(body, "\n")] = '\0';
		(void)cli_fail(cli, "%s: %.500s", path, body);
		return NULL;
	}
	n -= (size_t)(body - text);
	memmove(text, body, n + 1);
	if (ret_n)
		*ret_n = n;
	return move_ptr(text);
}

static int print(struct cli *cli, const struct status_args *s, const char *path)
{
	cleanup_free char *text = get(cli, s, path, NULL);

	if (!text)
		return 1;
	(void)fputs(text, cli->out);
	return 0;
}

static int get_json(struct cli *cli, const struct status_args *s, const char *path, struct json_object **ret)
{
	cleanup_err crio_err err = ERR_INIT;
	size_t n = 0;
	cleanup_free char *text = get(cli, s, path, &n);

	if (!text)
		return 1;
	return json_parse(text, n, ret, &err) < 0 ? cli_fail(cli, "%s: %s", path, err_text(&err)) : 0;
}

/* ---- subcommands ---- */

static int do_config(struct cli *cli, const struct status_args *s)
{
	return print(cli, s, "/config");
}

static int do_threads(struct cli *cli, const struct status_args *s)
{
	return print(cli, s, "/debug/goroutines");
}

static void print_map(FILE *out, const char *title, const struct json_object *o)
{
	(void)fprintf(out, "%s:\n", title);
	if (!o)
		return;
	json_object_object_foreach((struct json_object *)(uintptr_t)o, key, value)
	{
		(void)fprintf(out, "  %s: %s\n", key, value ? json_object_get_string(value) : "");
	}
}

static int do_containers(struct cli *cli, const struct status_args *s)
{
	cleanup_json struct json_object *o = NULL;
	cleanup_free char *path = NULL;
	struct json_object *ips;
	FILE *out = cli->out;
	int r;

	if (!str_set(s->id))
		return cli_fail(cli, "the argument --id cannot be empty");
	if (!path_is_name(s->id) || !str_is_printable(s->id) || strpbrk(s->id, " ?#%"))
		return cli_fail(cli, "'%.100s' is not the id of a container", s->id);
	path = path_fmt("/containers/%s", s->id);
	r = path ? get_json(cli, s, path, &o) : cli_fail(cli, "no memory");
	if (r)
		return r;
	(void)fprintf(out, "name: %s\npid: %lld\nimage: %s\nimage ref: %s\ncreated: %lld\n", json_str(o, "name"),
		      (long long)json_int(o, "pid", 0), json_str(o, "image"), json_str(o, "image_ref"),
		      (long long)json_int(o, "created_time", 0));
	print_map(out, "labels", json_obj(o, "labels"));
	print_map(out, "annotations", json_obj(o, "annotations"));
	print_map(out, "CRI-O annotations", json_obj(o, "crio_annotations"));
	(void)fprintf(out, "log path: %s\ngraph root: %s\nsandbox: %s\nips: ", json_str(o, "log_path"), json_str(o, "root"),
		      json_str(o, "sandbox"));
	ips = json_arr(o, "ip_addresses");
	for (size_t i = 0; ips && i < json_object_array_length(ips); i++)
		(void)fprintf(out, "%s%s", i ? ", " : "", json_object_get_string(json_object_array_get_idx(ips, i)));
	(void)fputc('\n', out);
	return 0;
}

static void print_mappings(FILE *out, const char *kind, const struct json_object *arr)
{
	(void)fprintf(out, "default %s mappings (format <container>:<host>:<size>):\n", kind);
	for (size_t i = 0; arr && i < json_object_array_length(arr); i++) {
		const struct json_object *m = json_object_array_get_idx(arr, i);

		(void)fprintf(out, "  %lld:%lld:%lld\n", (long long)json_int(m, "container_id", 0),
			      (long long)json_int(m, "host_id", 0), (long long)json_int(m, "size", 0));
	}
}

static int do_info(struct cli *cli, const struct status_args *s)
{
	cleanup_json struct json_object *o = NULL;
	struct json_object *maps;
	int r = get_json(cli, s, "/info", &o);

	if (r)
		return r;
	(void)fprintf(cli->out, "cgroup driver: %s\nstorage driver: %s\nstorage graph root: %s\nstorage image: %s\n",
		      json_str(o, "cgroup_driver"), json_str(o, "storage_driver"), json_str(o, "storage_root"),
		      json_str(o, "storage_image"));
	maps = json_obj(o, "default_id_mappings");
	print_mappings(cli->out, "GID", json_arr(maps, "gids"));
	print_mappings(cli->out, "UID", json_arr(maps, "uids"));
	return 0;
}

static int do_heap(struct cli *cli, const struct status_args *s)
{
	cleanup_err crio_err err = ERR_INIT;
	size_t n = 0;
	cleanup_free char *text = get(cli, s, "/debug/heap", &n);
	char name[64];
	time_t now = time(NULL);
	struct tm tm;

	if (!text)
		return 1;
	if (s->file && str_eq(s->file, "-"))
		return fwrite(text, 1, n, cli->out) == n ? 0 : cli_fail(cli, "write to standard output: %m");
	(void)strftime(name, sizeof(name), "crio-heap-%Y%m%d%H%M%S.out", gmtime_r(&now, &tm));
	if (fs_write_path(str_set(s->file) ? s->file : name, text, n, 0600, FS_RUN, &err) < 0)
		return cli_fail(cli, "%s", err_text(&err));
	log_info("Wrote heap dump to: %s", str_set(s->file) ? s->file : name);
	return 0;
}

/* ---- the command ---- */

static const struct {
	const char *names[5];
	int (*fn)(struct cli *cli, const struct status_args *s);
	const char *help;
} subs[] = {
    {{"config", "c"}, do_config, "The configuration in effect, as TOML"},
    {{"containers", "container", "cs", "s"}, do_containers, "What is known of the container --id (-i)"},
    {{"info", "i"}, do_info, "Cgroup and storage driver, id mappings"},
    {{"goroutines", "g"}, do_threads, "What the daemon's threads do"},
    {{"heap", "hp"}, do_heap, "Writes the allocator's account of the heap to --file (-f), \"-\" for standard output"},
};

static int usage(struct cli *cli)
{
	(void)fputs("crio status [--socket PATH] SUBCOMMAND\n\n", cli->out);
	for (size_t i = 0; i < ARRAY_SIZE(subs); i++)
		(void)fprintf(cli->out, "   %-12s %s\n", subs[i].names[0], subs[i].help);
	return 0;
}

/* "-s X", "--socket X", "--socket=X": 1 when argv[*i] is this flag, 0 when not, -1 when its value is missing. */
static int take(int argc, char **argv, int *i, char letter, const char *name, const char **ret)
{
	const char *a = argv[*i], *eq = strchr(a, '=');
	cleanup_free char *flag = eq ? strndup(a, (size_t)(eq - a)) : strdup(a);

	if (!flag || !cli_is_flag(flag, letter, name))
		return 0;
	if (!eq && *i + 1 >= argc)
		return -1;
	*ret = eq ? eq + 1 : argv[++*i];
	return 1;
}

int cli_status(struct cli *cli, int argc, char **argv)
{
	struct status_args s = {.socket = "/var/run/crio/crio.sock"};

	for (int i = 1; i < argc; i++) {
		int r = take(argc, argv, &i, 's', "socket", &s.socket);

		r = r ? r : take(argc, argv, &i, 'i', "id", &s.id);
		r = r ? r : take(argc, argv, &i, 'f', "file", &s.file);
		if (r < 0)
			return cli_fail(cli, "status: flag needs an argument: %.100s", argv[i]);
		if (r > 0)
			continue;
		if (cli_is_flag(argv[i], 'h', "help"))
			return usage(cli);
		if (argv[i][0] == '-' || s.what)
			return cli_fail(cli, "status: %s: %.100s", s.what ? "one argument too many" : "flag provided but not defined",
					argv[i]);
		s.what = argv[i];
	}
	if (!s.what)
		return usage(cli);
	for (size_t i = 0; i < ARRAY_SIZE(subs); i++)
		for (size_t j = 0; subs[i].names[j]; j++)
			if (str_eq(subs[i].names[j], s.what))
				return subs[i].fn(cli, &s);
	return cli_fail(cli, "No help topic for '%.100s'", s.what);
}
