/* banned.h: calls that have no safe use here. Included by every core source through util/err.h. */
#ifndef UTIL_BANNED_H
#define UTIL_BANNED_H

/* The library headers that declare them come first, so that poisoning hits our uses only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* strcpy, strcat, sprintf: no bounds. strtok: hidden state. system, popen, fork: a copy of a multithreaded process
 * (use exec/spawn.h). setenv, putenv, chdir, umask: process-wide (umask is set once in main, which does not include
 * this through a poisoned name). alloca: no limit. */
#if !defined(__cplusplus) && !defined(CRIO_ALLOW_BANNED)
#undef alloca /* a macro in glibc; poisoning a defined one is a warning */
#pragma GCC poison strcpy strcat sprintf vsprintf strtok system popen fork alloca tmpnam mktemp gets
#endif

#endif
