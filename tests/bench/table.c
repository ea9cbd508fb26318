#include "tests/bench/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/side.h"

#define BOOT 2000 /* draws of the bootstrap */

static int cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(const double *v, int n)
{
	double t[ROUNDS_MAX];

	memcpy(t, v, (size_t)n * sizeof(*t));
	qsort(t, (size_t)n, sizeof(*t), cmp);
	return n % 2 ? t[n / 2] : (t[n / 2 - 1] + t[n / 2]) / 2;
}

/* Rounds are drawn as pairs, since both sides of a round met the same machine. */
static void interval(const double *a, const double *b, int n, double *lo, double *hi)
{
	static double ratios[BOOT];
	double x[ROUNDS_MAX], y[ROUNDS_MAX];
	unsigned seed = 1; /* the same input gives the same interval */

	for (int k = 0; k < BOOT; k++) {
		for (int i = 0; i < n; i++) {
			int j = (int)((double)rand_r(&seed) / ((double)RAND_MAX + 1) * n);

			x[i] = a[j];
			y[i] = b[j];
		}
		ratios[k] = median(x, n) / median(y, n);
	}
	qsort(ratios, BOOT, sizeof(*ratios), cmp);
	*lo = ratios[BOOT / 40];
	*hi = ratios[BOOT - 1 - BOOT / 40];
}

double load_average(void)
{
	double l = 0;

	return getloadavg(&l, 1) == 1 ? l : -1;
}

void table_print(const char *mode, const struct row *rows, int n_rows, int rounds, const char *const sides[2], const char *csv)
{
	FILE *f = NULL;

	if (csv && !(f = fopen(csv, "ae")))
		die("%s cannot be written", csv);
	(void)printf("| operation | %s ms | %s ms | ratio | 95 %% interval |\n| --- | ---: | ---: | ---: | --- |\n", sides[0], sides[1]);
	for (int k = 0; k < n_rows; k++) {
		const struct row *r = &rows[k];
		double x = median(r->ms[0], rounds), y = median(r->ms[1], rounds), lo, hi;

		interval(r->ms[0], r->ms[1], rounds, &lo, &hi);
		(void)printf("| %s | %.2f | %.2f | %.2f | %.2f to %.2f |\n", r->name, x, y, x / y, lo, hi);
		for (int s = 0; f && s < 2; s++)
			for (int i = 0; i < rounds; i++)
				(void)fprintf(f, "%s,%s,%s,%d,%.4f\n", mode, r->name, sides[s], i, r->ms[s][i]);
	}
	if (f && fclose(f))
		die("%s cannot be written", csv);
}
