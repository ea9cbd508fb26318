/* clamp.c: see clamp.h. */
#include "core/lifecycle/clamp.h"

#include <stdatomic.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "core/lifecycle/caps.h"
#include "core/util/fs.h"
#include "core/util/log.h"

static struct clamp facts;
static const struct clamp *_Atomic test_facts;

static bool effective(cap_value_t c)
{
	cap_t p = cap_get_proc();
	cap_flag_value_t v = CAP_CLEAR;

	if (!p)
		return false;
	(void)cap_get_flag(p, c, CAP_EFFECTIVE, &v);
	(void)cap_free(p);
	return v == CAP_SET;
}

static void read_facts(void)
{
	char t[32];
	int64_t v;

	for (unsigned i = 0; i < 64; i++) {
		if (!(caps_all() & CAP_BIT(i)))
			break;
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			facts.bounding |= CAP_BIT(i);
	}
	facts.sys_resource = effective(CAP_SYS_RESOURCE);
	/* Without CAP_SYS_RESOURCE the kernel's floor is the value a privileged process set last; ours is the best
	 * guess. */
	if (fs_read_small(-1, "/proc/self/oom_score_adj", t, sizeof(t), NULL) > 0 && str_to_i64(t, -1000, 1000, &v))
		facts.oom_score_adj = (int)v;
}

const struct clamp *clamp_get(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const struct clamp *t = atomic_load(&test_facts);

	if (t)
		return t;
	(void)pthread_once(&once, read_facts);
	return &facts;
}

void clamp_set_for_test(const struct clamp *c)
{
	atomic_store(&test_facts, c);
}

uint64_t clamp_caps(uint64_t set)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	uint64_t lost = set & ~clamp_get()->bounding;
	struct buf b = BUF_INIT;

	if (!lost)
		return set;
	if (!atomic_flag_test_and_set(&said)) {
		for (unsigned i = 0; i < 64; i++)
			if (lost & CAP_BIT(i))
				buf_addf(&b, "%s%s", b.n ? ", " : "", cap_text(i));
		log_warn("This daemon's bounding set lacks %s: containers are run without it",
			 b.p ? b.p : "capabilities");
		buf_release(&b);
	}
	return set & clamp_get()->bounding;
}

int64_t clamp_oom_score_adj(int64_t v)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	const struct clamp *c = clamp_get();

	if (v > 1000)
		v = 1000;
	if (v < -1000)
		v = -1000;
	if (c->sys_resource || v >= c->oom_score_adj)
		return v;
	if (!atomic_flag_test_and_set(&said))
		log_warn("This daemon lacks CAP_SYS_RESOURCE: oom_score_adj %lld is raised to %d", (long long)v,
			 c->oom_score_adj);
	return c->oom_score_adj;
}

void clamp_rlimit(int resource, const char *name, uint64_t *soft, uint64_t *hard)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	struct rlimit r;

	if (clamp_get()->sys_resource || getrlimit((__rlimit_resource_t)resource, &r) < 0 ||
	    r.rlim_max == RLIM_INFINITY || *hard <= r.rlim_max)
		return;
	if (!atomic_flag_test_and_set(&said))
		log_warn("This daemon lacks CAP_SYS_RESOURCE: ulimit %s of containers is lowered to its own, %llu",
			 name, (unsigned long long)r.rlim_max);
	*hard = r.rlim_max;
	if (*soft > *hard)
		*soft = *hard;
}
