/*
 * job.h: work of the streams that may wait: it runs on a worker, and its end on the pump's thread. Nothing is lost: a job that the
 * workers have no room for is tried again.
 */
#ifndef STREAM_JOB_H
#define STREAM_JOB_H

#include "core/exec/workers.h"
#include "core/stream/pump.h"

struct job {
	struct pump *pump;
	struct workers *workers;
	enum work_class class;
	void (*work)(struct job *j); /* on a worker */
	void (*after)(struct job *j); /* on the pump; the last use of j by job.c */
	void *arg;		     /* the owner's */
	struct pump_task task;
	struct pump_timer again;
};
/* On the pump's thread. j's first four fields and both functions are set, the rest is zero. */
void job_start(struct job *j);

#endif
