/*
 * cri-bench: the same work on two CRI sockets in interleaved rounds, with medians, ratios and their interval.
 *
 *	cri-bench [OPTIONS] [rounds]   a pod and a container up, an exec, lists, stop and remove
 *	cri-bench [OPTIONS] burst      WIDTH pods with a container each brought up at once; the row is the time for all
 *	cri-bench [OPTIONS] lists      ListPodSandbox and ListContainers alone, over what is there
 *	cri-bench [OPTIONS] containers ListContainers alone, where the sides have different numbers of pods
 *	cri-bench [OPTIONS] stats      ListContainerStats and ListPodSandboxStats over what is there
 *	cri-bench [OPTIONS] restart    kill -9 to the first list that has all pods and containers again
 *	cri-bench -b SOCKET -I IMAGE -n N fill    creates N containers, without starting them, in a new pod
 *
 *	-a SOCKET -b SOCKET    ours and the peer's; -i IMAGE -I IMAGE, -H HANDLER -K HANDLER, -m NAME -M NAME for either
 *	-r ROUNDS  -w WIDTH  -o CSV  -l LOAD: refuse to measure above this load average
 *	-A PIDFILE -x COMMAND -B PIDFILE -X COMMAND     for restart: see side.h
 *
 * Rounds go A then B, and B then A in odd ones, so that both meet the same machine.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/side.h"
#include "tests/bench/table.h"

#define WIDTH_MAX 64
#define LIST_TIMES 10 /* calls a figure of lists and status is the mean of */

static struct side sides[2] = {{.name = "crio", .handler = ""}, {.name = "peer", .handler = ""}};
static struct row rows[10];
static int width = 8;

/* One side's part of a round: fills ms[side][slot] of the rows that the mode has. */
typedef void (*round_fn)(int side, int slot);

static void round_one(int k, int n)
{
	struct side *s = &sides[k];
	struct pod_conf pc;
	char name[48], *pod, *id;
	double t0, t, t_end;
	int o = 0;

	(void)snprintf(name, sizeof(name), "bench-%d-%d", (int)getpid(), n);
	pod_conf(&pc, name);
#define ROW(label, since) (rows[o].name = (label), rows[o++].ms[k][n] = now_ms() - (since))
	t0 = t = now_ms();
	pod = side_run_pod(s, &pc);
	ROW("RunPodSandbox", t);
	t = now_ms();
	id = side_create(s, &pc, pod, "c");
	ROW("CreateContainer", t);
	t = now_ms();
	side_start(s, id);
	ROW("StartContainer", t);
	ROW("pod and container up", t0);
	side_exec_true(s, id); /* warm */
	t = now_ms();
	side_exec_true(s, id);
	ROW("ExecSync true", t);
	t = now_ms();
	for (int i = 0; i < LIST_TIMES; i++)
		side_status(s, id);
	ROW("ContainerStatus", t);
	rows[o - 1].ms[k][n] /= LIST_TIMES;
	t = t_end = now_ms();
	side_stop(s, id);
	ROW("StopContainer timeout 0", t);
	t = now_ms();
	side_down(s, pod);
	ROW("stop and remove the pod", t);
	ROW("both of these", t_end); /* one daemon's StopContainer does what the other leaves to the pod's removal */
	free(pod);
	free(id);
}

struct burst {
	pthread_t thread;
	struct side *s;
	char name[48], *pod, *container;
};

static void *burst_one(void *arg)
{
	struct burst *b = arg;
	struct pod_conf pc;

	pod_conf(&pc, b->name);
	b->pod = side_run_pod(b->s, &pc);
	b->container = side_create(b->s, &pc, b->pod, "c");
	side_start(b->s, b->container);
	return NULL;
}

