/* job.c: from the pump to a worker and back. */
#include "core/stream/job.h"

#define AGAIN_NS (200 * 1000000LL)

static void run_after(void *arg)
{
	struct job *j = arg;
	j->after(j);
}

static void run_work(void *arg)
{
	struct job *j = arg;
	j->work(j);
	j->task.fn = run_after;
	j->task.arg = j;
	pump_post(j->pump, &j->task);
}

static void try_again(void *arg)
{
	job_start(arg);
}

void job_start(struct job *j)
{
	if (workers_run(j->workers, j->class, run_work, j, NULL) < 0)
		pump_at(j->pump, &j->again, pump_now(j->pump) + AGAIN_NS, try_again, j);
}
