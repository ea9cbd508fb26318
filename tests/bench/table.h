/* table.h: figures of both sides by operation and round, and the table that is made of them. */
#ifndef TESTS_BENCH_TABLE_H
#define TESTS_BENCH_TABLE_H

#define ROUNDS_MAX 1000

struct row {
	const char *name;
	double ms[2][ROUNDS_MAX + 1]; /* by side, then round; the last is the warm-up's */
};

/*
 * Prints a line a row: median of each side in milliseconds, the ratio of the medians, and that ratio's 95 % interval by bootstrap
 * over rounds. csv, unless NULL: appends `mode,operation,side,round,ms` lines to that file, from which plot.py draws.
 */
void table_print(const char *mode, const struct row *rows, int n_rows, int rounds, const char *const sides[2], const char *csv);
double load_average(void); /* of the last minute; -1: not known */

#endif