static void round_burst(int k, int n)
{
	struct burst b[WIDTH_MAX];
	double t = now_ms();
	static char label[48];

	for (int i = 0; i < width; i++) {
		b[i] = (struct burst){.s = &sides[k]};
		(void)snprintf(b[i].name, sizeof(b[i].name), "burst-%d-%d-%d", (int)getpid(), n, i);
		if (pthread_create(&b[i].thread, NULL, burst_one, &b[i]))
			die("no thread");
	}
	for (int i = 0; i < width; i++)
		(void)pthread_join(b[i].thread, NULL);
	(void)snprintf(label, sizeof(label), "%d pods and containers at once", width);
	rows[0].name = label;
	rows[0].ms[k][n] = now_ms() - t;
	for (int i = 0; i < width; i++) {
		side_stop(b[i].s, b[i].container); /* a pod's stop would give it its grace */
		side_down(b[i].s, b[i].pod);
		free(b[i].container);
		free(b[i].pod);
	}
}

static void round_containers(int k, int n)
{
	double t = now_ms();

	for (int i = 0; i < LIST_TIMES; i++)
		(void)side_list_containers(&sides[k], NULL, false);
	rows[0].name = "ListContainers";
	rows[0].ms[k][n] = (now_ms() - t) / LIST_TIMES;
}

static void round_lists(int k, int n)
{
	double t = now_ms();

	for (int i = 0; i < LIST_TIMES; i++)
		side_version(&sides[k]);
	rows[2].name = "Version"; /* what a call costs that does nothing: the client's part, the socket's and gRPC's */
	rows[2].ms[k][n] = (now_ms() - t) / LIST_TIMES;
	t = now_ms();
	for (int i = 0; i < LIST_TIMES; i++)
		(void)side_list_pods(&sides[k], NULL, false);
	rows[1].name = "ListPodSandbox";
	rows[1].ms[k][n] = (now_ms() - t) / LIST_TIMES;
	round_containers(k, n);
}

static void round_stats(int k, int n)
{
	double t = now_ms();

	side_container_stats(&sides[k]);
	rows[0].name = "ListContainerStats";
	rows[0].ms[k][n] = now_ms() - t;
	t = now_ms();
	side_pod_stats(&sides[k]);
	rows[1].name = "ListPodSandboxStats";
	rows[1].ms[k][n] = now_ms() - t;
}

extern char **environ;

static void spawn_command(const struct side *s)
{
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)s->command, NULL};
	pid_t pid;
	int st;

	if (posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ) || waitpid(pid, &st, 0) != pid || st)
		die("%s: cannot be started: %s", s->name, s->command);
}

static pid_t pid_of(const struct side *s)
{
	FILE *f = fopen(s->pid_file, "re");
	int pid = 0;

	if (!f || fscanf(f, "%d", &pid) != 1 || pid < 2)
		die("%s: no pid in %s", s->name, s->pid_file);
	(void)fclose(f);
	return pid;
}

static bool alive(pid_t pid) /* and no zombie: whose parent collects it is not our affair */
{
	char path[64], line[256] = "";
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (!(f = fopen(path, "re")))
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = 0;
	(void)fclose(f);
	const char *p = strrchr(line, ')');

	return p && p[1] && p[2] != 'Z' && p[2] != 'X';
}

static void round_restart(int k, int n)
{
	struct side *s = &sides[k];
	size_t pods, containers, now_pods = 0, now_containers = 0;
	pid_t pid = pid_of(s);
	double t;

	(void)side_list_pods(s, &pods, false);
	(void)side_list_containers(s, &containers, false);
	client_free(s->c);
	t = now_ms();
	if (kill(pid, SIGKILL))
		die("%s: kill %d: %s", s->name, (int)pid, strerror(errno));
	while (alive(pid))
		(void)usleep(200);
	spawn_command(s);
	for (;;) {
		/* A new connection each time: gRPC puts a second try of an old one off by a second. */
		s->c = client_new(s->socket);
		if (side_list_pods(s, &now_pods, true) && side_list_containers(s, &now_containers, true) && now_pods >= pods &&
		    now_containers >= containers)
			break;
		client_free(s->c);
		if (now_ms() - t > 120e3)
			die("%s: %zu of %zu pods and %zu of %zu containers are back after two minutes", s->name, now_pods, pods,
			    now_containers, containers);
		(void)usleep(500);
	}
	rows[0].name = "kill -9 to the first complete list";
	rows[0].ms[k][n] = now_ms() - t;
	(void)usleep(200000); /* what it does after its first answer is not the other side's round */
}

