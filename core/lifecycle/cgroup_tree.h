/* cgroup_tree.h: between cgroup.c and cgroup_stats.c only: the hierarchies of this machine. */
#ifndef LIFECYCLE_CGROUP_TREE_H
#define LIFECYCLE_CGROUP_TREE_H

#include "core/util/err.h"

struct cgroup_tree {
	char root[256];
	char name[24][32]; /* v1: directories below root, one a hierarchy */
	size_t n;
};
const struct cgroup_tree *cgroup_tree(void);
/* The group's directory in the controller's hierarchy ("" and v2: the one there is), for reading. */
int cgroup_open(const char *controller, const char *fs_path, crio_err *err);
/* cpu.shares to cpu.weight. */
uint64_t cgroup_weight_of_shares(uint64_t shares);

#endif
