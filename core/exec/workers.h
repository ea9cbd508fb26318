/*
 * workers.h: threads that run jobs, in classes with caps of their own, so that tear-down never queues behind set-up.
 * Threads are made on demand and retire after a minute idle (a class may keep a few).
 */
#ifndef EXEC_WORKERS_H
#define EXEC_WORKERS_H

#include <stdint.h>

#include "core/util/err.h"

enum work_class {
	WORK_FAST,     /* memory and the files of proc and cgroup: Version, Status, List*, *Status, *Stats */
	WORK_SETUP,    /* run, create, start, update */
	WORK_TEARDOWN, /* stop, remove */
	WORK_EXEC,
	WORK_IMAGE,
	WORK_WAIT,     /* one for each exec: waits for its end beside the call that reads its output */
	WORK_PLUGIN,   /* the threads that plugin operations run on */
	WORK_CLASSES
};

struct workers;
int workers_new(struct workers **ret, crio_err *err);
/* Runs what is queued, then stops; jobs stuck for longer than timeout_ns are left behind. Returns how many. */
int workers_free(struct workers *w, int64_t timeout_ns);
/* Queues job(arg) for a thread of the class. CRIO_E_EXHAUSTED at the class's cap of waiting jobs. */
int workers_run(struct workers *w, enum work_class c, void (*job)(void *arg), void *arg, crio_err *err);
/* Waits until no job runs or is queued, or timeout_ns is over. Returns how many there still are. */
int workers_quiet(struct workers *w, int64_t timeout_ns);
/* n 1: a thread of this class is stuck in a job, do not count it towards the cap; -1: it is back. Called by who noticed. */
void workers_abandon(struct workers *w, enum work_class c, int n);
const char *work_class_name(enum work_class c);

#endif