static void fill(struct side *s, int n)
{
	struct pod_conf pc;
	char name[64], *pod, *id;

	(void)snprintf(name, sizeof(name), "fill-%d", (int)getpid());
	pod_conf(&pc, name);
	pod = side_run_pod(s, &pc);
	for (int i = 0; i < n; i++) {
		(void)snprintf(name, sizeof(name), "c%d", i);
		id = side_create(s, &pc, pod, name);
		free(id);
	}
	free(pod);
}

static const struct mode {
	const char *name;
	round_fn fn;
	int n_rows;
} modes[] = {{"rounds", round_one, 9}, {"burst", round_burst, 1}, {"containers", round_containers, 1},
	     {"lists", round_lists, 3}, {"stats", round_stats, 2}, {"restart", round_restart, 1}};

int main(int argc, char **argv)
{
	int rounds = 15, fill_n = 0, o;
	const char *csv = NULL, *mode_name = "rounds";
	const struct mode *mode = NULL;
	double max_load = 1e9, load;

	while ((o = getopt(argc, argv, "a:b:i:I:r:H:K:w:o:l:A:x:B:X:n:m:M:")) != -1) {
		switch (o) {
		case 'a': sides[0].socket = optarg; break;
		case 'b': sides[1].socket = optarg; break;
		case 'i': sides[0].image = optarg; break;
		case 'I': sides[1].image = optarg; break;
		case 'r': rounds = atoi(optarg); break;
		case 'H': sides[0].handler = optarg; break;
		case 'K': sides[1].handler = optarg; break;
		case 'm': sides[0].name = optarg; break;
		case 'M': sides[1].name = optarg; break;
		case 'w': width = atoi(optarg); break;
		case 'o': csv = optarg; break;
		case 'l': max_load = strtod(optarg, NULL); break;
		case 'A': sides[0].pid_file = optarg; break;
		case 'x': sides[0].command = optarg; break;
		case 'B': sides[1].pid_file = optarg; break;
		case 'X': sides[1].command = optarg; break;
		case 'n': fill_n = atoi(optarg); break;
		default: die("see the head of cri-bench.c");
		}
	}
	if (optind < argc)
		mode_name = argv[optind];
	if (!strcmp(mode_name, "fill")) {
		if (!sides[1].socket || !sides[1].image || fill_n < 1)
			die("fill: -b, -I and -n are needed");
		sides[1].c = client_new(sides[1].socket);
		fill(&sides[1], fill_n);
		client_free(sides[1].c);
		return 0;
	}
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		if (!strcmp(mode_name, modes[i].name))
			mode = &modes[i];
	if (!mode)
		die("there is no mode %s", mode_name);
	if (!sides[0].socket || !sides[1].socket || !sides[0].image || !sides[1].image || rounds < 3 || rounds > ROUNDS_MAX - 1 ||
	    width < 1 || width > WIDTH_MAX)
		die("-a, -b, -i and -I are needed, and 3 to %d rounds", ROUNDS_MAX - 1);
	for (int k = 0; k < 2; k++) {
		if (mode->fn == round_restart && (!sides[k].pid_file || !sides[k].command))
			die("restart: -A, -x, -B and -X are needed");
		sides[k].c = client_new(sides[k].socket);
	}
	load = load_average();
	if (load > max_load)
		die("the load average is %.1f, above %.1f: figures would tell of other things", load, max_load);
	for (int n = -1; n < rounds; n++) { /* the first is a warm-up, in the last slot */
		int slot = n < 0 ? rounds : n;

		mode->fn(n & 1, slot);
		mode->fn(!(n & 1), slot);
	}
	table_print(mode->name, rows, mode->n_rows, rounds, (const char *const[]){sides[0].name, sides[1].name}, csv);
	(void)printf("\n%d rounds, load average %.1f before and %.1f after\n", rounds, load, load_average());
	for (int k = 0; k < 2; k++)
		client_free(sides[k].c);
	return 0;
}
